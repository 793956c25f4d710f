//! The traits through which pallets meet.
//!
//! ```text
//!   Providers ──Checks──▶ Popw ──WorkerRegistry, CheckedWorkers──▶ Providers
//!   Checkers  ──Checks──▶ Popw ──Seats──▶ Checkers ──LicenseInfo──▶ Licenses
//!   Checkers  ──WorkerRegistry──▶ Providers
//!   Popw ──OnClosed──▶ Orders, Rewards
//!   Popw ──Rentals───▶ Orders ──WorkerRegistry, Market──▶ Providers
//!   Orders ──Checks, BlockSeed──▶ Popw
//!   Providers, Checkers ──OnPoolChange──▶ Rewards ──Pools──▶ Providers, Checkers
//!   Providers, Orders ──Pots──▶ Rewards ◀──ProtocolFees── Orders
//!   Popw ──OnUnopened──▶ Rewards ◀──RetiredPools── Checkers
//!   Providers ──Prices──▶ Orders
//!   Providers, Orders, Popw ──GpuClasses──▶ Rewards
//! ```
//!
//! A call that changes a worker touches it first ([`Checks::touch`], which closes a check that is over) and
//! reads its record afterwards.
//!
//! `()` implements the traits that a test's runtime leaves out.

use crate::{
	AgentKey, Arch, Balance, BlockNumber, CheckerKey, Closing, Commission, EpochIndex, Forced,
	GpuClass, LicenseId, OperatorId, OrderId, PoolId, Profile, Proved, RoundIndex, SeatResult,
	Standings, WorkerId, WorkerKey, WorkerSpec,
};
use frame_support::weights::Weight;
use kaisar_math::ClassReference;
use sp_runtime::{DispatchError, DispatchResult, Perbill};

/// A worker as Popw and Orders see it. One storage read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerInfo<AccountId> {
	/// The provider.
	pub owner: AccountId,
	/// The worker key in force in the round that was asked for.
	pub key: WorkerKey,
	/// The agent key in force in the round that was asked for.
	pub agent: AgentKey,
	/// How it stands, and stood.
	pub standings: Standings,
	/// Its mark, if any: the spot round that it is due in.
	pub forced: Option<Forced>,
	/// What it claims.
	pub spec: WorkerSpec,
	/// What was last verified.
	pub profile: Option<Profile>,
	/// The order it serves, if any.
	pub order: Option<OrderId>,
}

/// The numbers of the network that a round's record fixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerCounts {
	/// Workers ever registered; ids are below it.
	pub registered: u32,
	/// `Online`: verified and idle.
	pub online: u32,
	/// `Rented`.
	pub rented: u32,
}

/// A worker that can be rented now, as Orders see it. One storage read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
	/// What was last verified.
	pub profile: Profile,
	/// Where it is.
	pub region: [u8; 2],
	/// It is never matched below this price per GPU-hour.
	pub price_floor: Balance,
	/// The part of its last checks and deployments that it passed.
	pub reliability: Perbill,
	/// Its processor architecture.
	pub arch: Arch,
	/// Major version of the GPU's driver, 0 for none.
	pub driver: u16,
	/// The CUDA version that the driver supports, 100 · major + minor, 0 for none.
	pub cuda: u16,
}

/// The registry of workers (Providers): records and counts, for Popw, Checkers and Orders.
pub trait WorkerRegistry<AccountId> {
	/// Returns the worker's record, with the keys in force in `round`.
	fn info(worker: WorkerId, round: RoundIndex) -> Option<WorkerInfo<AccountId>>;

	/// Returns the worker that holds this key now or from the next round.
	fn by_key(key: &WorkerKey) -> Option<WorkerId>;

	/// Returns the number of workers, in total and by state.
	fn counts() -> WorkerCounts;

	/// Registers a `Pending` worker with these keys, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(owner: &AccountId, key: WorkerKey, agent: AgentKey) -> WorkerId;
}

