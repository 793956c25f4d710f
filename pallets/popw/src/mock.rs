//! A runtime with this pallet, and registries that behave as a test sets them and record their calls.

use crate as pallet_popw;
use crate::*;
use codec::Encode;
use frame_support::{
	derive_impl, parameter_types,
	traits::{Get, Time},
	weights::Weight,
};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, BenchParams, BlockNumber, CheckedWorkers, CheckerKey, Checks, ClosedCheck, Closing,
	EpochIndex, Forced, GpuClass, GpuClasses, LicenseId, OnClosed, OnUnopened, OperatorId,
	OperatorInfo, OrderId, Outcome, Profile, Proved, Rentals, RoundIndex, RoundKind, SeatResult,
	Seats, Standings, Verdict, Votes, WorkerCounts, WorkerId, WorkerInfo, WorkerKey,
	WorkerRegistry, WorkerSpec, WorkerState, authorized::genesis,
};
use sp_core::{H256, Pair, sr25519};
use sp_runtime::{BuildStorage, DispatchError, DispatchResult, traits::IdentityLookup};
use std::{cell::RefCell, collections::BTreeMap};

pub type AccountId = u64;
pub type Extrinsic = kaisar_test_support::frame::runtime::Extrinsic<Test, RuntimeCall>;
type Block = kaisar_test_support::frame::runtime::Block<Test, RuntimeCall>;

kaisar_test_support::mock_runtime!(Test {
	0: System = frame_system,
	1: Popw = pallet_popw,
});

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
	type Block = Block;
	type AccountId = AccountId;
	type Lookup = IdentityLookup<AccountId>;
}

kaisar_test_support::submit_authorized_calls!(Test, RuntimeCall, Extrinsic);

parameter_types! {
	pub static PhaseLength: BlockNumber = 10;
	pub static TrialOffset: BlockNumber = 0;
	pub static CheckPeriod: u32 = u32::MAX;
	pub static MaxDue: u32 = 40_000;
	pub static GapPeriods: u32 = 7;
	pub static CommitteeSize: u8 = 3;
	pub static CurrentEpoch: EpochIndex = 0;
	/// The chain on which blocks are built: each has other VRF outputs.
	pub static Branch: u32 = 0;
	pub static MinOperators: u8 = 3;
	pub static Bench: BenchParams = BenchParams::default();
	/// The chain's time in block 0.
	pub static GenesisMs: u64 = 1_700_000_000_000;
}

/// A clock that follows the block number.
pub struct BlockTime;
impl Time for BlockTime {
	type Moment = u64;
	fn now() -> u64 {
		GenesisMs::get() + u64::from(System::block_number()) * 12_000
	}
}

/// A VRF output that differs from block to block.
pub struct Vrf;
impl Get<Option<[u8; 32]>> for Vrf {
	fn get() -> Option<[u8; 32]> {
		let block = System::block_number();
		Some(sp_io::hashing::blake2_256(&match Branch::get() {
			0 => block.to_le_bytes().to_vec(),
			branch => (block, branch).encode(),
		}))
	}
}

impl Config for Test {
	type Workers = Registry;
	type Seats = Registry;
	type OnClosed = Registry;
	type Unopened = Registry;
	type CurrentEpoch = CurrentEpoch;
	type Rentals = Registry;
	type Classes = Registry;
	type VrfOutput = Vrf;
	type Time = BlockTime;
	type PhaseLength = PhaseLength;
	type TrialOffset = TrialOffset;
	type CheckPeriod = CheckPeriod;
	type MaxDue = MaxDue;
	type GapPeriods = GapPeriods;
	type CommitteeSize = CommitteeSize;
	type MinOperators = MinOperators;
	type Bench = Bench;
	type WeightInfo = ();
}

