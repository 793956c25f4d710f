//! Drives observers of closed checks without rounds and committees, and checks what observers of pools are
//! told.

use frame_support::{Twox64Concat, storage_alias};
use kaisar_primitives::{
	Balance, ClosedCheck, ClosedSeat, Closing, Commission, OnClosed, OperatorId, Outcome, PoolId,
	PoolTerms, Proved, SeatResult, WorkerId,
};

/// The terms of each pool after the last change that an observer was told of: the owner's stake, the worth
/// of the members' shares, those shares, and the commission. In storage, so that a call that fails takes
/// them back.
#[storage_alias]
type KnownTerms =
	StorageMap<TestSupport, Twox64Concat, PoolId, (Balance, Balance, u128, Commission)>;

/// Checks that the terms before a change of a pool are those after the last one, so that neither the terms
/// are wrong nor a change was left out. Remembers those after this change.
#[track_caller]
pub fn expect_terms(pool: PoolId, before: PoolTerms, after: PoolTerms) {
	let plain = |terms: PoolTerms| {
		let PoolTerms { value, commission } = terms;
		(value.owner, value.members, value.shares, commission)
	};
	if let Some(known) = KnownTerms::get(pool) {
		assert_eq!(
			plain(before),
			known,
			"the terms since the last change of {pool:?}"
		);
	}
	KnownTerms::insert(pool, plain(after));
}

/// A closing for observers that only look at the time and the seats.
const CLOSING: Closing = Closing {
	round: 0,
	round_start: 0,
	outcome: Outcome::Offline,
	rented: false,
	full: false,
	credit: 0,
	false_proof: false,
	slashes: false,
};

/// Closes a check of `worker` that proved this time, with no seats to pay.
pub fn close_with_time<O: OnClosed>(worker: WorkerId, proved: &Proved) {
	O::on_closed(&ClosedCheck {
		worker,
		order: None,
		closing: &CLOSING,
		proved: *proved,
		seats: &[],
	});
}

/// Closes a check that proved no time and in which `operator` had a seat of this weight.
pub fn close_with_seat<O: OnClosed>(operator: OperatorId, weight: u32, result: SeatResult) {
	O::on_closed(&ClosedCheck {
		worker: 0,
		order: None,
		closing: &CLOSING,
		proved: Proved::default(),
		seats: &[ClosedSeat {
			operator,
			weight,
			result,
		}],
	});
}