/// Changes that checks make to workers (Providers), for Popw.
pub trait CheckedWorkers<AccountId> {
	/// Makes the worker due once, in spot round `round`. An earlier mark that is still due stays.
	fn force(worker: WorkerId, round: RoundIndex) -> DispatchResult;

	/// Moves the worker's mark from round `from` to round `to`: an open check kept the worker out of
	/// round `from`.
	fn postpone(worker: WorkerId, from: RoundIndex, to: RoundIndex) -> DispatchResult;

	/// Notes that a check of the worker was opened in `round`, which uses up a mark for that round.
	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult;

	/// Finds the worker offline, as a check would: it was due in `closing.round` and did not attest.
	/// `finder` gets the bounty of a slash.
	fn absent(worker: WorkerId, closing: &Closing, finder: Option<&AccountId>) -> DispatchResult;

	/// Closes a check: updates profile, state, reliability and pending time, and returns the time that
	/// the check proved. `finder`, the account that closed a check which nobody else did, shares the
	/// bounty of a slash.
	fn closed(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&AccountId>,
	) -> Result<Proved, DispatchError>;
}

/// Workers as goods (Providers): drawn, rented and freed by Orders.
pub trait Market {
	/// Returns the number of workers that can be rented now with `count` verified GPUs of the class, in a
	/// region or in all of them. In class 0 `count` is the verified CPU tier, from 1.
	fn idle(class: GpuClass, count: u8, region: Option<[u8; 2]>) -> u32;

	/// Returns one of these workers by its position below [`idle`](Self::idle). Positions change whenever
	/// a worker comes or goes: draw them at random, and use them at once.
	fn idle_at(
		class: GpuClass,
		count: u8,
		region: Option<[u8; 2]>,
		position: u32,
	) -> Option<WorkerId>;

	/// Returns the worker's offer, if it can be rented now.
	fn candidate(worker: WorkerId) -> Option<Candidate>;

	/// Returns the idle and the rented workers of a GPU class, for its utilization.
	fn use_of(class: GpuClass) -> (u32, u32);

	/// Rents an idle worker to `order`: `Online` → `Rented`.
	fn rent(worker: WorkerId, order: OrderId) -> DispatchResult;

	/// Frees a `Rented` worker: it is idle. It becomes `Suspended` instead if a slash left its owner's stake
	/// below the minimum. With `unproved` it is due in a full check, and cannot be rented until one supports
	/// its claim: so after an order that was deployed.
	fn free(worker: WorkerId, unproved: bool) -> DispatchResult;

	/// The worker deployed an order, which counts for its reliability. To be called once an order, when a
	/// check proves rented time of it for the first time: a confirmation shows nothing, and a provider that
	/// confirms and reports an exit would climb by it. It changes nothing but the record, so the call may come
	/// from [`OnClosed`], after [`CheckedWorkers::closed`]; an order that ends before is not counted.
	fn deployed(worker: WorkerId) -> DispatchResult;

	/// The worker failed to deploy an order by its own fault, which counts against its reliability. It cannot
	/// be rented before block `until`; the caller asks for a [`review`](Self::review) then.
	fn bar(worker: WorkerId, until: BlockNumber) -> DispatchResult;

	/// Judges anew whether the worker can be rented: by its bar, its mark, and its price floor at today's
	/// highest price. Lists or unlists it.
	fn review(worker: WorkerId) -> DispatchResult;

	/// Queues a slash of level 1 against a worker that failed its order outside any check, for the time
	/// since its last proof that no slash charged yet.
	fn fault(worker: WorkerId) -> DispatchResult;

	/// Makes a `Pending` worker idle with this profile, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_verify(worker: WorkerId, profile: Profile);
}

/// Rounds and checks (Popw), for Providers, Checkers and Orders.
pub trait Checks {
	/// The first spot round that starts at least four blocks from now: from there on a change made now
	/// counts. Always even.
	fn next_round() -> RoundIndex;

	/// Closes the worker's check if it is over. Costs a read where there is none.
	fn touch(worker: WorkerId);

