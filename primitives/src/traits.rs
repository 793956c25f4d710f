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
//! then reads its record.
//!
//! `()` implements the traits that a test's runtime leaves out, as a no-op.

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
	/// The worker key in force in the queried round.
	pub key: WorkerKey,
	/// The agent key in force in the queried round.
	pub agent: AgentKey,
	/// The current state, and those of earlier rounds.
	pub standings: Standings,
	/// The mark, if any: the spot round in which it is due.
	pub forced: Option<Forced>,
	/// The claim.
	pub spec: WorkerSpec,
	/// The profile verified last.
	pub profile: Option<Profile>,
	/// The order that it serves, if any.
	pub order: Option<OrderId>,
}

/// The figures of the network that a round's record fixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerCounts {
	/// Workers ever registered; all ids are below it.
	pub registered: u32,
	/// `Online`: verified and idle.
	pub online: u32,
	/// `Rented`.
	pub rented: u32,
}

/// A worker that can be rented now, as Orders see it. One storage read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
	/// The profile verified last.
	pub profile: Profile,
	/// The claimed region.
	pub region: [u8; 2],
	/// The price per GPU-hour below which it is never matched.
	pub price_floor: Balance,
	/// The part of its last checks and deployments that it passed.
	pub reliability: Perbill,
	/// The processor architecture.
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

	/// Records that a check of the worker was opened in `round`, which uses up a mark for that round.
	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult;

	/// Records that the worker was offline, as a check would: it was due in `closing.round` and did not
	/// attest. `finder` gets the bounty of a slash.
	fn absent(worker: WorkerId, closing: &Closing, finder: Option<&AccountId>) -> DispatchResult;

	/// Closes a check: updates profile, state, reliability and pending time, and returns the time that the
	/// check proved. `finder`, the account that closed a check left open by all others, shares the bounty
	/// of a slash.
	fn closed(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&AccountId>,
	) -> Result<Proved, DispatchError>;
}

/// Workers as goods (Providers): drawn, rented and freed by Orders.
pub trait Market {
	/// Returns the number of workers that can be rented now with `count` verified GPUs of the class, in a
	/// region or in all of them. In class 0, `count` is the verified CPU tier, from 1.
	fn idle(class: GpuClass, count: u8, region: Option<[u8; 2]>) -> u32;

	/// Returns one of these workers by its position below [`idle`](Self::idle). Positions change whenever a
	/// worker comes or goes: draw them at random, and use them at once.
	fn idle_at(
		class: GpuClass,
		count: u8,
		region: Option<[u8; 2]>,
		position: u32,
	) -> Option<WorkerId>;

	/// Returns the worker's offer, if it can be rented now.
	fn candidate(worker: WorkerId) -> Option<Candidate>;

	/// Returns the numbers of idle and of rented workers of a GPU class, for its utilization.
	fn use_of(class: GpuClass) -> (u32, u32);

	/// Rents an idle worker to `order`: `Online` → `Rented`.
	fn rent(worker: WorkerId, order: OrderId) -> DispatchResult;

	/// Frees a `Rented` worker, which becomes idle, or `Suspended` if a slash left its owner's stake below
	/// the minimum. With `unproved`, as after a deployed order, it is due in a full check, and cannot be
	/// rented until one supports its claim.
	fn free(worker: WorkerId, unproved: bool) -> DispatchResult;

	/// Records that the worker deployed an order, which counts for its reliability. Call it once for each
	/// order, when a check first proves rented time of it: a confirmation alone shows nothing, and a
	/// provider could raise its reliability by confirming and then reporting an exit. It changes only the
	/// record, so the call may come from [`OnClosed`], after [`CheckedWorkers::closed`]; an order that ends
	/// before is not counted.
	fn deployed(worker: WorkerId) -> DispatchResult;

	/// Records that the worker failed to deploy an order by its own fault, which counts against its
	/// reliability. It cannot be rented before block `until`; the caller then requests a
	/// [`review`](Self::review).
	fn bar(worker: WorkerId, until: BlockNumber) -> DispatchResult;

