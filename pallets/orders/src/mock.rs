//! A runtime for tests, with a registry of workers and rounds that behave as a test sets them. Both keep
//! their state in storage, so that a failed call is rolled back.

use crate::{self as pallet_orders, *};
use codec::{Decode, Encode};
use frame_support::{
	PalletId, derive_impl, parameter_types, storage_alias,
	traits::{ConstU128, Hooks, fungible::Mutate, tokens::Preservation},
	weights::{Weight, constants::WEIGHT_REF_TIME_PER_MILLIS},
};
use frame_system::EnsureRoot;
use kaisar_primitives::{
	AgentKey, Arch, Balance, BlockNumber, BlockSeed, Candidate, CheckedWorkers, Checks, ClientKey,
	ClosedCheck, Closing, GpuClass, GpuClasses, HOURS, Image, KAI, Market, OnClosed, OrderId,
	Outcome, Plan, PlanRates, Prices, Profile, Proved, Requirement, RoundIndex, Standings,
	WorkerCounts, WorkerId, WorkerInfo, WorkerKey, WorkerRegistry, WorkerSpec, WorkerState,
	Workload,
};
use kaisar_test_support::frame::take_events;
use sp_core::{H256, Pair, sr25519};
use sp_runtime::{
	BoundedVec, BuildStorage, DispatchError, DispatchResult, Perbill, traits::IdentityLookup,
};
use std::{cell::RefCell, collections::BTreeMap};

pub type AccountId = u64;
pub type Extrinsic = kaisar_test_support::frame::runtime::Extrinsic<Test, RuntimeCall>;
type Block = kaisar_test_support::frame::runtime::Block<Test, RuntimeCall>;

kaisar_test_support::mock_runtime!(Test {
	0: System = frame_system,
	1: Balances = pallet_balances,
	2: Rentals = pallet_orders,
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
	type FreezeIdentifier = [u8; 8];
	type MaxFreezes = frame_support::traits::ConstU32<4>;
}

kaisar_test_support::submit_authorized_calls!(Test, RuntimeCall, Extrinsic);

/// The existential deposit.
pub const ED: Balance = KAI / 1_000;
pub const FUNDS: Balance = 1_000_000 * KAI;
pub const TREASURY: AccountId = 99;
/// Customers.
pub const CARLA: AccountId = 1;
pub const DAN: AccountId = 2;
/// A provider.
pub const PETRA: AccountId = 11;
/// An account without a role.
pub const ANYONE: AccountId = 21;
/// The oracle.
pub const ORACLE: AccountId = 31;
pub const DEADLINE: BlockNumber = 75;
pub const SETUP: BlockNumber = 30;
pub const BAR: BlockNumber = 300;
pub const TIMEOUT: BlockNumber = 150;
pub const HISTORY: BlockNumber = 1_000;
pub const BOND: Balance = 10 * KAI;
/// Reference price of class 11, with which an hour costs 3 KAI while nothing is rented.
pub const REFERENCE: Balance = 4 * KAI;
/// Price of a GPU-hour of class 11 while nothing is rented.
pub const PRICE: Balance = 3 * KAI;
pub const CLASS: GpuClass = 11;

parameter_types! {
	pub const OrdersPalletId: PalletId = PalletId(*b"ksr/ordr");
	pub const Treasury: AccountId = TREASURY;
	pub storage Fee: Perbill = Perbill::from_percent(10);
	pub storage Bond: Balance = BOND;
	pub storage Rates: PlanRates = PlanRates::default();
	pub storage DeployDeadline: BlockNumber = DEADLINE;
	pub storage SetupBlocks: BlockNumber = SETUP;
	pub storage BarBlocks: BlockNumber = BAR;
	pub storage ClosingTimeout: BlockNumber = TIMEOUT;
	pub storage History: BlockNumber = HISTORY;
	pub storage MatchDraws: u32 = 8;
	pub storage HookWeight: Weight = Weight::from_parts(800 * WEIGHT_REF_TIME_PER_MILLIS, 64 << 20);
}

/// A worker of the mock.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Machine {
	pub owner: AccountId,
	pub state: WorkerState,
	pub order: Option<OrderId>,
	pub profile: Profile,
	pub region: [u8; 2],
	pub floor: Balance,
	pub reliability: Perbill,
	pub arch: Arch,
	pub driver: u16,
	pub cuda: u16,
	pub barred_until: BlockNumber,
	/// Whether it is due in a full check before it can be rented.
	pub unproved: bool,
	/// Whether it has left the index, until it is reviewed.
	pub unlisted: bool,
	/// The block from which its rented time is not proved.
	pub since: BlockNumber,
	/// Number of times it was made due.
	pub forced: u32,
	/// Whether it is due in a round in its attest part.
	pub due: bool,
	/// The last block in which it owes proofs from before it was rented.
	pub proves_until: Option<BlockNumber>,
	/// Its open check: the round's first block, and the result with which a touch closes it, if it is over.
	pub open: Option<(BlockNumber, Option<Verdict>)>,
	/// Slashes queued by checks and by orders.
	pub slashes: u32,
	/// Number of orders that it deployed.
	pub deployed: u32,
	/// Number of reviews.
	pub reviews: u32,
	/// Its key, if it differs from that of its [`pair`].
	pub key: Option<WorkerKey>,
}

