//! Strikes, bans, and annulling them.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, dispatch::Pays, hypothetically};
use kaisar_primitives::{IsDelegated, Pools, SeatResult, Seats};
use sp_core::Pair;

type E = Error<Test>;

/// Registers account 10 as operator 0, with its licenses 0 and 1; rounds up to 19 are running or over.
fn with_operator(test: impl FnOnce()) {
	ExtBuilder::build_and_execute(|| {
		register(10);
		for license in [0, 1] {
			assert_ok!(Checkers::delegate_license(signed(10), license, 10));
		}
		rounds(4, 20);
		test();
	});
}

fn lone_of(operator: OperatorId, worker: WorkerId, round: RoundIndex) {
	Checkers::credit(operator, worker, round, 1, SeatResult::Dissenting, true);
}

/// Records operator 0's lone vote on worker 7.
fn lone(round: RoundIndex) {
	lone_of(0, 7, round);
}

/// Records a strike in each of these rounds, at the same time.
fn strikes(rounds: core::ops::Range<RoundIndex>) {
	for round in rounds {
		lone(round);
	}
}

/// Has account 10 annul its lone vote on `worker` in `round`, with the receipt for its keys.
fn annul(worker: WorkerId, round: RoundIndex) -> DispatchResult {
	let receipt = receipt(worker, round, &ring(10).checker());
	Checkers::annul_strike(signed(10), worker, round, receipt)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Lets slightly more than a day pass, with its blocks.
fn pass_a_day() {
	Millis::set(&(Millis::get() + ANNUL_PERIOD + 1));
	System::set_block_number(System::block_number() + u64::from(ANNUL_BLOCKS) + 1);
}

fn status() -> Option<CheckerStatus> {
	Checkers::status(10)
}

fn banned(until: u64) -> Option<CheckerStatus> {
	Some(CheckerStatus::Banned { until })
}

fn seats<const N: usize>(rounds: [RoundIndex; N]) -> [bool; N] {
	rounds.map(|round| Checkers::seat(0, round).is_some())
}

#[test]
fn a_strike_is_kept_with_its_time_and_what_annuls_it() {
	with_operator(|| {
		Millis::set(&5_000);
		lone(6);
		assert_eq!(
			last_event(),
			Event::IncorrectCalculation {
				operator: 0,
				worker: 7,
				round: 6
			}
		);
		assert_eq!(
			Checkers::strikes_of(10),
			[Strike {
				operator: 0,
				round: 6,
				at: 5_000,
				block: 1,
				seed: seed(6),
				key: ring(10).0.public(),
				votes: vec![LoneVote {
					worker: 7,
					agent: worker_agent(7).public()
				}]
				.try_into()
				.unwrap(),
			}]
		);
		assert_eq!(status(), Some(CheckerStatus::Ready), "one is forgiven");
		assert_eq!(record(0).ban, None);
	});
}

#[test]
fn no_other_result_is_a_strike() {
	with_operator(|| {
		for (round, result) in [
			(6, SeatResult::Correct),
			(8, SeatResult::Dissenting),
			(10, SeatResult::Dissenting),
			(12, SeatResult::Missed),
		] {
			Checkers::credit(0, 7, round, 1, result, false);
		}
		assert_eq!(Checkers::strikes_of(10), []);
		assert_eq!(status(), Some(CheckerStatus::Ready));
	});
}

#[test]
fn at_most_one_counts_a_round() {
	with_operator(|| {
		for worker in 1..=6 {
			lone_of(0, worker, 6);
			lone_of(0, worker, 6);
		}
		let kept = Checkers::strikes_of(10);
		assert_eq!(kept.len(), 1);
		let workers: Vec<_> = kept[0].votes.iter().map(|vote| vote.worker).collect();
		assert_eq!(workers, [1, 2, 3, 4], "the first few, each once");
		assert_eq!(status(), Some(CheckerStatus::Ready));
		let told = System::read_events_for_pallet::<Event<Test>>()
			.into_iter()
			.filter(|event| matches!(event, Event::IncorrectCalculation { .. }))
			.count();
		assert_eq!(told, 4);
	});
}

#[test]
fn what_nobody_could_annul_is_no_strike() {
	with_operator(|| {
		GoneWorkers::set(&vec![7]);
		lone(6);
		GoneWorkers::set(&vec![]);
		GoneRounds::set(&vec![6]);
		lone(6);
		assert_eq!(Checkers::strikes_of(10), []);
	});
}

#[test]
fn two_in_a_week_ban_for_30_days_from_the_next_round() {
	with_operator(|| {
		Millis::set(&DAY);
		lone(6);
		Millis::set(&(8 * DAY - 1));
		lone(8);
		let until = 38 * DAY - 1;
		assert_eq!(
			last_event(),
			Event::CheckerBanned {
				operator: 0,
				until,
				from_round: 20
			}
		);
		assert_eq!(status(), banned(until));
		assert_eq!(Checkers::active(), 0);
		// Running rounds are not affected, so that a committee never changes within its round.
		assert_eq!(seats([4, 19, 20, 1_000]), [true, true, false, false]);
		let licenses = |round| <Checkers as Seats<_>>::operator(0, round).unwrap().licenses;
		assert_eq!((licenses(19), licenses(20)), (2, 0));
		// Delegations stay, and so do the rewards due.
		assert!(Checkers::is_delegated(0));
		assert_eq!(Checkers::terms(PoolId::Checker(0)).value.shares, 2);
		assert_eq!(Checkers::number(&10), Some(0));
	});
}

#[test]
fn boundary_seven_days_apart_do_not_ban() {
	with_operator(|| {
		Millis::set(&DAY);
		lone(6);
		Millis::set(&(8 * DAY));
		lone(8);
		assert_eq!(status(), Some(CheckerStatus::Ready));
	});
}

#[test]
fn five_in_30_days_ban_for_180() {
	with_operator(|| {
		for (round, day) in [(6, 0), (7, 7), (8, 14), (9, 21)] {
			Millis::set(&(day * DAY));
			lone(round);
			assert_eq!(status(), Some(CheckerStatus::Ready));
		}
		hypothetically!({
			Millis::set(&(30 * DAY));
			lone(10);
			assert_eq!(status(), Some(CheckerStatus::Ready), "the first is too old");
		});
		Millis::set(&(30 * DAY - 1));
		lone(10);
		assert_eq!(status(), banned(210 * DAY - 1));
	});
}

#[test]
fn more_than_ten_ban_for_good_and_end_the_registration() {
	with_operator(|| {
		strikes(4..14);
		let fine = 180 * DAY;
		assert_eq!(status(), banned(fine));
		assert_eq!(held(10), DEPOSIT);
		Told::set(&vec![]);
		lone(14);
		assert_eq!(status(), banned(u64::MAX));
		let events = System::read_events_for_pallet::<Event<Test>>();
		assert_eq!(
			events[events.len() - 2..],
			[
				Event::CheckerBanned {
					operator: 0,
					until: u64::MAX,
					from_round: 20
				},
				Event::CheckerDeregistered {
					operator: 0,
					account: 10,
					from_round: 20
				}
			]
		);
		// Delegations end at the next round, and the deposit is released.
		assert_eq!(seats([19, 20]), [true, false]);
		assert!(!Checkers::is_delegated(0));
		assert_eq!(Checkers::number(&10), None);
		assert_eq!(held(10), KEPT);
		// The change was reported to Rewards before anything else changed, and earlier rewards can still be
		// paid.
		assert_eq!(
			Told::get(),
			vec![(PoolId::Checker(0), None, 2, Perbill::from_percent(10))]
		);
		assert_eq!(Checkers::owner(PoolId::Checker(0)), Some(10));
		assert_eq!(Checkers::terms(PoolId::Checker(0)).value.shares, 2);
		assert_eq!(Checkers::shares(PoolId::Checker(0), &10), 2);

		// The ban never ends, and another registration does not avoid it.
		Millis::set(&(100 * 365 * DAY));
		assert_noop!(Checkers::go_online(signed(10)), E::NotRegistered);
		assert_noop!(Checkers::deregister_checker(signed(10)), E::NotRegistered);
		assert_noop!(
			Checkers::register_checker(
				signed(10),
				ring(11).checker(),
				ring(11).agent(),
				Perbill::zero(),
				ring(11).prove(10)
			),
			E::Banned
		);
		// The holder can delegate its licenses again.
		register(1);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 1));
	});
}

