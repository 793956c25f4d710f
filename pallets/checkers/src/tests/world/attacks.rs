//! Workers that try to get checkers banned, and checkers that deserve a ban.

use super::*;
use frame_support::assert_noop;

/// Registers five operators with two licenses each, so that all sit in every committee.
fn with_five(test: impl FnOnce()) {
	let licenses: Vec<_> = (1..=5).map(|n| (n, 2)).collect();
	world(&licenses, || {
		MinOperators::set(&5);
		for n in 1..=5u8 {
			register(n);
			for license in 2 * u32::from(n - 1)..2 * u32::from(n) {
				assert_ok!(Checkers::delegate_license(signed(n), license, account(n)));
			}
		}
		test();
	});
}

fn ready(operator: OperatorId) -> bool {
	Checkers::status(record(operator).account) == Some(CheckerStatus::Ready)
}

fn strikes(operator: OperatorId) -> usize {
	Checkers::strikes_of(record(operator).account).len()
}

/// Has the worker serve the first `served` operators of a fresh draw; the others find it offline.
fn serve(worker: WorkerId, served: usize) -> Running {
	let running = attest(worker);
	assert_eq!(running.committee.len(), 5);
	let some = running.committee[..served].to_vec();
	let vote = |operator| Some(if some.contains(&operator) { UP } else { DOWN });
	running.commit(vote);
	running.reveal(vote);
	running
}

#[test]
fn a_worker_that_serves_only_some_gets_nobody_banned() {
	with_five(|| {
		for served in [0, 2, 3, 4, 5] {
			for worker in 0..6 {
				serve(worker, served);
			}
		}
		for operator in 0..5 {
			assert_eq!(strikes(operator), 0);
			assert!(ready(operator));
		}
	});
}

#[test]
fn a_worker_that_serves_only_one_gets_nobody_banned() {
	with_five(|| {
		// More often than would be needed to ban each of them for good.
		for attempt in 0..60 {
			let running = serve(attempt % 4, 1);
			let alone = running.committee[0];
			assert_eq!(strikes(alone), 1);
			let n = alone as u8 + 1;
			let receipt = receipt(running.worker, running.round, n);
			assert_ok!(Checkers::annul_strike(
				signed(n),
				running.worker,
				running.round,
				receipt
			));
		}
		for operator in 0..5 {
			assert_eq!(strikes(operator), 0);
			assert!(ready(operator));
		}
	});
}

#[test]
fn who_annuls_late_is_banned_until_then_and_free_after_it() {
	with_five(|| {
		let mut alone = Vec::new();
		// Until one of them was alone twice.
		let victim = loop {
			let running = serve(alone.len() as u32, 1);
			let operator = running.committee[0];
			let before = alone.iter().any(|(other, _, _)| *other == operator);
			alone.push((operator, running.worker, running.round));
			if before {
				break operator;
			}
		};
		let n = victim as u8 + 1;
		assert!(matches!(
			Checkers::status(account(n)),
			Some(CheckerStatus::Banned { .. })
		));
		for (_, worker, round) in alone.into_iter().filter(|(other, ..)| *other == victim) {
			let receipt = receipt(worker, round, n);
			assert_ok!(Checkers::annul_strike(signed(n), worker, round, receipt));
		}
		assert!(ready(victim));
		assert_eq!(
			Popw::round_seed(0),
			pallet_popw::Rounds::<World>::get(0).unwrap().trial_seed
		);
	});
}

#[test]
fn who_votes_online_unseen_is_banned_by_the_second_dead_worker() {
	with_five(|| {
		let cheat = 3;
		let vote = |operator| Some(if operator == cheat { UP } else { DOWN });
		check(0, vote);
		assert!(ready(cheat));
		let second = check(1, vote);
		assert!(matches!(
			Checkers::status(account(4)),
			Some(CheckerStatus::Banned { .. })
		));
		// It was not served, so it has no receipt; another operator's is useless.
		for other in [1, 2, 3, 5] {
			let receipt = receipt(second.worker, second.round, other);
			assert_noop!(
				Checkers::annul_strike(signed(4), second.worker, second.round, receipt),
				Error::<World>::InvalidReceipt
			);
		}
		// It gets no more seats, and the rest of a committee is not a full tally.
		let third = check(2, |operator| Some(if operator == 0 { UP } else { DOWN }));
		assert!(!third.committee.contains(&cheat));
		assert_eq!(third.committee.len(), 4);
		assert_eq!(strikes(0), 0);
	});
}

#[test]
fn a_lone_vote_beside_an_absent_one_is_no_strike() {
	with_five(|| {
		for worker in 0..3 {
			check(worker, |operator| match operator {
				0 => Some(UP),
				1 => None,
				_ => Some(DOWN),
			});
		}
		assert_eq!(strikes(0), 0);
		// But an operator absent in three consecutive rounds is put offline.
		assert_eq!(Checkers::status(account(2)), Some(CheckerStatus::Offline));
		assert_ok!(Checkers::go_online(signed(2)));
		let back = check(3, |_| Some(UP));
		assert!(back.committee.contains(&1));
	});
}

#[test]
fn a_lone_offline_vote_other_tiers_or_no_proof_are_no_strikes() {
	with_five(|| {
		for (worker, odd) in (0..).zip([
			DOWN,
			Verdict { cpu: 4, ..UP },
			Verdict { proof: false, ..UP },
			Verdict {
				gpu_class: 1,
				gpu_count: 8,
				..UP
			},
		]) {
			check(worker, |operator| {
				Some(if operator == 2 { odd } else { UP })
			});
		}
		for operator in 0..5 {
			assert_eq!(strikes(operator), 0);
		}
		assert_eq!(Earned::get()[&2], (0, 4), "wrong, and unpaid, but no more");
		assert_eq!(Earned::get()[&1], (4, 4));
	});
}
