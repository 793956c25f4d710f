//! A simulation of a year of random networks, in the pallet and in the reference ([`super::model`]) side by
//! side.

use super::{
	model::{Model, Q, floor, q},
	properties::accounted,
};
use crate::{mock::*, *};
use frame_support::{
	assert_ok,
	storage::with_storage_layer,
	traits::fungible::{Inspect, Mutate},
};
use kaisar_math::{Ratio, RedeemTerm, stake::shares_for};
use kaisar_primitives::*;
use proptest::prelude::*;
use sp_runtime::{DispatchResult, FixedU128, Perbill};
use std::collections::BTreeMap;

const WORKERS: u32 = 5;
const ACCOUNTS: u32 = 4;
const EPOCHS: usize = 26;
const DEPTH: u32 = 4;
const MEMBERS: [AccountId; 5] = [ANNA, BEN, CLEO, OPERATORS, OPERATORS + 1];

#[derive(Clone, Debug)]
enum Op {
	Prove(u32, u32, u32, Profile),
	Seats(usize, u32, u32),
	Fee(u32, Balance),
	Put(Pot, Balance),
	Ratio(Option<u32>),
	Cap(u32),
	Stake(u32, usize, Balance),
	Unstake(u32, usize, u32),
	Own(u32, Balance),
	Slash(u32, u32),
	Clear(u32, usize),
	Delegate(u32, usize, u32),
	Revoke(u32, usize),
	Announce(usize, u32),
	Settle(usize),
	ClaimWorker(u32),
	ClaimChecker(u32),
	ClaimDelegation(usize, usize),
	Redeem(usize, u32, RedeemTerm),
	Withdraw(usize),
	Reregister(u32),
}

fn profile() -> impl Strategy<Value = Profile> {
	let class = prop::sample::select(vec![0u16, 1, 5, 11, 30]);
	(0u8..=4, 0u8..=4, 0u8..=4, 0u8..=4, class, 1u8..=8).prop_map(
		|(bandwidth, cpu, memory, disk, gpu_class, count)| Profile {
			bandwidth,
			cpu,
			memory,
			disk,
			gpu_class,
			gpu_count: if gpu_class == 0 { 0 } else { count },
		},
	)
}

fn op() -> impl Strategy<Value = Op> {
	let worker = || 0..WORKERS;
	let account = || 0..ACCOUNTS;
	let any = 0usize..1_000;
	let pool = || 0usize..1_000;
	let member = || 0..MEMBERS.len();
	let term = prop::sample::select(vec![
		RedeemTerm::Days30,
		RedeemTerm::Days90,
		RedeemTerm::Days180,
	]);
	let pot = prop_oneof![Just(Pot::Providers), Just(Pot::Checkers)];
	prop_oneof![
		8 => (worker(), 1u32..100_800, 0u32..100_800, profile())
			.prop_map(|(worker, online, rented, profile)| {
				Op::Prove(worker, online, rented.min(online), profile)
			}),
		8 => (any, 0u32..200, 0u32..20).prop_map(|(n, right, wrong)| Op::Seats(n, right, wrong)),
		2 => (worker(), 0..200_000 * KAI).prop_map(|(worker, amount)| Op::Fee(worker, amount)),
		1 => (pot, 0..1_000 * KAI).prop_map(|(pot, amount)| Op::Put(pot, amount)),
		1 => prop::option::of(0u32..=100).prop_map(Op::Ratio),
		1 => (0u32..=150).prop_map(Op::Cap),
		5 => (worker(), member(), 1..20_000 * KAI).prop_map(|(w, m, amount)| Op::Stake(w, m, amount)),
		3 => (worker(), member(), 1u32..=100).prop_map(|(w, m, part)| Op::Unstake(w, m, part)),
		2 => (worker(), 0..30_000 * KAI).prop_map(|(worker, amount)| Op::Own(worker, amount)),
		1 => (worker(), prop_oneof![1u32..=100, Just(100)])
			.prop_map(|(worker, part)| Op::Slash(worker, part)),
		1 => (worker(), member()).prop_map(|(worker, m)| Op::Clear(worker, m)),
		4 => (account(), member(), 1u32..40).prop_map(|(o, m, count)| Op::Delegate(o, m, count)),
		2 => (account(), member()).prop_map(|(o, m)| Op::Revoke(o, m)),
		1 => (pool(), 0u32..=100).prop_map(|(pool, percent)| Op::Announce(pool, percent)),
		2 => pool().prop_map(Op::Settle),
		2 => worker().prop_map(Op::ClaimWorker),
		2 => account().prop_map(Op::ClaimChecker),
		6 => (pool(), member()).prop_map(|(pool, m)| Op::ClaimDelegation(pool, m)),
		2 => (member(), 1u32..=100, term).prop_map(|(m, part, term)| Op::Redeem(m, part, term)),
		2 => member().prop_map(Op::Withdraw),
		1 => account().prop_map(Op::Reregister),
	]
}