#[test]
fn the_list_of_strikes_is_bounded() {
	with_operator(|| {
		rounds(4, 60);
		strikes(6..40);
		assert_eq!(Checkers::strikes_of(10).len(), MAX_STRIKES as usize);
		assert_eq!(status(), banned(u64::MAX));
	});
}

#[test]
fn a_strike_during_a_ban_extends_it_and_never_shortens_it() {
	with_operator(|| {
		strikes(6..8);
		assert_eq!(status(), banned(30 * DAY));
		// Found in a round that was running when the ban began.
		Millis::set(&DAY);
		rounds(4, 22);
		lone(8);
		assert_eq!(status(), banned(31 * DAY));
		assert_eq!(
			last_event(),
			Event::CheckerBanned {
				operator: 0,
				until: 31 * DAY,
				from_round: 22
			}
		);
		assert_eq!(seats([19, 20]), [true, false], "the same ban, begun in 20");
		strikes(9..11);
		assert_eq!(status(), banned(181 * DAY));

		// 150 days later a ban of 30 more days would add nothing.
		Millis::set(&(100 * DAY));
		strikes(11..13);
		assert_eq!(status(), banned(181 * DAY));
	});
}

#[test]
fn after_the_ban_the_operator_comes_back_by_going_online() {
	with_operator(|| {
		strikes(6..8);
		assert_noop!(Checkers::go_online(signed(10)), E::Banned);
		assert_noop!(Checkers::go_offline(signed(10)), E::AlreadyOffline);
		rounds(40, 50);
		Millis::set(&(30 * DAY - 1));
		assert_noop!(Checkers::go_online(signed(10)), E::Banned);

		Millis::set(&(30 * DAY));
		assert_eq!(status(), Some(CheckerStatus::Offline));
		assert_eq!(seats([19, 20, 50]), [true, false, false]);
		assert_ok!(Checkers::go_online(signed(10)));
		assert_eq!(
			last_event(),
			Event::WentOnline {
				operator: 0,
				from_round: 50
			}
		);
		assert_eq!(seats([49, 50]), [false, true]);
		assert_eq!(Checkers::active(), 2);
		assert_eq!(status(), Some(CheckerStatus::Ready));
		assert_noop!(Checkers::go_online(signed(10)), E::AlreadyOnline);

		// Rounds in which it had no seats do not count as missed, nor do late reports.
		for round in [16, 18, 19, 49] {
			Checkers::credit(0, 7, round, 1, SeatResult::Missed, false);
		}
		assert_eq!(record(0).presence.count, 0);
		// One more a year later: the old strikes no longer count.
		rounds(60, 70);
		Millis::set(&(365 * DAY));
		lone(60);
		assert_eq!(status(), Some(CheckerStatus::Ready));
		lone(61);
		assert_eq!(status(), banned(395 * DAY));
		assert_eq!(seats([69, 70]), [true, false]);
	});
}

