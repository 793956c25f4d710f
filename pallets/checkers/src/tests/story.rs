//! The flow, and the strikes, of the crate's documentation, as tests that it shows.

use crate::{mock::*, *};
use frame_support::assert_ok;
use kaisar_primitives::{IsDelegated, SeatResult, Seats};

const CARLA: AccountId = 1;
const CHEAT: AccountId = 2;
const HANS: AccountId = 10;

#[test]
#[docify::export]
fn a_holder_delegates_a_license_and_revokes_it() {
	ExtBuilder::build_and_execute(|| {
		// Carla registers as an operator, with a deposit and a proof that she holds both keys.
		let keys = ring(1);
		assert_ok!(Checkers::register_checker(
			signed(CARLA),
			keys.checker(),
			keys.agent(),
			Perbill::from_percent(10),
			keys.prove(CARLA),
		));
		let operator = 0;
		assert_eq!(held(CARLA), DEPOSIT);
		assert_eq!(Checkers::status(CARLA), Some(CheckerStatus::Pending));

		// Hans delegates his license 3 to her. It is pending until she accepts.
		assert_ok!(Checkers::delegate_license(signed(HANS), 3, CARLA));
		assert_eq!(
			last_event(),
			Event::DelegationRequested {
				license: 3,
				holder: HANS,
				operator
			}
		);
		assert_eq!(Checkers::active_licenses(), 0);
		assert_ok!(Checkers::accept_delegation(signed(CARLA), 3));
		assert_eq!(
			last_event(),
			Event::DelegationAccepted {
				license: 3,
				holder: HANS,
				operator,
				active_from: 4
			}
		);

		// From the next round on it is drawn, and Carla's node sits for it.
		let seats = [3, 4].map(|round| Checkers::seat(3, round));
		assert_eq!(seats, [None, Some(operator)]);
		assert_eq!(Checkers::status(CARLA), Some(CheckerStatus::Ready));

		// Hans revokes the delegation while rounds 4 to 7 run: their committees do not change.
		rounds(4, 8);
		assert_ok!(Checkers::revoke_delegation(signed(HANS), 3));
		let seats = [7, 8].map(|round| Checkers::seat(3, round));
		assert_eq!(seats, [Some(operator), None]);
	});
}

#[test]
#[docify::export]
fn an_operator_pauses_fails_and_leaves() {
	ExtBuilder::build_and_execute(|| {
		let operator = register(CARLA);
		assert_ok!(Checkers::set_auto_accept(signed(CARLA), true));
		assert_ok!(Checkers::delegate_license(signed(HANS), 3, CARLA));

		// Carla goes offline for the weekend, and online again.
		rounds(4, 8);
		assert_ok!(Checkers::go_offline(signed(CARLA)));
		let seats = [7, 8].map(|round| Checkers::seat(3, round));
		assert_eq!(seats, [Some(operator), None]);
		rounds(10, 20);
		assert_ok!(Checkers::go_online(signed(CARLA)));
		let seats = [19, 20].map(|round| Checkers::seat(3, round));
		assert_eq!(seats, [None, Some(operator)]);

		// Her machine fails: three consecutive rounds with seats and without a reveal.
		rounds(20, 30);
		for round in [20, 22, 24] {
			Checkers::credit(operator, 7, round, 1, SeatResult::Missed, false);
		}
		assert_eq!(
			last_event(),
			Event::WentOffline {
				operator,
				from_round: 30,
				missed: true
			}
		);

		// She deregisters: all delegations end, and the deposit is released except for the record's part.
		assert_ok!(Checkers::deregister_checker(signed(CARLA)));
		assert!(!Checkers::is_delegated(3));
		assert_eq!(held(CARLA), KEPT);

		// A year later her last epoch has expired. Anyone prunes the record, which pays its members.
		rounds(40, 50);
		OldestEpoch::set(&1);
		assert_ok!(Checkers::prune_checker(signed(HANS), operator));
		assert_eq!(last_event(), Event::CheckerPruned { operator });
		assert_eq!(PaidOut::get(), [(PoolId::Checker(operator), HANS)]);
		assert_eq!((held(CARLA), Balances::free_balance(CARLA)), (0, FUNDS));
	});
}

#[test]
#[docify::export]
fn a_cheat_is_banned_and_a_receipt_lifts_a_ban() {
	ExtBuilder::build_and_execute(|| {
		let (cheat, carla) = (register(CHEAT), register(CARLA));
		for (account, license) in [(CHEAT, 3), (CARLA, 4)] {
			assert_ok!(Checkers::set_auto_accept(signed(account), true));
			assert_ok!(Checkers::delegate_license(signed(HANS), license, account));
		}
		rounds(4, 20);
		let lone_vote = |operator, worker, round| {
			Checkers::credit(operator, worker, round, 1, SeatResult::Dissenting, true)
		};

		// The cheat alone votes "online" for worker 7, which is switched off: a strike.
		lone_vote(cheat, 7, 6);
		assert_eq!(Checkers::status(CHEAT), Some(CheckerStatus::Ready));
		// A second strike in the same week bans the cheat for 30 days.
		Millis::set(&(6 * DAY));
		lone_vote(cheat, 7, 8);
		let until = 36 * DAY;
		assert_eq!(
			last_event(),
			Event::CheckerBanned {
				operator: cheat,
				until,
				from_round: 20
			}
		);
		let seats = [19, 20].map(|round| Checkers::seat(3, round));
		assert_eq!(seats, [Some(cheat), None]);

		// Worker 9 serves Carla alone, in two rounds: she is banned, too.
		lone_vote(carla, 9, 10);
		lone_vote(carla, 9, 12);
		assert_eq!(
			Checkers::status(CARLA),
			Some(CheckerStatus::Banned { until })
		);
		// But her node has the receipt of the worker's agent.
		let receipt = receipt(9, 12, &ring(1).checker());
		assert_ok!(Checkers::annul_strike(signed(CARLA), 9, 12, receipt));
		assert_eq!(
			last_event(),
			Event::BanRevised {
				operator: carla,
				until: None,
				from_round: 20
			}
		);
		assert_eq!(Checkers::status(CARLA), Some(CheckerStatus::Ready));
	});
}