	/// Whether a check of the worker is open.
	fn is_open(worker: WorkerId) -> bool;

	/// Whether an open check of a rented worker looks at what was before its rental, which began in block
	/// `since`: such a check says nothing of the order. While it is open no other one can begin.
	fn looks_back(_worker: WorkerId, _since: BlockNumber) -> bool {
		false
	}

	/// Whether the worker is due in a round that is in flight and has not attested in it: it may still attest, or
	/// be reported absent.
	fn is_due(worker: WorkerId) -> bool;

	/// Returns the last block in which the machine of a rented worker may be needed for a proof of what it
	/// was before its rental: it is due as an idle worker, or may be in the next round, or it attested lately
	/// and opens what its checkers draw. `None` if nothing of that runs. If the worker has not attested, the
	/// block supposes that it does so within a `PhaseLength`.
	fn proves_until(_worker: WorkerId) -> Option<BlockNumber> {
		None
	}

	/// Whether anything can still be held against the worker: its check is open, it is due in a round that
	/// runs and has not attested, its absence can still be reported, or it may be due in a round before
	/// [`next_round`](Self::next_round), in which no change counts any more. Other rounds that run do not
	/// matter, so at a million workers it lasts no longer than at ten.
	fn is_held(worker: WorkerId) -> bool {
		Self::is_open(worker) || Self::is_due(worker)
	}

	/// Marks the worker: it is due once, in the next spot round that has room for it.
	fn force(worker: WorkerId) -> DispatchResult;

	/// Whether a census prepares: from its start to one block after its trial. Every idle worker is due then.
	fn census_prepares() -> bool {
		false
	}

	/// The worker is gone: forgets its last check, which is closed.
	fn forget(_worker: WorkerId) {}

	/// The oldest round in which a committee can still be drawn or a vote still arrive. What an
	/// operator or a license was in rounds before it is never asked for again.
	///
	/// Popw names it: beside four spot rounds a census can run that is older than all of them. By default it is
	/// the very first one, so that nothing is ever dropped.
	fn oldest_round() -> RoundIndex {
		0
	}

	/// The rounds before [`next_round`](Self::next_round) that are not over: those in which a committee can
	/// still be drawn or a vote still arrive, and those that are about to start. What an operator or a
	/// license was in any other round is never asked for again; nor is the state of a worker that was
	/// [touched](Self::touch).
	///
	/// By default all from [`oldest_round`](Self::oldest_round) on. Popw names them: four spot rounds and one
	/// census run as parameters are set, eight rounds at most after `PhaseLength` was lowered.
	fn in_flight() -> alloc::vec::Vec<RoundIndex> {
		(Self::oldest_round()..Self::next_round()).collect()
	}

	/// Removes at most `limit` entries of an operator that has gone and has no seat in a round in flight.
	/// Returns the number of entries removed; below `limit` nothing of it is left.
	fn forget_operator(_operator: OperatorId, _limit: u32) -> u32 {
		0
	}

	/// Returns the seed of a round's trial, which agents work from and sign receipts with; `None` if the trial
	/// has not been, or the round's record is gone, which is a day after it at the earliest.
	fn round_seed(_round: RoundIndex) -> Option<sp_core::H256> {
		None
	}

	/// Whether the operator has a seat in a running round, as far as can be told cheaply. Only for
	/// display.
	fn is_seated(_operator: OperatorId) -> bool {
		false
	}
}

/// An operator as Popw sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperatorInfo<AccountId> {
	/// Its account.
	pub account: AccountId,
	/// The checker key in force in the round that was asked for.
	pub key: CheckerKey,
	/// The agent key in force in the round that was asked for.
	pub agent: AgentKey,
	/// Licenses that are active for it in the round that was asked for, or were at the last change
	/// before it.
	pub licenses: u32,
}

/// Who sits for a license (Checkers), for Popw.
pub trait Seats<AccountId> {
	/// Licenses ever minted; ids are below it.
	fn minted() -> u32;

	/// Licenses that will be active in the next round to start.
	fn active() -> u32;