#[test]
fn who_was_offline_when_banned_comes_back_all_the_same() {
	with_operator(|| {
		assert_ok!(Checkers::go_offline(signed(10)));
		strikes(6..8);
		assert_eq!(status(), banned(30 * DAY));
		rounds(40, 50);
		Millis::set(&(30 * DAY));
		assert_eq!(status(), Some(CheckerStatus::Offline));
		assert_ok!(Checkers::go_online(signed(10)));
		assert_eq!(seats([40, 49, 50]), [false, false, true]);
		assert_eq!(status(), Some(CheckerStatus::Ready));
	});
}

#[test]
fn licenses_can_come_and_go_during_a_ban() {
	with_operator(|| {
		strikes(6..8);
		assert_ok!(Checkers::revoke_delegation(signed(10), 0));
		assert_ok!(Checkers::delegate_license(signed(10), 2, 10));
		assert_eq!(Checkers::active(), 0);
		rounds(40, 50);
		Millis::set(&(30 * DAY));
		assert_ok!(Checkers::go_online(signed(10)));
		assert_eq!(Checkers::active(), 2);
		let of = |license| Checkers::seat(license, 50);
		assert_eq!([of(0), of(1), of(2)], [None, Some(0), Some(0)]);
	});
}

#[test]
fn deregistering_is_no_way_out_of_a_ban() {
	with_operator(|| {
		strikes(6..8);
		assert_ok!(Checkers::deregister_checker(signed(10)));
		assert_eq!(held(10), KEPT);
		assert_eq!(status(), banned(30 * DAY));
		let again = || {
			let ring = ring(10);
			let (key, agent, proof) = (ring.checker(), ring.agent(), ring.prove(10));
			Checkers::register_checker(signed(10), key, agent, Perbill::zero(), proof)
		};
		assert_noop!(again(), E::Banned);
		Millis::set(&(30 * DAY));
		assert_eq!(status(), None);
		assert_ok!(again());
		assert_eq!(status(), Some(CheckerStatus::Pending));
		// Strikes belong to the account: three more within these 30 days make five.
		Millis::set(&(29 * DAY));
		for round in 14..17 {
			lone_of(1, 7, round);
		}
		assert_eq!(status(), banned(209 * DAY));
		assert!(record(1).ban.is_some() && record(1).gone.is_none());
	});
}