/// The pallet's side and the model, with the data for their comparison.
struct Both {
	model: Model,
	/// Open redemptions: the account, the block in which it is due, the KAI that it pays.
	redemptions: BTreeMap<RedemptionId, (AccountId, BlockNumber, Balance)>,
	claims: u32,
}

fn signed(who: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(who)
}

fn number_of(account: u32) -> OperatorId {
	<Partners as Seats<AccountId>>::number(&(OPERATORS + u128::from(account))).unwrap()
}

/// Returns the `n`-th pool among workers and all operator numbers ever used.
fn pool_of(n: usize) -> PoolId {
	let numbers = NUMBERS.with_borrow(|all| all.len());
	match n % (WORKERS as usize + numbers) {
		worker if worker < WORKERS as usize => PoolId::Worker(worker as WorkerId),
		number => PoolId::Checker((number - WORKERS as usize) as OperatorId),
	}
}

fn is_dead(pool: PoolId) -> bool {
	match pool {
		PoolId::Worker(_) => false,
		PoolId::Checker(number) => {
			let account = Partners::owner(pool).unwrap();
			<Partners as Seats<AccountId>>::number(&account) != Some(number)
		}
	}
}

impl Both {
	/// Passes a member's shares to the model, and the members and pools that the pallet has removed.
	fn shares(&mut self, id: PoolId, who: AccountId) {
		let now = pool(id);
		let shares = now.shares.get(&who).copied().unwrap_or(0);
		self.model.shares(id, who, shares, now.value);
		self.forget(id, who);
	}

	fn forget(&mut self, id: PoolId, who: AccountId) {
		if Rewards::member(id, who).is_none() {
			self.model.forget(id, who);
		}
		if Rewards::pool_members(id).is_none() {
			self.model.forget_pool(id);
		}
	}

	/// Asserts that a claim paid the reference's amount, to within one unit; an owner's to the unit.
	fn claimed(&mut self, claimed: &DispatchResult, paid: Balance, due: &Q, tolerance: u128) {
		let due = floor(due);
		assert!(
			paid.abs_diff(due) <= tolerance,
			"{paid} of {due}: {claimed:?}"
		);
		assert_eq!(claimed.is_ok(), paid > 0, "{claimed:?}");
		self.claims += u32::from(paid > 0);
	}

	fn apply(&mut self, op: &Op) {
		match op.clone() {
			Op::Prove(worker, online, rented, profile) => {
				self.prove(worker, online, rented, profile)
			}
			Op::Seats(n, right, wrong) => self.seats(n, right, wrong),
			Op::Fee(worker, amount) => self.fee(worker, amount),
			Op::Put(pot, amount) => self.put(pot, amount),
			Op::Ratio(ratio) => self.ratio(ratio),
			Op::Cap(percent) => self.cap(percent),
			Op::Stake(worker, member, amount) => self.stake(worker, member, amount),
			Op::Unstake(worker, member, percent) => self.unstake(worker, member, percent),
			Op::Own(worker, amount) => self.own(worker, amount),
			Op::Slash(worker, percent) => self.slash(worker, percent),
			Op::Clear(worker, member) => self.clear(worker, member),
			Op::Delegate(account, member, count) => self.delegate(account, member, count),
			Op::Revoke(account, member) => self.revoke(account, member),
			Op::Announce(n, percent) => self.announce(n, percent),
			Op::Settle(n) => self.settle(n),
			Op::ClaimWorker(worker) => self.claim_worker(worker),
			Op::ClaimChecker(account) => self.claim_checker(account),
			Op::ClaimDelegation(n, member) => self.claim_delegation(n, member),
			Op::Redeem(member, percent, term) => self.redeem(member, percent, term),
			Op::Withdraw(member) => self.withdraw(member),
			Op::Reregister(account) => self.reregister(account),
		}
	}