impl Machine {
	/// Returns whether it can be rented now.
	pub fn is_listed(&self) -> bool {
		self.state == WorkerState::Online && !self.unproved && !self.unlisted
	}

	/// Returns whether its price floor is within the highest price of its class.
	fn is_within(&self) -> bool {
		<Rentals as Prices>::highest(self.profile.gpu_class)
			.is_none_or(|highest| self.floor <= highest)
	}

	/// Lists or unlists it, by its bar and its price floor.
	fn judge(&mut self) {
		self.unlisted = !self.is_within() || self.barred_until > now();
	}
}

/// The result of a check of the mock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Verdict {
	Fine,
	Down,
	Offline,
	NoConsensus,
}

#[storage_alias]
pub type Machines = StorageMap<Mock, frame_support::Twox64Concat, WorkerId, Machine>;
#[storage_alias]
pub type MachineCount = StorageValue<Mock, WorkerId, frame_support::pallet_prelude::ValueQuery>;
/// The call that the registry or Rewards refuses, if any.
#[storage_alias]
pub type Refused = StorageValue<Mock, Refusal, frame_support::pallet_prelude::OptionQuery>;
/// The sum of protocol fees.
#[storage_alias]
pub type FeesPaid = StorageValue<Mock, Balance, frame_support::pallet_prelude::ValueQuery>;
/// Whether blocks have no seed.
#[storage_alias]
pub type NoSeeds = StorageValue<Mock, bool, frame_support::pallet_prelude::ValueQuery>;

/// Whether a census prepares.
#[storage_alias]
pub type CensusPrepares = StorageValue<Mock, bool, frame_support::pallet_prelude::ValueQuery>;
/// Classes that are not paid.
#[storage_alias]
pub type Unpaid = StorageMap<Mock, frame_support::Twox64Concat, GpuClass, ()>;

/// The calls of partners that a test can make fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Refusal {
	/// Freeing a worker.
	Free(WorkerId),
	/// Taking a fee.
	Fees,
	/// Renting a worker.
	Rent(WorkerId),
	/// Reviewing a worker.
	Review(WorkerId),
}

fn change<R>(worker: WorkerId, f: impl FnOnce(&mut Machine) -> R) -> Result<R, DispatchError> {
	let mut machine = Machines::get(worker).ok_or(DispatchError::CannotLookup)?;
	let result = f(&mut machine);
	Machines::insert(worker, machine);
	Ok(result)
}

/// Changes a worker of the mock.
pub fn with_machine<R>(worker: WorkerId, f: impl FnOnce(&mut Machine) -> R) -> R {
	change(worker, f).expect("there is such a worker")
}

/// Returns a worker of the mock.
pub fn machine(worker: WorkerId) -> Machine {
	Machines::get(worker).expect("there is such a worker")
}

/// A stand-in for Providers.
pub struct Registry;

impl Registry {
	/// Returns the listed workers of a bucket; those of class 0 by their CPU tier.
	fn bucket(class: GpuClass, count: u8, region: Option<[u8; 2]>) -> Vec<WorkerId> {
		(0..MachineCount::get())
			.filter(|worker| {
				let machine = machine(*worker);
				let Profile {
					cpu,
					gpu_class,
					gpu_count,
					..
				} = machine.profile;
				let number = if gpu_class == 0 { cpu } else { gpu_count };
				machine.is_listed()
					&& (gpu_class, number) == (class, count)
					&& region.is_none_or(|asked| asked == machine.region)
			})
			.collect()
	}
}

