//! A runtime for tests, with a Popw that opens and closes checks at the test's command.

use crate::{self as pallet_providers, *};
use frame_support::{
	derive_impl, parameter_types, storage_alias,
	traits::{
		ConstU128, Hooks, LinearStoragePrice,
		fungible::{HoldConsideration, Mutate},
		tokens::Preservation,
	},
};
use frame_system::EnsureRoot;
use kaisar_primitives::{
	Arch, CheckedWorkers, Closing, KAI, Outcome, Pools, Pot, Proved, RoundKind, RunningScore,
	WorkerRegistry,
	keys::{KeyRole, possession_payload},
};
use kaisar_test_support::frame::{observers::expect_terms, take_events};
use sp_core::{Pair, ed25519, sr25519};
use sp_runtime::{BuildStorage, traits::IdentityLookup};
use std::{cell::RefCell, collections::BTreeMap};

/// The existential deposit.
pub const ED: Balance = KAI / 1_000;

pub type AccountId = u64;
type Block = frame_system::mocking::MockBlock<Test>;

kaisar_test_support::mock_runtime!(Test {
	0: System = frame_system,
	1: Balances = pallet_balances,
	2: Providers = pallet_providers,
});

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
	type Block = Block;
	type AccountId = AccountId;
	type Lookup = IdentityLookup<AccountId>;
	type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
	type Balance = Balance;
	type ExistentialDeposit = ConstU128<ED>;
	type AccountStore = System;
}

pub const TREASURY: AccountId = 99;
pub const FEE: Balance = 10 * KAI;
pub const BASE: Balance = 500 * KAI;
pub const MAX_STAKE: Balance = 50_000 * KAI;
pub const UNBONDING: BlockNumber = 7 * DAYS;
pub const MAX_UNBONDING: u32 = 4;
/// Blocks of a phase, and between spot rounds.
pub const PHASE: BlockNumber = 25;
/// Minimum number of blocks between a change and the round from which it counts.
pub const NOTICE: BlockNumber = 4;
/// Maximum number of rented blocks that a check credits.
pub const MAX_GAP: BlockNumber = 4_800;
/// The number of idle blocks that a census credits.
pub const INTERVAL: BlockNumber = 1_275;
pub const ALICE: AccountId = 1;
pub const BOB: AccountId = 2;
/// Delegators.
pub const CAROL: AccountId = 3;
pub const DAVE: AccountId = 4;
/// The provider pot.
pub const REWARD_POT: AccountId = 98;
/// An account that does not exist.
pub const NOBODY: AccountId = 97;
pub const DEFERRAL: BlockNumber = 2 * DAYS;
pub const FUNDS: Balance = 1_000_000 * KAI;

parameter_types! {
	pub const ProvidersPalletId: PalletId = PalletId(*b"ksr/prov");
	pub const WorkerHoldReason: RuntimeHoldReason =
		RuntimeHoldReason::Providers(HoldReason::WorkerDeposit);
	pub const Treasury: AccountId = TREASURY;
	pub storage Fee: Balance = FEE;
	pub storage BaseStake: Balance = BASE;
	pub storage StakePerScore: Balance = 200 * KAI;
	pub storage MaxStake: Balance = MAX_STAKE;
	pub storage UnbondingBlocks: BlockNumber = UNBONDING;
	pub storage Deferral: BlockNumber = DEFERRAL;
	pub storage Bounty: Perbill = Perbill::from_percent(1);
	pub const MaxUnbonding: u32 = MAX_UNBONDING;
	pub storage Epoch: EpochIndex = 0;
	pub storage HighestPrice: Option<Balance> = None;
	pub storage TodaysPrice: Option<Balance> = None;
	pub storage PayUncalibrated: bool = false;
}

/// Classes 0, 1 (an H100, 10 points) and 11 (a 4090, 0.75). Class 1 is paid only if a test says so.
pub struct Table;
impl GpuClasses for Table {
	fn is_paid(class: GpuClass) -> bool {
		class != 1 || PayUncalibrated::get()
	}