	/// Proves time of a worker.
	fn prove(&mut self, worker: u32, online: u32, rented: u32, profile: Profile) {
		let pool = pool(PoolId::Worker(worker));
		let stake = pool.own + pool.value;
		let idle = online - rented;
		self.model.prove(worker, idle, rented, stake, &profile);
		on_proved(
			worker,
			&Proved {
				idle,
				rented,
				stake,
				profile,
			},
		);
	}

	/// Counts right and wrong votes of an operator.
	fn seats(&mut self, n: usize, right: u32, wrong: u32) {
		let operator = (n % NUMBERS.with_borrow(|all| all.len())) as OperatorId;
		if right + wrong > 0 {
			self.model.seats(operator, right, wrong);
			seats(operator, right, wrong);
		}
	}

	/// Notes a protocol fee that a worker's order paid.
	fn fee(&mut self, worker: u32, amount: Balance) {
		self.model.fee(worker, amount);
		assert_ok!(Rewards::note_protocol_fee(worker, amount));
	}

	/// Puts KAI into a pot from outside.
	fn put(&mut self, pot: Pot, amount: Balance) {
		*self.model.carry(pot) += q(amount);
		assert_ok!(Rewards::put(pot, &RICH, amount));
	}

	/// Sets PoD's share of the providers' reward, in per cent; `None` for its share of the scores.
	fn ratio(&mut self, ratio: Option<u32>) {
		self.model.ratio = ratio;
		PodRatio::set(ratio.map_or(Ratio::Automatic, |percent| {
			Ratio::Fixed(Perbill::from_percent(percent))
		}));
	}

	/// Sets the cap of rented rewards, in per cent of the fees.
	fn cap(&mut self, percent: u32) {
		self.model.cap = percent;
		PodFeeCap::set(FixedU128::from_rational(percent.into(), 100));
	}

	/// Stakes for a member, unless its shares would be worth nothing or far too little.
	fn stake(&mut self, worker: u32, member: usize, amount: Balance) {
		let id = PoolId::Worker(worker);
		let now = pool(id);
		// A registry refuses to sell shares that are worth nothing, or far too little.
		let shares = shares_for(amount, now.total(), now.value);
		if shares.is_some_and(|shares| (1..1 << 100).contains(&shares)) {
			stake(worker, MEMBERS[member], amount);
			self.shares(id, MEMBERS[member]);
		}
	}

	/// Withdraws a part of a member's shares, in per cent.
	fn unstake(&mut self, worker: u32, member: usize, percent: u32) {
		let id = PoolId::Worker(worker);
		let had = pool(id).shares.get(&MEMBERS[member]).copied().unwrap_or(0);
		if had > 0 {
			let part = Perbill::from_percent(percent).mul_ceil(had);
			unstake(worker, MEMBERS[member], part);
			self.shares(id, MEMBERS[member]);
		}
	}

	/// Sets the owner's stake.
	fn own(&mut self, worker: u32, amount: Balance) {
		own_stake(worker, amount);
		self.model.own(worker, amount);
	}

	/// Slashes a worker's pool, in per cent.
	fn slash(&mut self, worker: u32, percent: u32) {
		slash(worker, Perbill::from_percent(percent));
		self.model.slash(worker, percent);
	}

	/// Withdraws a member's shares in a pool that was slashed to zero.
	fn clear(&mut self, worker: u32, member: usize) {
		let now = pool(PoolId::Worker(worker));
		if now.value == 0
			&& let Some(held) = now.shares.get(&MEMBERS[member])
		{
			unstake(worker, MEMBERS[member], *held);
			self.shares(PoolId::Worker(worker), MEMBERS[member]);
		}
	}

	/// Delegates licenses of a member to an operator.
	fn delegate(&mut self, account: u32, member: usize, count: u32) {
		let number = number_of(account);
		delegate(number, MEMBERS[member], count.into());
		self.shares(PoolId::Checker(number), MEMBERS[member]);
	}