	/// Decides again whether the worker can be rented, by its bar, its mark, and its price floor at today's
	/// highest price, and lists or unlists it.
	fn review(worker: WorkerId) -> DispatchResult;

	/// Queues a slash of level 1 against a worker that failed its order outside any check, for the time
	/// since its last proof that no slash has charged yet.
	fn fault(worker: WorkerId) -> DispatchResult;

	/// Makes a `Pending` worker idle with this profile, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_verify(worker: WorkerId, profile: Profile);
}

/// Rounds and checks (Popw), for Providers, Checkers and Orders.
pub trait Checks {
	/// Returns the first spot round that starts at least four blocks from now, in which a change made now
	/// counts. Always even.
	fn next_round() -> RoundIndex;

	/// Closes the worker's check if it is over. Costs one read if there is none.
	fn touch(worker: WorkerId);

	/// Returns whether a check of the worker is open.
	fn is_open(worker: WorkerId) -> bool;

	/// Returns whether an open check of a rented worker covers the time before its rental, which began in
	/// block `since`: such a check says nothing about the order. While it is open no other check can begin.
	fn looks_back(_worker: WorkerId, _since: BlockNumber) -> bool {
		false
	}

	/// Returns whether the worker is due in a round in flight and has not attested in it: it may still
	/// attest, or be reported absent.
	fn is_due(worker: WorkerId) -> bool;

	/// Returns the last block in which a rented worker's machine may be needed to prove its state before
	/// the rental: it is due as an idle worker, or may be in the next round, or it attested lately and
	/// opens what its checkers draw. `None` if none of these holds. If the worker has not attested yet, the
	/// block assumes that it does so within a `PhaseLength`.
	fn proves_until(_worker: WorkerId) -> Option<BlockNumber> {
		None
	}

	/// Returns whether anything can still be held against the worker: its check is open, it is due in a
	/// running round and has not attested, its absence can still be reported, or it may be due in a round
	/// before [`next_round`](Self::next_round), in which changes no longer count. Other running rounds do
	/// not matter, so the time does not grow with the number of workers.
	fn is_held(worker: WorkerId) -> bool {
		Self::is_open(worker) || Self::is_due(worker)
	}

	/// Marks the worker: it is due once, in the next spot round with room for it.
	fn force(worker: WorkerId) -> DispatchResult;

	/// Returns whether a census is preparing: from its start to one block after its trial. Every idle
	/// worker is due then.
	fn census_prepares() -> bool {
		false
	}

	/// Removes the last check of a worker whose record is removed. The check must be closed.
	fn forget(_worker: WorkerId) {}

	/// Returns the oldest round in which a committee can still be drawn or a vote still arrive. The state
	/// of an operator or a license in earlier rounds is never needed again.
	///
	/// In Popw a census can run that is older than the four spot rounds beside it. The default is the very
	/// first round, so that nothing is ever dropped.
	fn oldest_round() -> RoundIndex {
		0
	}

	/// Returns the rounds before [`next_round`](Self::next_round) that are not over: those in which a
	/// committee can still be drawn or a vote still arrive, and those about to start. The state of an
	/// operator or a license in any other round is never needed again; nor is that of a worker that was
	/// [touched](Self::touch).
	///
	/// The default is all rounds from [`oldest_round`](Self::oldest_round) on. In Popw, four spot rounds
	/// and one census are in flight with parameters as configured, and at most eight rounds after
	/// `PhaseLength` was lowered.
	fn in_flight() -> alloc::vec::Vec<RoundIndex> {
		(Self::oldest_round()..Self::next_round()).collect()
	}

	/// Removes at most `limit` entries of a deregistered operator without a seat in a round in flight.
	/// Returns the number of entries removed; if below `limit`, none remains.
	fn forget_operator(_operator: OperatorId, _limit: u32) -> u32 {
		0
	}

	/// Returns the seed of a round's trial, from which agents work and with which they sign receipts;
	/// `None` before the trial, or if the round's record was removed, which is at the earliest a day after
	/// it.
	fn round_seed(_round: RoundIndex) -> Option<sp_core::H256> {
		None
	}

	/// Returns whether the operator has a seat in a running round, as far as that is cheap to find out.
	/// Only for display.
	fn is_seated(_operator: OperatorId) -> bool {
		false
	}
}

