//! Property tests: random sequences of scores, epochs, settlements and claims, with all invariants after
//! each step.

use crate::{mock::*, *};
use frame_support::traits::fungible::{Inspect, Mutate};
use kaisar_math::{Ratio, Schedule};
use kaisar_primitives::*;
use proptest::prelude::*;
use sp_runtime::Perbill;

const WORKERS: u32 = 6;
const CHECKERS: u32 = 4;

#[derive(Clone, Debug)]
enum Op {
	Prove {
		worker: u32,
		online: u32,
		rented: u32,
		stake: Balance,
		profile: Profile,
	},
	Seats {
		operator: u32,
		correct: u32,
		wrong: u32,
	},
	Fee {
		worker: u32,
		amount: Balance,
	},
	Put {
		pot: Pot,
		amount: Balance,
	},
	SetRatio(Ratio),
	EndEpoch,
	Settle(PoolId),
	Change(PoolId),
	ClaimWorker(u32),
	ClaimChecker(u32),
	Stake(u32, usize, Balance),
	Unstake(u32, usize),
	Delegate(u32, usize, u32),
	ClaimDelegation(PoolId, usize),
}

const MEMBERS: [AccountId; 3] = [ANNA, BEN, CLEO];

fn any_pool() -> impl Strategy<Value = PoolId> {
	prop_oneof![
		(0..WORKERS).prop_map(PoolId::Worker),
		(0..CHECKERS).prop_map(PoolId::Checker),
	]
}

fn op() -> impl Strategy<Value = Op> {
	let pot = prop_oneof![Just(Pot::Providers), Just(Pot::Checkers)];
	prop_oneof![
		6 => (0..WORKERS, 0u32..5_000, 0u32..5_000, 0..60_000 * KAI, (0u8..=4, 0u8..=4, 0u16..=33, 0u8..9))
			.prop_map(|(worker, online, rented, stake, (tier, other, gpu_class, gpu_count))| Op::Prove {
				worker,
				online: online.max(rented),
				rented,
				stake,
				profile: Profile {
					bandwidth: tier, cpu: other, memory: tier, disk: other, gpu_class, gpu_count,
				},
			}),
		6 => (0..CHECKERS, 0u32..6, 0u32..4)
			.prop_map(|(operator, correct, wrong)| Op::Seats { operator, correct, wrong }),
		2 => (0..WORKERS, 0..1_000 * KAI).prop_map(|(worker, amount)| Op::Fee { worker, amount }),
		1 => (pot, 0..100 * KAI).prop_map(|(pot, amount)| Op::Put { pot, amount }),
		1 => prop_oneof![
			Just(Ratio::Automatic),
			(0u32..=100).prop_map(|percent| Ratio::Fixed(Perbill::from_percent(percent))),
		].prop_map(Op::SetRatio),
		4 => Just(Op::EndEpoch),
		2 => any_pool().prop_map(Op::Settle),
		2 => any_pool().prop_map(Op::Change),
		2 => (0..WORKERS).prop_map(Op::ClaimWorker),
		2 => (0..CHECKERS).prop_map(Op::ClaimChecker),
		3 => (0..WORKERS, 0usize..3, 1..10_000 * KAI).prop_map(|(w, m, amount)| Op::Stake(w, m, amount)),
		1 => (0..WORKERS, 0usize..3).prop_map(|(worker, member)| Op::Unstake(worker, member)),
		2 => (0..CHECKERS, 0usize..3, 1u32..9).prop_map(|(o, m, count)| Op::Delegate(o, m, count)),
		2 => (any_pool(), 0usize..3).prop_map(|(pool, member)| Op::ClaimDelegation(pool, member)),
	]
}

fn apply(op: &Op) {
	let signed = RuntimeOrigin::signed;
	match op.clone() {
		Op::Prove {
			worker,
			online,
			rented,
			stake,
			profile,
		} => {
			on_proved(
				worker,
				&Proved {
					idle: online - rented,
					rented,
					stake,
					profile,
				},
			);
		}
		Op::Seats {
			operator,
			correct,
			wrong,
		} => seats(operator, correct, wrong),
		Op::Fee { worker, amount } => Rewards::note_protocol_fee(worker, amount).unwrap(),
		Op::Put { pot, amount } => Rewards::put(pot, &RICH, amount).unwrap(),
		Op::SetRatio(ratio) => PodRatio::set(ratio),
		Op::EndEpoch => next_epoch(),
		Op::Settle(pool) => Rewards::settle(signed(STRANGER), pool).unwrap(),
		Op::Change(pool) => Rewards::on_change(pool, Partners::terms(pool), None).unwrap(),
		Op::ClaimWorker(worker) => {
			let who = OWNERS + u128::from(worker);
			let (due, had) = (
				Rewards::claimable_from(PoolId::Worker(worker)),
				Balances::balance(&who),
			);
			// Claims fail in one transaction, as they do on chain.
			let claimed = frame_support::storage::with_storage_layer(|| {
				Rewards::claim_worker(signed(who), worker)
			});
			assert!(
				claimed.is_ok() == (due > 0 && had + due >= MILLI_KAI),
				"{claimed:?} of {due}"
			);
			let paid = if claimed.is_ok() { due } else { 0 };
			assert_eq!(Balances::balance(&who), had + paid);
		}
		Op::ClaimChecker(operator) => {
			let who = OPERATORS + u128::from(operator);
			let (due, had) = (Rewards::claimable(who), Rewards::vkai(who));
			assert_eq!(Rewards::claim_checker(signed(who)).is_ok(), due > 0);
			assert_eq!(Rewards::vkai(who), had + due);
		}
		Op::Stake(worker, member, amount) => stake(worker, MEMBERS[member], amount),
		Op::Unstake(worker, member) => {
			let who = MEMBERS[member];
			if let Some(held) = pool(PoolId::Worker(worker)).shares.get(&who) {
				unstake(worker, who, *held);
			}
		}
		Op::Delegate(operator, member, count) => {
			delegate(operator, MEMBERS[member], count.into());
		}
		Op::ClaimDelegation(pool, member) => {
			let who = MEMBERS[member];
			let has = || Balances::balance(&who) + Rewards::vkai(who);
			let (due, had) = (Rewards::claimable_by(pool, who), has());
			let claimed = frame_support::storage::with_storage_layer(|| {
				Rewards::claim_delegation(signed(who), pool)
			});
			assert_eq!(claimed.is_ok(), due > 0, "{claimed:?} of {due}");
			assert_eq!(has(), had + due);
			assert_eq!(Rewards::claimable_by(pool, who), 0);
		}
	}
}

