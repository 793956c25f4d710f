//! Tests of fee-less calls: the pool refuses calls that would fail, and carries those that work.

use super::{attested, to_commit, to_end, to_reveal, while_attesting};
use crate::{checks::signing_payload, mock::*, *};
use codec::Encode;
use frame_support::{assert_ok, pallet_prelude::TransactionSource, traits::Authorize};
use kaisar_primitives::{Forced, Outcome, Verdict};
use sp_core::{Pair, sr25519};
use sp_runtime::transaction_validity::{
	InvalidTransaction, TransactionValidityError, ValidTransaction,
};

type Refused = TransactionValidityError;

fn check(call: Call<Test>) -> Result<ValidTransaction, Refused> {
	RuntimeCall::from(call)
		.authorize(TransactionSource::External)
		.expect("the call can be authorized")
		.map(|(valid, _)| valid)
}

fn sign<const N: usize>(
	pair: &sr25519::Pair,
	domain: &[u8; N],
	round: u32,
	arguments: impl Encode,
) -> Option<sr25519::Signature> {
	let seed = Rounds::<Test>::get(round).unwrap().seed;
	Some(pair.sign(&signing_payload(
		domain,
		kaisar_primitives::authorized::genesis::<Test>(),
		seed,
		arguments,
	)))
}

fn attest_call(worker: u32, signature: Option<sr25519::Signature>) -> Call<Test> {
	Call::attest {
		worker,
		round: 0,
		root: [7; 32],
		signature,
	}
}

fn signed_attest() -> Call<Test> {
	let signature = sign(
		&pair("worker", 0),
		b"kaisar/attest",
		0,
		(0u32, 0u32, [7u8; 32]),
	);
	attest_call(0, signature)
}

fn dispatch(call: Call<Test>) {
	use sp_runtime::traits::Dispatchable;
	assert_ok!(RuntimeCall::from(call).dispatch(frame_system::RawOrigin::Authorized.into()));
}

const BAD_PROOF: Refused = TransactionValidityError::Invalid(InvalidTransaction::BadProof);

#[test]
fn the_whole_check_runs_fee_less() {
	while_attesting(|| {
		let valid = check(signed_attest()).unwrap();
		assert_eq!((valid.priority, valid.longevity), (u64::MAX, 9));
		dispatch(signed_attest());
		run_to(12);
		let votes = one(0, good());
		let salt = [5; 32];
		for operator in 0..3u32 {
			let hash = hash_of(operator, 0, 0, &votes, salt);
			let key = pair("checker", operator);
			let signature = sign(&key, b"kaisar/commit", 0, (operator, 0u32, 0u16, hash));
			let call = Call::commit {
				operator,
				round: 0,
				batch: 0,
				hash,
				signature,
			};
			assert_ok!(check(call.clone()));
			dispatch(call);
		}
		run_to(22);
		for operator in 0..3u32 {
			let key = pair("checker", operator);
			let arguments = (operator, 0u32, 0u16, &votes, salt);
			let signature = sign(&key, b"kaisar/reveal", 0, arguments);
			let votes = votes.clone();
			let call = Call::reveal {
				operator,
				round: 0,
				batch: 0,
				votes,
				salt,
				signature,
			};
			assert_ok!(check(call.clone()));
			dispatch(call.clone());
			assert!(check(call).is_err(), "a second copy is refused");
		}
		assert!(matches!(last_outcome(), Outcome::Online { .. }));
	});
}

#[test]
fn an_attestation_needs_the_workers_own_signature_over_all_of_it() {
	while_attesting(|| {
		let arguments = (0u32, 0u32, [7u8; 32]);
		let own = pair("worker", 0);
		assert_eq!(check(attest_call(0, None)), Err(BAD_PROOF));
		let other = sign(&pair("worker", 1), b"kaisar/attest", 0, arguments);
		assert_eq!(check(attest_call(0, other)), Err(BAD_PROOF));
		let domain = sign(&own, b"kaisar/commit", 0, arguments);
		assert_eq!(check(attest_call(0, domain)), Err(BAD_PROOF));
		let root = sign(&own, b"kaisar/attest", 0, (0u32, 0u32, [8u8; 32]));
		assert_eq!(check(attest_call(0, root)), Err(BAD_PROOF));
	});
}

#[test]
fn an_attestation_that_would_fail_is_refused() {
	while_attesting(|| {
		assert!(check(attest_call(9, None)).is_err());
		run_to(12);
		assert_eq!(
			check(signed_attest()),
			Err(TransactionValidityError::Invalid(
				InvalidTransaction::Future
			))
		);
	});
	while_attesting(|| {
		dispatch(signed_attest());
		assert_eq!(
			check(signed_attest()),
			Err(TransactionValidityError::Invalid(InvalidTransaction::Stale))
		);
	});
}

