//! Delegators: their shares, their limits, and the changes reported to Rewards.

use super::*;

fn pool(worker: WorkerId) -> StakePool {
	record(worker).pool
}

fn value(worker: WorkerId, who: AccountId) -> Balance {
	Providers::delegation(worker, who).value
}

/// Slashes by hand, and has `BOB` apply the slash when it is due.
fn slash(worker: WorkerId, level: SlashLevel) {
	let id = NextSlashId::<Test>::get();
	assert_ok!(Providers::slash(RuntimeOrigin::root(), worker, level));
	if level != SlashLevel::Three {
		run_to(Providers::now() + DEFERRAL);
		assert_ok!(Providers::apply_slash(signed(BOB), id));
	}
}

#[test]
fn a_delegator_gets_shares_and_rewards_is_told() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let id = PoolId::Worker(worker);
		events();
		Popw::changes();
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_eq!(
			events(),
			vec![Event::Staked {
				worker,
				who: CAROL,
				amount: 100 * KAI
			}]
		);
		assert_eq!(Popw::changes(), vec![(id, Some(CAROL))]);
		assert_eq!(pot(), MINIMUM + 100 * KAI);
		assert_eq!(Balances::free_balance(CAROL), FUNDS - 100 * KAI);
		assert_ok!(Providers::stake(signed(CAROL), worker, 10 * KAI));
		assert_ok!(Providers::stake(signed(DAVE), worker, 50 * KAI));
		assert_eq!(
			Popw::known_shares(),
			[((id, CAROL), 110 * KAI), ((id, DAVE), 50 * KAI)].into()
		);
		assert_eq!(
			<Providers as Pools<AccountId>>::terms(id).value,
			kaisar_primitives::PoolValue {
				owner: MINIMUM,
				members: 160 * KAI,
				shares: 160 * KAI,
			}
		);
		assert_eq!(
			<Providers as Pools<AccountId>>::shares(id, &CAROL),
			110 * KAI
		);
		// The owner is not a member of its own pool.
		assert_eq!(<Providers as Pools<AccountId>>::shares(id, &ALICE), 0);
		assert_eq!(pool(worker).entries, 2);
	});
}

#[test]
fn all_of_the_pool_but_what_unbonds_boosts() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 30 * KAI));
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!(proved.stake, MINIMUM + 70 * KAI);
	});
}

#[test]
fn boundary_of_the_cap_for_delegators() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let room = MAX_STAKE - MINIMUM;
		assert_noop!(
			Providers::stake(signed(CAROL), worker, room + 1),
			Error::<Test>::StakeCapReached
		);
		assert_ok!(Providers::stake(signed(CAROL), worker, room));
		assert_noop!(
			Providers::stake(signed(DAVE), worker, KAI),
			Error::<Test>::StakeCapReached
		);
		// Unbonding stake does not count.
		assert_ok!(Providers::unstake(signed(CAROL), worker, KAI));
		assert_ok!(Providers::stake(signed(DAVE), worker, KAI));
	});
}

#[test]
fn boundary_of_the_owners_cap() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let cap = |most| Providers::set_delegation_cap(signed(ALICE), worker, most);
		let stake = |amount| Providers::stake(signed(CAROL), worker, amount);
		// A new worker accepts as much as a pool can hold.
		assert_ok!(frame_support::hypothetically!(stake(MAX_STAKE - MINIMUM)));
		events();
		assert_ok!(cap(100 * KAI));
		assert_eq!(
			events(),
			vec![Event::DelegationCapSet {
				worker,
				old: None,
				new: 100 * KAI
			}]
		);
		assert_noop!(stake(100 * KAI + 1), Error::<Test>::DelegationCapReached);
		assert_ok!(stake(100 * KAI));
		assert_noop!(
			Providers::stake(signed(DAVE), worker, KAI),
			Error::<Test>::DelegationCapReached
		);
		// The owner's own stake does not count.
		assert_ok!(Providers::stake(signed(ALICE), worker, 200 * KAI));
		// A lower cap expels no delegator; stake that leaves cannot come back.
		assert_ok!(cap(50 * KAI));
		assert_eq!(value(worker, CAROL), 100 * KAI);
		assert_ok!(Providers::unstake(signed(CAROL), worker, 60 * KAI));
		assert_noop!(stake(11 * KAI), Error::<Test>::DelegationCapReached);
		assert_ok!(stake(10 * KAI));
		assert_ok!(cap(0));
		assert_noop!(stake(KAI), Error::<Test>::DelegationCapReached);
		assert_eq!(record(worker).delegation_cap, Some(0));
	});
}

