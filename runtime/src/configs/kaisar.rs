//! How Kaisar's own pallets are set up, and how they meet.
//!
//! ```text
//!   Licenses ── LicenseInfo ──▶ Checkers ── Seats ──▶ Popw ◀── CheckedWorkers ── Providers
//!                                   Popw ── OnClosed ──▶ Rewards ◀── OnPoolChange ── Providers, Checkers
//!                                   Popw ── OnClosed ──▶ Orders ── Market ──▶ Providers
//!                                                        Orders ── ProtocolFees ──▶ Rewards
//! ```

use super::{
	ProxyType,
	params::dynamic_params::{checkers as checker_params, orders, popw, providers, rewards},
};
use crate::{
	AccountId, Balance, Balances, Checkers, Licenses, Orders, Popw, Providers, Rewards, Runtime,
	RuntimeCall, RuntimeHoldReason, System, Timestamp,
	constants::{RuntimeBlockWeights, deposit},
	fees,
};
use frame_support::{
	PalletId, parameter_types,
	traits::{ConstU32, Get, LinearStoragePrice, fungible::HoldConsideration},
	weights::Weight,
};
use frame_system::EnsureRoot;
use kaisar_primitives::{BlockNumber, DAYS, KAI};
use sp_consensus_babe::digests::CompatibleDigestItem;
use sp_runtime::Perbill;

parameter_types! {
	/// Holds all stake.
	pub const ProvidersPalletId: PalletId = PalletId(*b"kai/prov");
	/// Owns the licenses' collection.
	pub const LicensesPalletId: PalletId = PalletId(*b"kai/lice");
	/// Holds the reward pots and the checkers' reserve.
	pub const RewardsPalletId: PalletId = PalletId(*b"kai/rwrd");
	/// Holds the KAI behind credits.
	pub const OrdersPalletId: PalletId = PalletId(*b"kai/ordr");
	/// What a block gives to orders that end or wait for a worker before its extrinsics: a tenth. Where that
	/// does not do, they get what the extrinsics leave.
	pub OrdersHookWeight: Weight = Perbill::from_percent(10) * RuntimeBlockWeights::get().max_block;
	/// What an operator's record keeps on hold until it is removed.
	pub const RecordDeposit: Balance = KAI;
	/// Licenses stay with who they were minted to for a year.
	pub const LicenseLock: BlockNumber = 365 * DAYS;
	/// The least vKAI that can be redeemed at once.
	pub const MinRedemption: Balance = KAI;
	/// No more KAI than this ever exists.
	pub const MaxSupply: Balance = kaisar_math::emission::MAX_SUPPLY;
	/// The hold of a worker's storage deposit.
	pub const WorkerHoldReason: RuntimeHoldReason =
		RuntimeHoldReason::Providers(pallet_providers::HoldReason::WorkerDeposit);
	/// A worker's storage deposit, for being there.
	pub const WorkerBaseDeposit: Balance = deposit(1, 0);
	/// A worker's storage deposit, for a byte.
	pub const WorkerByteDeposit: Balance = deposit(0, 1);
	/// Where fees of registration go.
	pub TreasuryAccount: AccountId = fees::treasury();
}

/// The VRF output in the header of the running block. It is there from the block's first hook to its last, other
/// than what `pallet-babe` keeps, which is that of the block before until the block ends.
pub struct VrfOutput;

impl Get<Option<[u8; 32]>> for VrfOutput {
	fn get() -> Option<[u8; 32]> {
		System::digest()
			.logs
			.iter()
			.find_map(CompatibleDigestItem::as_babe_pre_digest)
			.and_then(|digest| {
				digest
					.vrf_signature()
					.map(|vrf| vrf.pre_output.0.to_bytes())
			})
	}
}

/// Keeps licenses where they are while they are young or delegated.
pub type LicenseLocker = pallet_licenses::LicenseLocker<Runtime, Checkers>;