	/// The operator that sits for `license` in `round`: the license is active in it, and its operator
	/// is registered, and neither banned nor offline in that round.
	fn seat(license: LicenseId, round: RoundIndex) -> Option<OperatorId>;

	/// The operator's record, with the keys in force in `round`; also after it has deregistered.
	fn operator(operator: OperatorId, round: RoundIndex) -> Option<OperatorInfo<AccountId>>;

	/// The operator number that an account holds now.
	fn number(account: &AccountId) -> Option<OperatorId>;

	/// The operator that holds this key now or from the next round.
	fn by_key(key: &CheckerKey) -> Option<OperatorId>;

	/// The operator opened a commitment in `round`. Whoever has seats and reveals nothing for three
	/// rounds running is offline from the next one.
	fn revealed(operator: OperatorId, round: RoundIndex);

	/// A check of `worker` in `round` in which the operator had a seat of this weight is closed. `lone` is true for a
	/// lone vote "online" in a full tally whose others all say offline: an incorrect calculation.
	fn credit(
		operator: OperatorId,
		worker: WorkerId,
		round: RoundIndex,
		weight: u32,
		result: SeatResult,
		lone: bool,
	);

	/// Makes an operator with an active license, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(account: &AccountId, key: CheckerKey, agent: AgentKey) -> OperatorId;
}

/// Licenses as items (Licenses), for Checkers.
pub trait LicenseInfo<AccountId> {
	/// Licenses ever minted; ids are below it.
	fn minted() -> u32;

	/// Who holds the license; `None` if it was never minted or is burnt.
	fn holder(license: LicenseId) -> Option<AccountId>;

	/// Mints a license to `to`, for genesis and benchmarks.
	fn mint(to: &AccountId) -> Result<LicenseId, DispatchError>;
}

/// Whether a license is delegated (Checkers), for the collection's locker.
pub trait IsDelegated {
	/// Whether the license is delegated, pending included.
	fn is_delegated(license: LicenseId) -> bool;
}

/// A closed check.
#[derive(Clone, Copy, Debug)]
pub struct ClosedCheck<'a> {
	/// The worker.
	pub worker: WorkerId,
	/// The order that the worker served when the check was closed. A worker found offline no longer
	/// has it. `None` where the registry refused the check.
	pub order: Option<OrderId>,
	/// The round and the outcome.
	pub closing: &'a Closing,
	/// The time that the check proved.
	pub proved: Proved,
	/// The committee's seats. Empty without consensus, and where the worker did not attest.
	pub seats: &'a [ClosedSeat],
}

/// A seat in a check that was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClosedSeat {
	/// Who sat.
	pub operator: OperatorId,
	/// How many of the committee's draws hit the operator.
	pub weight: u32,
	/// What it did.
	pub result: SeatResult,
}

/// Observer of commitments that were never opened (Rewards), for Popw.
pub trait OnUnopened {
	/// The operator did not open a commitment, which counts as so many missed seats. Popw says so as soon as it
	/// notes it; the operator may have gone meanwhile.
	fn on_unopened(operator: OperatorId, missed: u32);
}

impl OnUnopened for () {
	fn on_unopened(_: OperatorId, _: u32) {}
}

/// Observer of closed checks (Rewards, Orders).
pub trait OnClosed {
	/// Takes note of a closed check, after the registry of workers did. Returns the weight that the
	/// check's closing does not include: at most [`max_weight`](Self::max_weight).
	fn on_closed(check: &ClosedCheck) -> Weight;

	/// The most that [`on_closed`](Self::on_closed) returns.
	fn max_weight() -> Weight;
}