#[test]
fn boundary_of_a_delegation_that_is_dust() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_noop!(
			Providers::stake(signed(CAROL), worker, ED - 1),
			Error::<Test>::DelegationTooSmall
		);
		assert_ok!(Providers::stake(signed(CAROL), worker, ED));
		// A delegation may grow by a single unit.
		assert_ok!(Providers::stake(signed(CAROL), worker, 1));
		assert_noop!(
			Providers::unstake(signed(CAROL), worker, 2),
			Error::<Test>::DelegationTooSmall
		);
		assert_ok!(Providers::unstake(signed(CAROL), worker, 1));
		assert_ok!(Providers::unstake(signed(CAROL), worker, ED));
		assert!(!Delegations::<Test>::contains_key(worker, CAROL));
		assert_eq!(pool(worker).delegated, SharedStake::default());
	});
}

#[test]
fn fails_for_nothing_and_for_more_than_there_is() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_noop!(
			Providers::stake(signed(CAROL), worker, 0),
			Error::<Test>::ZeroAmount
		);
		assert_noop!(
			Providers::unstake(signed(CAROL), worker, 0),
			Error::<Test>::ZeroAmount
		);
		assert_noop!(
			Providers::unstake(signed(CAROL), worker, KAI),
			Error::<Test>::InsufficientStake
		);
		assert_ok!(Providers::stake(signed(CAROL), worker, KAI));
		assert_noop!(
			Providers::unstake(signed(CAROL), worker, KAI + 1),
			Error::<Test>::InsufficientStake
		);
		assert_noop!(
			Providers::unstake(signed(DAVE), worker, 1),
			Error::<Test>::InsufficientStake
		);
		let call = RuntimeCall::Providers(Call::stake {
			worker,
			amount: KAI,
		});
		assert_noop!(dispatch(call, signed(NOBODY)), TokenError::FundsUnavailable);
	});
}

#[test]
fn unbonds_for_its_time_and_is_paid_out() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		events();
		let until = Providers::now() + UNBONDING;
		assert_ok!(Providers::unstake(signed(CAROL), worker, 40 * KAI));
		assert_eq!(
			events(),
			vec![Event::Unstaked {
				worker,
				who: CAROL,
				amount: 40 * KAI,
				until
			}]
		);
		assert_eq!(value(worker, CAROL), 60 * KAI);
		assert_eq!(pool(worker).unbonding.part.value, 40 * KAI);
		assert_eq!(
			Popw::known_shares(),
			[((PoolId::Worker(worker), CAROL), 60 * KAI)].into()
		);
		run_to(until - 1);
		assert_noop!(
			Providers::withdraw_unbonded(signed(CAROL), worker),
			Error::<Test>::NothingToWithdraw
		);
		run_to(until);
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(Balances::free_balance(CAROL), FUNDS - 60 * KAI);
		assert_eq!(pool(worker).entries, 1);
	});
}