	/// Revokes half of a member's licenses, at least one.
	fn revoke(&mut self, account: u32, member: usize) {
		let id = PoolId::Checker(number_of(account));
		if let Some(had) = pool(id).shares.get(&MEMBERS[member]).copied() {
			// One of several licenses, or the last.
			delegate(
				number_of(account),
				MEMBERS[member],
				-(had.div_ceil(2) as i128),
			);
			self.shares(id, MEMBERS[member]);
		}
	}

	/// Announces a commission, in per cent.
	fn announce(&mut self, n: usize, percent: u32) {
		let id = pool_of(n);
		if !is_dead(id) && announce(id, Perbill::from_percent(percent)) {
			self.model.announce(id, percent);
		}
	}

	/// Settles a pool.
	fn settle(&mut self, n: usize) {
		assert_ok!(Rewards::settle(signed(STRANGER), pool_of(n)));
		self.model.settle(pool_of(n));
	}

	/// Claims as a worker's owner.
	fn claim_worker(&mut self, worker: u32) {
		let owner = OWNERS + u128::from(worker);
		let due = self.model.owner_due(worker);
		let before = Balances::balance(&owner);
		let claimed = with_storage_layer(|| Rewards::claim_worker(signed(owner), worker));
		let paid = Balances::balance(&owner) - before;
		self.claimed(&claimed, paid, &due, 0);
		if claimed.is_ok() {
			self.model.owner_claimed(worker, paid);
		}
	}

	/// Claims as an operator.
	fn claim_checker(&mut self, account: u32) {
		let (who, number) = (OPERATORS + u128::from(account), number_of(account));
		let due = self.model.operator_due(number);
		let before = Rewards::vkai(who);
		let claimed = with_storage_layer(|| Rewards::claim_checker(signed(who)));
		let paid = Rewards::vkai(who) - before;
		self.claimed(&claimed, paid, &due, 0);
		if claimed.is_ok() {
			self.model.operator_claimed(number, paid);
		}
	}

	/// Claims as a member.
	fn claim_delegation(&mut self, n: usize, member: usize) {
		let (id, who) = (pool_of(n), MEMBERS[member]);
		let due = self.model.member_due(id, who);
		let has = || match id {
			PoolId::Worker(_) => Balances::balance(&who),
			PoolId::Checker(_) => Rewards::vkai(who),
		};
		let before = has();
		let view = Rewards::claimable_by(id, who);
		let claimed = with_storage_layer(|| Rewards::claim_delegation(signed(who), id));
		let paid = has() - before;
		assert_eq!(paid, view);
		self.claimed(&claimed, paid, &due, 1);
		if claimed.is_ok() {
			self.model.member_claimed(id, who, paid);
			self.forget(id, who);
		}
	}

	/// Redeems a part of a member's vKAI, in per cent.
	fn redeem(&mut self, member: usize, percent: u32, term: RedeemTerm) {
		let who = MEMBERS[member];
		let amount = Perbill::from_percent(percent).mul_floor(Rewards::vkai(who));
		let full = Rewards::redemptions_of(who).len() == 32;
		let id = NextRedemptionId::<Test>::get();
		let redeemed = with_storage_layer(|| Rewards::redeem(signed(who), amount, term));
		assert_eq!(redeemed.is_ok(), amount >= KAI && !full, "{redeemed:?}");
		if redeemed.is_ok() {
			let (days, percent) = match term {
				RedeemTerm::Days30 => (30, 25),
				RedeemTerm::Days90 => (90, 50),
				RedeemTerm::Days180 => (180, 100),
			};
			let pays = self.model.redeem(who, amount, percent);
			let due = System::block_number() + days * 7_200;
			self.redemptions.insert(id, (who, due, pays));
		}
	}

	/// Withdraws all redemptions of a member that are due.
	fn withdraw(&mut self, member: usize) {
		let who = MEMBERS[member];
		for Redemption { id, .. } in Rewards::redemptions_of(who) {
			let (whose, due, pays) = self.redemptions[&id];
			assert_eq!(whose, who);
			let before = Balances::balance(&who);
			let withdrawn = with_storage_layer(|| Rewards::withdraw_redemption(signed(who), id));
			let is_due = due <= System::block_number();
			assert_eq!(withdrawn.is_ok(), is_due, "{withdrawn:?}");
			if is_due {
				assert_eq!(Balances::balance(&who), before + pays);
				self.redemptions.remove(&id);
			}
		}
	}