	fn score(class: GpuClass) -> Option<u32> {
		match class {
			0 => Some(0),
			1 => Some(1_000),
			11 => Some(75),
			_ => None,
		}
	}
}

/// The price table: the same for all classes.
pub struct Book;
impl Prices for Book {
	fn highest(_: GpuClass) -> Option<Balance> {
		HighestPrice::get()
	}

	fn today(_: GpuClass) -> Option<Balance> {
		TodaysPrice::get()
	}
}

/// An open check of the mock.
#[derive(Clone, Copy, Debug)]
pub struct Open {
	pub round: RoundIndex,
	pub rented: bool,
	pub full: bool,
}

#[derive(Default)]
struct State {
	next_round: RoundIndex,
	starts: BTreeMap<RoundIndex, BlockNumber>,
	open: BTreeMap<WorkerId, Open>,
	/// The last round in which each worker had a check, or was reported.
	last: BTreeMap<WorkerId, RoundIndex>,
	changes: Vec<(PoolId, Option<AccountId>)>,
	forgotten: Vec<WorkerId>,
	/// Blocks of a phase of rounds in which it differs from [`PHASE`].
	phases: BTreeMap<RoundIndex, BlockNumber>,
	/// The block in which the next round starts, if a test has set it.
	next_start: Option<BlockNumber>,
}

/// The shares of each member, as reported to Rewards. In storage, so that a failed call reverts them.
#[storage_alias]
type KnownShares = StorageMap<
	Mock,
	Twox64Concat,
	(PoolId, AccountId),
	u128,
	frame_support::pallet_prelude::ValueQuery,
>;

thread_local! {
	static STATE: RefCell<State> = RefCell::default();
}

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
	STATE.with(|state| f(&mut state.borrow_mut()))
}

/// Popw as Providers sees it: the same rules of being due, and checks that close at the test's command.
pub struct Popw;

impl Popw {
	/// Moves on to the given number of blocks before the next round's start. Returns its spot round.
	pub fn approach(blocks: BlockNumber) -> RoundIndex {
		let start = with(|state| state.next_start);
		let start = start.unwrap_or_else(|| Providers::now() + PHASE);
		run_to(Providers::now().max(start - blocks));
		with(|state| {
			state.next_start = Some(start);
			state.next_round
		})
	}

	/// Returns the spot round that has not started, but in which changes no longer count.
	pub fn fixed() -> Option<RoundIndex> {
		let now = Providers::now();
		with(|state| {
			let is_near = |start: &BlockNumber| *start < now + NOTICE;
			state.next_start.filter(is_near).map(|_| state.next_round)
		})
	}

	/// Starts the next spot round, a phase later unless a test has moved close to it, and a census with it
	/// if asked for. Returns the spot round.
	pub fn start_round(census: bool) -> RoundIndex {
		let start = with(|state| state.next_start.take());
		let start = start.unwrap_or_else(|| Providers::now() + PHASE);
		run_to(start.max(Providers::now()));
		let round = Self::next_round();
		let now = Providers::now();
		with(|state| {
			state.starts.insert(round, now);
			if census {
				state.starts.insert(round + 1, now);
			}
			state.next_round += 2;
		});
		round
	}

	/// Starts the next spot round a phase later, and a census with it whose phases have this number of
	/// blocks.
	pub fn start_long_census(phase: BlockNumber) -> RoundIndex {
		let census = Self::start_round(true) + 1;
		with(|state| state.phases.insert(census, phase));
		census
	}

	/// Returns the last block of a round's phase in which workers attest.
	fn attest_end(round: RoundIndex) -> BlockNumber {
		let phase = with(|state| state.phases.get(&round).copied()).unwrap_or(PHASE);
		Self::start_of(round) + phase
	}

	/// Returns the last block of a round.
	fn end_of(round: RoundIndex) -> BlockNumber {
		let start = Self::start_of(round);
		start + 3 * (Self::attest_end(round) - start)
	}