#[test]
fn boundary_of_a_full_queue() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		for _ in 0..MAX_UNBONDING {
			run_to(Providers::now() + 1);
			assert_ok!(Providers::unstake(signed(CAROL), worker, KAI));
		}
		// Within one block it is the same piece.
		assert_ok!(Providers::unstake(signed(CAROL), worker, KAI));
		run_to(Providers::now() + 1);
		assert_noop!(
			Providers::unstake(signed(CAROL), worker, KAI),
			Error::<Test>::TooManyUnbondings
		);
		// Queues of different accounts are independent.
		assert_ok!(Providers::stake(signed(DAVE), worker, KAI));
		assert_ok!(Providers::unstake(signed(DAVE), worker, KAI));
	});
}

#[test]
fn delegators_of_a_deregistered_worker_need_not_unstake() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let id = PoolId::Worker(worker);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::stake(signed(DAVE), worker, 50 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 10 * KAI));
		run_to(Providers::now() + DAYS);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		let until = Providers::now() + UNBONDING;
		assert_eq!(
			<Providers as Pools<AccountId>>::terms(id).value,
			kaisar_primitives::PoolValue {
				owner: 0,
				members: 140 * KAI,
				shares: 140 * KAI,
			}
		);
		// Stake that began to unbond a day earlier is out a day earlier.
		run_to(until - DAYS);
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(Balances::free_balance(CAROL), FUNDS - 90 * KAI);
		run_to(until - 1);
		for who in [ALICE, CAROL, DAVE] {
			assert_noop!(
				Providers::withdraw_unbonded(signed(who), worker),
				Error::<Test>::NothingToWithdraw
			);
		}
		run_to(until);
		Popw::changes();
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(Popw::changes(), vec![(id, Some(CAROL))]);
		assert_eq!(Balances::free_balance(CAROL), FUNDS);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert!(Providers::worker(worker).is_some_and(|view| view.deregistered));
		// The last withdrawal removes the record.
		assert_ok!(Providers::withdraw_unbonded(signed(DAVE), worker));
		assert_eq!(Balances::free_balance(DAVE), FUNDS);
		assert_eq!(Providers::worker(worker), None);
		assert_eq!(pot(), 0);
		assert!(Popw::known_shares().is_empty());
	});
}

#[test]
fn all_shares_alike_bear_a_slash() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 1_000 * KAI));
		assert_ok!(Providers::stake(signed(DAVE), worker, 350 * KAI));
		slash(worker, SlashLevel::Two);
		assert_eq!(pool(worker).own, MINIMUM / 2);
		assert_eq!(pool(worker).delegated.value, 675 * KAI);
		slash(worker, SlashLevel::One);
		let exact = 450 * KAI;
		assert_eq!(value(worker, CAROL), exact);
		assert_eq!(value(worker, DAVE), 315 * KAI / 2);
		// A newcomer buys at today's price, and takes nothing from the others.
		assert_ok!(Providers::stake(signed(BOB), worker, 500 * KAI));
		assert!(value(worker, CAROL).abs_diff(exact) <= 1);
		assert!(value(worker, BOB) <= 500 * KAI && value(worker, BOB) >= 500 * KAI - 2);
		// The whole value of an account's shares can be taken out, at any price.
		let all = value(worker, CAROL);
		assert_ok!(Providers::unstake(signed(CAROL), worker, all));
		assert!(!Delegations::<Test>::contains_key(worker, CAROL));
	});
}