#[test]
fn news_of_an_old_registration_are_the_new_ones() {
	with_operator(|| {
		assert_ok!(Checkers::deregister_checker(signed(10)));
		register(10);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 10));
		strikes(6..8);
		assert_eq!(status(), banned(30 * DAY));
		assert_eq!(Checkers::strikes_of(10)[0].operator, 0);
		assert_eq!(record(0).ban, None);
		assert_eq!(
			[19, 20].map(|round| Checkers::seat(0, round)),
			[Some(0), None]
		);
	});
}

#[test]
fn a_receipt_annuls_a_strike_without_a_fee() {
	with_operator(|| {
		lone(6);
		let receipt = receipt(7, 6, &ring(10).checker());
		let info = Checkers::annul_strike(signed(10), 7, 6, receipt).unwrap();
		assert_eq!(info.pays_fee, Pays::No);
		assert_eq!(
			last_event(),
			Event::StrikeAnnulled {
				operator: 0,
				worker: 7,
				round: 6,
				left: 0
			}
		);
		assert_eq!(StrikesOf::<Test>::iter().count(), 0);
		assert_noop!(annul(7, 6), E::NoStrike);
		// It would have been the second within a week.
		lone(8);
		assert_eq!(status(), Some(CheckerStatus::Ready));
	});
}

#[test]
fn annulling_fails_without_such_a_strike() {
	with_operator(|| {
		lone(6);
		assert_noop!(annul(7, 8), E::NoStrike);
		assert_noop!(annul(8, 6), E::NoStrike);
		assert_ok!(annul(7, 6));
		assert_noop!(annul(7, 6), E::NoStrike);
	});
}

#[test]
fn anyone_may_hand_in_a_receipt() {
	with_operator(|| {
		lone(6);
		let receipt = receipt(7, 6, &ring(10).checker());
		assert_ok!(Checkers::annul_strike(signed(3), 7, 6, receipt));
		assert_eq!(Checkers::strikes_of(10), []);
	});
}

#[test]
fn the_pool_takes_a_receipt_that_annuls_and_no_other() {
	use frame_support::traits::Authorize;
	use sp_runtime::{
		traits::Dispatchable,
		transaction_validity::{InvalidTransaction, TransactionSource},
	};
	with_operator(|| {
		lone(6);
		let call = |worker, round, receipt| {
			RuntimeCall::Checkers(crate::Call::annul_strike {
				worker,
				round,
				receipt,
			})
		};
		let good = receipt(7, 6, &ring(10).checker());
		let authorize = |call: RuntimeCall| {
			call.authorize(TransactionSource::External)
				.expect("it can be authorized")
		};
		for (worker, round, receipt, error) in [
			(
				7,
				6,
				receipt(7, 8, &ring(10).checker()),
				InvalidTransaction::BadProof,
			),
			(7, 8, good, InvalidTransaction::Stale),
			(8, 6, good, InvalidTransaction::Stale),
		] {
			assert_eq!(
				authorize(call(worker, round, receipt)).map(|_| ()),
				Err(error.into())
			);
		}
		let (valid, _) = authorize(call(7, 6, good)).unwrap();
		assert_eq!(valid.provides.len(), 1, "the pool keeps one of it");
		assert_eq!(valid.priority, u64::MAX / 2, "a round's calls come first");
		hypothetically!({
			pass_a_day();
			assert_eq!(
				authorize(call(7, 6, good)).map(|_| ()),
				Err(InvalidTransaction::Stale.into())
			);
		});
		assert_ok!(call(7, 6, good).dispatch(frame_system::RawOrigin::Authorized.into()));
		assert_eq!(Checkers::strikes_of(10), []);
	});
}