	/// Returns the running rounds.
	pub fn running() -> Vec<RoundIndex> {
		let started: Vec<RoundIndex> = with(|state| state.starts.keys().copied().collect());
		let now = Providers::now();
		started
			.into_iter()
			.filter(|round| now <= Self::end_of(*round))
			.collect()
	}

	/// Returns the block in which a round started.
	pub fn start_of(round: RoundIndex) -> BlockNumber {
		with(|state| state.starts[&round])
	}

	/// Returns whether the worker's check is full, if it is due in the running round; `None` if it is not.
	pub fn due(worker: WorkerId, round: RoundIndex) -> Option<bool> {
		with(|state| state.starts.get(&round).copied())?;
		let fresh = with(|state| {
			!state.open.contains_key(&worker)
				&& state.last.get(&worker).is_none_or(|last| *last < round)
		});
		if !fresh || Providers::now() > Self::end_of(round) {
			return None;
		}
		let info = <Providers as WorkerRegistry<AccountId>>::info(worker, round)?;
		let rented = info.standings.at(round) == Some(&WorkerState::Rented);
		let idle = info.standings.at(round) == Some(&WorkerState::Online);
		let census = with(|state| state.starts.contains_key(&(round + 1)));
		match RoundKind::of(round) {
			RoundKind::Spot => info
				.forced
				.filter(|forced| forced.round == round)
				// An idle worker is due in the census of the same block instead.
				.filter(|_| !(idle && census))
				.map(|_| !rented),
			// With a mark, even a census checks everything.
			RoundKind::Census => idle.then_some(info.forced.is_some()),
		}
	}

	/// Opens the worker's check, if it is due. Returns whether it was.
	pub fn attest(worker: WorkerId, round: RoundIndex) -> bool {
		let Some(full) = Self::due(worker, round) else {
			return false;
		};
		let info = <Providers as WorkerRegistry<AccountId>>::info(worker, round).unwrap();
		let rented = info.standings.at(round) == Some(&WorkerState::Rented);
		<Providers as CheckedWorkers<AccountId>>::attested(worker, round).unwrap();
		with(|state| {
			let open = Open {
				round,
				rented,
				full,
			};
			state.open.insert(worker, open);
			state.last.insert(worker, round)
		});
		true
	}

	/// Reports the worker absent, if it is due. Returns whether it was.
	pub fn absent(worker: WorkerId, round: RoundIndex) -> bool {
		if Self::due(worker, round).is_none() {
			return false;
		}
		with(|state| state.last.insert(worker, round));
		let closing = Self::closing(round, Outcome::Offline);
		<Providers as CheckedWorkers<AccountId>>::absent(worker, &closing, Some(&BOB)).unwrap();
		true
	}

	/// Returns the closing of a check of an idle worker.
	pub fn closing(round: RoundIndex, outcome: Outcome) -> Closing {
		let decided = matches!(
			outcome,
			Outcome::Online {
				profile: Some(_),
				..
			}
		);
		let census = RoundKind::of(round) == RoundKind::Census;
		Closing {
			round,
			round_start: Self::start_of(round),
			outcome,
			rented: false,
			full: false,
			credit: if census && decided { INTERVAL } else { 0 },
			false_proof: false,
			slashes: outcome == Outcome::Offline,
		}
	}

	/// Closes the worker's open check.
	pub fn close(worker: WorkerId, outcome: Outcome) -> Proved {
		Self::close_with(worker, outcome, false)
	}

	pub fn close_with(worker: WorkerId, outcome: Outcome, false_proof: bool) -> Proved {
		Self::close_by(worker, outcome, false_proof, None)
	}

	/// Closes the check by a majority too small for a slash.
	pub fn close_weakly(worker: WorkerId, outcome: Outcome, false_proof: bool) -> Proved {
		Self::close_as(worker, outcome, None, |closing| {
			closing.false_proof = false_proof;
			closing.slashes = false;
		})
	}

	/// Closes the check for an account.
	pub fn close_by(
		worker: WorkerId,
		outcome: Outcome,
		false_proof: bool,
		finder: Option<&AccountId>,
	) -> Proved {
		Self::close_as(worker, outcome, finder, |closing| {
			closing.false_proof = false_proof;
			closing.slashes |= false_proof;
		})
	}

