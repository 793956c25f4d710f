//! A runtime with `pallet-nfts` and this pallet.

use crate as pallet_licenses;
use frame_support::{
	PalletId, derive_impl, parameter_types,
	traits::{AsEnsureOriginWithArg, ConstU32, ConstU64, ConstU128},
};
use frame_system::EnsureRoot;
use kaisar_primitives::{IsDelegated, LicenseId};
use pallet_nfts::PalletFeatures;
use sp_runtime::{
	BuildStorage, MultiSignature,
	traits::{IdentifyAccount, IdentityLookup, Verify},
};

pub type AccountPublic = <MultiSignature as Verify>::Signer;
pub type AccountId = <AccountPublic as IdentifyAccount>::AccountId;

/// The initial balance of accounts 1 … 9.
pub const FUNDS: u128 = 1_000_000;
/// Blocks for which a license of the mock is locked.
pub const LOCK: u64 = 100;

kaisar_test_support::mock_runtime!(Test {
	0: System = frame_system,
	1: Balances = pallet_balances,
	2: Nfts = pallet_nfts,
	3: Licenses = pallet_licenses,
});

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
	type AccountId = AccountId;
	type Lookup = IdentityLookup<AccountId>;
	type Block = frame_system::mocking::MockBlock<Test>;
	type AccountData = pallet_balances::AccountData<u128>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
	type Balance = u128;
	type ExistentialDeposit = MinimumBalance;
	type AccountStore = System;
}

parameter_types! {
	pub Features: PalletFeatures = PalletFeatures::all_enabled();
	pub const LicensesPalletId: PalletId = PalletId(*b"ksr/lcns");
	pub storage Delegated: Vec<LicenseId> = Vec::new();
	pub storage MinimumBalance: u128 = 1;
	pub Treasury: AccountId = account(99);
}

/// Licenses that the test declares delegated.
pub struct MockDelegations;
impl IsDelegated for MockDelegations {
	fn is_delegated(license: LicenseId) -> bool {
		Delegated::get().contains(&license)
	}
}

impl pallet_nfts::Config for Test {
	type RuntimeEvent = RuntimeEvent;
	type CollectionId = u32;
	type ItemId = LicenseId;
	type Currency = Balances;
	type CreateOrigin = AsEnsureOriginWithArg<frame_system::EnsureSigned<AccountId>>;
	type ForceOrigin = EnsureRoot<AccountId>;
	type Locker = pallet_licenses::LicenseLocker<Test, MockDelegations>;
	type CollectionDeposit = ConstU128<100>;
	type ItemDeposit = ConstU128<1>;
	type MetadataDepositBase = ConstU128<1>;
	type AttributeDepositBase = ConstU128<1>;
	type DepositPerByte = ConstU128<1>;
	type StringLimit = ConstU32<128>;
	type KeyLimit = ConstU32<64>;
	type ValueLimit = ConstU32<64>;
	type ApprovalsLimit = ConstU32<4>;
	type ItemAttributesApprovalsLimit = ConstU32<2>;
	type MaxTips = ConstU32<4>;
	type MaxDeadlineDuration = ConstU64<1_000>;
	type MaxAttributesPerCall = ConstU32<2>;
	type Features = Features;
	type OffchainSignature = MultiSignature;
	type OffchainPublic = AccountPublic;
	type WeightInfo = ();
	#[cfg(feature = "runtime-benchmarks")]
	type Helper = ();
	type BlockNumberProvider = System;
}

impl pallet_licenses::Config for Test {
	type PalletId = LicensesPalletId;
	type LockPeriod = ConstU64<LOCK>;
	type Payment = Balances;
	type Treasury = Treasury;
	type AdminOrigin = EnsureRoot<AccountId>;
	type WeightInfo = ();
}

pub fn account(n: u8) -> AccountId {
	AccountId::new([n; 32])
}

/// Builds a test's initial state.
#[derive(Default)]
pub struct ExtBuilder {
	licenses: Vec<(AccountId, u32)>,
	sale: Option<crate::SaleRoundOf<Test>>,
	whitelist: Vec<AccountId>,
}

impl ExtBuilder {
	/// Sets the sale at genesis, with account `n` on the whitelist for each of `listed`.
	pub fn sale(mut self, round: crate::SaleRoundOf<Test>, listed: &[u8]) -> Self {
		self.sale = Some(round);
		self.whitelist = listed.iter().map(|n| account(*n)).collect();
		self
	}

	/// Gives `count` licenses to account `n` at genesis.
	pub fn licenses(mut self, n: u8, count: u32) -> Self {
		self.licenses.push((account(n), count));
		self
	}

	pub fn build(self) -> sp_io::TestExternalities {
		let config = RuntimeGenesisConfig {
			licenses: pallet_licenses::GenesisConfig {
				licenses: self.licenses,
				sale: self.sale,
				whitelist: self.whitelist,
			},
			balances: pallet_balances::GenesisConfig {
				balances: (1..=9).map(|n| (account(n), FUNDS)).collect(),
				..Default::default()
			},
			..Default::default()
		};
		let mut ext = sp_io::TestExternalities::new(
			config
				.build_storage()
				.expect("the genesis of the mock can be built"),
		);
		ext.execute_with(|| System::set_block_number(1));
		ext
	}

	/// Runs the test, and checks all invariants afterwards.
	pub fn build_and_execute(self, test: impl FnOnce()) {
		self.build().execute_with(|| {
			test();
			Licenses::do_try_state().expect("the invariants hold");
		});
	}
}