#[test]
fn a_commitment_that_would_fail_is_refused() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(12);
		let hash = sp_core::H256::repeat_byte(3);
		let by = |operator: u32, batch: u16| {
			let key = pair("checker", operator);
			let signature = sign(&key, b"kaisar/commit", 0, (operator, 0u32, batch, hash));
			Call::<Test>::commit {
				operator,
				round: 0,
				batch,
				hash,
				signature,
			}
		};
		assert_ok!(check(by(0, 0)));
		assert!(check(by(0, 1)).is_err(), "a batch past its seats");
		assert!(check(by(7, 0)).is_err(), "no operator");
		dispatch(by(0, 0));
		assert!(check(by(0, 0)).is_err(), "the second time");
		run_to(22);
		assert!(check(by(1, 0)).is_err(), "too late");
	});
}

#[test]
fn a_reveal_that_would_fail_is_refused() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(12);
		let votes = one(0, good());
		commit(0, 0, &votes).unwrap();
		let salt = [0; 32];
		let by = |votes: &kaisar_primitives::Votes| {
			let arguments = (0u32, 0u32, 0u16, votes, salt);
			let signature = sign(&pair("checker", 0), b"kaisar/reveal", 0, arguments);
			let votes = votes.clone();
			Call::<Test>::reveal {
				operator: 0,
				round: 0,
				batch: 0,
				votes,
				salt,
				signature,
			}
		};
		assert!(check(by(&votes)).is_err(), "too early");
		run_to(22);
		assert_ok!(check(by(&votes)));
		assert!(
			check(by(&one(0, Verdict::OFFLINE))).is_err(),
			"a changed vote"
		);
		let mut unsigned = by(&votes);
		if let Call::reveal { signature, .. } = &mut unsigned {
			*signature = None;
		}
		assert_eq!(check(unsigned), Err(BAD_PROOF));
	});
}

#[test]
fn absence_and_closing_need_no_signature_but_must_be_so() {
	while_attesting(|| {
		let absent = || Call::<Test>::report_absent {
			worker: 0,
			round: 0,
		};
		assert!(check(absent()).is_err());
		run_to(12);
		assert_ok!(check(absent()));
		dispatch(absent());
		System::assert_last_event(
			Event::AbsentReported {
				worker: 0,
				round: 0,
				reporter: None,
			}
			.into(),
		);
		assert!(check(absent()).is_err());
	});
	while_attesting(|| {
		let finalize = |workers: Vec<u32>| Call::<Test>::finalize {
			workers: workers.try_into().unwrap(),
		};
		attest(0, 0).unwrap();
		assert!(check(finalize(vec![0])).is_err());
		run_to(32);
		let valid = check(finalize(vec![0])).unwrap();
		assert_eq!(valid.priority, u64::MAX / 2);
		assert!(check(finalize(vec![])).is_err());
		assert!(
			check(finalize(vec![0, 0])).is_err(),
			"in order, and each once"
		);
		assert_ok!(check(finalize(vec![0, 1])));
		assert!(check(finalize(vec![0, 1, 2])).is_err(), "half of them");
		dispatch(finalize(vec![0]));
		assert!(check(finalize(vec![0])).is_err());
	});
}

fn finalize(workers: impl IntoIterator<Item = u32>) -> Call<Test> {
	let workers: Vec<u32> = workers.into_iter().collect();
	Call::finalize {
		workers: workers.try_into().unwrap(),
	}
}

#[test]
fn a_list_outlives_the_closing_of_half_of_it() {
	for (closed, stands) in [(1, true), (32, true), (33, false), (64, false)] {
		attested(64, || {
			to_end(0);
			let list = finalize(0..64);
			let tags = |call| check(call).map(|valid: ValidTransaction| valid.provides.len());
			assert_eq!(tags(list.clone()), Ok(64));
			// Other nodes close some of them meanwhile.
			for worker in 0..closed {
				dispatch(finalize([worker]));
			}
			if stands {
				// The list does not keep others from closing the checks that it does not close.
				assert_eq!(tags(list.clone()), Ok(64 - closed as usize));
				dispatch(list.clone());
			} else {
				assert!(check(list.clone()).is_err(), "{closed} of 64 closed");
			}
			assert!(check(list).is_err());
			for worker in 0..64 {
				<Popw as kaisar_primitives::Checks>::touch(worker);
			}
		});
	}
}