/// An operator as Popw sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperatorInfo<AccountId> {
	/// Its account.
	pub account: AccountId,
	/// The checker key in force in the queried round.
	pub key: CheckerKey,
	/// The agent key in force in the queried round.
	pub agent: AgentKey,
	/// The number of its licenses that are active in the queried round, or were at the last change before
	/// it.
	pub licenses: u32,
}

/// The operators that sit for licenses (Checkers), for Popw.
pub trait Seats<AccountId> {
	/// Returns the number of licenses ever minted; all ids are below it.
	fn minted() -> u32;

	/// Returns the number of licenses that will be active in the next round to start.
	fn active() -> u32;

	/// Returns the operator that sits for `license` in `round`: the license is active in the round, and its
	/// operator is registered, online and not banned.
	fn seat(license: LicenseId, round: RoundIndex) -> Option<OperatorId>;

	/// Returns the operator's record, with the keys in force in `round`; also after it has deregistered.
	fn operator(operator: OperatorId, round: RoundIndex) -> Option<OperatorInfo<AccountId>>;

	/// Returns the number of the account's present registration.
	fn number(account: &AccountId) -> Option<OperatorId>;

	/// Returns the operator that holds this key now or from the next round.
	fn by_key(key: &CheckerKey) -> Option<OperatorId>;

	/// Records that the operator opened a commitment in `round`. An operator with seats that reveals
	/// nothing in three consecutive rounds is put offline from the next one.
	fn revealed(operator: OperatorId, round: RoundIndex);

	/// Records that a check of `worker` in `round` was closed in which the operator had a seat of this
	/// weight. `lone` is true for a lone vote "online" in a full tally whose others are all "offline": an
	/// incorrect calculation.
	fn credit(
		operator: OperatorId,
		worker: WorkerId,
		round: RoundIndex,
		weight: u32,
		result: SeatResult,
		lone: bool,
	);

	/// Registers an operator with an active license, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(account: &AccountId, key: CheckerKey, agent: AgentKey) -> OperatorId;
}

/// Licenses as items (Licenses), for Checkers.
pub trait LicenseInfo<AccountId> {
	/// Returns the number of licenses ever minted; all ids are below it.
	fn minted() -> u32;

	/// Returns the holder of the license; `None` if it was never minted or is burnt.
	fn holder(license: LicenseId) -> Option<AccountId>;

	/// Mints a license to `to`, for genesis and benchmarks.
	fn mint(to: &AccountId) -> Result<LicenseId, DispatchError>;
}

/// Delegations of licenses (Checkers), for the collection's locker.
pub trait IsDelegated {
	/// Returns whether the license is delegated, pending delegations included.
	fn is_delegated(license: LicenseId) -> bool;
}

/// A closed check.
#[derive(Clone, Copy, Debug)]
pub struct ClosedCheck<'a> {
	/// The worker.
	pub worker: WorkerId,
	/// The order that the worker served when the check was closed. A worker found offline has already lost
	/// it. `None` if the registry refused the check.
	pub order: Option<OrderId>,
	/// The round and the outcome.
	pub closing: &'a Closing,
	/// The time that the check proved.
	pub proved: Proved,
	/// The committee's seats. Empty without consensus, or if the worker did not attest.
	pub seats: &'a [ClosedSeat],
}

/// A seat in a check that was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClosedSeat {
	/// The operator of the seat.
	pub operator: OperatorId,
	/// The number of the committee's draws that hit the operator.
	pub weight: u32,
	/// The result of its vote.
	pub result: SeatResult,
}

/// Observer of commitments that were never opened (Rewards), for Popw.
pub trait OnUnopened {
	/// Records that the operator did not open a commitment, which counts as `missed` missed seats. Popw
	/// reports it as soon as it finds out; the operator may have deregistered meanwhile.
	fn on_unopened(operator: OperatorId, missed: u32);
}

/// Observer of closed checks (Rewards, Orders).
pub trait OnClosed {
	/// Handles a closed check, after the registry of workers did. Returns the weight that the closing of
	/// the check does not include: at most [`max_weight`](Self::max_weight).
	fn on_closed(check: &ClosedCheck) -> Weight;