	/// Closes the check with a closing that the test changes.
	pub fn close_as(
		worker: WorkerId,
		outcome: Outcome,
		finder: Option<&AccountId>,
		change: impl FnOnce(&mut Closing),
	) -> Proved {
		let open = with(|state| state.open.remove(&worker)).expect("a check is open");
		let mut closing = Self::closing(open.round, outcome);
		closing.full = open.full;
		closing.rented = open.rented;
		if open.rented {
			closing.credit = MAX_GAP;
		}
		change(&mut closing);
		<Providers as CheckedWorkers<AccountId>>::closed(worker, &closing, finder).unwrap()
	}

	/// Starts a round in which the worker is due by a mark, and closes its check.
	pub fn spot_check(worker: WorkerId, outcome: Outcome) -> Proved {
		let round = Self::start_round(false);
		assert!(Self::attest(worker, round), "the worker is due");
		Self::close(worker, outcome)
	}

	/// Starts a census, and closes the worker's check.
	pub fn census(worker: WorkerId, outcome: Outcome) -> Proved {
		let round = Self::start_round(true) + 1;
		assert!(Self::attest(worker, round), "the worker is due");
		Self::close(worker, outcome)
	}

	/// Lets all running rounds end.
	pub fn pass() {
		for _ in 0..4 {
			Self::start_round(false);
		}
		run_to(Providers::now() + 1);
	}

	/// Returns the pools that changed since the last call, each with the member whose shares changed.
	pub fn changes() -> Vec<(PoolId, Option<AccountId>)> {
		with(|state| core::mem::take(&mut state.changes))
	}

	/// Returns the workers whose last check was forgotten.
	pub fn forgotten() -> Vec<WorkerId> {
		with(|state| state.forgotten.clone())
	}

	/// Returns the shares that were reported to Rewards.
	pub fn known_shares() -> BTreeMap<(PoolId, AccountId), u128> {
		KnownShares::iter().collect()
	}
}

impl Checks for Popw {
	fn next_round() -> RoundIndex {
		let notice = if Self::fixed().is_some() { 2 } else { 0 };
		with(|state| state.next_round) + notice
	}

	fn touch(worker: WorkerId) {
		let open = with(|state| state.open.get(&worker).copied());
		let over = open.is_some_and(|open| Providers::now() > Self::end_of(open.round));
		if over {
			Self::close(worker, Outcome::NoConsensus);
		}
	}

	fn is_open(worker: WorkerId) -> bool {
		with(|state| state.open.contains_key(&worker))
	}

	fn is_due(worker: WorkerId) -> bool {
		Self::running().into_iter().any(|round| {
			Providers::now() <= Self::attest_end(round) && Self::due(worker, round).is_some()
		})
	}

	fn is_held(worker: WorkerId) -> bool {
		Self::is_open(worker)
			|| Self::running()
				.into_iter()
				.any(|round| Self::due(worker, round).is_some())
			|| Self::fixed().is_some_and(|round| {
				<Providers as WorkerRegistry<AccountId>>::info(worker, round).is_some_and(|info| {
					matches!(
						info.standings.at(round),
						Some(WorkerState::Online | WorkerState::Rented)
					) || info.forced.is_some_and(|mark| mark.round == round)
				})
			})
	}

	fn forget(worker: WorkerId) {
		with(|state| {
			assert!(!state.open.contains_key(&worker), "its check is closed");
			state.last.remove(&worker);
			state.forgotten.push(worker);
		})
	}

	fn oldest_round() -> RoundIndex {
		Self::running()
			.first()
			.copied()
			.unwrap_or_else(Self::next_round)
	}

	fn in_flight() -> Vec<RoundIndex> {
		Self::running().into_iter().chain(Self::fixed()).collect()
	}

	fn force(worker: WorkerId) -> sp_runtime::DispatchResult {
		<Providers as CheckedWorkers<AccountId>>::force(worker, Self::next_round())
	}
}

/// Rewards: records the changes reported to it, and checks that none is missing.
pub struct Rewards;

