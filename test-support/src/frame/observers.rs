//! Drives observers of closed checks without rounds and committees, and checks the terms that observers of
//! pools receive.

use frame_support::{Twox64Concat, storage_alias};
use kaisar_primitives::{
	Balance, ClosedCheck, ClosedSeat, Closing, Commission, OnClosed, OperatorId, Outcome, PoolId,
	PoolTerms, Proved, SeatResult, WorkerId,
};

/// Terms of each pool after the last change that was reported to an observer: the owner's stake, the value
/// of the members' shares, the number of those shares, and the commission. They are in storage, so that a
/// failed call reverts them.
#[storage_alias]
type KnownTerms =
	StorageMap<TestSupport, Twox64Concat, PoolId, (Balance, Balance, u128, Commission)>;

/// Asserts that the terms before a change of a pool are those after the previous change, so that the terms
/// are right and no change was omitted. Stores the terms after this change.
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

/// Closing for observers that only use the time and the seats.
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