#[impl_trait_for_tuples::impl_for_tuples(1, 3)]
impl OnClosed for Tuple {
	fn on_closed(check: &ClosedCheck) -> Weight {
		let mut weight = Weight::zero();
		for_tuples!( #( weight = weight.saturating_add(Tuple::on_closed(check)); )* );
		weight
	}
	fn max_weight() -> Weight {
		let mut weight = Weight::zero();
		for_tuples!( #( weight = weight.saturating_add(Tuple::max_weight()); )* );
		weight
	}
}

/// The value of a pool, for the division of its members' part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolValue {
	/// The owner's own stake, in KAI; 0 in an operator's pool.
	pub owner: Balance,
	/// The worth of all members' shares: KAI in a worker's pool, licenses in an operator's.
	pub members: Balance,
	/// All members' shares.
	pub shares: u128,
}

/// The terms on which a pool divides its reward.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolTerms {
	/// The value of the pool, without what is unbonding.
	pub value: PoolValue,
	/// The members' part of the reward.
	pub commission: Commission,
}

/// A change of one member's shares. Shares of a worker's pool are its delegators', never its owner's own
/// stake; those of an operator's pool are the licenses that it accepted, its own included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharesChange<'a, AccountId> {
	/// The member.
	pub who: &'a AccountId,
	/// Its shares before the change.
	pub before: u128,
	/// Its shares after it.
	pub after: u128,
}

/// Observer of the pools' stake, licenses and commissions (Rewards).
pub trait OnPoolChange<AccountId> {
	/// Takes note of one change of a pool, after it was written: [`Pools::terms`] answers with the terms
	/// after it. `before` are the terms that held since the last change, and `shares` the change of a
	/// member's shares, if that is what changed. Fails where the pool cannot be settled; the call that
	/// made the change fails with it.
	fn on_change(
		pool: PoolId,
		before: PoolTerms,
		shares: Option<SharesChange<AccountId>>,
	) -> DispatchResult;
}

/// The pools of operators that have gone (Rewards), for Checkers, which removes them.
pub trait RetiredPools<AccountId> {
	/// Whether nothing that the pool earned can be settled any more, if its last epoch was `last`.
	fn has_expired(pool: PoolId, last: EpochIndex) -> bool;

	/// Pays a member without shares what it can claim, and forgets it.
	fn pay_out(pool: PoolId, who: &AccountId) -> DispatchResult;

	/// Makes all epochs up to the running one expire, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_expire() {}
}

impl<AccountId> RetiredPools<AccountId> for () {
	fn has_expired(_: PoolId, _: EpochIndex) -> bool {
		true
	}

	fn pay_out(_: PoolId, _: &AccountId) -> DispatchResult {
		Ok(())
	}
}

/// The registries of pools (Providers, Checkers), for Rewards. A pair of registries is one registry: the
/// first answers for workers' pools, the second for operators'.
pub trait Pools<AccountId> {
	/// Returns the owner of the pool: the provider, or the operator's account. Also after it has left.
	fn owner(pool: PoolId) -> Option<AccountId>;

	/// Returns the pool's terms. They are those of every epoch since the pool was last settled, as every
	/// change of it settles first.
	fn terms(pool: PoolId) -> PoolTerms;

	/// Returns the shares of the pool that `who` has now.
	fn shares(pool: PoolId, who: &AccountId) -> u128;
}

impl<AccountId, Workers, Checkers> Pools<AccountId> for (Workers, Checkers)
where
	Workers: Pools<AccountId>,
	Checkers: Pools<AccountId>,
{
	fn owner(pool: PoolId) -> Option<AccountId> {
		match pool {
			PoolId::Worker(_) => Workers::owner(pool),
			PoolId::Checker(_) => Checkers::owner(pool),
		}
	}

	fn terms(pool: PoolId) -> PoolTerms {
		match pool {
			PoolId::Worker(_) => Workers::terms(pool),
			PoolId::Checker(_) => Checkers::terms(pool),
		}
	}

	fn shares(pool: PoolId, who: &AccountId) -> u128 {
		match pool {
			PoolId::Worker(_) => Workers::shares(pool, who),
			PoolId::Checker(_) => Checkers::shares(pool, who),
		}
	}
}

