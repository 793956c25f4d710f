//! A runtime in which rentals meet the real registry of workers, real rounds and real rewards. Only the
//! operators are a plain table, whose committees vote as the test sets.

use crate as pallet_orders;
use crate::*;
use codec::{Decode, Encode};
use frame_support::{
	PalletId, derive_impl, parameter_types,
	storage::{storage_prefix, unhashed},
	storage_alias,
	traits::{
		ConstU32, ConstU128, Get, Hooks, LinearStoragePrice, Time, fungible::HoldConsideration,
	},
	weights::{Weight, constants::WEIGHT_REF_TIME_PER_SECOND},
};
use frame_system::EnsureRoot;
use kaisar_math::{Ratio, Split};
use kaisar_primitives::{
	AgentKey, Balance, BenchParams, BlockNumber, CheckerKey, Checks, ClosedCheck, EpochIndex,
	GpuClass, HOURS, KAI, KeyProof, LicenseId, OnClosed, OperatorId, OperatorInfo, OrderId,
	Outcome, PlanRates, PoolId, PoolTerms, Pools, Profile, RoundIndex, SeatResult, Seats, Verdict,
	Votes, WorkerId, WorkerKey, WorkerSpec, WorkerState,
	keys::{KeyRole, possession_payload},
};
use pallet_popw::{LastCheck, Phase, Round};
use pallet_providers::Workers as Records;
use sp_core::{Pair, ed25519, sr25519};
use sp_runtime::{
	BuildStorage, DispatchResult, FixedU128, Perbill,
	traits::{BlakeTwo256, Dispatchable, IdentityLookup},
};
use std::collections::BTreeMap;

mod chain;
mod harm;
mod mass;
mod model;
mod proof;
mod property;

pub type AccountId = u128;
pub type Extrinsic = kaisar_test_support::frame::runtime::Extrinsic<World, RuntimeCall>;
type Header = sp_runtime::generic::Header<BlockNumber, BlakeTwo256>;
type Block = sp_runtime::generic::Block<Header, Extrinsic>;

// In the order of the runtime, which is that of the hooks.
kaisar_test_support::mock_runtime!(World {
	0: System = frame_system,
	7: Balances = pallet_balances,
	30: Providers = pallet_providers,
	33: Popw = pallet_popw,
	34: Rewards = pallet_rewards,
	35: Rentals = pallet_orders,
});

