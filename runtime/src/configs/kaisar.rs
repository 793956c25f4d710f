//! Configuration of Kaisar's own pallets, and their connections.
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
	/// Id of the account that holds all stake.
	pub const ProvidersPalletId: PalletId = PalletId(*b"kai/prov");
	/// Id of the account that owns the collection of licenses.
	pub const LicensesPalletId: PalletId = PalletId(*b"kai/lice");
	/// Id of the accounts that hold the reward pots and the checkers' reserve.
	pub const RewardsPalletId: PalletId = PalletId(*b"kai/rwrd");
	/// Id of the account that holds the KAI behind credits.
	pub const OrdersPalletId: PalletId = PalletId(*b"kai/ordr");
	/// Part of a block, before its extrinsics, for orders that end or wait for a worker: a tenth. If that is
	/// not enough, they get the weight that the extrinsics leave.
	pub OrdersHookWeight: Weight = Perbill::from_percent(10) * RuntimeBlockWeights::get().max_block;
	/// Deposit for an operator's record, on hold until the record is removed.
	pub const RecordDeposit: Balance = KAI;
	/// Blocks after minting in which a license cannot be transferred: a year. Counted in blocks,
	/// since licenses that are minted at genesis have no time of day.
	pub const LicenseLock: BlockNumber = 365 * DAYS;
	/// Minimum amount of a redemption, in units of vKAI.
	pub const MinRedemption: Balance = KAI;
	/// Cap on the supply, in KAI units.
	pub const MaxSupply: Balance = kaisar_math::emission::MAX_SUPPLY;
	/// Reason of the hold of a worker's storage deposit.
	pub const WorkerHoldReason: RuntimeHoldReason =
		RuntimeHoldReason::Providers(pallet_providers::HoldReason::WorkerDeposit);
	/// Storage deposit of a worker, for its entry.
	pub const WorkerBaseDeposit: Balance = deposit(1, 0);
	/// Storage deposit of a worker, for a byte.
	pub const WorkerByteDeposit: Balance = deposit(0, 1);
	/// Recipient of registration fees.
	pub TreasuryAccount: AccountId = fees::treasury();
}

/// VRF output in the header of the running block. It is available from the block's first hook to its last,
/// unlike the one in `pallet-babe`, which is the previous block's until the block ends.
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

/// Lock that prevents transfers of licenses that are young or delegated.
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

/// Returns whether a proxy of this type may make `call`.
pub fn proxy_may(proxy: ProxyType, call: &RuntimeCall) -> bool {
	use RuntimeCall as Call;
	// Only a proxy of type `Any` may make these calls. A redemption gives away up to three quarters of the
	// amount. Stake can go to anybody's worker, including the proxy's own, and stays there for a week; a
	// license at the proxy's own operator earns for that operator. With keys of its own, the proxy could
	// have the account's workers and validator slashed and its checker banned. Calls for another account,
	// whose proxy or co-signer this account is, would escape this filter; so would an announcement, which
	// anybody may execute.
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
