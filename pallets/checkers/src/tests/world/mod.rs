//! A runtime in which licenses, checkers and rounds are all real. All worker numbers exist, each worker is
//! due in every spot round, and none does anything by itself.

use crate as pallet_checkers;
use crate::{
	mock::{DEPOSIT, KEPT},
	*,
};
use alloc::collections::BTreeMap;
use frame_support::{
	PalletId, assert_ok, derive_impl, parameter_types,
	traits::{AsEnsureOriginWithArg, ConstU32, ConstU128, Hooks},
};
use frame_system::{AuthorizeCall, EnsureRoot, EnsureSigned};
use kaisar_primitives::{
	Balance, BenchParams, BlockNumber, CheckedWorkers, ClosedCheck, Closing, Forced, OnClosed,
	OnUnopened, PoolTerms, Proved, SeatResult, SharesChange, Standings, Verdict, Votes,
	WorkerCounts, WorkerInfo, WorkerKey, WorkerSpec, WorkerState,
	keys::{possession_payload, receipt_payload},
};
use pallet_nfts::PalletFeatures;
use sp_core::{Pair, ed25519, sr25519};
use sp_runtime::{
	BuildStorage, DispatchError, MultiSignature,
	traits::{BlakeTwo256, IdentifyAccount, IdentityLookup, Verify},
};

mod attacks;
mod draw;
mod lives;
mod market;
mod property;

pub type AccountPublic = <MultiSignature as Verify>::Signer;
pub type AccountId = <AccountPublic as IdentifyAccount>::AccountId;
pub type TxExtension = AuthorizeCall<World>;
pub type Extrinsic =
	sp_runtime::generic::UncheckedExtrinsic<AccountId, RuntimeCall, MultiSignature, TxExtension>;
type Header = sp_runtime::generic::Header<BlockNumber, BlakeTwo256>;
type Block = sp_runtime::generic::Block<Header, Extrinsic>;

/// Blocks of each of a round's parts: attest, commit and reveal.
pub const PHASE: BlockNumber = 4;
/// Blocks from a round's start to its trial.
pub const TRIAL: BlockNumber = 2;
/// Blocks for which a license is locked.
pub const LOCK: BlockNumber = 60;
/// The initial balance of accounts 1 … 40.
pub const FUNDS: Balance = 100_000;
/// The treasury.
pub const TREASURY: u8 = 90;
/// The owner of workers that [`Owners`] does not list.
pub const PROVIDER: u8 = 80;