impl OnPoolChange<AccountId> for Rewards {
	fn on_change(
		pool: PoolId,
		before: PoolTerms,
		change: Option<SharesChange<AccountId>>,
	) -> sp_runtime::DispatchResult {
		let terms = <Providers as Pools<AccountId>>::terms(pool);
		expect_terms(pool, before, terms);
		let (old, new) = change.map_or((0, 0), |change| (change.before, change.after));
		assert_eq!(
			before.value.shares + new,
			terms.value.shares + old,
			"reported after the change"
		);
		if let Some(SharesChange { who, before, after }) = change {
			assert_eq!(<Providers as Pools<AccountId>>::shares(pool, who), after);
			assert_eq!(KnownShares::take((pool, *who)), before);
			if after > 0 {
				KnownShares::insert((pool, *who), after);
			}
		}
		let member = change.map(|change| *change.who);
		with(|state| state.changes.push((pool, member)));
		Ok(())
	}
}

impl Pots<AccountId> for Rewards {
	fn put(pot: Pot, from: &AccountId, amount: Balance) -> sp_runtime::DispatchResult {
		assert_eq!(pot, Pot::Providers);
		assert!(amount > 0);
		Balances::transfer(from, &REWARD_POT, amount, Preservation::Expendable).map(|_| ())
	}
}

/// The running score of worker 0.
pub const SCORE: RunningScore = RunningScore {
	epoch: 3,
	idle: 14,
	rented: 5,
	pod: 15,
};

impl RunningScores for Rewards {
	fn of_worker(worker: WorkerId) -> Option<RunningScore> {
		(worker == 0).then_some(SCORE)
	}
}

impl Config for Test {
	type Currency = Balances;
	type Consideration = HoldConsideration<
		AccountId,
		Balances,
		WorkerHoldReason,
		LinearStoragePrice<ConstU128<KAI>, ConstU128<{ KAI / 1_000 }>, Balance>,
	>;
	type PalletId = ProvidersPalletId;
	type FeeDestination = Treasury;
	type RegistrationFee = Fee;
	type BaseStake = BaseStake;
	type StakePerScore = StakePerScore;
	type MaxStake = MaxStake;
	type Unbonding = UnbondingBlocks;
	type SlashDeferral = Deferral;
	type MaxUnbonding = MaxUnbonding;
	type CurrentEpoch = Epoch;
	type Classes = Table;
	type Checks = Popw;
	type Prices = Book;
	type AdminOrigin = EnsureRoot<AccountId>;
	type SlashBounty = Bounty;
	type Pots = Rewards;
	type Scores = Rewards;
	type OnPoolChange = Rewards;
	type WeightInfo = ();
}

/// Builds the externalities of a test.
#[derive(Default)]
pub struct ExtBuilder;

impl ExtBuilder {
	pub fn build(self) -> sp_io::TestExternalities {
		with(|state| *state = State::default());
		let mut storage = frame_system::GenesisConfig::<Test>::default()
			.build_storage()
			.unwrap();
		pallet_balances::GenesisConfig::<Test> {
			balances: vec![
				(ALICE, FUNDS),
				(BOB, FUNDS),
				(CAROL, FUNDS),
				(DAVE, FUNDS),
				(TREASURY, KAI),
				(REWARD_POT, ED),
				(Providers::pot(), ED),
			],
			..Default::default()
		}
		.assimilate_storage(&mut storage)
		.unwrap();
		let mut ext = sp_io::TestExternalities::new(storage);
		ext.register_extension(sp_keystore::KeystoreExt::new(
			sp_keystore::testing::MemoryKeystore::new(),
		));
		ext.execute_with(|| {
			System::set_block_number(1);
			Providers::integrity_test();
		});
		ext
	}

	/// Runs a test, and checks all invariants afterwards.
	pub fn build_and_execute(self, test: impl FnOnce()) {
		self.build().execute_with(|| {
			test();
			Providers::do_try_state().expect("all invariants hold");
		})
	}
}

