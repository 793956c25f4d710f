//! A chain with this pallet alone; its partners are plain tables.

use crate as pallet_rewards;
use crate::*;
use frame_support::{PalletId, derive_impl, parameter_types, traits::Hooks};
use kaisar_math::{Ratio, Split, stake::shares_for};
use kaisar_primitives::*;
use kaisar_test_support::frame::{
	observers::{close_with_seat, close_with_time},
	take_events,
};
use sp_runtime::{BuildStorage, DispatchResult, FixedU128, Perbill, traits::IdentityLookup};
use std::{cell::RefCell, collections::BTreeMap};

pub type AccountId = u128;
type Block = frame_system::mocking::MockBlockU32<Test>;

/// Owner of workers 0, 1, 2 …: accounts 100, 101, 102 …
pub const OWNERS: AccountId = 100;
/// Accounts of operators 0, 1, 2 …: 200, 201, 202 …
pub const OPERATORS: AccountId = 200;
pub const RICH: AccountId = 1;
pub const STRANGER: AccountId = 2;
pub const TREASURY: AccountId = 3;
/// Delegators and license holders.
pub const ANNA: AccountId = 301;
pub const BEN: AccountId = 302;
pub const CLEO: AccountId = 303;
pub const EPOCH: u32 = 100;
pub const RESERVE: Balance = kaisar_math::emission::CHECKERS_RESERVE;

kaisar_test_support::mock_runtime!(Test {
	0: System = frame_system,
	1: Balances = pallet_balances,
	2: Rewards = pallet_rewards,
});

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
	type Block = Block;
	type AccountId = AccountId;
	type Lookup = IdentityLookup<AccountId>;
	type AccountData = pallet_balances::AccountData<Balance>;
}

parameter_types! {
	pub const ExistentialDeposit: Balance = MILLI_KAI;
	pub const RewardsPalletId: PalletId = PalletId(*b"ks/rewar");
	pub static MaxSupply: Balance = kaisar_math::emission::MAX_SUPPLY;
	pub static EpochLength: BlockNumber = EPOCH;
	pub static EmissionSplit: Split = Split::default();
	pub static PodRatio: Ratio = Ratio::Automatic;
	pub static PodFeeCap: FixedU128 = FixedU128::from_rational(1, 2);
	pub static CpuOnlyWeight: Perbill = Perbill::from_percent(10);
	pub static PayUncalibrated: bool = true;
	pub static MaxStake: Balance = 50_000 * KAI;
	pub static HistoryDepth: EpochIndex = 4;
	pub const Treasury: AccountId = TREASURY;
	pub const MinRedemption: Balance = KAI;
	pub const MaxRedemptions: u32 = 32;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
	type Balance = Balance;
	type AccountStore = System;
	type ExistentialDeposit = ExistentialDeposit;
}

thread_local! {
	/// Operator numbers and their accounts; the last one of an account is its number.
	pub static NUMBERS: RefCell<BTreeMap<OperatorId, AccountId>> = RefCell::default();
	/// The next round to start, and the oldest one that is not over.
	pub static ROUNDS: RefCell<(RoundIndex, RoundIndex)> = RefCell::default();
	/// The workers that were touched.
	pub static TOUCHED: RefCell<Vec<WorkerId>> = RefCell::default();
	/// The pools that changed since genesis.
	pub static POOLS: RefCell<BTreeMap<PoolId, TestPool>> = RefCell::default();
}

/// A pool as its registry stores it.
#[derive(Clone, Debug)]
pub struct TestPool {
	/// The owner's own stake.
	pub own: Balance,
	/// The value of all shares.
	pub value: Balance,
	/// The shares of each member.
	pub shares: BTreeMap<AccountId, u128>,
	/// The members' part of the reward.
	pub commission: Commission,
}

impl Default for TestPool {
	fn default() -> Self {
		Self {
			own: 0,
			value: 0,
			shares: BTreeMap::new(),
			commission: Commission::new(Perbill::from_percent(10), 0),
		}
	}
}

impl TestPool {
	pub fn total(&self) -> u128 {
		self.shares.values().sum()
	}
}