#[test]
fn nobody_joins_worthless_shares_until_they_are_cleared() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let id = PoolId::Worker(worker);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::stake(signed(DAVE), worker, 50 * KAI));
		assert_ok!(Providers::unstake(signed(DAVE), worker, 20 * KAI));
		assert_noop!(
			Providers::clear_worthless(signed(BOB), worker, CAROL),
			Error::<Test>::NothingWorthless
		);
		slash(worker, SlashLevel::Three);
		assert_eq!(pool(worker).total(), Ok(0));
		assert_eq!(pot(), 0);
		// Rewards still divides earlier rewards by them.
		assert_eq!(
			<Providers as Pools<AccountId>>::shares(id, &CAROL),
			100 * KAI
		);
		assert_noop!(
			Providers::stake(signed(BOB), worker, KAI),
			Error::<Test>::DelegationClosed
		);
		assert_noop!(
			Providers::unstake(signed(CAROL), worker, 1),
			Error::<Test>::InsufficientStake
		);
		// The owner is not affected.
		assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM + KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, KAI));

		events();
		assert_ok!(Providers::clear_worthless(signed(BOB), worker, CAROL));
		assert_eq!(
			events(),
			vec![Event::WorthlessCleared {
				worker,
				who: CAROL,
				shares: 100 * KAI
			}]
		);
		assert_noop!(
			Providers::clear_worthless(signed(BOB), worker, CAROL),
			Error::<Test>::NothingWorthless
		);
		assert_noop!(
			Providers::stake(signed(BOB), worker, KAI),
			Error::<Test>::DelegationClosed
		);
		assert_ok!(Providers::clear_worthless(signed(BOB), worker, DAVE));
		assert!(!Unbondings::<Test>::contains_key(worker, DAVE));
		assert_ok!(Providers::stake(signed(BOB), worker, KAI));
		assert_eq!(value(worker, BOB), KAI);
		assert_eq!(Popw::known_shares(), [((id, BOB), KAI)].into());
	});
}

#[test]
fn worthless_pieces_stand_in_nobodys_way() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		for _ in 0..MAX_UNBONDING {
			run_to(Providers::now() + 1);
			assert_ok!(Providers::unstake(signed(CAROL), worker, 20 * KAI));
		}
		assert_ok!(Providers::stake(signed(ALICE), worker, KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, KAI));
		slash(worker, SlashLevel::Three);
		let StakePool {
			own_unbonding,
			unbonding,
			..
		} = pool(worker);
		assert_eq!((own_unbonding.generation, unbonding.generation), (1, 1));

		// A new generation: stake that unbonds now keeps its value.
		assert_ok!(Providers::clear_worthless(signed(CAROL), worker, CAROL));
		assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM + KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, KAI));
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 100 * KAI));
		let until = Providers::now() + UNBONDING;
		let piece = UnbondingView { value: KAI, until };
		// The owner's worthless piece made room.
		assert_eq!(Providers::unbonding(worker, ALICE), vec![piece]);
		run_to(until);
		let before = Balances::free_balance(CAROL);
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(Balances::free_balance(CAROL), before + 100 * KAI);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(pot(), MINIMUM);
		assert_eq!(pool(worker).entries, 0);
	});
}

#[test]
fn a_piece_that_became_worthless_is_withdrawn_as_nothing() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 100 * KAI));
		slash(worker, SlashLevel::Three);
		run_to(Providers::now() + UNBONDING);
		let before = Balances::free_balance(CAROL);
		events();
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(
			events(),
			vec![Event::Withdrawn {
				worker,
				who: CAROL,
				amount: 0
			}]
		);
		assert_eq!(Balances::free_balance(CAROL), before);
		assert_eq!(pool(worker).entries, 0);
	});
}

#[test]
fn a_deregistered_worker_goes_when_the_worthless_is_cleared() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		slash(worker, SlashLevel::Three);
		assert_ok!(Providers::clear_worthless(signed(BOB), worker, ALICE));
		assert!(Providers::worker(worker).is_some());
		events();
		assert_ok!(Providers::clear_worthless(signed(BOB), worker, CAROL));
		assert_eq!(events().last(), Some(&Event::WorkerRemoved { worker }));
		assert_eq!(Providers::worker(worker), None);
	});
}

#[test]
fn a_deregistered_worker_without_anything_goes_when_its_check_is_over() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		slash(worker, SlashLevel::Three);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		let clear = || Providers::clear_worthless(signed(BOB), worker, ALICE);
		assert_noop!(clear(), Error::<Test>::NothingWorthless);
		Popw::pass();
		events();
		assert_ok!(clear());
		assert_eq!(events().last(), Some(&Event::WorkerRemoved { worker }));
	});
}
