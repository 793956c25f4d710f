//! A runtime with this pallet, and partner pallets that tests control through storage.

use crate::{self as pallet_checkers, *};
use alloc::collections::BTreeMap;
use frame_support::{assert_ok, derive_impl, parameter_types, traits::ConstU128};
use kaisar_primitives::{
	PoolTerms, Pools, Profile, SharesChange, Standings, WorkerCounts, WorkerInfo, WorkerKey,
	WorkerRegistry, WorkerSpec, WorkerState,
	keys::{possession_payload, receipt_payload},
};
use kaisar_test_support::frame::observers::expect_terms;
use sp_core::{Pair, ed25519, sr25519};
use sp_runtime::{BuildStorage, DispatchError};

pub type AccountId = u64;
pub type Extrinsic = kaisar_test_support::frame::runtime::Extrinsic<Test, RuntimeCall>;
type Block = kaisar_test_support::frame::runtime::Block<Test, RuntimeCall, u64>;

/// The deposit of an operator in the mock.
pub const DEPOSIT: u128 = 100;
/// The part of it that stays on hold for the record.
pub const KEPT: u128 = 1;
/// The initial balance of each account.
pub const FUNDS: u128 = 1_000;

kaisar_test_support::mock_runtime!(Test {
	0: System = frame_system,
	1: Balances = pallet_balances,
	2: Checkers = pallet_checkers,
});

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
	type Block = Block;
	type AccountData = pallet_balances::AccountData<u128>;
}

kaisar_test_support::submit_authorized_calls!(Test, RuntimeCall, Extrinsic);

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
	type Balance = u128;
	type ExistentialDeposit = ConstU128<1>;
	type AccountStore = System;
}

parameter_types! {
	/// The holder of each license; `None` for a burnt one.
	pub storage Holders: BTreeMap<LicenseId, Option<AccountId>> = BTreeMap::new();
	pub storage NextRound: RoundIndex = 0;
	pub storage OldestRound: RoundIndex = 0;
	/// Rounds in flight that are older than [`OldestRound`]: a census.
	pub storage Census: Vec<RoundIndex> = Vec::new();
	/// The number of entries that Popw holds of each operator.
	pub storage Kept: BTreeMap<OperatorId, u32> = BTreeMap::new();
	/// The first epoch that has not expired.
	pub storage OldestEpoch: EpochIndex = 0;
	/// The accounts that were paid out, and from which pool.
	pub storage PaidOut: Vec<(PoolId, AccountId)> = Vec::new();
	pub storage Seated: Vec<OperatorId> = Vec::new();
	pub storage Epoch: EpochIndex = 0;
	pub storage Millis: u64 = 0;
	/// The changes reported to Rewards: the pool, the member, and the operator's licenses and commission
	/// then.
	pub storage Told: Vec<(PoolId, Option<AccountId>, u32, Perbill)> = Vec::new();
	/// The shares of each member as reported to Rewards.
	pub storage RewardShares: BTreeMap<(OperatorId, AccountId), u128> = BTreeMap::new();
	pub storage RewardsRefuse: bool = false;
	/// Workers that are no longer in the registry.
	pub storage GoneWorkers: Vec<WorkerId> = Vec::new();
	/// Rounds whose record was removed.
	pub storage GoneRounds: Vec<RoundIndex> = Vec::new();
	pub storage OperatorDeposit: u128 = DEPOSIT;
}

/// Licenses with holders set by the test.
pub struct MockLicenses;
impl LicenseInfo<AccountId> for MockLicenses {
	fn minted() -> u32 {
		Holders::get().len() as u32
	}
	fn holder(license: LicenseId) -> Option<AccountId> {
		Holders::get().get(&license).copied().flatten()
	}
	fn mint(to: &AccountId) -> Result<LicenseId, DispatchError> {
		let license = Self::minted();
		give(license, *to);
		Ok(license)
	}
}