impl pallet_providers::Config for Runtime {
	type Currency = Balances;
	type Consideration = HoldConsideration<
		AccountId,
		Balances,
		WorkerHoldReason,
		LinearStoragePrice<WorkerBaseDeposit, WorkerByteDeposit, Balance>,
	>;
	type PalletId = ProvidersPalletId;
	type FeeDestination = TreasuryAccount;
	type RegistrationFee = providers::RegistrationFee;
	type BaseStake = providers::BaseStake;
	type StakePerScore = providers::StakePerScore;
	type MaxStake = providers::MaxStake;
	type Unbonding = providers::Unbonding;
	type SlashDeferral = providers::SlashDeferral;
	type MaxUnbonding = ConstU32<32>;
	type CurrentEpoch = Rewards;
	type Classes = Rewards;
	type Prices = Orders;
	type Checks = Popw;
	type AdminOrigin = EnsureRoot<AccountId>;
	type SlashBounty = providers::SlashBounty;
	type Pots = Rewards;
	type Scores = Rewards;
	type OnPoolChange = Rewards;
	type WeightInfo = pallet_providers::weights::SubstrateWeight<Runtime>;
}

impl pallet_licenses::Config for Runtime {
	type PalletId = LicensesPalletId;
	type LockPeriod = LicenseLock;
	type Payment = Balances;
	type Treasury = TreasuryAccount;
	type AdminOrigin = EnsureRoot<AccountId>;
	type WeightInfo = pallet_licenses::weights::SubstrateWeight<Runtime>;
}

impl pallet_checkers::Config for Runtime {
	type RuntimeHoldReason = RuntimeHoldReason;
	type Currency = Balances;
	type Licenses = Licenses;
	type Checks = Popw;
	type Workers = Providers;
	type OnPoolChange = Rewards;
	type RetiredPools = Rewards;
	type CurrentEpoch = Rewards;
	type Time = Timestamp;
	type Deposit = checker_params::Deposit;
	type RecordDeposit = RecordDeposit;
	type WeightInfo = pallet_checkers::weights::SubstrateWeight<Runtime>;
}

impl pallet_popw::Config for Runtime {
	type Workers = Providers;
	type Seats = Checkers;
	type OnClosed = (Orders, Rewards);
	type Unopened = Rewards;
	type CurrentEpoch = Rewards;
	type Rentals = Orders;
	type Classes = Rewards;
	type VrfOutput = VrfOutput;
	type Time = Timestamp;
	type PhaseLength = popw::PhaseLength;
	type TrialOffset = popw::TrialOffset;
	type CheckPeriod = popw::CheckPeriod;
	type GapPeriods = popw::GapPeriods;
	type MaxDue = popw::MaxDue;
	type CommitteeSize = popw::CommitteeSize;
	type MinOperators = popw::MinOperators;
	type Bench = popw::Bench;
	type WeightInfo = pallet_popw::weights::SubstrateWeight<Runtime>;
}

impl pallet_rewards::Config for Runtime {
	type Currency = Balances;
	type Pools = (Providers, Checkers);
	type Operators = Checkers;
	type Checks = Popw;
	type AdminOrigin = EnsureRoot<AccountId>;
	type PalletId = RewardsPalletId;
	type MaxSupply = MaxSupply;
	type EpochLength = rewards::EpochLength;
	type Split = rewards::Split;
	type Ratio = rewards::Ratio;
	type PodFeeCap = rewards::PodFeeCap;
	type CpuOnlyWeight = rewards::CpuOnlyWeight;
	type PayUncalibrated = rewards::PayUncalibrated;
	type MaxStake = providers::MaxStake;
	type HistoryDepth = rewards::HistoryDepth;
	type Treasury = TreasuryAccount;
	type MinRedemption = MinRedemption;
	type MaxRedemptions = ConstU32<32>;
	type WeightInfo = pallet_rewards::weights::SubstrateWeight<Runtime>;
}