#[test]
fn nobody_fills_blocks_with_lists_that_close_little() {
	use frame_support::dispatch::GetDispatchInfo;
	use sp_runtime::traits::Dispatchable;
	attested(20, || {
		to_end(0);
		// Each list has one ended check and the maximum number of others.
		let (mut carried, mut looked_at) = (0u32, 0u32);
		for worker in 0..20u32 {
			let with = |others: u32| finalize([worker].into_iter().chain(1_000..1_000 + others));
			let most = (0..64).rev().find(|others| check(with(*others)).is_ok());
			let list = with(most.unwrap());
			let declared = RuntimeCall::from(list.clone())
				.get_dispatch_info()
				.call_weight;
			let info = RuntimeCall::from(list.clone())
				.dispatch(frame_system::RawOrigin::Authorized.into())
				.unwrap();
			assert!(info.actual_weight.unwrap().all_lte(declared));
			carried += 1;
			looked_at += 1 + most.unwrap();
			assert!(check(list).is_err());
		}
		assert_eq!(
			(carried, looked_at),
			(20, 40),
			"a look for each check closed"
		);
	});
}

/// Leaves a check of worker 0 over and not closed, in which all votes but the lightest found it offline, and
/// marks the worker for the next round. Closing the check removes the mark. Returns that round, in its
/// attest part.
fn closing_takes_the_mark() -> Round {
	attest(0, 0).unwrap();
	let votes = one(0, Verdict::OFFLINE);
	let mut committee = Popw::committee(0, 0);
	committee.sort_by_key(|(_, weight)| *weight);
	to_commit(0);
	for (operator, _) in &committee[1..] {
		commit(*operator, 0, &votes).unwrap();
	}
	to_reveal(0);
	for (operator, _) in &committee[1..] {
		reveal(*operator, 0, &votes).unwrap();
	}
	run_to(Rounds::<Test>::get(0).unwrap().ends());
	let index = NextRound::<Test>::get();
	heard(|heard| {
		let forced = Forced {
			round: index,
			verify_only: true,
		};
		heard.workers.get_mut(&0).unwrap().forced = Some(forced);
	});
	loop {
		run_to(System::block_number() + 1);
		let round = Rounds::<Test>::get(index);
		if let Some(round) = round.filter(|r| r.phase(System::block_number()) == Phase::Attest) {
			return round;
		}
	}
}

/// Asserts that a call succeeds and does nothing but its touch: a failed call would undo that, and could be
/// sent again and again.
fn is_used_up(call: Call<Test>) {
	assert_ok!(check(call.clone()));
	assert!(is_open(0));
	dispatch(call.clone());
	assert!(!is_open(0), "it closed the old check");
	assert_eq!(last_outcome(), Outcome::Offline);
	let last = LastChecks::<Test>::get(0).unwrap();
	assert_eq!(last.round(), 0, "and did nothing more");
	assert!(check(call).is_err(), "the second time it is refused");
}

#[test]
fn an_attestation_that_the_touch_left_nothing_to_do_is_used_up() {
	while_attesting(|| {
		let round = closing_takes_the_mark();
		let key = pair("worker", 0);
		let arguments = (0u32, round.index, [7u8; 32]);
		is_used_up(Call::attest {
			worker: 0,
			round: round.index,
			root: [7; 32],
			signature: sign(&key, b"kaisar/attest", round.index, arguments),
		});
	});
}

#[test]
fn a_report_that_the_touch_left_nothing_to_do_is_used_up() {
	while_attesting(|| {
		let round = closing_takes_the_mark();
		to_commit(round.index);
		is_used_up(Call::report_absent {
			worker: 0,
			round: round.index,
		});
		heard(|heard| assert!(heard.absent.is_empty()));
	});
}

#[test]
fn what_a_touch_costs_was_declared() {
	use frame_support::dispatch::GetDispatchInfo;
	use sp_runtime::traits::Dispatchable;
	for reports in [false, true] {
		while_attesting(|| {
			let round = closing_takes_the_mark();
			heard(|heard| heard.workers.get_mut(&0).unwrap().order = Some(7));
			let (worker, index) = (0, round.index);
			let call: RuntimeCall = if reports {
				to_commit(index);
				Call::report_absent {
					worker,
					round: index,
				}
				.into()
			} else {
				Call::attest {
					worker,
					round: index,
					root: [7; 32],
					signature: None,
				}
				.into()
			};
			let declared = call.get_dispatch_info().call_weight;
			let info = call
				.dispatch(frame_system::RawOrigin::Authorized.into())
				.unwrap();
			let actual = info.actual_weight.unwrap();
			assert!(
				actual.all_lte(declared),
				"{actual:?} of {declared:?} declared"
			);
			// The closing, and the weight added by the order's observer.
			let touch = <() as WeightInfo>::finalize(0, 1)
				.saturating_add(<Registry as kaisar_primitives::OnClosed>::max_weight());
			assert!(actual.all_gte(touch));
		});
	}
}