/// Moves on to a block.
pub fn run_to(block: BlockNumber) {
	System::set_block_number(block.into());
}

/// The claim of a machine with one 4090.
pub const SPEC: WorkerSpec = WorkerSpec {
	gpu_class: 11,
	gpu_count: 1,
	cpu_cores: 16,
	memory_gb: 64,
	disk_gb: 1_000,
	download_mbps: 500,
	upload_mbps: 400,
	region: *b"DE",
	arch: Arch::Amd64,
	driver: 0,
	cuda: 0,
};
/// The minimum stake for [`SPEC`].
pub const MINIMUM: Balance = 650 * KAI;
/// A profile that supports [`SPEC`].
pub const PROFILE: Profile = Profile {
	bandwidth: 2,
	cpu: 1,
	memory: 2,
	disk: 2,
	gpu_class: 11,
	gpu_count: 1,
};
/// A profile that does not.
pub const POOR: Profile = Profile {
	gpu_class: 0,
	gpu_count: 0,
	..PROFILE
};

/// Returns the outcome of a check that found the worker online, with this profile.
pub const fn online(profile: Profile) -> Outcome {
	Outcome::Online {
		profile: Some(profile),
		service: true,
	}
}

fn pairs(seed: u8) -> (sr25519::Pair, ed25519::Pair) {
	(
		sr25519::Pair::from_seed(&[seed; 32]),
		ed25519::Pair::from_seed(&[seed; 32]),
	)
}

/// Returns the keys of a machine.
pub fn keys(seed: u8) -> WorkerKeys {
	let (worker, agent) = pairs(seed);
	WorkerKeys {
		worker: worker.public().into(),
		agent: agent.public(),
	}
}

/// Returns the signatures by which both keys of a machine prove possession for an account.
pub fn proof(seed: u8, account: AccountId) -> KeyProof {
	let (worker, agent) = pairs(seed);
	let genesis = System::block_hash(0);
	let payload = possession_payload(KeyRole::Worker, genesis, &account);
	KeyProof {
		key: worker.sign(&payload),
		agent: agent.sign(&payload),
	}
}

/// Calls `register_worker`.
pub fn try_register(
	owner: AccountId,
	seed: u8,
	spec: WorkerSpec,
	stake: Balance,
) -> sp_runtime::DispatchResult {
	let WorkerKeys { worker, agent } = keys(seed);
	Providers::register_worker(
		RuntimeOrigin::signed(owner),
		spec,
		worker,
		agent,
		stake,
		proof(seed, owner),
	)
}

/// Registers a worker with the minimum stake.
pub fn register(owner: AccountId, seed: u8) -> WorkerId {
	let worker = NextWorkerId::<Test>::get();
	try_register(owner, seed, SPEC, MINIMUM).unwrap();
	worker
}

/// Registers a worker, and has it verified.
pub fn register_online(owner: AccountId, seed: u8) -> WorkerId {
	let worker = register(owner, seed);
	Popw::spot_check(worker, online(PROFILE));
	assert_eq!(state(worker), WorkerState::Online);
	worker
}

/// Returns a worker's record.
pub fn record(worker: WorkerId) -> RecordOf<Test> {
	Workers::<Test>::get(worker).expect("the worker exists")
}

/// Returns a worker's state.
pub fn state(worker: WorkerId) -> WorkerState {
	record(worker).state()
}

/// Returns the pot's balance above the existential deposit.
pub fn pot() -> Balance {
	Balances::free_balance(Providers::pot()) - ED
}

/// Returns the amount slashed so far, less bounties.
pub fn reward_pot() -> Balance {
	Balances::free_balance(REWARD_POT) - ED
}

/// Puts a worker into a state, with counters and order.
pub fn put_into(worker: WorkerId, state: WorkerState) {
	Providers::mutate(worker, |record| {
		Providers::set_state(worker, record, state);
		record.order = (state == WorkerState::Rented).then_some(0);
		Ok(())
	})
	.unwrap();
}

/// Returns this pallet's events since the last call.
pub fn events() -> Vec<Event<Test>> {
	take_events::<Test, Event<Test>>()
}