/// The state of the registries, and the calls that they got.
#[derive(Clone, Default)]
pub struct Heard {
	pub workers: BTreeMap<WorkerId, WorkerInfo<AccountId>>,
	/// Workers `from ..`, all like this one, for tests of large networks.
	pub crowd: Option<(WorkerId, WorkerInfo<AccountId>)>,
	pub licenses: BTreeMap<LicenseId, OperatorId>,
	pub operators: BTreeMap<OperatorId, OperatorInfo<AccountId>>,
	/// Worker, closing, and the block in which the check was over.
	pub closed: Vec<(WorkerId, Closing, BlockNumber)>,
	pub absent: Vec<(WorkerId, RoundIndex, Option<AccountId>)>,
	pub revealed: Vec<(OperatorId, RoundIndex)>,
	/// Operator, worker, weight, result of the seat, and whether it was a lone vote "online".
	pub credits: Vec<(OperatorId, WorkerId, u32, SeatResult, bool)>,
	pub proved: Vec<(WorkerId, Proved)>,
	pub orders_checked: Vec<(OrderId, WorkerId, Outcome)>,
	/// Orders whose containers have to answer.
	pub serving: Vec<OrderId>,
	pub finders: Vec<(WorkerId, Option<AccountId>)>,
	pub seats: Vec<(OperatorId, bool)>,
	/// Missed seats for unopened commitments.
	pub unopened: Vec<(OperatorId, u32)>,
	/// Milliseconds in which the off-chain worker reads a worker.
	pub info_takes_ms: u64,
}

thread_local! {
	static HEARD: RefCell<Heard> = RefCell::default();
}

/// Reads or changes the state of the registries.
pub fn heard<R>(f: impl FnOnce(&mut Heard) -> R) -> R {
	HEARD.with(|heard| f(&mut heard.borrow_mut()))
}

/// Both registries, and the observer of checks.
pub struct Registry;

