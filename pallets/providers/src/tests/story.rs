//! The story in the crate's documentation, as tests that it shows.

use super::*;

const PETRA: AccountId = ALICE;

#[test]
#[docify::export]
fn a_machine_is_verified_earns_and_is_rented() {
	ExtBuilder.build_and_execute(|| {
		// Petra claims one RTX 4090, and pays the fee, a storage deposit and her stake.
		let WorkerKeys {
			worker: worker_key,
			agent: agent_key,
		} = keys(1);
		assert_ok!(Providers::register_worker(
			signed(PETRA),
			SPEC,
			worker_key,
			agent_key,
			MINIMUM,
			proof(1, PETRA),
		));
		let worker = 0;
		let deposit = Balances::reserved_balance(PETRA);
		assert_eq!(
			Balances::free_balance(PETRA),
			FUNDS - FEE - deposit - MINIMUM
		);
		assert_eq!(
			events(),
			vec![
				Event::WorkerRegistered {
					worker,
					owner: PETRA,
					spec: SPEC,
					stake: MINIMUM
				},
				Event::WorkerForced {
					worker,
					round: 0,
					verify_only: true
				},
			]
		);
		assert_eq!(state(worker), WorkerState::Pending);

		// The next spot round's check supports the claim: the worker is idle, and listed.
		let spot = Popw::start_round(false);
		assert!(Popw::attest(worker, spot));
		Popw::close(worker, online(PROFILE));
		assert_eq!(state(worker), WorkerState::Online);
		assert_eq!(Providers::idle_workers(11, 1, None), 1);

		// A census credits the mean interval between two.
		let proved = Popw::census(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (INTERVAL, 0));

		// An order takes the worker. A check that finds it serving credits the blocks since then.
		rent(worker);
		let since = Providers::now();
		assert_eq!(state(worker), WorkerState::Rented);
		assert_eq!(Providers::idle_workers(11, 1, None), 0);
		assert_ok!(<Popw as Checks>::force(worker));
		let spot = Popw::start_round(false);
		assert!(Popw::attest(worker, spot));
		let proved = Popw::close(worker, UNDECIDED);
		assert_eq!(
			(proved.idle, proved.rented),
			(0, Popw::start_of(spot) - since)
		);

		// The order ends. Until a full check supports its claim, the worker is not listed.
		free(worker);
		assert_eq!(state(worker), WorkerState::Online);
		assert_eq!(Providers::idle_workers(11, 1, None), 0);
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!(Providers::idle_workers(11, 1, None), 1);
	});
}

#[test]
#[docify::export]
fn owner_and_delegator_lose_the_same_part() {
	ExtBuilder.build_and_execute(|| {
		// Carol stakes on Petra's worker.
		let worker = register_online(PETRA, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));

		// More than a day after its last proof a census finds the machine offline.
		run_to(Providers::now() + DAYS);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		Popw::close(worker, Outcome::Offline);
		assert_eq!(state(worker), WorkerState::Offline);
		let slash = Providers::queued_slash(0).unwrap();
		assert_eq!((slash.level, slash.amount), (SlashLevel::One, 75 * KAI));

		// In the morning Petra brings it back, and it is verified again.
		assert_ok!(Providers::go_online(signed(PETRA), worker));
		assert_eq!(state(worker), WorkerState::Pending);
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!(state(worker), WorkerState::Online);

		// Once the slash is due, Dave applies it for the bounty.
		run_to(slash.due);
		events();
		assert_ok!(Providers::apply_slash(signed(DAVE), 0));
		let bounty = 75 * KAI / 100;
		assert_eq!(
			events(),
			vec![
				Event::Slashed {
					worker,
					slash: Some(0),
					level: SlashLevel::One,
					own: 65 * KAI,
					own_unbonding: 0,
					delegated: 10 * KAI,
					unbonding: 0
				},
				Event::BountyPaid {
					worker,
					who: DAVE,
					amount: bounty
				},
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Online,
					new: WorkerState::Suspended,
					since: Popw::next_round()
				},
			]
		);
		assert_eq!(Balances::free_balance(DAVE), FUNDS + bounty);
		assert_eq!(reward_pot(), 75 * KAI - bounty);
		assert_eq!(Providers::delegation(worker, CAROL).value, 90 * KAI);

		// Petra's stake is below the minimum until she tops it up.
		assert_ok!(Providers::stake(signed(PETRA), worker, 65 * KAI));
		assert_eq!(state(worker), WorkerState::Offline);
	});
}

#[test]
#[docify::export]
fn a_machine_is_sold() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(PETRA, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		Popw::pass();

		// Petra deregisters the worker: the deposit is released at once, and all stake unbonds.
		assert_ok!(Providers::deregister_worker(signed(PETRA), worker));
		assert_eq!(Balances::reserved_balance(PETRA), 0);
		let until = Providers::now() + UNBONDING;
		run_to(until - 1);
		for who in [PETRA, CAROL] {
			assert_noop!(
				Providers::withdraw_unbonded(signed(who), worker),
				Error::<Test>::NothingToWithdraw
			);
		}

		// Both withdraw their stake; the last withdrawal removes the record.
		run_to(until);
		events();
		assert_ok!(Providers::withdraw_unbonded(signed(PETRA), worker));
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(
			events(),
			vec![
				Event::Withdrawn {
					worker,
					who: PETRA,
					amount: MINIMUM
				},
				Event::Withdrawn {
					worker,
					who: CAROL,
					amount: 100 * KAI
				},
				Event::WorkerRemoved { worker },
			]
		);
		assert_eq!(Balances::free_balance(PETRA), FUNDS - FEE);
		assert_eq!(Balances::free_balance(CAROL), FUNDS);

		// A note of the owner remains, so that the last reward can be paid.
		assert_eq!(Providers::worker(worker), None);
		let pool = PoolId::Worker(worker);
		assert_eq!(<Providers as Pools<AccountId>>::owner(pool), Some(PETRA));
	});
}