pub fn pool(pool: PoolId) -> TestPool {
	POOLS.with_borrow(|all| all.get(&pool).cloned().unwrap_or_default())
}

/// Changes a pool and notifies Rewards, as a registry does.
fn change_pool(pool: PoolId, change: impl FnOnce(&mut TestPool)) {
	let before = Partners::terms(pool);
	change_quietly(pool, change);
	Rewards::on_change(pool, before, None).unwrap();
}

fn change_quietly<R>(pool: PoolId, change: impl FnOnce(&mut TestPool) -> R) -> R {
	POOLS.with_borrow_mut(|all| change(all.entry(pool).or_default()))
}

/// Gives a member `shares` more or fewer, worth `value` more or less.
fn reshare(pool: PoolId, who: AccountId, shares: i128, value: i128) {
	let terms = Partners::terms(pool);
	let (before, after) = change_quietly(pool, |pool| {
		let old = pool.shares.get(&who).copied().unwrap_or(0);
		let new = old.checked_add_signed(shares).unwrap();
		pool.value = pool.value.checked_add_signed(value).unwrap();
		if new == 0 {
			pool.shares.remove(&who);
		} else {
			pool.shares.insert(who, new);
		}
		(old, new)
	});
	let who = &who;
	let change = SharesChange { who, before, after };
	Rewards::on_change(pool, terms, Some(change)).unwrap();
}

/// Delegates stake of `who` to a worker.
pub fn stake(worker: WorkerId, who: AccountId, amount: Balance) {
	let id = PoolId::Worker(worker);
	let now = pool(id);
	let shares = shares_for(amount, now.total(), now.value).unwrap();
	reshare(id, who, shares as i128, amount as i128);
}

/// Withdraws `shares` of `who` from a worker. Returns their value.
pub fn unstake(worker: WorkerId, who: AccountId, shares: u128) -> Balance {
	let id = PoolId::Worker(worker);
	let now = pool(id);
	let worth = kaisar_math::stake::value_of(shares, now.total(), now.value).unwrap();
	reshare(id, who, -(shares as i128), -(worth as i128));
	worth
}

/// Delegates licenses of `who` to an operator, or ends their delegation.
pub fn delegate(operator: OperatorId, who: AccountId, licenses: i128) {
	reshare(PoolId::Checker(operator), who, licenses, licenses);
}

/// Sets the stake of the worker's owner.
pub fn own_stake(worker: WorkerId, amount: Balance) {
	change_pool(PoolId::Worker(worker), |pool| pool.own = amount);
}

/// Slashes every part of the pool alike.
pub fn slash(worker: WorkerId, rate: Perbill) {
	change_pool(PoolId::Worker(worker), |pool| {
		pool.own -= rate.mul_floor(pool.own);
		pool.value -= rate.mul_floor(pool.value);
	});
}

/// Announces a commission that takes effect after the next whole epoch. Returns whether none was announced
/// already.
pub fn announce(pool: PoolId, commission: Perbill) -> bool {
	let now = Current::<Test>::get().index;
	if Partners::terms(pool).commission.announced(now).is_some() {
		return false;
	}
	change_pool(pool, |pool| {
		pool.commission.announce(commission, now).unwrap();
	});
	true
}

/// Sets a commission for every epoch, for tests that are not about it.
pub fn commission(pool: PoolId, percent: u32) {
	change_quietly(pool, |pool| {
		pool.commission = Commission::new(Perbill::from_percent(percent), 0);
	});
}

/// Deregisters the operator: all its delegations end, and nobody visits them one by one. Returns its
/// account's next number, as if it had registered again.
pub fn reregister(operator: OperatorId) -> OperatorId {
	change_pool(PoolId::Checker(operator), |_| ());
	NUMBERS.with_borrow_mut(|all| {
		let next = all.keys().next_back().unwrap() + 1;
		all.insert(next, all[&operator]);
		next
	})
}

pub struct Partners;