/// The existential deposit.
pub const ED: Balance = KAI / 1_000;
pub const FUNDS: Balance = 1_000_000 * KAI;
/// Customers: two rich ones, one that can afford little.
pub const CARLA: AccountId = 1;
pub const DAN: AccountId = 2;
pub const POOR: AccountId = 3;
/// Providers; the first also rents.
pub const PETRA: AccountId = 11;
pub const PAUL: AccountId = 12;
/// An account without a role.
pub const ANYONE: AccountId = 21;
pub const TREASURY: AccountId = 99;
/// Blocks of a phase, and between spot rounds.
pub const PHASE: BlockNumber = 5;
pub const TIMEOUT: BlockNumber = 6 * PHASE;
pub const HISTORY: BlockNumber = 700;
pub const DEADLINE: BlockNumber = 75;
pub const SETUP: BlockNumber = 30;
pub const BAR: BlockNumber = 60;
pub const BOND: Balance = 10 * KAI;
/// The number of operators, and of the licenses of each.
pub const OPERATORS: OperatorId = 3;
const LICENSES: u32 = 10;
/// More than any block of the property test needs.
pub const PLENTY: Weight = Weight::from_parts(1_000 * WEIGHT_REF_TIME_PER_SECOND, u64::MAX);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for World {
	type AccountId = AccountId;
	type Lookup = IdentityLookup<AccountId>;
	type Block = Block;
	type AccountData = pallet_balances::AccountData<Balance>;
	type DbWeight = frame_support::weights::constants::ParityDbWeight;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for World {
	type Balance = Balance;
	type ExistentialDeposit = ConstU128<ED>;
	type AccountStore = System;
	type FreezeIdentifier = [u8; 8];
	type MaxFreezes = ConstU32<4>;
}

kaisar_test_support::submit_authorized_calls!(World, RuntimeCall, Extrinsic);

parameter_types! {
	pub const ProvidersPalletId: PalletId = PalletId(*b"kai/prov");
	pub const RewardsPalletId: PalletId = PalletId(*b"kai/rwrd");
	pub const OrdersPalletId: PalletId = PalletId(*b"kai/ordr");
	pub const WorkerHoldReason: RuntimeHoldReason =
		RuntimeHoldReason::Providers(pallet_providers::HoldReason::WorkerDeposit);
	pub const Treasury: AccountId = TREASURY;
	pub const RegistrationFee: Balance = 10 * KAI;
	pub const BaseStake: Balance = 500 * KAI;
	pub const StakePerScore: Balance = 200 * KAI;
	pub const MaxStake: Balance = 50_000 * KAI;
	pub const Unbonding: BlockNumber = 300;
	pub const Deferral: BlockNumber = 200;
	pub const Bounty: Perbill = Perbill::from_percent(1);
	pub const MaxSupply: Balance = kaisar_math::emission::MAX_SUPPLY;
	pub const EpochLength: BlockNumber = 500;
	pub const EmissionSplit: Split = Split {
		validators: Perbill::from_percent(10),
		providers: Perbill::from_percent(45),
		checkers: Perbill::from_percent(45),
	};
	pub const PodRatio: Ratio = Ratio::Automatic;
	pub const PodFeeCap: FixedU128 = FixedU128::from_rational(1, 2);
	pub const CpuOnlyWeight: Perbill = Perbill::from_percent(10);
	pub const PayUncalibrated: bool = true;
	pub const HistoryDepth: EpochIndex = 4;
	pub storage PhaseLength: BlockNumber = PHASE;
	pub storage CheckPeriod: u32 = 40;
	pub const MaxDue: u32 = 40_000;
	pub const CommitteeSize: u8 = OPERATORS as u8;
	/// One less than the operators: in 24 draws, one of three is missed about once in 6,000 committees.
	pub const MinOperators: u8 = OPERATORS as u8 - 1;
	pub const TrialOffset: BlockNumber = 2;
	pub Bench: BenchParams = BenchParams::default();
	pub const Fee: Perbill = Perbill::from_percent(10);
	pub const Rates: PlanRates = PlanRates {
		month: Perbill::from_percent(90),
		quarter: Perbill::from_percent(80),
	};
	pub const IssueBond: Balance = BOND;
	pub const DeployDeadline: BlockNumber = DEADLINE;
	pub const SetupBlocks: BlockNumber = SETUP;
	pub const BarBlocks: BlockNumber = BAR;
	pub const ClosingTimeout: BlockNumber = TIMEOUT;
	pub const History: BlockNumber = HISTORY;
	pub const MatchDraws: u32 = 8;
	pub storage HookWeight: Weight = PLENTY;
}

/// Operators, whose pools have no members.
pub struct Operators;
impl Pools<AccountId> for Operators {
	fn owner(pool: PoolId) -> Option<AccountId> {
		match pool {
			PoolId::Worker(_) => None,
			PoolId::Checker(operator) => Some(operator_account(operator)),
		}
	}
	fn terms(_: PoolId) -> PoolTerms {
		PoolTerms::default()
	}
	fn shares(_: PoolId, _: &AccountId) -> u128 {
		0
	}
}

/// Returns the account of an operator.
pub fn operator_account(operator: OperatorId) -> AccountId {
	200 + AccountId::from(operator)
}

/// The registry of operators, which never changes.
pub struct Committee;
impl Seats<AccountId> for Committee {
	fn minted() -> u32 {
		OPERATORS * LICENSES
	}
	fn active() -> u32 {
		OPERATORS * LICENSES
	}
	fn seat(license: LicenseId, _: RoundIndex) -> Option<OperatorId> {
		Some(license / LICENSES)
	}
	fn operator(operator: OperatorId, _: RoundIndex) -> Option<OperatorInfo<AccountId>> {
		(operator < OPERATORS).then(|| OperatorInfo {
			account: operator_account(operator),
			key: CheckerKey::from(sr25519::Public::from_raw([2; 32])),
			agent: AgentKey::from_raw([2; 32]),
			licenses: LICENSES,
		})
	}
	fn number(account: &AccountId) -> Option<OperatorId> {
		(0..OPERATORS).find(|operator| operator_account(*operator) == *account)
	}
	fn by_key(_: &CheckerKey) -> Option<OperatorId> {
		None
	}
	fn revealed(_: OperatorId, _: RoundIndex) {}
	fn credit(_: OperatorId, _: WorkerId, _: RoundIndex, _: u32, _: SeatResult, _: bool) {}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(_: &AccountId, _: CheckerKey, _: AgentKey) -> OperatorId {
		0
	}
}

/// Popw's report of a check of a worker that serves an order. In storage, so that a failed call rolls it
/// back.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Observed {
	/// Number of the block's events before it.
	pub after: u32,
	pub order: OrderId,
	pub worker: WorkerId,
	pub round_start: BlockNumber,
	/// The finding; `None` without consensus.
	pub found: Option<Finding>,
	pub false_proof: bool,
	/// Whether the worker was rented when the round began.
	pub was_rented: bool,
	/// The most blocks that it may credit.
	pub credit: BlockNumber,
	/// Blocks that were proved rented, by the registry.
	pub rented: BlockNumber,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Finding {
	Serving,
	NotServing,
	Offline,
}

#[storage_alias]
pub type Observations =
	StorageValue<Mock, Vec<Observed>, frame_support::pallet_prelude::ValueQuery>;

/// The block in which a full check of an idle worker was last closed.
#[storage_alias]
pub type LastFull = StorageMap<Mock, frame_support::Twox64Concat, WorkerId, BlockNumber>;

/// Records the reports that Orders gets next.
pub struct Observer;
impl OnClosed for Observer {
	fn on_closed(check: &ClosedCheck) -> Weight {
		if check.order.is_none() && check.closing.full {
			LastFull::insert(check.worker, now());
		}
		let (Some(order), closing) = (check.order, check.closing) else {
			return Weight::zero();
		};
		let found = match closing.outcome {
			Outcome::Online { service: true, .. } => Some(Finding::Serving),
			Outcome::Online { .. } => Some(Finding::NotServing),
			Outcome::Offline => Some(Finding::Offline),
			Outcome::NoConsensus => None,
		};
		Observations::append(Observed {
			after: System::event_count(),
			order,
			worker: check.worker,
			round_start: closing.round_start,
			found,
			false_proof: closing.false_proof,
			was_rented: closing.rented,
			credit: closing.credit,
			rented: check.proved.rented,
		});
		Weight::zero()
	}
	fn max_weight() -> Weight {
		Weight::zero()
	}
}

/// A VRF output that differs from block to block.
pub struct Vrf;
impl Get<Option<[u8; 32]>> for Vrf {
	fn get() -> Option<[u8; 32]> {
		Some(sp_io::hashing::blake2_256(&now().to_le_bytes()))
	}
}

impl pallet_providers::Config for World {
	type Currency = Balances;
	type Consideration = HoldConsideration<
		AccountId,
		Balances,
		WorkerHoldReason,
		LinearStoragePrice<ConstU128<KAI>, ConstU128<{ KAI / 1_000 }>, Balance>,
	>;
	type PalletId = ProvidersPalletId;
	type FeeDestination = Treasury;
	type RegistrationFee = RegistrationFee;
	type BaseStake = BaseStake;
	type StakePerScore = StakePerScore;
	type MaxStake = MaxStake;
	type Unbonding = Unbonding;
	type SlashDeferral = Deferral;
	type MaxUnbonding = ConstU32<4>;
	type CurrentEpoch = Rewards;
	type Classes = Rewards;
	type Checks = Popw;
	type Prices = Rentals;
	type AdminOrigin = EnsureRoot<AccountId>;
	type SlashBounty = Bounty;
	type Pots = Rewards;
	type Scores = Rewards;
	type OnPoolChange = Rewards;
	type WeightInfo = pallet_providers::weights::SubstrateWeight<World>;
}

/// A clock that nothing reads here: no node runs.
pub struct NoTime;
impl Time for NoTime {
	type Moment = u64;
	fn now() -> u64 {
		0
	}
}

impl pallet_popw::Config for World {
	type Workers = Providers;
	type Seats = Committee;
	type OnClosed = (Observer, Rentals, Rewards);
	type Rentals = Rentals;
	type Classes = ();
	type VrfOutput = Vrf;
	type Time = NoTime;
	type PhaseLength = PhaseLength;
	type CheckPeriod = CheckPeriod;
	type MaxDue = MaxDue;
	type CommitteeSize = CommitteeSize;
	type TrialOffset = TrialOffset;
	type GapPeriods = ConstU32<7>;
	type Unopened = Rewards;
	type CurrentEpoch = Rewards;
	type MinOperators = MinOperators;
	type Bench = Bench;
	type WeightInfo = pallet_popw::weights::SubstrateWeight<World>;
}

impl pallet_rewards::Config for World {
	type Currency = Balances;
	type Pools = (Providers, Operators);
	type Operators = Committee;
	type Checks = Popw;
	#[cfg(feature = "runtime-benchmarks")]
	type Workers = Providers;
	type AdminOrigin = EnsureRoot<AccountId>;
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
	type MinRedemption = ConstU128<KAI>;
	type MaxRedemptions = ConstU32<32>;
	type WeightInfo = pallet_rewards::weights::SubstrateWeight<World>;
}

impl Config for World {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Workers = Providers;
	type Checks = Popw;
	type Seeds = Popw;
	type Classes = Rewards;
	type Fees = Rewards;
	type Treasury = Treasury;
	type PalletId = OrdersPalletId;
	type AdminOrigin = EnsureRoot<AccountId>;
	type PlanRates = Rates;
	type ProtocolFee = Fee;
	type IssueBond = IssueBond;
	type DeployDeadline = DeployDeadline;
	type SetupBlocks = SetupBlocks;
	type BarBlocks = BarBlocks;
	type ClosingTimeout = ClosingTimeout;
	type History = History;
	type MatchDraws = MatchDraws;
	type HookWeight = HookWeight;
	type WeightInfo = weights::SubstrateWeight<World>;
}

/// The reference prices of a GPU-hour of class 11 and of class 1.
pub const REFERENCES: [(GpuClass, Balance); 3] =
	[(0, KAI / 10 + 7), (1, 40 * KAI + 1), (11, 4 * KAI)];

/// Returns the world at block `first`: from 1 on the emission runs.
pub fn world(first: BlockNumber) -> sp_io::TestExternalities {
	let funded = [
		(CARLA, FUNDS),
		(DAN, FUNDS),
		(POOR, 40 * KAI),
		(PETRA, FUNDS),
		(PAUL, FUNDS),
		(ANYONE, KAI),
		(TREASURY, KAI),
		(Providers::pot(), ED),
	];
	let config = RuntimeGenesisConfig {
		balances: pallet_balances::GenesisConfig {
			balances: funded.to_vec(),
			..Default::default()
		},
		rentals: GenesisConfig {
			prices: REFERENCES.to_vec(),
			..Default::default()
		},
		..Default::default()
	};
	let storage = config
		.build_storage()
		.expect("the genesis of the world can be built");
	let mut ext = sp_io::TestExternalities::new(storage);
	ext.execute_with(|| {
		System::set_block_number(first);
		Rentals::integrity_test();
		Providers::integrity_test();
	});
	ext
}

/// Returns the running block.
pub fn now() -> BlockNumber {
	System::block_number()
}

pub fn signed(who: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(who)
}

/// Dispatches as the runtime does: a failed call changes nothing.
pub fn dispatch(call: impl Into<RuntimeCall>, origin: RuntimeOrigin) -> DispatchResult {
	let call: RuntimeCall = call.into();
	call.dispatch(origin)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Drops the events so far. (`System::reset_events` scans all of storage for their topics.)
pub fn forget_events() {
	for item in [&b"Events"[..], b"EventCount"] {
		unhashed::kill(&storage_prefix(b"System", item));
	}
}

/// Checks the invariants of orders.
pub fn invariants() {
	Rentals::do_try_state().expect("the invariants of orders hold");
}

/// Checks the invariants of everything else.
pub fn invariants_of_others() {
	Providers::do_try_state().expect("the invariants of workers hold");
	Popw::do_try_state().expect("the invariants of rounds hold");
	Rewards::do_try_state().expect("the invariants of rewards hold");
}

/// Returns all workers that have a record.
pub fn workers() -> impl Iterator<Item = (WorkerId, pallet_providers::RecordOf<World>)> {
	let next = pallet_providers::NextWorkerId::<World>::get();
	(0..next).filter_map(|worker| Some((worker, Records::<World>::get(worker)?)))
}

/// Returns a worker's record.
pub fn record(worker: WorkerId) -> pallet_providers::RecordOf<World> {
	Records::<World>::get(worker).expect("the worker is there")
}

/// Returns one of the claims of the world's machines.
pub fn spec(choice: u8) -> WorkerSpec {
	let (gpu_class, gpu_count, region) = match choice % 8 {
		0..=2 => (11, 1, *b"DE"),
		3 => (11, 1, *b"US"),
		4 => (11, 2, *b"DE"),
		5 => (1, 1, *b"US"),
		_ => (0, 0, *b"DE"),
	};
	let large = choice >= 128;
	WorkerSpec {
		gpu_class,
		gpu_count,
		cpu_cores: if large { 64 } else { 16 },
		memory_gb: if large { 128 } else { 64 },
		disk_gb: 1_000,
		download_mbps: if large { 1_000 } else { 500 },
		upload_mbps: 700,
		region,
		..Default::default()
	}
}

/// Returns the call that registers a worker with the keys number `seed`.
pub fn registration(owner: AccountId, seed: u8, spec: WorkerSpec) -> RuntimeCall {
	let key = sr25519::Pair::from_seed(&[seed; 32]);
	let agent = ed25519::Pair::from_seed(&[seed; 32]);
	let payload = possession_payload(KeyRole::Worker, System::block_hash(0), &owner);
	let minimum = Providers::minimum_stake(spec.gpu_class, spec.gpu_count);
	pallet_providers::Call::register_worker {
		spec,
		worker_key: WorkerKey::from(key.public()),
		agent_key: agent.public(),
		stake: minimum.expect("a class that is known"),
		proof: KeyProof {
			key: key.sign(&payload),
			agent: agent.sign(&payload),
		},
	}
	.into()
}

/// The behavior of a machine, and of the committees that check it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord)]
pub enum Manner {
	/// The machine works, and all seats say so.
	#[default]
	Fine,
	/// The same, but one seat dissents.
	Doubted,
	/// It is online, but the container does not answer.
	Down,
	/// It attests, but nobody can reach it.
	Gone,
	/// The votes reach no majority.
	Split,
	/// Its proof is false.
	Liar,
	/// It shows no GPU.
	Stripped,
	/// It does not attest, and is reported.
	Silent,
	/// It does not attest, and is not reported.
	Ghost,
}

/// Calls, each with its signer.
pub type Sent = Vec<(AccountId, RuntimeCall)>;

/// All machines and committees, and their actions in each block.
#[derive(Default)]
pub struct Actors {
	pub manners: BTreeMap<WorkerId, Manner>,
	/// The reveals of a round, not sent yet.
	reveals: BTreeMap<RoundIndex, Sent>,
}

impl Actors {
	pub fn manner(&self, worker: WorkerId) -> Manner {
		self.manners.get(&worker).copied().unwrap_or_default()
	}

	/// Returns the calls that they send in this block.
	pub fn calls(&mut self) -> Sent {
		let mut calls = Vec::new();
		// From time to time an owner repairs a machine that was found offline.
		if now().is_multiple_of(2 * PHASE) {
			for (worker, record) in workers() {
				if record.state() == WorkerState::Offline && !record.is_gone() {
					self.manners.remove(&worker);
					let call = pallet_providers::Call::go_online { worker };
					calls.push((record.owner, call.into()));
				}
			}
		}
		for round in Popw::rounds() {
			let first = now() == round.trial + 1;
			match round.phase(now()) {
				// Half of the workers hurry, the others take their time.
				Phase::Attest if first || now() == round.attest_ends() => {
					for (worker, record) in workers() {
						let its_time = worker.is_multiple_of(2) == first;
						let silent = matches!(self.manner(worker), Manner::Silent | Manner::Ghost);
						if its_time && !silent && Popw::is_due(worker, round.index) {
							let call = pallet_popw::Call::attest {
								worker,
								round: round.index,
								root: [7; 32],
								signature: None,
							};
							calls.push((record.owner, call.into()));
						}
					}
				}
				Phase::Commit if now() == round.attest_ends() + 1 => {
					for (worker, _) in workers() {
						let silent = self.manner(worker) == Manner::Silent;
						if silent && Popw::is_due(worker, round.index) {
							let call = pallet_popw::Call::report_absent {
								worker,
								round: round.index,
							};
							calls.push((ANYONE, call.into()));
						}
					}
					let (commits, reveals) = self.batches(round.index);
					calls.extend(commits);
					self.reveals.insert(round.index, reveals);
				}
				Phase::Reveal if now() == round.commit_ends() + 1 => {
					calls.extend(self.reveals.remove(&round.index).unwrap_or_default());
				}
				_ => {}
			}
		}
		calls
	}

	/// Returns the commitments of all operators in a round, and the reveals that open them.
	pub fn batches(&self, round: RoundIndex) -> (Sent, Sent) {
		let (mut commits, mut reveals) = (Vec::new(), Vec::new());
		for operator in 0..OPERATORS {
			for (batch, votes) in self.votes_of(operator, round) {
				let votes = Votes::truncate_from(votes);
				let (genesis, salt) = (System::block_hash(0), [9; 32]);
				let hash =
					kaisar_primitives::commitment(genesis, round, operator, batch, &votes, &salt);
				let commit = pallet_popw::Call::commit {
					operator,
					round,
					batch,
					hash,
					signature: None,
				};
				let reveal = pallet_popw::Call::reveal {
					operator,
					round,
					batch,
					votes,
					salt,
					signature: None,
				};
				commits.push((operator_account(operator), commit.into()));
				reveals.push((operator_account(operator), reveal.into()));
			}
		}
		(commits, reveals)
	}

	/// Returns an operator's votes, by the batch of each seat.
	fn votes_of(
		&self,
		operator: OperatorId,
		round: RoundIndex,
	) -> BTreeMap<u16, Vec<(WorkerId, Verdict)>> {
		let mut batches = BTreeMap::<u16, Vec<_>>::new();
		for (worker, record) in workers() {
			let Some(LastCheck::Open(check)) = Popw::last_check(worker) else {
				continue;
			};
			let mut seats = check.committee.iter();
			let seat = seats.find(|seat| check.round == round && seat.operator == operator);
			let verdict = self.verdict(operator, worker, &record.spec);
			if let (Some(seat), Some(verdict)) = (seat, verdict) {
				let batch = (seat.number / kaisar_primitives::MAX_BATCH) as u16;
				batches.entry(batch).or_default().push((worker, verdict));
			}
		}
		batches
	}

	/// Returns an operator's verdict on a worker, if it votes.
	fn verdict(
		&self,
		operator: OperatorId,
		worker: WorkerId,
		spec: &WorkerSpec,
	) -> Option<Verdict> {
		let Profile {
			bandwidth,
			cpu,
			memory,
			disk,
			gpu_class,
			gpu_count,
		} = spec.bound();
		let fine = Verdict {
			online: true,
			service: true,
			timed: true,
			proof: true,
			bandwidth,
			cpu,
			memory,
			disk,
			gpu_class,
			gpu_count,
		};
		let down = Verdict {
			service: false,
			..fine
		};
		match (self.manner(worker), operator) {
			(Manner::Doubted, 1) | (Manner::Gone, _) | (Manner::Split, 1) => Some(Verdict::OFFLINE),
			(Manner::Split, 2) => None,
			(Manner::Down, _) => Some(down),
			(Manner::Liar, _) => Some(Verdict {
				proof: false,
				..fine
			}),
			(Manner::Stripped, _) => Some(Verdict {
				gpu_class: 0,
				gpu_count: 0,
				..fine
			}),
			_ => Some(fine),
		}
	}
}

/// Returns whether a check of the worker is over and not closed: the next touch will close it.
pub fn is_over(worker: WorkerId) -> bool {
	matches!(Popw::last_check(worker), Some(LastCheck::Open(check)) if now() > check.ends)
}