/// Rounds set by the test.
pub struct MockChecks;
impl Checks for MockChecks {
	fn next_round() -> RoundIndex {
		NextRound::get()
	}
	fn oldest_round() -> RoundIndex {
		OldestRound::get()
	}
	fn in_flight() -> Vec<RoundIndex> {
		Census::get()
			.into_iter()
			.chain(OldestRound::get()..NextRound::get())
			.collect()
	}
	fn forget_operator(operator: OperatorId, limit: u32) -> u32 {
		let mut kept = Kept::get();
		let entries = kept.entry(operator).or_default();
		let removed = limit.min(*entries);
		*entries -= removed;
		Kept::set(&kept);
		removed
	}
	fn is_seated(operator: OperatorId) -> bool {
		Seated::get().contains(&operator)
	}
	fn round_seed(round: RoundIndex) -> Option<H256> {
		(!GoneRounds::get().contains(&round)).then(|| seed(round))
	}
	fn touch(_: WorkerId) {}
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

/// Workers of account 99; every number exists, unless the test removes it.
pub struct MockWorkers;
impl WorkerRegistry<AccountId> for MockWorkers {
	fn info(worker: WorkerId, _: RoundIndex) -> Option<WorkerInfo<AccountId>> {
		(!GoneWorkers::get().contains(&worker)).then(|| WorkerInfo {
			owner: 99,
			key: WorkerKey::from(sr25519::Public::from_raw([1; 32])),
			agent: worker_agent(worker).public(),
			standings: Standings::new(WorkerState::Online, 0),
			forced: None,
			spec: WorkerSpec::default(),
			profile: Some(Profile::default()),
			order: None,
		})
	}
	fn by_key(_: &WorkerKey) -> Option<WorkerId> {
		None
	}
	fn counts() -> WorkerCounts {
		WorkerCounts::default()
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(_: &AccountId, _: WorkerKey, _: AgentKey) -> WorkerId {
		0
	}
}

/// Records the changes reported to it, and checks that the terms before a change are those after the last
/// one.
pub struct MockRewards;
impl OnPoolChange<AccountId> for MockRewards {
	fn on_change(
		pool: PoolId,
		before: PoolTerms,
		change: Option<SharesChange<AccountId>>,
	) -> DispatchResult {
		if RewardsRefuse::get() {
			return Err(DispatchError::Other("rewards refuse"));
		}
		let PoolId::Checker(operator) = pool else {
			panic!("not a pool of ours")
		};
		let mut told = Told::get();
		told.push((
			pool,
			change.map(|change| *change.who),
			before.value.shares as u32,
			before.commission.in_epoch(Epoch::get()),
		));
		Told::set(&told);
		let (before_terms, mut known) = (before, RewardShares::get());
		let total = |shares: &BTreeMap<(OperatorId, AccountId), u128>| -> u128 {
			shares
				.iter()
				.filter(|((of, _), _)| *of == operator)
				.map(|(_, shares)| *shares)
				.sum()
		};
		assert_eq!(
			before.value.shares,
			total(&known),
			"the terms before the change"
		);
		if let Some(SharesChange { who, before, after }) = change {
			assert_eq!(known.insert((operator, *who), after).unwrap_or(0), before);
			assert_eq!(Checkers::shares(pool, who), after, "told after the change");
			RewardShares::set(&known);
		}
		let terms = Checkers::terms(pool);
		assert_eq!(terms.value.shares, total(&known));
		expect_terms(pool, before_terms, terms);
		Ok(())
	}
}

impl RetiredPools<AccountId> for MockRewards {
	fn has_expired(_: PoolId, last: EpochIndex) -> bool {
		last < OldestEpoch::get()
	}
	fn pay_out(pool: PoolId, who: &AccountId) -> DispatchResult {
		assert_eq!(Checkers::shares(pool, who), 0, "paid after it left");
		let mut paid = PaidOut::get();
		paid.push((pool, *who));
		PaidOut::set(&paid);
		Ok(())
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_expire() {
		OldestEpoch::set(&(Epoch::get() + 1));
	}
}

/// The time of day set by the test.
pub struct MockTime;
impl Time for MockTime {
	type Moment = u64;
	fn now() -> u64 {
		Millis::get()
	}
}

impl Config for Test {
	type RuntimeHoldReason = RuntimeHoldReason;
	type Currency = Balances;
	type Licenses = MockLicenses;
	type Checks = MockChecks;
	type Workers = MockWorkers;
	type OnPoolChange = MockRewards;
	type RetiredPools = MockRewards;
	type CurrentEpoch = Epoch;
	type Time = MockTime;
	type Deposit = OperatorDeposit;
	type RecordDeposit = ConstU128<KEPT>;
	type WeightInfo = ();
}

/// A checker key and an agent key.
pub struct KeyRing(pub sr25519::Pair, pub ed25519::Pair);

/// Returns keys number `n`.
pub fn ring(n: u8) -> KeyRing {
	KeyRing(
		sr25519::Pair::from_seed(&[n; 32]),
		ed25519::Pair::from_seed(&[n; 32]),
	)
}

impl KeyRing {
	pub fn checker(&self) -> CheckerKey {
		self.0.public().into()
	}
	pub fn agent(&self) -> AgentKey {
		self.1.public()
	}
	pub fn prove_as(&self, role: KeyRole, account: AccountId) -> KeyProof {
		let payload = possession_payload(role, System::block_hash(0), &account);
		KeyProof {
			key: self.0.sign(&payload),
			agent: self.1.sign(&payload),
		}
	}
	pub fn prove(&self, account: AccountId) -> KeyProof {
		self.prove_as(KeyRole::Checker, account)
	}
}

/// Returns the seed of a round.
pub fn seed(round: RoundIndex) -> H256 {
	H256::repeat_byte(round as u8)
}

/// Returns the key pair of a worker's agent.
pub fn worker_agent(worker: WorkerId) -> ed25519::Pair {
	let mut seed = [7; 32];
	seed[..4].copy_from_slice(&worker.to_le_bytes());
	ed25519::Pair::from_seed(&seed)
}

/// Returns the receipt that a worker's agent gives to a checker before serving it in a round.
pub fn receipt(worker: WorkerId, round: RoundIndex, checker: &CheckerKey) -> AgentSignature {
	worker_agent(worker).sign(&receipt_payload(
		System::block_hash(0),
		round,
		seed(round),
		worker,
		checker,
	))
}

/// Asserts that the shares reported to Rewards are those in storage.
pub fn shares_are_known() {
	let mut sums = BTreeMap::<OperatorId, u128>::new();
	for ((operator, member), shares) in RewardShares::get() {
		assert_eq!(Checkers::shares(PoolId::Checker(operator), &member), shares);
		*sums.entry(operator).or_default() += shares;
	}
	for operator in 0..NextOperator::<Test>::get() {
		let value = Checkers::terms(PoolId::Checker(operator)).value;
		let sum = sums.get(&operator).copied().unwrap_or(0);
		assert_eq!((value.owner, value.members, value.shares), (0, sum, sum));
	}
}

pub fn signed(account: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(account)
}

/// Gives license `license` to `holder`.
pub fn give(license: LicenseId, holder: AccountId) {
	let mut holders = Holders::get();
	holders.insert(license, Some(holder));
	Holders::set(&holders);
}

/// Burns a license.
pub fn burn(license: LicenseId) {
	let mut holders = Holders::get();
	holders.insert(license, None);
	Holders::set(&holders);
}

/// Registers `account` with keys number `account`.
pub fn register(account: AccountId) -> OperatorId {
	let ring = ring(account as u8);
	let number = NextOperator::<Test>::get();
	assert_ok!(Checkers::register_checker(
		signed(account),
		ring.checker(),
		ring.agent(),
		Perbill::from_percent(10),
		ring.prove(account),
	));
	number
}

/// Sets the next round to start to `next`, and the oldest running one to `oldest`.
pub fn rounds(oldest: RoundIndex, next: RoundIndex) {
	OldestRound::set(&oldest);
	NextRound::set(&next);
}

pub fn record(operator: OperatorId) -> OperatorOf<Test> {
	Operators::<Test>::get(operator).expect("the operator exists")
}

pub fn held(account: AccountId) -> u128 {
	use frame_support::traits::fungible::InspectHold;
	Balances::balance_on_hold(&HoldReason::OperatorDeposit.into(), &account)
}

pub fn last_event() -> Event<Test> {
	System::read_events_for_pallet::<Event<Test>>()
		.pop()
		.expect("there is an event")
}

/// Builds a test's initial state: account 10 holds licenses 0 … 9, 300 and 301, the next round is 4, and
/// rounds from 2 on are running.
pub struct ExtBuilder;

impl ExtBuilder {
	pub fn build() -> sp_io::TestExternalities {
		let config = RuntimeGenesisConfig {
			balances: pallet_balances::GenesisConfig {
				balances: (1..=20).map(|account| (account, FUNDS)).collect(),
				..Default::default()
			},
			..Default::default()
		};
		let mut ext = sp_io::TestExternalities::new(
			config
				.build_storage()
				.expect("the genesis of the mock can be built"),
		);
		// Benchmarks sign with the keystore's keys.
		ext.register_extension(sp_keystore::KeystoreExt::new(
			sp_keystore::testing::MemoryKeystore::new(),
		));
		ext.execute_with(|| {
			System::set_block_number(1);
			for license in (0..10).chain([300, 301]) {
				give(license, 10);
			}
			rounds(2, 4);
		});
		ext
	}

	/// Runs the test, and checks all invariants afterwards.
	pub fn build_and_execute(test: impl FnOnce()) {
		Self::build().execute_with(|| {
			test();
			Checkers::do_try_state().expect("the invariants hold");
			shares_are_known();
		});
	}
}