impl Pools<AccountId> for Partners {
	fn owner(pool: PoolId) -> Option<AccountId> {
		match pool {
			PoolId::Worker(worker) if worker < 1_000_000 => Some(OWNERS + u128::from(worker % 50)),
			PoolId::Worker(_) => None,
			PoolId::Checker(operator) => NUMBERS.with_borrow(|all| all.get(&operator).copied()),
		}
	}
	fn terms(id: PoolId) -> PoolTerms {
		let pool = pool(id);
		PoolTerms {
			value: PoolValue {
				owner: pool.own,
				members: pool.value,
				shares: pool.total(),
			},
			commission: pool.commission,
		}
	}
	fn shares(id: PoolId, who: &AccountId) -> u128 {
		pool(id).shares.get(who).copied().unwrap_or(0)
	}
}

#[cfg(feature = "runtime-benchmarks")]
impl WorkerRegistry<AccountId> for Partners {
	fn info(_: WorkerId, _: RoundIndex) -> Option<WorkerInfo<AccountId>> {
		None
	}
	fn by_key(_: &WorkerKey) -> Option<WorkerId> {
		None
	}
	fn counts() -> WorkerCounts {
		WorkerCounts::default()
	}
	fn benchmark_worker(_: &AccountId, _: WorkerKey, _: AgentKey) -> WorkerId {
		0
	}
}

impl Checks for Partners {
	fn next_round() -> RoundIndex {
		ROUNDS.with_borrow(|rounds| rounds.0)
	}
	fn oldest_round() -> RoundIndex {
		ROUNDS.with_borrow(|rounds| rounds.1)
	}
	fn touch(worker: WorkerId) {
		TOUCHED.with_borrow_mut(|touched| touched.push(worker));
	}
	fn is_open(_: WorkerId) -> bool {
		false
	}
	fn is_due(_: WorkerId) -> bool {
		false
	}
	fn force(_: WorkerId) -> DispatchResult {
		Ok(())
	}
}

impl Seats<AccountId> for Partners {
	fn minted() -> u32 {
		0
	}
	fn active() -> u32 {
		0
	}
	fn seat(_: LicenseId, _: RoundIndex) -> Option<OperatorId> {
		None
	}
	fn operator(_: OperatorId, _: RoundIndex) -> Option<OperatorInfo<AccountId>> {
		None
	}
	fn number(account: &AccountId) -> Option<OperatorId> {
		NUMBERS.with_borrow(|all| {
			all.iter()
				.rev()
				.find(|(_, owner)| *owner == account)
				.map(|(number, _)| *number)
		})
	}
	fn by_key(_: &CheckerKey) -> Option<OperatorId> {
		None
	}
	fn revealed(_: OperatorId, _: RoundIndex) {}
	fn credit(_: OperatorId, _: WorkerId, _: RoundIndex, _: u32, _: SeatResult, _: bool) {}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(account: &AccountId, _: CheckerKey, _: AgentKey) -> OperatorId {
		NUMBERS.with_borrow_mut(|all| {
			let number = all.len() as OperatorId;
			all.insert(number, *account);
			number
		})
	}
}

impl Config for Test {
	type Currency = Balances;
	type Pools = Partners;
	type Operators = Partners;
	type Checks = Partners;
	#[cfg(feature = "runtime-benchmarks")]
	type Workers = Partners;
	type AdminOrigin = frame_system::EnsureRoot<AccountId>;
	type PalletId = RewardsPalletId;
	type MaxSupply = MaxSupply;
	type EpochLength = EpochLength;
	type Split = EmissionSplit;
	type Ratio = PodRatio;
	type PodFeeCap = PodFeeCap;
	type CpuOnlyWeight = CpuOnlyWeight;
	type PayUncalibrated = PayUncalibrated;
	type MaxStake = MaxStake;
	type HistoryDepth = HistoryDepth;
	type Treasury = Treasury;
	type MinRedemption = MinRedemption;
	type MaxRedemptions = MaxRedemptions;
	type WeightInfo = ();
}

pub struct ExtBuilder {
	pub reserve: Balance,
	pub rich: Balance,
	pub epoch: BlockNumber,
}

impl Default for ExtBuilder {
	fn default() -> Self {
		Self {
			reserve: RESERVE,
			rich: 1_000_000 * KAI,
			epoch: EPOCH,
		}
	}
}