impl WorkerRegistry<AccountId> for Registry {
	fn info(worker: WorkerId, _: RoundIndex) -> Option<WorkerInfo<AccountId>> {
		let takes = heard(|heard| heard.info_takes_ms);
		if takes > 0 {
			let takes = sp_runtime::offchain::Duration::from_millis(takes);
			sp_io::offchain::sleep_until(sp_io::offchain::timestamp().add(takes));
		}
		heard(|heard| {
			heard.workers.get(&worker).cloned().or_else(|| {
				let (from, info) = heard.crowd.as_ref()?;
				(worker >= *from).then(|| info.clone())
			})
		})
	}
	fn by_key(key: &WorkerKey) -> Option<WorkerId> {
		heard(|heard| {
			heard
				.workers
				.iter()
				.find(|(_, info)| info.key == *key)
				.map(|(worker, _)| *worker)
		})
	}
	fn counts() -> WorkerCounts {
		heard(|heard| {
			let of = |state| {
				heard
					.workers
					.values()
					.filter(|info| info.standings.now.value == state)
					.count() as u32
			};
			WorkerCounts {
				registered: heard.workers.keys().max().map_or(0, |last| last + 1),
				online: of(WorkerState::Online),
				rented: of(WorkerState::Rented),
			}
		})
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(owner: &AccountId, key: WorkerKey, agent: AgentKey) -> WorkerId {
		let worker = Self::counts().registered;
		let round = NextRound::<Test>::get();
		let forced = Forced {
			round,
			verify_only: true,
		};
		add_worker(worker, WorkerState::Pending, Some(forced));
		heard(|heard| {
			if let Some(info) = heard.workers.get_mut(&worker) {
				info.owner = *owner;
				info.key = key;
				info.agent = agent;
			}
		});
		worker
	}
}

impl CheckedWorkers<AccountId> for Registry {
	fn force(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		heard(|heard| {
			let info = heard
				.workers
				.get_mut(&worker)
				.ok_or(DispatchError::CannotLookup)?;
			info.forced = Some(Forced {
				round,
				verify_only: false,
			});
			Ok(())
		})
	}
	fn postpone(worker: WorkerId, from: RoundIndex, to: RoundIndex) -> DispatchResult {
		heard(|heard| {
			let forced = heard
				.workers
				.get_mut(&worker)
				.and_then(|info| info.forced.as_mut());
			if let Some(forced) = forced.filter(|forced| forced.round == from) {
				forced.round = to;
			}
		});
		Ok(())
	}

	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		heard(|heard| {
			let info = heard
				.workers
				.get_mut(&worker)
				.ok_or(DispatchError::CannotLookup)?;
			info.forced = info.forced.filter(|forced| forced.round != round);
			Ok(())
		})
	}
	fn absent(worker: WorkerId, closing: &Closing, finder: Option<&AccountId>) -> DispatchResult {
		heard(|heard| {
			heard.absent.push((worker, closing.round, finder.copied()));
			let info = heard
				.workers
				.get_mut(&worker)
				.ok_or(DispatchError::CannotLookup)?;
			let (next, in_flight) = (
				<Popw as Checks>::next_round(),
				<Popw as Checks>::in_flight(),
			);
			info.standings
				.change(WorkerState::Offline, next, &in_flight);
			Ok(())
		})
	}
	fn closed(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&AccountId>,
	) -> Result<Proved, DispatchError> {
		let over = LastChecks::<Test>::get(worker).map_or(0, |last| last.until());
		heard(|heard| {
			heard.finders.push((worker, finder.copied()));
			heard.closed.push((worker, *closing, over));
			let info = heard
				.workers
				.get_mut(&worker)
				.ok_or(DispatchError::CannotLookup)?;
			let next = <Popw as Checks>::next_round();
			let in_census = RoundKind::of(closing.round) == RoundKind::Census;
			let decided = matches!(
				closing.outcome,
				Outcome::Online {
					profile: Some(_),
					..
				}
			);
			// The check used up a mark of its round or an earlier one.
			let marked = info.forced.take_if(|mark| mark.round <= closing.round);
			// A full check in a census uses up any mark.
			if in_census && closing.full && decided {
				info.forced = None;
			}
			// A mark of a round that is over is dropped.
			let in_flight = <Popw as Checks>::in_flight();
			let is_stale =
				|mark: &mut Forced| mark.round < next && !in_flight.contains(&mark.round);
			info.forced.take_if(is_stale);
			match closing.outcome {
				Outcome::Online { profile, .. } => {
					let before = info.profile;
					info.profile = profile.or(info.profile);
					if profile.is_some() && info.standings.now.value == WorkerState::Pending {
						info.standings.change(WorkerState::Online, next, &in_flight);
					}
					let credits = closing.rented || profile.is_some();
					let profile = info.profile.unwrap_or_default();
					Ok(Proved {
						idle: if credits && !closing.rented {
							closing.credit
						} else {
							0
						},
						rented: if closing.rented { closing.credit } else { 0 },
						profile: profile.lesser(&before.unwrap_or(profile)),
						..Default::default()
					})
				}
				Outcome::Offline => {
					// A worker that comes back is marked anew.
					info.forced = None;
					info.standings
						.change(WorkerState::Offline, next, &in_flight);
					Ok(Proved::default())
				}
				// A census does not buy a solitary check.
				Outcome::NoConsensus if in_census && marked.is_none() => Ok(Proved::default()),
				Outcome::NoConsensus => {
					info.forced = Some(Forced {
						round: next,
						verify_only: !closing.rented,
					});
					Ok(Proved::default())
				}
			}
		})
	}
}