/// Sets up a node with account 10's checker key and, if `kept`, the receipts of workers 7 and 8 in round 6.
/// Returns the calls that its off-chain worker submits for strikes in rounds 6 and 8: worker, round, and
/// whether they carry the receipt.
fn annulled_by_the_node(kept: bool) -> Vec<(WorkerId, RoundIndex, bool)> {
	use codec::Decode;
	use sp_core::offchain::{
		OffchainDbExt, TransactionPoolExt,
		testing::{TestOffchainExt, TestTransactionPoolExt},
	};
	use sp_keystore::{Keystore, KeystoreExt, testing::MemoryKeystore};
	let mut ext = ExtBuilder::build();
	let (pool, transactions) = TestTransactionPoolExt::new();
	let keystore = MemoryKeystore::new();
	let key = ring(10).0;
	keystore
		.insert(
			kaisar_primitives::keys::CHECKER_KEY_TYPE,
			&format!("0x{}", "0a".repeat(32)),
			key.public().as_ref(),
		)
		.expect("the key can be kept");
	ext.register_extension(OffchainDbExt::new(TestOffchainExt::new().0));
	ext.register_extension(TransactionPoolExt::new(pool));
	ext.register_extension(KeystoreExt::new(keystore));
	ext.execute_with(|| {
		register(10);
		rounds(4, 20);
		if kept {
			let receipts: Vec<_> = [7, 8]
				.map(|worker| (worker, receipt(worker, 6, &ring(10).checker())))
				.into();
			let name = kaisar_primitives::agent::receipts_key(0, 6);
			sp_runtime::offchain::storage::StorageValueRef::persistent(&name).set(&receipts);
		}
		let work = || <Checkers as frame_support::traits::Hooks<_>>::offchain_worker(1);
		work();
		assert!(
			transactions.read().transactions.is_empty(),
			"there is nothing to annul"
		);
		lone_of(0, 7, 6);
		lone_of(0, 8, 6);
		lone_of(0, 9, 8);
		work();
		let submitted = transactions.read().transactions.clone();
		hypothetically!({
			pass_a_day();
			work();
			assert_eq!(
				transactions.read().transactions.len(),
				submitted.len(),
				"too late"
			);
		});
		submitted
			.iter()
			.map(
				|bytes| match Extrinsic::decode(&mut bytes.as_slice()).unwrap().function {
					RuntimeCall::Checkers(crate::Call::annul_strike {
						worker,
						round,
						receipt: sent,
					}) => {
						let own = receipt(worker, round, &ring(10).checker());
						(worker, round, sent == own)
					}
					other => panic!("{other:?}"),
				},
			)
			.collect()
	})
}

#[test]
fn the_node_annuls_what_it_has_receipts_for() {
	assert_eq!(annulled_by_the_node(true), [(7, 6, true), (8, 6, true)]);
	assert!(annulled_by_the_node(false).is_empty());
}

#[test]
fn annulling_fails_with_anything_but_the_receipt() {
	with_operator(|| {
		lone(6);
		let key = ring(10).checker();
		for wrong in [
			receipt(8, 6, &key),
			receipt(7, 8, &key),
			receipt(7, 6, &ring(1).checker()),
			AgentSignature::from_raw([0; 64]),
		] {
			assert_noop!(
				Checkers::annul_strike(signed(10), 7, 6, wrong),
				E::InvalidReceipt
			);
		}
		assert_ok!(annul(7, 6));
	});
}

#[test]
fn boundary_a_strike_is_final_after_a_day_and_7_200_blocks() {
	with_operator(|| {
		Millis::set(&1_000);
		System::set_block_number(5);
		lone(6);
		let after = |millis, blocks| {
			Millis::set(&(1_000 + millis));
			System::set_block_number(5 + blocks);
		};
		after(ANNUL_PERIOD + 1, u64::from(ANNUL_BLOCKS) + 1);
		assert_noop!(annul(7, 6), E::StrikeIsFinal);
		// One of the two limits is not enough.
		for (millis, blocks) in [
			(ANNUL_PERIOD, 7_201),
			(ANNUL_PERIOD + 1, 7_200),
			(100 * DAY, 0),
			(0, 100_000),
		] {
			hypothetically!({
				after(millis, blocks);
				assert_ok!(annul(7, 6));
			});
		}
	});
}

/// A malicious worker serves only Carla, twice. Then the chain stands still for 25 hours, and so does her
/// node.
#[test]
fn a_halt_of_25_hours_makes_no_strike_final() {
	with_operator(|| {
		strikes(6..8);
		assert_eq!(status(), banned(30 * DAY));
		Millis::set(&(25 * 60 * 60 * 1_000));
		System::set_block_number(2);
		assert_ok!(annul(7, 6));
		assert_ok!(annul(7, 7));
		assert_eq!(status(), Some(CheckerStatus::Ready));
		assert_eq!(Checkers::strikes_of(10), []);
	});
}