impl ExtBuilder {
	pub fn build(self) -> sp_io::TestExternalities {
		MaxSupply::set(kaisar_math::emission::MAX_SUPPLY);
		EpochLength::set(self.epoch);
		EmissionSplit::set(Split::default());
		PodRatio::set(Ratio::Automatic);
		PodFeeCap::set(FixedU128::from_rational(1, 2));
		PayUncalibrated::set(true);
		HistoryDepth::set(4);
		TOUCHED.take();
		ROUNDS.take();
		POOLS.take();
		let balances = vec![(RICH, self.rich), (STRANGER, KAI)];
		let mut storage = frame_system::GenesisConfig::<Test>::default()
			.build_storage()
			.unwrap();
		pallet_balances::GenesisConfig::<Test> {
			balances,
			..Default::default()
		}
		.assimilate_storage(&mut storage)
		.unwrap();
		NUMBERS.with_borrow_mut(|all| {
			*all = (0..10u32)
				.map(|number| (number, OPERATORS + u128::from(number)))
				.collect()
		});
		pallet_rewards::GenesisConfig::<Test> {
			reserve: self.reserve,
			..Default::default()
		}
		.assimilate_storage(&mut storage)
		.unwrap();
		let mut ext = sp_io::TestExternalities::from(storage);
		ext.execute_with(next_block);
		ext
	}

	/// Runs a test and then checks the invariants.
	pub fn build_and_execute(self, test: impl FnOnce()) {
		let mut ext = self.build();
		ext.execute_with(test);
		ext.execute_with(|| Rewards::do_try_state().unwrap());
	}
}

pub fn next_block() {
	let now = System::block_number();
	System::set_block_number(now + 1);
	Rewards::on_initialize(now + 1);
}

/// Goes to the first block of the next epoch, skipping the blocks between.
pub fn next_epoch() {
	let current = Current::<Test>::get();
	System::set_block_number(current.start + current.length - 1);
	next_block();
	assert_eq!(Current::<Test>::get().index, current.index + 1);
}

/// Returns `percent` % of the emission of an epoch of `blocks` blocks in the first period.
pub fn emission(blocks: u32, percent: u128) -> Balance {
	u128::from(blocks) * 15 * KAI * percent / 100
}

/// Closes a check of the worker that proved this time.
pub fn on_proved(worker: WorkerId, proved: &Proved) {
	close_with_time::<Rewards>(worker, proved);
}

/// Closes a check in which the operator had a seat.
pub fn on_seat(operator: OperatorId, weight: u32, result: SeatResult) {
	close_with_seat::<Rewards>(operator, weight, result);
}

/// Proves `online` blocks of a worker with one GPU of score 1 and nothing else that scores, `rented` of them
/// rented, without stake.
pub fn prove(worker: WorkerId, online: BlockNumber, rented: BlockNumber) {
	let profile = Profile {
		gpu_class: 6,
		gpu_count: 1,
		..Default::default()
	};
	on_proved(
		worker,
		&Proved {
			idle: online - rented,
			rented,
			stake: 0,
			profile,
		},
	);
}

/// Returns the score of `blocks` proved by [`prove`].
pub fn score_of(blocks: u32) -> u128 {
	u128::from(blocks) * u128::from(kaisar_math::score::BOOST_ONE) * 300
}

/// Closes seats of an operator, `correct` ones and `wrong` ones.
pub fn seats(operator: OperatorId, correct: u32, wrong: u32) {
	(0..correct).for_each(|_| on_seat(operator, 1, SeatResult::Correct));
	(0..wrong).for_each(|_| on_seat(operator, 1, SeatResult::Dissenting));
}

/// Asserts that a member's claim is within one unit of the exact amount: the fraction waits for the next
/// claim.
#[track_caller]
pub fn near(claim: Balance, exact: Balance) {
	assert!(claim.abs_diff(exact) <= 1, "{claim} is not about {exact}");
}

pub fn provider_pot() -> AccountId {
	Rewards::pot_account(Pot::Providers)
}

pub fn checker_pot() -> AccountId {
	Rewards::pot_account(Pot::Checkers)
}

pub fn events() -> Vec<Event<Test>> {
	take_events::<Test, Event<Test>>()
}