	/// Deregisters an operator, whose account registers again.
	fn reregister(&mut self, account: u32) {
		let number = number_of(account);
		let next = reregister(number);
		self.model.settle(PoolId::Checker(number));
		self.model
			.accounts
			.insert(next, OPERATORS + u128::from(account));
	}

	/// Asserts that all claims agree with the reference, and so do the balances of the pots.
	fn compare(&mut self) {
		for pot in [Pot::Providers, Pot::Checkers] {
			assert_eq!(
				q(Carry::<Test>::get(pot)),
				*self.model.carry(pot),
				"{pot:?}"
			);
			assert_eq!(Rewards::free_of(&Rewards::pot_account(pot)), accounted(pot));
		}
		for worker in 0..WORKERS {
			let view = Rewards::claimable_from(PoolId::Worker(worker));
			assert_eq!(q(view), self.model.owner_due(worker), "worker {worker}");
		}
		for account in 0..ACCOUNTS {
			let who = OPERATORS + u128::from(account);
			let due = self.model.operator_due(number_of(account));
			assert_eq!(q(Rewards::claimable(who)), due, "operator {who}");
		}
		let pools = WORKERS as usize + NUMBERS.with_borrow(|all| all.len());
		for id in (0..pools).map(pool_of) {
			for who in MEMBERS {
				let (view, due) = (
					Rewards::claimable_by(id, who),
					self.model.member_due(id, who),
				);
				assert!(
					view.abs_diff(floor(&due)) <= 1,
					"{who} in {id:?}: {view} of {due}"
				);
			}
		}
		for who in MEMBERS {
			let vkai = self.model.vkai.get(&who).copied().unwrap_or(0);
			assert_eq!(Rewards::vkai(who), vkai);
		}
	}
}

proptest! {
	#![proptest_config(ProptestConfig {
		rng_seed: kaisar_test_support::property::seed(5),
		max_shrink_iters: 200,
		..ProptestConfig::with_cases(kaisar_test_support::property::cases(8))
	})]

	#[test]
	fn payouts_agree_with_the_reference_over_a_year(
		year in prop::collection::vec(prop::collection::vec(op(), 4..24), EPOCHS),
	) {
		ExtBuilder { epoch: 100_800, ..Default::default() }.build_and_execute(|| {
			HistoryDepth::set(DEPTH);
			for who in (OWNERS..OWNERS + u128::from(WORKERS)).chain(MEMBERS) {
				Balances::mint_into(&who, KAI).unwrap();
			}
			let accounts = NUMBERS.with_borrow(|all| all.clone());
			let mut both = Both {
				model: Model::new(DEPTH, RESERVE, accounts),
				redemptions: BTreeMap::new(),
				claims: 0,
			};
			for epoch in &year {
				for op in epoch {
					both.apply(op);
					if let Err(broken) = Rewards::do_try_state() {
						panic!("{broken:?} after {op:?}");
					}
				}
				next_epoch();
				both.model.end_epoch(Current::<Test>::get().start - 1);
				assert_ok!(Rewards::do_try_state());
				both.compare();
			}
			// At the end everyone claims.
			for worker in 0..WORKERS {
				both.apply(&Op::ClaimWorker(worker));
			}
			for account in 0..ACCOUNTS {
				both.apply(&Op::ClaimChecker(account));
			}
			let pools = WORKERS as usize + NUMBERS.with_borrow(|all| all.len());
			for n in 0..pools {
				for member in 0..MEMBERS.len() {
					both.apply(&Op::ClaimDelegation(n, member));
				}
			}
			assert_ok!(Rewards::do_try_state());
			both.compare();
			assert!(both.claims > 10, "only {} claims paid", both.claims);
			// The difference from the published formula without rounding: below a unit for idle blocks, two
			// for rented ones.
			assert!(both.model.furthest < q(3), "{}", both.model.furthest);
		});
	}
}