#[test]
fn a_strike_of_several_votes_is_gone_with_the_last() {
	with_operator(|| {
		lone_of(0, 7, 6);
		lone_of(0, 8, 6);
		lone(8);
		assert_eq!(status(), banned(30 * DAY));
		assert_ok!(annul(7, 6));
		assert_eq!(
			last_event(),
			Event::StrikeAnnulled {
				operator: 0,
				worker: 7,
				round: 6,
				left: 1
			}
		);
		assert_eq!(status(), banned(30 * DAY));
		assert_noop!(annul(7, 6), E::NoStrike);
		assert_ok!(annul(8, 6));
		assert_eq!(status(), Some(CheckerStatus::Ready));
	});
}

#[test]
fn keys_and_records_that_changed_since_do_not_keep_from_annulling() {
	with_operator(|| {
		lone(6);
		// The worker is removed, the round's record too, and the operator has changed its keys twice.
		GoneWorkers::set(&vec![7]);
		GoneRounds::set(&vec![6]);
		for (next, keys) in [(30, 11), (40, 12)] {
			rounds(next - 1, next);
			let ring = ring(keys);
			let (key, agent, proof) = (ring.checker(), ring.agent(), ring.prove(10));
			assert_ok!(Checkers::set_checker_keys(signed(10), key, agent, proof));
		}
		assert_ok!(annul(7, 6));
	});
}

#[test]
fn annulling_undoes_a_ban_as_if_it_had_never_been() {
	with_operator(|| {
		lone(6);
		Millis::set(&DAY);
		lone(8);
		rounds(4, 22);
		assert_eq!(seats([19, 20]), [true, false]);
		assert_ok!(annul(7, 8));
		assert_eq!(
			last_event(),
			Event::BanRevised {
				operator: 0,
				until: None,
				from_round: 22
			}
		);
		assert_eq!(status(), Some(CheckerStatus::Ready));
		assert_eq!(Checkers::active(), 2);
		assert_eq!(seats([19, 20, 21, 22]), [true, false, false, true]);

		// A second one within a week of the first bans again; round 20 still runs, and its state is kept.
		rounds(5, 24);
		lone(10);
		assert_eq!(
			seats([19, 20, 21, 22, 23, 24]),
			[true, false, false, true, true, false]
		);
		// That can be undone before it counts, and also later, while rounds of both bans run.
		hypothetically!({
			assert_ok!(annul(7, 10));
			assert_eq!(seats([20, 22, 24]), [false, true, true]);
		});
		rounds(19, 26);
		assert_ok!(annul(7, 10));
		assert_eq!(
			seats([19, 20, 21, 22, 23, 24, 25, 26]),
			[true, false, false, true, true, false, false, true]
		);
	});
}

#[test]
fn annulling_leaves_the_ban_of_the_other_strikes() {
	with_operator(|| {
		strikes(6..11);
		assert_eq!(status(), banned(180 * DAY));
		Millis::set(&(DAY / 2));
		assert_ok!(annul(7, 8));
		assert_eq!(status(), banned(30 * DAY));
		assert_eq!(
			last_event(),
			Event::BanRevised {
				operator: 0,
				until: Some(30 * DAY),
				from_round: 20
			}
		);
		assert_ok!(annul(7, 6));
		assert_ok!(annul(7, 7));
		assert_eq!(status(), banned(30 * DAY), "two are left");
		assert_ok!(annul(7, 10));
		assert_eq!(status(), Some(CheckerStatus::Ready));
		assert_eq!(seats([19, 20]), [true, true], "it never counted");
	});
}

#[test]
fn a_ban_for_good_can_be_undone_but_not_what_it_ended() {
	with_operator(|| {
		for number in 0..10u32 {
			Millis::set(&(u64::from(number) * 40 * DAY));
			rounds(20 + 2 * number, 22 + 2 * number);
			lone(20 + 2 * number);
		}
		assert_eq!(status(), Some(CheckerStatus::Ready));
		Millis::set(&(400 * DAY));
		rounds(40, 42);
		lone(40);
		assert_eq!(status(), banned(u64::MAX));
		assert_eq!(Checkers::number(&10), None);
		assert_ok!(annul(7, 40));
		assert_eq!(status(), None);
		assert_eq!(Checkers::strikes_of(10).len(), 10);
		// It registers again, and holders delegate again.
		assert_eq!(register(10), 1);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 10));
		assert_eq!(
			[41, 42].map(|round| Checkers::seat(0, round)),
			[Some(0), Some(1)]
		);
		// The next strike is the eleventh.
		lone_of(1, 7, 41);
		assert_eq!(status(), banned(u64::MAX));
	});
}
