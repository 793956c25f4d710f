//! A runtime with this pallet, and partners that tests steer through storage.

use crate::{self as pallet_checkers, *};
use alloc::collections::BTreeMap;
use frame_support::{assert_ok, derive_impl, parameter_types, traits::ConstU128};
use kaisar_primitives::keys::possession_payload;
use sp_core::{Pair, ed25519, sr25519};
use sp_runtime::{BuildStorage, DispatchError};

pub type AccountId = u64;

/// The deposit of an operator in the mock.
pub const DEPOSIT: u128 = 100;
/// What each account has.
pub const FUNDS: u128 = 1_000;

#[frame_support::runtime]
mod runtime {
	#[runtime::runtime]
	#[runtime::derive(
		RuntimeCall,
		RuntimeEvent,
		RuntimeError,
		RuntimeOrigin,
		RuntimeFreezeReason,
		RuntimeHoldReason,
		RuntimeSlashReason,
		RuntimeLockId,
		RuntimeTask,
		RuntimeViewFunction
	)]
	pub struct Test;

	#[runtime::pallet_index(0)]
	pub type System = frame_system::Pallet<Test>;
	#[runtime::pallet_index(1)]
	pub type Balances = pallet_balances::Pallet<Test>;
	#[runtime::pallet_index(2)]
	pub type Checkers = pallet_checkers::Pallet<Test>;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
	type Block = frame_system::mocking::MockBlock<Test>;
	type AccountData = pallet_balances::AccountData<u128>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
	type Balance = u128;
	type ExistentialDeposit = ConstU128<1>;
	type AccountStore = System;
}

parameter_types! {
	/// Who holds which licence; `None` is a burnt one.
	pub storage Holders: BTreeMap<LicenceId, Option<AccountId>> = BTreeMap::new();
	pub storage NextRound: RoundIndex = 0;
	pub storage OldestRound: RoundIndex = 0;
	pub storage Seated: Vec<OperatorId> = Vec::new();
	pub storage Epoch: EpochIndex = 0;
	pub storage Millis: u64 = 0;
	/// What Rewards was told: the pool, the member, the operator's licences and commission then.
	pub storage Told: Vec<(PoolId, Option<AccountId>, u32, Perbill)> = Vec::new();
	pub storage RewardsRefuse: bool = false;
	pub storage OperatorDeposit: u128 = DEPOSIT;
}

/// Licences with holders as the test says.
pub struct MockLicences;
impl LicenceInfo<AccountId> for MockLicences {
	fn minted() -> u32 {
		Holders::get().len() as u32
	}
	fn holder(licence: LicenceId) -> Option<AccountId> {
		Holders::get().get(&licence).copied().flatten()
	}
	fn mint(to: &AccountId) -> Result<LicenceId, DispatchError> {
		let licence = Self::minted();
		give(licence, *to);
		Ok(licence)
	}
}

/// Rounds as the test says.
pub struct MockChecks;
impl Checks for MockChecks {
	fn next_round() -> RoundIndex {
		NextRound::get()
	}
	fn oldest_round() -> RoundIndex {
		OldestRound::get()
	}
	fn is_seated(operator: OperatorId) -> bool {
		Seated::get().contains(&operator)
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

/// Writes down what it is told.
pub struct MockRewards;
impl OnPoolChange<AccountId> for MockRewards {
	fn before_change(pool: PoolId, member: Option<&AccountId>) -> DispatchResult {
		if RewardsRefuse::get() {
			return Err(DispatchError::Other("rewards refuse"));
		}
		let PoolId::Checker(operator) = pool else {
			panic!("not a pool of ours")
		};
		let record = Operators::<Test>::get(operator).expect("the operator exists");
		let mut told = Told::get();
		told.push((
			pool,
			member.copied(),
			record.licences.now,
			record.commission.at(Epoch::get()),
		));
		Told::set(&told);
		Ok(())
	}
}

/// The time of day as the test says.
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
	type Licences = MockLicences;
	type Checks = MockChecks;
	type OnPoolChange = MockRewards;
	type CurrentEpoch = Epoch;
	type Time = MockTime;
	type Deposit = OperatorDeposit;
	type WeightInfo = ();
}

/// A checker key and an agent key.
pub struct KeyRing(pub sr25519::Pair, pub ed25519::Pair);

/// The keys number `n`.
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

pub fn signed(account: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(account)
}

/// Gives licence `licence` to `holder`.
pub fn give(licence: LicenceId, holder: AccountId) {
	let mut holders = Holders::get();
	holders.insert(licence, Some(holder));
	Holders::set(&holders);
}

/// Burns a licence.
pub fn burn(licence: LicenceId) {
	let mut holders = Holders::get();
	holders.insert(licence, None);
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

/// Round `next` is the next to start, and nothing older than `oldest` runs.
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

/// Builds the state that a test starts with: licences 0 … 9, 300 and 301 are account 10's, the next
/// round is 4, and rounds from 2 on run.
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
		// Benchmarks sign with keys of the keystore.
		ext.register_extension(sp_keystore::KeystoreExt::new(
			sp_keystore::testing::MemoryKeystore::new(),
		));
		ext.execute_with(|| {
			System::set_block_number(1);
			for licence in (0..10).chain([300, 301]) {
				give(licence, 10);
			}
			rounds(2, 4);
		});
		ext
	}

	/// Runs the test, and all invariants after it.
	pub fn build_and_execute(test: impl FnOnce()) {
		Self::build().execute_with(|| {
			test();
			Checkers::do_try_state().expect("the invariants hold");
		});
	}
}