impl WorkerRegistry<AccountId> for Registry {
	fn info(worker: WorkerId, _: RoundIndex) -> Option<WorkerInfo<AccountId>> {
		let machine = Machines::get(worker)?;
		Some(WorkerInfo {
			owner: machine.owner,
			key: machine.key.unwrap_or_else(|| key_of(worker)),
			agent: AgentKey::from_raw([1; 32]),
			standings: Standings::new(machine.state, 0),
			forced: None,
			spec: WorkerSpec::default(),
			profile: Some(machine.profile),
			order: machine.order,
		})
	}
	fn by_key(key: &WorkerKey) -> Option<WorkerId> {
		(0..MachineCount::get()).find(|worker| key_of(*worker) == *key)
	}
	fn counts() -> WorkerCounts {
		WorkerCounts {
			registered: MachineCount::get(),
			..Default::default()
		}
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(owner: &AccountId, key: WorkerKey, _: AgentKey) -> WorkerId {
		let worker = add_machine(*owner);
		with_machine(worker, |machine| {
			machine.state = WorkerState::Pending;
			machine.key = Some(key);
		});
		worker
	}
}

impl CheckedWorkers<AccountId> for Registry {
	fn force(worker: WorkerId, _: RoundIndex) -> DispatchResult {
		change(worker, |machine| machine.forced += 1)
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
	fn closed(
		worker: WorkerId,
		closing: &Closing,
		_: Option<&AccountId>,
	) -> Result<Proved, DispatchError> {
		change(worker, |machine| {
			let start = closing.round_start;
			let mut rented = 0;
			match closing.outcome {
				Outcome::Online {
					service, profile, ..
				} => {
					machine.profile = profile.unwrap_or(machine.profile);
					if machine.state == WorkerState::Pending {
						machine.state = WorkerState::Online;
					}
					if machine.state == WorkerState::Rented {
						rented = start.saturating_sub(machine.since).min(closing.credit);
						machine.since = machine.since.max(start);
					}
					if machine.state == WorkerState::Online {
						machine.unproved = false;
					}
					if !service {
						rented = 0;
					}
				}
				Outcome::Offline => {
					machine.state = WorkerState::Offline;
					machine.order = None;
					machine.slashes += 1;
				}
				Outcome::NoConsensus => machine.forced += 1,
			}
			Proved {
				rented,
				..Default::default()
			}
		})
	}
}

impl Market for Registry {
	fn idle(class: GpuClass, count: u8, region: Option<[u8; 2]>) -> u32 {
		Self::bucket(class, count, region).len() as u32
	}
	fn idle_at(
		class: GpuClass,
		count: u8,
		region: Option<[u8; 2]>,
		position: u32,
	) -> Option<WorkerId> {
		Self::bucket(class, count, region)
			.get(position as usize)
			.copied()
	}
	fn candidate(worker: WorkerId) -> Option<Candidate> {
		let machine = Machines::get(worker)?;
		let can_be_rented = machine.is_listed() && machine.is_within();
		can_be_rented.then_some(Candidate {
			profile: machine.profile,
			region: machine.region,
			price_floor: machine.floor,
			reliability: machine.reliability,
			arch: machine.arch,
			driver: machine.driver,
			cuda: machine.cuda,
		})
	}
	fn use_of(class: GpuClass) -> (u32, u32) {
		let count = |state| {
			(0..MachineCount::get())
				.map(machine)
				.filter(|machine| machine.profile.gpu_class == class && machine.state == state)
				.count() as u32
		};
		(count(WorkerState::Online), count(WorkerState::Rented))
	}
	fn rent(worker: WorkerId, order: OrderId) -> DispatchResult {
		if Refused::get() == Some(Refusal::Rent(worker)) {
			return Err(DispatchError::Unavailable);
		}
		change(worker, |machine| {
			if !machine.is_listed() {
				return Err(DispatchError::Unavailable);
			}
			machine.state = WorkerState::Rented;
			machine.order = Some(order);
			machine.since = now();
			Ok(())
		})?
	}
	fn free(worker: WorkerId, unproved: bool) -> DispatchResult {
		if Refused::get() == Some(Refusal::Free(worker)) {
			return Err(DispatchError::Unavailable);
		}
		change(worker, |machine| {
			if machine.state != WorkerState::Rented {
				return Err(DispatchError::Unavailable);
			}
			machine.state = WorkerState::Online;
			machine.order = None;
			machine.unproved = unproved;
			machine.forced += u32::from(unproved);
			Ok(())
		})?
	}
	fn deployed(worker: WorkerId) -> DispatchResult {
		change(worker, |machine| machine.deployed += 1)
	}
	fn review(worker: WorkerId) -> DispatchResult {
		if Refused::get() == Some(Refusal::Review(worker)) {
			return Err(DispatchError::Unavailable);
		}
		change(worker, |machine| {
			machine.reviews += 1;
			machine.judge();
		})
	}
	fn bar(worker: WorkerId, until: BlockNumber) -> DispatchResult {
		change(worker, |machine| {
			machine.barred_until = machine.barred_until.max(until);
			machine.unlisted = true;
			machine.reliability = Perbill::from_percent(50);
		})
	}
	fn fault(worker: WorkerId) -> DispatchResult {
		change(worker, |machine| machine.slashes += 1)
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_verify(worker: WorkerId, profile: Profile) {
		with_machine(worker, |machine| {
			machine.state = WorkerState::Online;
			machine.profile = profile;
		});
	}
}

/// A stand-in for Popw.
pub struct Rounds;

impl Checks for Rounds {
	fn next_round() -> RoundIndex {
		0
	}
	fn touch(worker: WorkerId) {
		if let Some((start, Some(verdict))) = machine(worker).open {
			check(worker, start, verdict);
		}
	}
	fn is_open(worker: WorkerId) -> bool {
		machine(worker).open.is_some()
	}
	fn looks_back(worker: WorkerId, since: BlockNumber) -> bool {
		machine(worker)
			.open
			.is_some_and(|(start, _)| start <= since)
	}
	fn is_due(worker: WorkerId) -> bool {
		machine(worker).due
	}
	fn proves_until(worker: WorkerId) -> Option<BlockNumber> {
		machine(worker).proves_until.filter(|until| now() <= *until)
	}
	fn census_prepares() -> bool {
		CensusPrepares::get()
	}
	fn force(worker: WorkerId) -> DispatchResult {
		Registry::force(worker, 0)
	}
}

/// The longest gap that a check credits.
pub const MAX_GAP: BlockNumber = 4_800;

/// Closes a check of a worker whose round began in block `start`, as Popw does.
pub fn check(worker: WorkerId, start: BlockNumber, verdict: Verdict) {
	let info = Registry::info(worker, 0).expect("there is such a worker");
	with_machine(worker, |machine| {
		machine.open = None;
		machine.due = false;
	});
	let online = |service| Outcome::Online {
		profile: Some(machine(worker).profile),
		service,
	};
	let closing = Closing {
		round: 0,
		round_start: start,
		outcome: match verdict {
			Verdict::Fine => online(true),
			Verdict::Down => online(false),
			Verdict::Offline => Outcome::Offline,
			Verdict::NoConsensus => Outcome::NoConsensus,
		},
		rented: machine(worker).state == WorkerState::Rented,
		full: false,
		credit: MAX_GAP,
		false_proof: false,
		slashes: true,
	};
	let proved = Registry::closed(worker, &closing, None).expect("the registry refuses nothing");
	Rentals::on_closed(&ClosedCheck {
		worker,
		order: info.order,
		closing: &closing,
		proved,
		seats: &[],
	});
}

/// Randomness that differs from block to block.
pub struct Vrf;
impl Vrf {
	fn output(number: BlockNumber) -> Option<H256> {
		let hash = || H256::from(sp_io::hashing::blake2_256(&number.to_le_bytes()));
		(!NoSeeds::get()).then(hash)
	}
}
impl BlockSeed for Vrf {
	fn seed_of(number: BlockNumber) -> Option<H256> {
		Self::output(number).filter(|_| number < now())
	}
	fn running() -> Option<H256> {
		Self::output(now())
	}
}

/// All classes, as Rewards has them.
pub struct Classes;
impl GpuClasses for Classes {
	fn score(_: GpuClass) -> Option<u32> {
		Some(100)
	}
	fn is_paid(class: GpuClass) -> bool {
		!Unpaid::contains_key(class)
	}
}

/// Rewards: fees go to the treasury.
pub struct Rewards;
impl kaisar_primitives::ProtocolFees<AccountId> for Rewards {
	fn pay(_: WorkerId, from: &AccountId, amount: Balance) -> DispatchResult {
		if Refused::get() == Some(Refusal::Fees) {
			return Err(DispatchError::Unavailable);
		}
		if amount > 0 {
			Balances::transfer(from, &TREASURY, amount, Preservation::Expendable)?;
			FeesPaid::mutate(|sum| *sum += amount);
		}
		Ok(())
	}
}

impl Config for Test {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Workers = Registry;
	type Checks = Rounds;
	type Seeds = Vrf;
	type Classes = Classes;
	type Fees = Rewards;
	type Treasury = Treasury;
	type PalletId = OrdersPalletId;
	type AdminOrigin = EnsureRoot<AccountId>;
	type PlanRates = Rates;
	type ProtocolFee = Fee;
	type IssueBond = Bond;
	type DeployDeadline = DeployDeadline;
	type SetupBlocks = SetupBlocks;
	type BarBlocks = BarBlocks;
	type ClosingTimeout = ClosingTimeout;
	type History = History;
	type MatchDraws = MatchDraws;
	type HookWeight = HookWeight;
	type WeightInfo = ();
}

/// Builds the externalities of a test.
#[derive(Default)]
pub struct ExtBuilder;

impl ExtBuilder {
	pub fn build(self) -> sp_io::TestExternalities {
		let mut storage = frame_system::GenesisConfig::<Test>::default()
			.build_storage()
			.unwrap();
		let funded = [CARLA, DAN, PETRA, ANYONE, ORACLE];
		pallet_balances::GenesisConfig::<Test> {
			balances: funded
				.map(|who| (who, FUNDS))
				.into_iter()
				.chain([(TREASURY, KAI)])
				.collect(),
			..Default::default()
		}
		.assimilate_storage(&mut storage)
		.unwrap();
		pallet_orders::GenesisConfig::<Test> {
			prices: vec![(CLASS, REFERENCE), (0, KAI / 10)],
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
			Rentals::integrity_test();
		});
		ext
	}