/// The class table (Rewards), for Providers, Orders and Popw.
pub trait GpuClasses {
	/// Score of one GPU of the class, with two decimals (0.25 is 25); `None` if there is no such
	/// class. Class 0 is "no GPU".
	fn score(class: GpuClass) -> Option<u32>;

	/// Whether GPUs of the class earn and can be ordered: it is calibrated, or classes that are not are paid
	/// too. Class 0 is.
	fn is_paid(class: GpuClass) -> bool {
		Self::score(class).is_some()
	}

	/// What one GPU of the class is held to in `round`: the same for everyone who proves or checks in it,
	/// whenever they ask. `None` if the class has no reference.
	fn reference(_class: GpuClass, _round: RoundIndex) -> Option<ClassReference> {
		None
	}
}

impl GpuClasses for () {
	fn score(class: GpuClass) -> Option<u32> {
		(class == 0).then_some(0)
	}
}

/// The two reward pots.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	codec::Encode,
	codec::Decode,
	codec::DecodeWithMemTracking,
	codec::MaxEncodedLen,
	scale_info::TypeInfo,
)]
pub enum Pot {
	/// Pays workers.
	Providers,
	/// Pays operators and license holders.
	Checkers,
}

/// A pool's running score, of at most one epoch that is not settled.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	codec::Encode,
	codec::Decode,
	codec::DecodeWithMemTracking,
	codec::MaxEncodedLen,
	scale_info::TypeInfo,
)]
pub struct RunningScore {
	/// The epoch that it is of.
	pub epoch: EpochIndex,
	/// PoC of idle blocks.
	pub idle: u128,
	/// PoC of rented blocks.
	pub rented: u128,
	/// PoD of rented blocks.
	pub pod: u128,
}

/// Workers' running scores (Rewards), for display.
pub trait RunningScores {
	/// Returns the running score of a worker, if it has one.
	fn of_worker(worker: WorkerId) -> Option<RunningScore>;
}

/// Prices per unit and hour (Orders), for Providers. A unit is a GPU; in class 0 a core.
pub trait Prices {
	/// Returns the highest on-demand price that the class's reference allows; `None` without a reference.
	fn highest(class: GpuClass) -> Option<Balance>;

	/// Returns today's on-demand price of the class; `None` without a reference.
	fn today(class: GpuClass) -> Option<Balance>;
}

impl Prices for () {
	fn highest(_: GpuClass) -> Option<Balance> {
		None
	}

	fn today(_: GpuClass) -> Option<Balance> {
		None
	}
}

/// What is rented (Orders), for Popw's off-chain worker.
pub trait Rentals {
	/// Whether the container of the order has to answer now: it was deployed, and the order is not closed.
	fn serves(order: OrderId) -> bool;
}

impl Rentals for () {
	fn serves(_: OrderId) -> bool {
		false
	}
}

/// Puts KAI into a reward pot (Rewards).
pub trait Pots<AccountId> {
	/// Moves `amount` of `from`'s free balance into the pot, for the running epoch.
	fn put(pot: Pot, from: &AccountId, amount: Balance) -> DispatchResult;
}

/// Takes the protocol's part of what is paid for a rental (Rewards).
pub trait ProtocolFees<AccountId> {
	/// Takes `amount` of `from`'s free balance as the protocol's part of a payment to the owner of
	/// `worker`. While the emission runs it goes to the treasury, after that into both reward pots,
	/// half each. A fee that the treasury's account cannot take, since it holds nothing and the fee is below
	/// the existential deposit, goes into the provider pot. It raises what the worker may earn for demand in
	/// the running epoch.
	fn pay(worker: WorkerId, from: &AccountId, amount: Balance) -> DispatchResult;
}

/// The running hash of BABE's VRF outputs (Popw), for whoever needs randomness of a later block.
pub trait BlockSeed {
	/// The randomness of block `number`, if it is recent.
	fn seed_of(number: BlockNumber) -> Option<sp_core::H256>;

	/// Returns the randomness of the running block, which only its author knew before it. For hooks that run
	/// after its extrinsics.
	fn running() -> Option<sp_core::H256> {
		None
	}
}