	/// Returns the maximum weight that [`on_closed`](Self::on_closed) returns.
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

/// The value of a pool, by which its members' part is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolValue {
	/// The owner's own stake, in KAI; 0 in an operator's pool.
	pub owner: Balance,
	/// The value of all members' shares: KAI in a worker's pool, licenses in an operator's.
	pub members: Balance,
	/// The number of all members' shares.
	pub shares: u128,
}

/// The terms on which a pool divides its reward.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolTerms {
	/// The value of the pool, without unbonding stake.
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
	/// Its shares after the change.
	pub after: u128,
}

/// Observer of the pools' stake, licenses and commissions (Rewards).
pub trait OnPoolChange<AccountId> {
	/// Handles one change of a pool, after it was written: [`Pools::terms`] already returns the new terms.
	/// `before` are the terms since the last change, and `shares` is the change of a member's shares, if
	/// they changed. Fails if the pool cannot be settled; then the call that made the change fails too.
	fn on_change(
		pool: PoolId,
		before: PoolTerms,
		shares: Option<SharesChange<AccountId>>,
	) -> DispatchResult;
}

/// The pools of deregistered operators (Rewards), for Checkers, which removes them.
pub trait RetiredPools<AccountId> {
	/// Returns whether no rewards of the pool can be settled any more, if its last epoch was `last`.
	fn has_expired(pool: PoolId, last: EpochIndex) -> bool;

	/// Pays a member without shares the amount that it can claim, and removes its entry.
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

	/// Returns the pool's terms. They hold for every epoch since the pool was last settled, as every change
	/// of it settles it first.
	fn terms(pool: PoolId) -> PoolTerms;

	/// Returns the shares of the pool that `who` holds now.
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
	/// Returns the score of one GPU of the class, with two decimals (0.25 is 25); `None` for an unknown
	/// class. Class 0 is "no GPU".
	fn score(class: GpuClass) -> Option<u32>;

	/// Returns whether GPUs of the class earn and can be ordered: it is calibrated, or uncalibrated classes
	/// are paid too. True for class 0.
	fn is_paid(class: GpuClass) -> bool {
		Self::score(class).is_some()
	}

	/// Returns the reference that one GPU of the class must meet in `round`: the same for everyone who
	/// proves or checks in it, at any time. `None` if the class has no reference.
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

/// A pool's running score in its epoch that is not settled, at most one.
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
	/// The epoch of the score.
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

/// Prices per unit and hour (Orders), for Providers. A unit is a GPU, or a core in class 0.
pub trait Prices {
	/// Returns the highest on-demand price that the class's reference allows; `None` without a reference.
	fn highest(class: GpuClass) -> Option<Balance>;

	/// Returns today's on-demand price of the class; `None` without a reference.
	fn today(class: GpuClass) -> Option<Balance>;
}

/// Rented workers' containers (Orders), for Popw's off-chain worker.
pub trait Rentals {
	/// Returns whether the container of the order must answer now: it was deployed, and the order is not
	/// closed.
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

/// Takes the protocol's part of rental payments (Rewards).
pub trait ProtocolFees<AccountId> {
	/// Takes `amount` of `from`'s free balance as the protocol's part of a payment to the owner of
	/// `worker`. During the emission it goes to the treasury, and afterwards in equal halves into both
	/// reward pots. If the treasury's account is empty and the fee is below the existential deposit, the
	/// fee goes into the provider pot instead. It raises the limit of the worker's earnings for demand in
	/// the running epoch.
	fn pay(worker: WorkerId, from: &AccountId, amount: Balance) -> DispatchResult;
}

/// The running hash of BABE's VRF outputs (Popw), for users of a later block's randomness.
pub trait BlockSeed {
	/// Returns the randomness of block `number`, if it is recent.
	fn seed_of(number: BlockNumber) -> Option<sp_core::H256>;

	/// Returns the randomness of the running block, which only its author knew in advance. For hooks that
	/// run after the block's extrinsics.
	fn running() -> Option<sp_core::H256> {
		None
	}
}