	/// Runs a test, and checks the invariants after it.
	pub fn build_and_execute(self, test: impl FnOnce()) {
		self.build().execute_with(|| {
			let issued = pallet_balances::TotalIssuance::<Test>::get();
			test();
			Rentals::do_try_state().expect("all invariants hold");
			assert_eq!(
				pallet_balances::TotalIssuance::<Test>::get(),
				issued,
				"nothing is minted or burnt"
			);
		})
	}
}

/// Returns the running block.
pub fn now() -> BlockNumber {
	System::block_number()
}

/// Moves on to the next block, with all hooks. Returns their weight.
pub fn next_block() -> Weight {
	System::set_block_number(now() + 1);
	Rentals::on_initialize(now())
}

/// Moves on to a block, with all hooks.
pub fn run_to(block: BlockNumber) {
	while now() < block {
		next_block();
	}
}

/// Returns the public key of a worker: that of its pair, for the workers for which tests sign. Deriving a
/// pair takes long in a development build.
fn key_of(worker: WorkerId) -> WorkerKey {
	thread_local! {
		static KEYS: RefCell<BTreeMap<WorkerId, sr25519::Public>> = RefCell::default();
	}
	if worker >= 4 {
		let mut raw = [1; 32];
		raw[..4].copy_from_slice(&worker.to_le_bytes());
		return sr25519::Public::from_raw(raw).into();
	}
	KEYS.with_borrow_mut(|keys| *keys.entry(worker).or_insert_with(|| pair(worker).public()))
		.into()
}

/// Returns the key pair of one of the first workers.
pub fn pair(worker: WorkerId) -> sr25519::Pair {
	sr25519::Pair::from_string(&format!("//worker/{worker}"), None).expect("a valid path")
}

/// The profile of the mock's machines.
pub const PROFILE: Profile = Profile {
	bandwidth: 2,
	cpu: 2,
	memory: 2,
	disk: 2,
	gpu_class: CLASS,
	gpu_count: 1,
};

/// Adds an idle worker.
pub fn add_machine(owner: AccountId) -> WorkerId {
	let worker = MachineCount::get();
	MachineCount::put(worker + 1);
	Machines::insert(
		worker,
		Machine {
			owner,
			state: WorkerState::Online,
			order: None,
			profile: PROFILE,
			region: *b"DE",
			floor: 0,
			reliability: Perbill::one(),
			arch: Arch::Amd64,
			driver: 550,
			cuda: 1_204,
			barred_until: 0,
			unproved: false,
			unlisted: false,
			since: 0,
			forced: 0,
			due: false,
			proves_until: None,
			open: None,
			slashes: 0,
			deployed: 0,
			reviews: 0,
			key: None,
		},
	);
	worker
}

/// A requirement of one GPU of the class that has a price.
pub const ONE: Requirement = Requirement {
	gpu_class: CLASS,
	gpu_count: 1,
	min_bandwidth: 0,
	min_cpu: 0,
	min_memory: 0,
	min_disk: 0,
	region: None,
	arch: None,
	min_driver: None,
	min_cuda: None,
};

pub fn client_key() -> ClientKey {
	ClientKey::from_raw([7; 32])
}

pub fn image() -> Image {
	Image::Reference(reference("docker.io/library/nginx:1.27"))
}

/// Returns a workload of an image and nothing more.
pub fn workload() -> Workload {
	Workload::of(image())
}

pub fn reference(text: &str) -> Reference {
	BoundedVec::truncate_from(text.as_bytes().to_vec())
}

/// Places an order and returns its number.
pub fn try_place(
	who: AccountId,
	requirement: Requirement,
	hours: u32,
	plan: Plan,
	credits: Balance,
) -> Result<OrderId, DispatchError> {
	let id = NextOrderId::<Test>::get();
	Rentals::place_order(
		RuntimeOrigin::signed(who),
		requirement,
		workload(),
		hours,
		plan,
		Balance::MAX,
		credits,
		client_key(),
	)?;
	Ok(id)
}

/// Places an order of one GPU, on demand.
pub fn place(who: AccountId, hours: u32) -> OrderId {
	try_place(who, ONE, hours, Plan::OnDemand, 0).unwrap()
}

/// Places an order and has it matched.
pub fn placed(who: AccountId, hours: u32) -> (OrderId, WorkerId) {
	let id = place(who, hours);
	matched(id)
}

/// Has an order matched.
pub fn matched(id: OrderId) -> (OrderId, WorkerId) {
	run_to(order(id).placed_at + 2);
	(id, order(id).worker.expect("it was matched"))
}

/// Places an order and has it matched and deployed.
pub fn deployed(who: AccountId, hours: u32) -> (OrderId, WorkerId) {
	let (id, worker) = placed(who, hours);
	confirm(id);
	(id, worker)
}

/// Confirms an order's deployment, as its worker's owner.
pub fn confirm(id: OrderId) {
	let owner = machine(order(id).worker.unwrap()).owner;
	Rentals::confirm_deployment(RuntimeOrigin::signed(owner), id, None).unwrap();
}

/// Returns an order's record.
pub fn order(id: OrderId) -> OrderOf<Test> {
	Orders::<Test>::get(id).expect("there is such an order")
}

/// Returns an order's state.
pub fn state(id: OrderId) -> OrderState {
	order(id).state
}

/// Returns the state of an order closed for this reason.
pub const fn closed(reason: kaisar_primitives::CloseReason) -> OrderState {
	OrderState::Closed { reason }
}

/// Returns an account's free balance.
pub fn free(who: AccountId) -> Balance {
	pallet_balances::Pallet::<Test>::free_balance(who)
}

/// Returns the pallet's events since the last call.
pub fn events() -> Vec<Event<Test>> {
	take_events::<Test, Event<Test>>()
}

/// Returns the cost of `blocks` at the usual price.
pub fn price_of(blocks: BlockNumber) -> Balance {
	PRICE * Balance::from(blocks) / Balance::from(HOURS)
}