impl Seats<AccountId> for Registry {
	fn minted() -> u32 {
		heard(|heard| heard.licenses.keys().max().map_or(0, |last| last + 1))
	}
	fn active() -> u32 {
		heard(|heard| heard.licenses.len() as u32)
	}
	fn seat(license: LicenseId, _: RoundIndex) -> Option<OperatorId> {
		heard(|heard| heard.licenses.get(&license).copied())
	}
	fn operator(operator: OperatorId, _: RoundIndex) -> Option<OperatorInfo<AccountId>> {
		heard(|heard| heard.operators.get(&operator).cloned())
	}
	fn number(account: &AccountId) -> Option<OperatorId> {
		heard(|heard| {
			heard
				.operators
				.iter()
				.find(|(_, o)| o.account == *account)
				.map(|(number, _)| *number)
		})
	}
	fn by_key(key: &CheckerKey) -> Option<OperatorId> {
		heard(|heard| {
			heard
				.operators
				.iter()
				.find(|(_, o)| o.key == *key)
				.map(|(number, _)| *number)
		})
	}
	fn revealed(operator: OperatorId, round: RoundIndex) {
		heard(|heard| heard.revealed.push((operator, round)));
	}
	fn credit(
		operator: OperatorId,
		worker: WorkerId,
		_: RoundIndex,
		weight: u32,
		result: SeatResult,
		lone: bool,
	) {
		heard(|heard| heard.credits.push((operator, worker, weight, result, lone)));
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(account: &AccountId, key: CheckerKey, agent: AgentKey) -> OperatorId {
		heard(|heard| {
			// Left by the run before, whose storage was rolled back.
			if heard
				.operators
				.values()
				.any(|info| info.account == *account)
			{
				*heard = Heard::default();
			}
		});
		let operator = heard(|heard| heard.operators.len() as u32);
		add_operator(operator, 1);
		heard(|heard| {
			if let Some(info) = heard.operators.get_mut(&operator) {
				info.account = *account;
				info.key = key;
				info.agent = agent;
			}
		});
		operator
	}
}

impl OnUnopened for Registry {
	fn on_unopened(operator: OperatorId, missed: u32) {
		heard(|heard| heard.unopened.push((operator, missed)));
	}
}

impl Rentals for Registry {
	fn serves(order: OrderId) -> bool {
		heard(|heard| heard.serving.contains(&order))
	}
}

impl GpuClasses for Registry {
	fn score(_: GpuClass) -> Option<u32> {
		None
	}
	/// Returns a reference that differs from round to round.
	fn reference(class: GpuClass, round: RoundIndex) -> Option<ClassReference> {
		(class > 0).then(|| ClassReference {
			trial_turns: 1_000 + round,
			memory_gb: class.into(),
			..ClassReference::LEAST
		})
	}
}

impl OnClosed for Registry {
	fn on_closed(check: &ClosedCheck) -> Weight {
		heard(|heard| {
			if check.proved.idle > 0 || check.proved.rented > 0 {
				heard.proved.push((check.worker, check.proved));
			}
			let seats = check.seats.iter();
			heard
				.seats
				.extend(seats.map(|seat| (seat.operator, seat.result == SeatResult::Correct)));
			let Some(order) = check.order else {
				return Weight::zero();
			};
			let outcome = check.closing.outcome;
			heard.orders_checked.push((order, check.worker, outcome));
			Self::max_weight()
		})
	}
	fn max_weight() -> Weight {
		Weight::from_parts(10_000, 0)
	}
}

/// Returns the key pair of a worker (`//worker/n`) or an operator.
pub fn pair(name: &str, number: u32) -> sr25519::Pair {
	sr25519::Pair::from_string(&format!("//{name}/{number}"), None)
		.expect("a valid derivation path")
}

/// Returns the account of operator `number`.
pub fn operator_account(number: OperatorId) -> AccountId {
	1_000 + u64::from(number)
}

/// Returns the owner of worker `number`.
pub fn owner(number: WorkerId) -> AccountId {
	100 + u64::from(number)
}

/// Adds a worker that has been `state` since round 0, and is forced in `forced`.
pub fn add_worker(worker: WorkerId, state: WorkerState, forced: Option<Forced>) {
	heard(|heard| {
		heard.workers.insert(
			worker,
			WorkerInfo {
				owner: owner(worker),
				key: pair("worker", worker).public().into(),
				agent: AgentKey::from_raw([1; 32]),
				standings: Standings::new(state, 0),
				forced,
				// The claim has tier 2 in everything.
				spec: WorkerSpec {
					cpu_cores: 32,
					memory_gb: 32,
					disk_gb: 512,
					download_mbps: 400,
					upload_mbps: 300,
					..Default::default()
				},
				profile: (state != WorkerState::Pending).then(|| Profile {
					cpu: 1,
					memory: 1,
					disk: 1,
					bandwidth: 1,
					..Default::default()
				}),
				order: None,
			},
		)
	});
}

/// Adds an operator with `licenses` licenses.
pub fn add_operator(operator: OperatorId, licenses: u32) {
	heard(|heard| {
		heard.operators.insert(
			operator,
			OperatorInfo {
				account: operator_account(operator),
				key: pair("checker", operator).public().into(),
				agent: AgentKey::from_raw([2; 32]),
				licenses,
			},
		);
		let first = heard.licenses.keys().max().map_or(0, |last| last + 1);
		for license in first..first + licenses {
			heard.licenses.insert(license, operator);
		}
	});
}

/// Returns a verdict on a machine of the lowest tiers.
pub fn good() -> Verdict {
	Verdict {
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
	}
}

/// Returns a batch of one vote.
pub fn one(worker: WorkerId, verdict: Verdict) -> Votes {
	vec![(worker, verdict)]
		.try_into()
		.expect("one is not too many")
}

/// Runs up to and into block `to`: all hooks of each block before it, and its own `on_initialize`.
pub fn run_to(to: u32) {
	use frame_support::traits::Hooks;
	while System::block_number() < to {
		let now = System::block_number();
		if now > 0 {
			Popw::on_finalize(now);
		}
		System::set_block_number(now + 1);
		Popw::on_initialize(now + 1);
	}
}

/// Returns the commitment to the votes, for the mock's chain.
pub fn hash_of(
	operator: OperatorId,
	round: RoundIndex,
	batch: u16,
	votes: &Votes,
	salt: [u8; 32],
) -> H256 {
	kaisar_primitives::commitment(genesis::<Test>(), round, operator, batch, votes, &salt)
}

/// Commits for an operator, signed by its account.
pub fn commit(operator: OperatorId, round: RoundIndex, votes: &Votes) -> DispatchResult {
	let hash = hash_of(operator, round, 0, votes, [operator as u8; 32]);
	let origin = RuntimeOrigin::signed(operator_account(operator));
	Popw::commit(origin, operator, round, 0, hash, None)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Reveals for an operator, signed by its account.
pub fn reveal(operator: OperatorId, round: RoundIndex, votes: &Votes) -> DispatchResult {
	let origin = RuntimeOrigin::signed(operator_account(operator));
	let salt = [operator as u8; 32];
	Popw::reveal(origin, operator, round, 0, votes.clone(), salt, None)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Attests, signed by the owner.
pub fn attest(worker: WorkerId, round: RoundIndex) -> DispatchResult {
	Popw::attest(
		RuntimeOrigin::signed(owner(worker)),
		worker,
		round,
		[7; 32],
		None,
	)
	.map(|_| ())
	.map_err(|error| error.error)
}

/// Returns the outcome of the last closed check.
pub fn last_outcome() -> Outcome {
	heard(|heard| heard.closed.last().expect("a check was closed").1.outcome)
}

/// Returns whether the worker has an open check.
pub fn is_open(worker: WorkerId) -> bool {
	<Popw as Checks>::is_open(worker)
}

/// Builds the test's world.
#[derive(Default)]
pub struct ExtBuilder {
	operators: u32,
}

impl ExtBuilder {
	/// Adds `count` operators, numbered from 0, with ten licenses each.
	pub fn operators(mut self, operators: u32) -> Self {
		self.operators = operators;
		self
	}

	/// Returns an empty world, for tests that keep it.
	pub fn build(self) -> sp_io::TestExternalities {
		heard(|heard| *heard = Heard::default());
		PhaseLength::set(10);
		TrialOffset::set(0);
		CheckPeriod::set(u32::MAX);
		MaxDue::set(40_000);
		GapPeriods::set(7);
		CommitteeSize::set(3);
		CurrentEpoch::set(0);
		Branch::set(0);
		MinOperators::set(3);
		for operator in 0..self.operators {
			add_operator(operator, 10);
		}
		let storage = frame_system::GenesisConfig::<Test>::default()
			.build_storage()
			.expect("a genesis without anything in it");
		sp_io::TestExternalities::new(storage)
	}

	/// Returns a world with a keystore, for benchmarks.
	#[cfg(feature = "runtime-benchmarks")]
	pub fn build_for_benchmarks() -> sp_io::TestExternalities {
		let mut ext = Self::default().build();
		ext.register_extension(sp_keystore::KeystoreExt::new(
			sp_keystore::testing::MemoryKeystore::new(),
		));
		ext
	}

	/// Runs the test, and the invariants after it.
	pub fn build_and_execute(self, test: impl FnOnce()) {
		self.build().execute_with(|| {
			test();
			Popw::do_try_state().expect("the invariants hold");
		});
	}
}