/// Returns the sum of the carried, owed and unsettled KAI of a pot, which is all of it.
pub(super) fn accounted(pot: Pot) -> Balance {
	let left: Balance = Epochs::<Test>::iter_values()
		.map(|totals| totals.left(pot))
		.sum();
	Carry::<Test>::get(pot) + Owed::<Test>::get(pot) + left
}

/// Funds the members, so that no claim is too small for its account.
fn fund_members() {
	for who in MEMBERS {
		Balances::mint_into(&who, KAI).unwrap();
	}
}

/// The number of possible claims: by owners, by operators, by members of each pool.
const CLAIMS: u32 = (WORKERS + CHECKERS) * 4;

fn claim_number(n: u32) -> Op {
	let pool = match n % (WORKERS + CHECKERS) {
		worker if worker < WORKERS => PoolId::Worker(worker),
		operator => PoolId::Checker(operator - WORKERS),
	};
	match ((n / (WORKERS + CHECKERS)).checked_sub(1), pool) {
		(None, PoolId::Worker(worker)) => Op::ClaimWorker(worker),
		(None, PoolId::Checker(operator)) => Op::ClaimChecker(operator),
		(Some(member), pool) => Op::ClaimDelegation(pool, member as usize),
	}
}

fn config(cases: u32) -> ProptestConfig {
	ProptestConfig {
		cases,
		rng_seed: kaisar_test_support::property::seed(7),
		..ProptestConfig::with_cases(cases)
	}
}

proptest! {
	#![proptest_config(config(kaisar_test_support::property::cases(100)))]

	#[test]
	fn nothing_is_lost_or_made(ops in prop::collection::vec(op(), 1..60)) {
		ExtBuilder::default().build_and_execute(|| {
			fund_members();
			let issued = Balances::total_issuance();
			for op in &ops {
				apply(op);
				Rewards::do_try_state().unwrap();
				for pot in [Pot::Providers, Pot::Checkers] {
					assert_eq!(Rewards::free_of(&Rewards::pot_account(pot)), accounted(pot), "{op:?}");
				}
				let emitted = Schedule::KAISAR.emitted_until(Rewards::current_epoch().start - 1);
				assert_eq!(Balances::total_issuance(), issued + emitted * 7 / 10);
			}
			// Once everything is settled or expired, all unpaid KAI carries over.
			for number in 0..WORKERS.max(CHECKERS) {
				apply(&Op::ClaimWorker(number));
				Rewards::settle(RuntimeOrigin::signed(RICH), PoolId::Checker(number)).unwrap();
			}
			(0..6).for_each(|_| next_epoch());
			Rewards::do_try_state().unwrap();
		});
	}

	#[test]
	fn the_order_of_claims_changes_nobodys_amount(
		ops in prop::collection::vec(op(), 1..25),
		order in Just((0..CLAIMS).collect::<Vec<_>>()).prop_shuffle(),
	) {
		let claim = |order: &[u32]| {
			let mut amounts = Vec::new();
			ExtBuilder::default().build_and_execute(|| {
				fund_members();
				ops.iter().for_each(apply);
				next_epoch();
				for n in order {
					apply(&claim_number(*n));
				}
				let workers = (0..WORKERS).map(|n| Balances::balance(&(OWNERS + u128::from(n))));
				let checkers = (0..CHECKERS).map(|n| Rewards::vkai(OPERATORS + u128::from(n)));
				let members = MEMBERS.map(|who| Balances::balance(&who) + Rewards::vkai(who));
				amounts = workers.chain(checkers).chain(members).collect();
			});
			amounts
		};
		let sorted: Vec<_> = (0..CLAIMS).collect();
		prop_assert_eq!(claim(&sorted), claim(&order));
	}
}