kaisar_test_support::mock_runtime!(World {
	0: System = frame_system,
	1: Balances = pallet_balances,
	2: Nfts = pallet_nfts,
	3: Licenses = pallet_licenses,
	4: Checkers = pallet_checkers,
	5: Popw = pallet_popw,
});

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for World {
	type AccountId = AccountId;
	type Lookup = IdentityLookup<AccountId>;
	type Block = Block;
	type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for World {
	type Balance = Balance;
	type ExistentialDeposit = ConstU128<1>;
	type AccountStore = System;
}

kaisar_test_support::submit_authorized_calls!(World, RuntimeCall, Extrinsic);

parameter_types! {
	pub Features: PalletFeatures = PalletFeatures::all_enabled();
	pub const LicensesPalletId: PalletId = PalletId(*b"kai/lice");
	pub const LockPeriod: BlockNumber = LOCK;
	pub const Deposit: Balance = DEPOSIT;
	pub Treasury: AccountId = account(TREASURY);
	pub const PhaseLength: BlockNumber = PHASE;
	pub const TrialOffset: BlockNumber = TRIAL;
	pub const GapPeriods: u32 = 7;
	/// Censuses are rare unless a test asks for one.
	pub storage CheckPeriod: u32 = u32::MAX;
	/// The number of workers that a census has to visit.
	pub storage Idle: u32 = 0;
	pub const MaxDue: u32 = 40_000;
	pub storage CommitteeSize: u8 = 5;
	pub storage MinOperators: u8 = 3;
	pub const Bench: BenchParams = BenchParams {
		n: 1_024,
		turns: 4,
		window_mib: 8,
		stages: 64,
		memory_mib: 64,
		disk_mib: 64,
		reads: 32,
		bandwidth_secs: 1,
	};
	pub storage Epoch: EpochIndex = 0;
	/// Milliseconds by which the chain's time is ahead of its blocks.
	pub storage Ahead: u64 = 0;
	/// The owners of workers that are not the provider's.
	pub storage Owners: BTreeMap<WorkerId, AccountId> = BTreeMap::new();
	/// The data of Rewards: an operator's correct seats and all its seats, and a member's shares.
	pub storage Earned: BTreeMap<OperatorId, (u32, u32)> = BTreeMap::new();
	pub storage Shares: BTreeMap<(OperatorId, AccountId), u128> = BTreeMap::new();
}

impl pallet_nfts::Config for World {
	type RuntimeEvent = RuntimeEvent;
	type CollectionId = u32;
	type ItemId = LicenseId;
	type Currency = Balances;
	type CreateOrigin = AsEnsureOriginWithArg<EnsureSigned<AccountId>>;
	type ForceOrigin = EnsureRoot<AccountId>;
	type Locker = pallet_licenses::LicenseLocker<World, Checkers>;
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
	type MaxDeadlineDuration = ConstU32<1_000>;
	type MaxAttributesPerCall = ConstU32<2>;
	type Features = Features;
	type OffchainSignature = MultiSignature;
	type OffchainPublic = AccountPublic;
	type WeightInfo = ();
	#[cfg(feature = "runtime-benchmarks")]
	type Helper = ();
	type BlockNumberProvider = System;
}

impl pallet_licenses::Config for World {
	type PalletId = LicensesPalletId;
	type LockPeriod = LockPeriod;
	type Payment = Balances;
	type Treasury = Treasury;
	type AdminOrigin = EnsureRoot<AccountId>;
	type WeightInfo = ();
}

impl pallet_checkers::Config for World {
	type RuntimeHoldReason = RuntimeHoldReason;
	type Currency = Balances;
	type Licenses = Licenses;
	type Checks = Popw;
	type Workers = Registry;
	type OnPoolChange = Rewards;
	type RetiredPools = ();
	type CurrentEpoch = Epoch;
	type Time = ChainTime;
	type Deposit = Deposit;
	type RecordDeposit = ConstU128<KEPT>;
	type WeightInfo = ();
}

impl pallet_popw::Config for World {
	type Workers = Registry;
	type Seats = Checkers;
	type OnClosed = Rewards;
	type Unopened = Rewards;
	type CurrentEpoch = Epoch;
	type Rentals = ();
	type Classes = ();
	type VrfOutput = Vrf;
	type Time = ChainTime;
	type PhaseLength = PhaseLength;
	type TrialOffset = TrialOffset;
	type CheckPeriod = CheckPeriod;
	type GapPeriods = GapPeriods;
	type MaxDue = MaxDue;
	type CommitteeSize = CommitteeSize;
	type MinOperators = MinOperators;
	type Bench = Bench;
	type WeightInfo = ();
}

/// A VRF output that differs from block to block.
pub struct Vrf;
impl Get<Option<[u8; 32]>> for Vrf {
	fn get() -> Option<[u8; 32]> {
		Some(sp_io::hashing::blake2_256(
			&System::block_number().to_le_bytes(),
		))
	}
}

/// 12 s a block, plus the time that the test adds.
pub struct ChainTime;
impl Time for ChainTime {
	type Moment = u64;
	fn now() -> u64 {
		u64::from(System::block_number()) * 12_000 + Ahead::get()
	}
}

/// The registry of workers.
pub struct Registry;
impl WorkerRegistry<AccountId> for Registry {
	fn info(worker: WorkerId, round: RoundIndex) -> Option<WorkerInfo<AccountId>> {
		Some(WorkerInfo {
			owner: owner(worker),
			key: WorkerKey::from(sr25519::Public::from_raw([1; 32])),
			agent: agent_of(worker).public(),
			standings: Standings::new(WorkerState::Online, 0),
			forced: Some(Forced {
				round,
				verify_only: true,
			}),
			spec: WorkerSpec {
				cpu_cores: 4,
				memory_gb: 4,
				disk_gb: 100,
				download_mbps: 75,
				upload_mbps: 75,
				..Default::default()
			},
			profile: None,
			order: None,
		})
	}
	fn by_key(_: &WorkerKey) -> Option<WorkerId> {
		None
	}
	fn counts() -> WorkerCounts {
		WorkerCounts {
			online: Idle::get(),
			..Default::default()
		}
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(_: &AccountId, _: WorkerKey, _: AgentKey) -> WorkerId {
		0
	}
}
impl CheckedWorkers<AccountId> for Registry {
	fn force(_: WorkerId, _: RoundIndex) -> DispatchResult {
		Ok(())
	}
	fn postpone(_: WorkerId, _: RoundIndex, _: RoundIndex) -> DispatchResult {
		Ok(())
	}
	fn attested(_: WorkerId, _: RoundIndex) -> DispatchResult {
		Ok(())
	}
	fn absent(_: WorkerId, _: &Closing, _: Option<&AccountId>) -> DispatchResult {
		Ok(())
	}
	fn closed(_: WorkerId, _: &Closing, _: Option<&AccountId>) -> Result<Proved, DispatchError> {
		Ok(Proved::default())
	}
}

/// Records the changes reported to it, and checks that they are in order.
pub struct Rewards;
impl OnClosed for Rewards {
	fn on_closed(check: &ClosedCheck) -> Weight {
		let mut earned = Earned::get();
		for seat in check.seats {
			let entry = earned.entry(seat.operator).or_default();
			entry.0 += u32::from(seat.result == SeatResult::Correct);
			entry.1 += 1;
		}
		Earned::set(&earned);
		Weight::zero()
	}
	fn max_weight() -> Weight {
		Weight::zero()
	}
}
impl OnUnopened for Rewards {
	fn on_unopened(operator: OperatorId, missed: u32) {
		let mut earned = Earned::get();
		earned.entry(operator).or_default().1 += missed;
		Earned::set(&earned);
	}
}
impl OnPoolChange<AccountId> for Rewards {
	fn on_change(
		pool: PoolId,
		_: PoolTerms,
		change: Option<SharesChange<AccountId>>,
	) -> DispatchResult {
		let PoolId::Checker(operator) = pool else {
			panic!("not a pool of ours")
		};
		if let Some(SharesChange { who, before, after }) = change {
			let mut shares = Shares::get();
			let known = shares.insert((operator, who.clone()), after);
			assert_eq!(known.unwrap_or(0), before);
			Shares::set(&shares);
		}
		Ok(())
	}
}

pub fn account(n: u8) -> AccountId {
	AccountId::new([n; 32])
}

pub fn signed(n: u8) -> RuntimeOrigin {
	RuntimeOrigin::signed(account(n))
}

/// Returns the owner of a worker.
pub fn owner(worker: WorkerId) -> AccountId {
	Owners::get()
		.remove(&worker)
		.unwrap_or_else(|| account(PROVIDER))
}

/// Returns the key pair of a worker's agent.
pub fn agent_of(worker: WorkerId) -> ed25519::Pair {
	crate::mock::worker_agent(worker)
}

/// Returns checker key number `n`.
pub fn checker_pair(n: u8) -> sr25519::Pair {
	sr25519::Pair::from_seed(&[n; 32])
}

/// Returns keys number `keys`, and the proof that account `n` holds them.
pub fn keys(n: u8, keys: u8) -> (CheckerKey, AgentKey, KeyProof) {
	let (key, agent) = (checker_pair(keys), ed25519::Pair::from_seed(&[keys; 32]));
	let payload = possession_payload(KeyRole::Checker, System::block_hash(0), &account(n));
	let proof = KeyProof {
		key: key.sign(&payload),
		agent: agent.sign(&payload),
	};
	(key.public().into(), agent.public(), proof)
}

/// Registers account `n`, which accepts all delegations, with keys number `n`.
pub fn register(n: u8) -> OperatorId {
	let number = NextOperator::<World>::get();
	let (key, agent, proof) = keys(n, n);
	assert_ok!(Checkers::register_checker(
		signed(n),
		key,
		agent,
		Perbill::from_percent(10),
		proof
	));
	assert_ok!(Checkers::set_auto_accept(signed(n), true));
	number
}

/// Finishes the block and starts the next one.
pub fn next_block() {
	let now = System::block_number();
	Popw::on_finalize(now);
	System::set_block_number(now + 1);
	Popw::on_initialize(now + 1);
}

pub fn run_to(to: BlockNumber) {
	while System::block_number() < to {
		next_block();
	}
}

/// Returns the last spot round whose trial has begun, if there is one.
pub fn last_trial() -> Option<RoundIndex> {
	let rounds = <Popw as Checks>::in_flight().into_iter();
	rounds
		.filter(|round| round % 2 == 0 && Popw::round_seed(*round).is_some())
		.max()
}

/// Returns the operators that sit for a worker in a round, in order.
pub fn sitting(worker: WorkerId, round: RoundIndex) -> Vec<OperatorId> {
	let seats = Popw::committee(worker, round);
	let mut operators: Vec<_> = seats.into_iter().map(|(operator, _)| operator).collect();
	operators.sort_unstable();
	operators
}

/// Returns the first block of a spot round.
pub fn start_of(round: RoundIndex) -> BlockNumber {
	pallet_popw::Rounds::<World>::get(round)
		.expect("it has started")
		.start
}

pub const UP: Verdict = Verdict {
	online: true,
	service: true,
	timed: true,
	proof: true,
	bandwidth: 1,
	cpu: 1,
	memory: 1,
	disk: 1,
	gpu_class: 0,
	gpu_count: 0,
};
pub const DOWN: Verdict = Verdict::OFFLINE;

/// A check in progress.
pub struct Running {
	pub worker: WorkerId,
	pub round: RoundIndex,
	/// Its operators, the lightest first.
	pub committee: Vec<OperatorId>,
}

/// Waits for the next round, and has the worker attest in it.
pub fn attest(worker: WorkerId) -> Running {
	attest_in(worker, <Popw as Checks>::next_round())
}

/// Waits for the first block in which the worker can attest in `round`, and attests.
pub fn attest_in(worker: WorkerId, round: RoundIndex) -> Running {
	while !pallet_popw::Rounds::<World>::contains_key(round) {
		next_block();
	}
	run_to(start_of(round) + TRIAL + 1);
	let origin = RuntimeOrigin::signed(owner(worker));
	assert_ok!(Popw::attest(origin, worker, round, [7; 32], None));
	let mut seats = Popw::committee(worker, round);
	seats.sort_by_key(|(_, weight)| *weight);
	Running {
		worker,
		round,
		committee: seats.into_iter().map(|(operator, _)| operator).collect(),
	}
}

fn salt(operator: OperatorId) -> [u8; 32] {
	[operator as u8; 32]
}

pub fn hash_of(operator: OperatorId, round: RoundIndex, votes: &Votes) -> H256 {
	let genesis = System::block_hash(0);
	kaisar_primitives::commitment(genesis, round, operator, 0, votes, &salt(operator))
}

fn signer(operator: OperatorId) -> RuntimeOrigin {
	RuntimeOrigin::signed(record(operator).account)
}

pub fn record(operator: OperatorId) -> OperatorOf<World> {
	Operators::<World>::get(operator).expect("the operator exists")
}

impl Running {
	pub fn votes(&self, verdict: Verdict) -> Votes {
		Votes::truncate_from(vec![(self.worker, verdict)])
	}

	/// Runs into the commit phase, in which the committee members that vote commit.
	pub fn commit(&self, vote: impl Fn(OperatorId) -> Option<Verdict>) {
		run_to(start_of(self.round) + TRIAL + PHASE + 1);
		for operator in &self.committee {
			let Some(verdict) = vote(*operator) else {
				continue;
			};
			let hash = hash_of(*operator, self.round, &self.votes(verdict));
			let origin = signer(*operator);
			assert_ok!(Popw::commit(origin, *operator, self.round, 0, hash, None));
		}
	}

	/// Runs into the reveal phase, in which they open their commitments; when the round is over, closes the
	/// check.
	pub fn reveal(&self, vote: impl Fn(OperatorId) -> Option<Verdict>) {
		run_to(start_of(self.round) + TRIAL + 2 * PHASE + 1);
		for operator in &self.committee {
			let Some(verdict) = vote(*operator) else {
				continue;
			};
			assert_ok!(Popw::reveal(
				signer(*operator),
				*operator,
				self.round,
				0,
				self.votes(verdict),
				salt(*operator),
				None
			));
		}
		run_to(start_of(self.round) + TRIAL + 3 * PHASE + 1);
		<Popw as Checks>::touch(self.worker);
		assert!(!<Popw as Checks>::is_open(self.worker));
	}
}

/// Checks a worker from attestation to tally.
pub fn check(worker: WorkerId, vote: impl Fn(OperatorId) -> Option<Verdict>) -> Running {
	let running = attest(worker);
	running.commit(&vote);
	running.reveal(&vote);
	running
}

/// Returns the worker's receipt for the checker with keys number `keys`.
pub fn receipt(worker: WorkerId, round: RoundIndex, keys: u8) -> AgentSignature {
	let seed = Popw::round_seed(round).expect("it is a round");
	let key = checker_pair(keys).public().into();
	agent_of(worker).sign(&receipt_payload(
		System::block_hash(0),
		round,
		seed,
		worker,
		&key,
	))
}

pub fn transfer(from: u8, license: LicenseId, to: u8) -> DispatchResult {
	let collection = Licenses::collection().expect("there is one");
	Nfts::transfer(signed(from), collection, license, account(to))
}

pub fn burn(from: u8, license: LicenseId) -> DispatchResult {
	let collection = Licenses::collection().expect("there is one");
	Nfts::burn(signed(from), collection, license)
}

/// Builds the world at block 1, with the genesis licenses of each account `n` in `licenses`. All invariants
/// are checked after the test.
pub fn world(licenses: &[(u8, u32)], test: impl FnOnce()) {
	let config = RuntimeGenesisConfig {
		balances: pallet_balances::GenesisConfig {
			balances: (1..=40).map(|n| (account(n), FUNDS)).collect(),
			..Default::default()
		},
		licenses: pallet_licenses::GenesisConfig {
			licenses: licenses
				.iter()
				.map(|(n, count)| (account(*n), *count))
				.collect(),
			..Default::default()
		},
		..Default::default()
	};
	let storage = config
		.build_storage()
		.expect("the genesis of the world can be built");
	sp_io::TestExternalities::new(storage).execute_with(|| {
		next_block();
		test();
		invariants();
	});
}

pub fn invariants() {
	Licenses::do_try_state().expect("the invariants of licenses hold");
	Checkers::do_try_state().expect("the invariants of checkers hold");
	for ((operator, member), shares) in Shares::get() {
		assert_eq!(Members::<World>::get(operator, member), shares as u32);
	}
}