impl pallet_orders::Config for Runtime {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Workers = Providers;
	type Checks = Popw;
	type Classes = Rewards;
	type Seeds = Popw;
	type Fees = Rewards;
	type Treasury = TreasuryAccount;
	type PalletId = OrdersPalletId;
	type AdminOrigin = EnsureRoot<AccountId>;
	type PlanRates = orders::Plans;
	type ProtocolFee = orders::ProtocolFee;
	type IssueBond = orders::IssueBond;
	type DeployDeadline = orders::DeployDeadline;
	type SetupBlocks = orders::SetupBlocks;
	type BarBlocks = orders::BarBlocks;
	type ClosingTimeout = orders::ClosingTimeout;
	type History = orders::History;
	type MatchDraws = orders::MatchDraws;
	type HookWeight = OrdersHookWeight;
	type WeightInfo = pallet_orders::weights::SubstrateWeight<Runtime>;
}

/// Whether a proxy of this type may make `call`.
pub fn proxy_may(proxy: ProxyType, call: &RuntimeCall) -> bool {
	use RuntimeCall as Call;
	// A redemption gives up to three quarters of it away. Stake may go to anybody's worker, the proxy's own
	// among them, and stays there for a week; a license at the proxy's own operator earns for that one. Keys of
	// the proxy's own would let it have the account's workers and validator slashed and its checker banned. Calls
	// for another account, whose proxy or co-signer this one is, leave this filter behind; so does an
	// announcement, which anybody may carry out.
	if matches!(
		call,
		Call::Rewards(pallet_rewards::Call::redeem { .. })
			| Call::Providers(
				pallet_providers::Call::stake { .. }
					| pallet_providers::Call::register_worker { .. }
					| pallet_providers::Call::set_worker_keys { .. }
			) | Call::Checkers(
			pallet_checkers::Call::register_checker { .. }
				| pallet_checkers::Call::set_checker_keys { .. }
				| pallet_checkers::Call::delegate_license { .. }
		) | Call::Session(..)
			| Call::Multisig(
				pallet_multisig::Call::as_multi { .. }
					| pallet_multisig::Call::as_multi_threshold_1 { .. }
					| pallet_multisig::Call::approve_as_multi { .. }
			) | Call::Proxy(
			pallet_proxy::Call::proxy { .. }
				| pallet_proxy::Call::proxy_announced { .. }
				| pallet_proxy::Call::announce { .. }
		)
	) {
		return proxy == ProxyType::Any;
	}
	let serves_orders = matches!(
		call,
		Call::Orders(
			pallet_orders::Call::confirm_deployment { .. }
				| pallet_orders::Call::fail_deployment { .. }
				| pallet_orders::Call::report_exit { .. }
				| pallet_orders::Call::close_order { .. }
		)
	);
	match proxy {
		ProxyType::Any => true,
		ProxyType::NonTransfer => {
			serves_orders
				|| matches!(
					call,
					Call::System(..)
						| Call::Utility(..)
						| Call::Multisig(..)
						| Call::Proxy(..) | Call::Preimage(..)
						| Call::Scheduler(..)
						| Call::Treasury(..)
						| Call::Providers(..)
						| Call::Checkers(..)
						| Call::Popw(..) | Call::Rewards(..)
				)
		}
		ProxyType::Provider => {
			serves_orders
				|| matches!(
					call,
					Call::Utility(..)
						| Call::Providers(..)
						| Call::Popw(..) | Call::Rewards(
						pallet_rewards::Call::settle { .. }
							| pallet_rewards::Call::claim_worker { .. }
							| pallet_rewards::Call::claim_delegation { .. }
					)
				)
		}
		ProxyType::Checker => matches!(
			call,
			Call::Utility(..)
				| Call::Checkers(..)
				| Call::Popw(..)
				| Call::Rewards(
					pallet_rewards::Call::settle { .. }
						| pallet_rewards::Call::claim_checker { .. }
						| pallet_rewards::Call::claim_delegation { .. }
				)
		),
	}
}
