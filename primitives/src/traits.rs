//! The traits through which pallets meet. `()` implements each with the answer of a partner that is
//! not there.
//!
//! ```text
//!   Providers ──Checks──▶ Popw ──Workers──▶ Providers
//!   Checkers  ──Checks──▶ Popw ──Seats────▶ Checkers ──LicenceInfo──▶ Licenses
//!   Checkers  ──Workers─▶ Providers
//!   Popw ──OnClosed──▶ Rewards, Orders ──Rentals──▶ Popw
//!   Orders ──Workers──▶ Providers, ──Checks, BlockSeed──▶ Popw
//!   Providers, Checkers ──OnPoolChange──▶ Rewards ──Pools──▶ Providers, Checkers
//!   Providers, Orders ──Pots──▶ Rewards ◀──ProtocolFees── Orders
//!   Providers, Orders, Popw ──GpuClasses──▶ Rewards
//! ```
//!
//! A call that changes a worker touches it first ([`Checks::touch`], which closes a check that is
//! over) and reads its record after that.

use crate::{
	AgentKey, Balance, CheckerKey, Closing, EpochIndex, Forced, GpuClass, LicenceId, OperatorId,
	OrderId, PoolId, Profile, Proved, RoundIndex, SeatResult, Standings, WorkerId, WorkerKey,
	WorkerSpec,
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
	/// The solitary check it is due in, if any.
	pub forced: Option<Forced>,
	/// What it claims.
	pub spec: WorkerSpec,
	/// What was last verified.
	pub profile: Option<Profile>,
	/// In the last check no majority named a GPU, and the old one stood.
	pub gpu_stood: bool,
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
	/// The share of its last 32 checks that confirmed it.
	pub reliability: Perbill,
}

/// The registry of workers (Providers), for Popw, Checkers and Orders.
pub trait Workers<AccountId> {
	/// The worker's record, with the keys in force in `round`.
	fn info(worker: WorkerId, round: RoundIndex) -> Option<WorkerInfo<AccountId>>;

	/// The worker that holds this key now or from the next round.
	fn by_key(key: &WorkerKey) -> Option<WorkerId>;

	/// How many there are.
	fn counts() -> WorkerCounts;

	/// Makes the worker due once, in spot round `round`; an earlier mark that is still due is kept.
	fn force(worker: WorkerId, round: RoundIndex) -> DispatchResult;

	/// The worker cannot be checked in round `from`, for which it is marked, since another check of it was
	/// open: the mark is for round `to` instead.
	fn postpone(_worker: WorkerId, _from: RoundIndex, _to: RoundIndex) -> DispatchResult {
		Ok(())
	}

	/// A check of the worker was opened in `round`: if that was its forced one, the mark is used up.
	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult;

	/// The worker was due in `closing.round` and did not attest: it is found offline, as by a check.
	/// `finder` gets the bounty, if there is a slash and an account. Returns the bounty.
	fn absent(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&AccountId>,
	) -> Result<Balance, DispatchError>;

	/// A check is closed: updates profile, state, reliability and pending time, and returns what was
	/// proved.
	fn closed(worker: WorkerId, closing: &Closing) -> Result<Proved, DispatchError>;

	/// The same, on behalf of an account that closes a check which nobody else did. `finder` shares the
	/// bounty, if it ends in a slash.
	fn closed_by(
		worker: WorkerId,
		closing: &Closing,
		_finder: Option<&AccountId>,
	) -> Result<Proved, DispatchError> {
		Self::closed(worker, closing)
	}

	/// Idle workers with that many verified GPUs of the class, in a region or in all of them.
	fn idle(_class: GpuClass, _count: u8, _region: Option<[u8; 2]>) -> u32 {
		0
	}

	/// One of them, by its position below [`idle`](Self::idle). Positions change whenever a worker comes
	/// or goes: draw them at random, and use them at once.
	fn idle_at(
		_class: GpuClass,
		_count: u8,
		_region: Option<[u8; 2]>,
		_position: u32,
	) -> Option<WorkerId> {
		None
	}

	/// The worker, if it is idle and not barred from matching.
	fn candidate(_worker: WorkerId) -> Option<Candidate> {
		None
	}

	/// Idle and rented workers of a GPU class, for its utilisation.
	fn use_of(_class: GpuClass) -> (u32, u32) {
		(0, 0)
	}

	/// An idle worker serves `order` from now on: `Online` → `Rented`.
	fn rent(_worker: WorkerId, _order: OrderId) -> DispatchResult {
		Err(DispatchError::Unavailable)
	}

	/// A `Rented` worker is idle again, and due in a full check in the next round; it is `Suspended` if
	/// its owner's stake was slashed below the minimum meanwhile.
	fn free(_worker: WorkerId) -> DispatchResult {
		Err(DispatchError::Unavailable)
	}

	/// A worker could not serve an order: that lowers its reliability like a check that did not confirm
	/// it, and bars it from matching until block `until`.
	fn bar(_worker: WorkerId, _until: crate::BlockNumber) -> DispatchResult {
		Err(DispatchError::Unavailable)
	}

	/// A worker let its order down outside any check: a slash of level 1 is queued, for the time since its
	/// last proof.
	fn fault(_worker: WorkerId) -> DispatchResult {
		Err(DispatchError::Unavailable)
	}

	/// Makes a worker that is registered and `Pending`, holding these keys, for benchmarks of other
	/// pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(owner: &AccountId, key: WorkerKey, agent: AgentKey) -> WorkerId;
}

impl<AccountId> Workers<AccountId> for () {
	fn info(_: WorkerId, _: RoundIndex) -> Option<WorkerInfo<AccountId>> {
		None
	}
	fn by_key(_: &WorkerKey) -> Option<WorkerId> {
		None
	}
	fn counts() -> WorkerCounts {
		WorkerCounts::default()
	}
	fn force(_: WorkerId, _: RoundIndex) -> DispatchResult {
		Ok(())
	}
	fn attested(_: WorkerId, _: RoundIndex) -> DispatchResult {
		Ok(())
	}
	fn absent(_: WorkerId, _: &Closing, _: Option<&AccountId>) -> Result<Balance, DispatchError> {
		Ok(0)
	}
	fn closed(_: WorkerId, _: &Closing) -> Result<Proved, DispatchError> {
		Ok(Proved::default())
	}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(_: &AccountId, _: WorkerKey, _: AgentKey) -> WorkerId {
		0
	}
}

/// Rounds and checks (Popw), for Providers, Checkers and Orders.
pub trait Checks {
	/// The index of the next round to start: from there on a change made now counts. Always even,
	/// a spot round.
	fn next_round() -> RoundIndex;

	/// Closes the worker's check if it is over. Costs a read where there is none.
	fn touch(worker: WorkerId);

	/// Whether a check of the worker is open.
	fn is_open(worker: WorkerId) -> bool;

	/// Whether the worker is due in a round whose attest phase runs and has not attested yet.
	fn is_due(worker: WorkerId) -> bool;

	/// Makes the worker due once in the next spot round, with time credited as in a census.
	fn force(worker: WorkerId) -> DispatchResult;

	/// The oldest round in which a committee can still be drawn or a vote still arrive. What an
	/// operator or a licence was in rounds before it is never asked for again.
	///
	/// By default that of the three spot rounds in flight; where a census can outlast them, Popw
	/// answers itself.
	fn oldest_round() -> RoundIndex {
		Self::next_round().saturating_sub(6)
	}

	/// The seed of a round; `None` if it has not started, or its record is gone, which is a day after
	/// it at the earliest.
	fn round_seed(_round: RoundIndex) -> Option<sp_core::H256> {
		None
	}

	/// Whether the operator has a seat in a running round, as far as can be told cheaply. Only for
	/// display.
	fn is_seated(_operator: OperatorId) -> bool {
		false
	}
}

impl Checks for () {
	fn next_round() -> RoundIndex {
		0
	}
	fn touch(_: WorkerId) {}
	fn is_open(_: WorkerId) -> bool {
		false
	}
	fn is_due(_: WorkerId) -> bool {
		false
	}
	fn force(_: WorkerId) -> DispatchResult {
		Ok(())
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
	/// Licences that are active for it in the round that was asked for, or were at the last change
	/// before it.
	pub licences: u32,
}

/// Who sits for a licence (Checkers), for Popw.
pub trait Seats<AccountId> {
	/// Licences ever minted; ids are below it.
	fn minted() -> u32;

	/// Licences that will be active in the next round to start.
	fn active() -> u32;

	/// The operator that sits for `licence` in `round`: the licence is active in it, and its operator
	/// is registered, and neither banned nor offline in that round.
	fn seat(licence: LicenceId, round: RoundIndex) -> Option<OperatorId>;

	/// The operator's record, with the keys in force in `round`; also after it has deregistered.
	fn operator(operator: OperatorId, round: RoundIndex) -> Option<OperatorInfo<AccountId>>;

	/// The operator number that an account holds now.
	fn number(account: &AccountId) -> Option<OperatorId>;

	/// The operator that holds this key now or from the next round.
	fn by_key(key: &CheckerKey) -> Option<OperatorId>;

	/// The operator opened a commitment in `round`. Whoever has seats and reveals nothing for three
	/// rounds running is offline from the next one.
	fn revealed(operator: OperatorId, round: RoundIndex);

	/// A check of `worker` in `round` in which the operator had a seat is closed. `lone` is true for a
	/// lone vote "online" in a full tally whose others all say offline: an incorrect calculation.
	fn credit(
		operator: OperatorId,
		worker: WorkerId,
		round: RoundIndex,
		result: SeatResult,
		lone: bool,
	);

	/// Makes an operator with an active licence, for benchmarks of other pallets.
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(account: &AccountId, key: CheckerKey, agent: AgentKey) -> OperatorId;
}

impl<AccountId> Seats<AccountId> for () {
	fn minted() -> u32 {
		0
	}
	fn active() -> u32 {
		0
	}
	fn seat(_: LicenceId, _: RoundIndex) -> Option<OperatorId> {
		None
	}
	fn operator(_: OperatorId, _: RoundIndex) -> Option<OperatorInfo<AccountId>> {
		None
	}
	fn number(_: &AccountId) -> Option<OperatorId> {
		None
	}
	fn by_key(_: &CheckerKey) -> Option<OperatorId> {
		None
	}
	fn revealed(_: OperatorId, _: RoundIndex) {}
	fn credit(_: OperatorId, _: WorkerId, _: RoundIndex, _: SeatResult, _: bool) {}
	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(_: &AccountId, _: CheckerKey, _: AgentKey) -> OperatorId {
		0
	}
}

/// Licences as items (Licenses), for Checkers.
pub trait LicenceInfo<AccountId> {
	/// Licences ever minted; ids are below it.
	fn minted() -> u32;

	/// Who holds the licence; `None` if it was never minted or is burnt.
	fn holder(licence: LicenceId) -> Option<AccountId>;

	/// Mints a licence to `to`, for genesis and benchmarks.
	fn mint(to: &AccountId) -> Result<LicenceId, DispatchError>;
}

impl<AccountId> LicenceInfo<AccountId> for () {
	fn minted() -> u32 {
		0
	}
	fn holder(_: LicenceId) -> Option<AccountId> {
		None
	}
	fn mint(_: &AccountId) -> Result<LicenceId, DispatchError> {
		Err(DispatchError::Unavailable)
	}
}

/// Whether a licence is delegated (Checkers), for the collection's locker.
pub trait IsDelegated {
	/// Whether the licence is delegated, pending included.
	fn is_delegated(licence: LicenceId) -> bool;
}

impl IsDelegated for () {
	fn is_delegated(_: LicenceId) -> bool {
		false
	}
}

/// Told when a check is closed (Rewards, Orders).
pub trait OnClosed {
	/// A check of a worker that serves `order` is closed, or it was found absent: what it came to, and
	/// what it proved. Told after the registry of workers, and before [`on_proved`](Self::on_proved). A
	/// worker that was found offline has lost the order by then.
	fn on_order_checked(_order: OrderId, _worker: WorkerId, _closing: &Closing, _proved: &Proved) {}

	/// What [`on_order_checked`](Self::on_order_checked) takes at most.
	fn weight_of_order_checked() -> Weight {
		Weight::zero()
	}

	/// A check proved this much of a worker. Not called where nothing was proved.
	fn on_proved(worker: WorkerId, proved: &Proved);

	/// A seat of the operator is done; `correct` ones earn, all count.
	fn on_seat(operator: OperatorId, correct: bool);
}

#[impl_trait_for_tuples::impl_for_tuples(3)]
impl OnClosed for Tuple {
	fn on_order_checked(order: OrderId, worker: WorkerId, closing: &Closing, proved: &Proved) {
		for_tuples!( #( Tuple::on_order_checked(order, worker, closing, proved); )* );
	}
	fn weight_of_order_checked() -> Weight {
		let mut weight = Weight::zero();
		for_tuples!( #( weight = weight.saturating_add(Tuple::weight_of_order_checked()); )* );
		weight
	}
	fn on_proved(worker: WorkerId, proved: &Proved) {
		for_tuples!( #( Tuple::on_proved(worker, proved); )* );
	}
	fn on_seat(operator: OperatorId, correct: bool) {
		for_tuples!( #( Tuple::on_seat(operator, correct); )* );
	}
}

/// Told *before* the stake or the licences of a pool, or its commission, change (Rewards): it
/// settles the pool and the member while the old figures stand.
pub trait OnPoolChange<AccountId> {
	/// `member` is whose share changes; `None` if it is the pool as a whole.
	fn before_change(pool: PoolId, member: Option<&AccountId>) -> DispatchResult;

	/// After [`before_change`](Self::before_change), in the same call: the member has `new` shares of
	/// the pool instead of `old`. Shares of a worker's pool are its delegators', never its owner's own
	/// stake; those of an operator's pool are the licences that are delegated to it and accepted, its
	/// own included.
	fn shares_changed(
		_pool: PoolId,
		_member: &AccountId,
		_old: u128,
		_new: u128,
	) -> DispatchResult {
		Ok(())
	}
}

impl<AccountId> OnPoolChange<AccountId> for () {
	fn before_change(_: PoolId, _: Option<&AccountId>) -> DispatchResult {
		Ok(())
	}
}

/// What a pool is worth, for the division of its members' part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolValue {
	/// The owner's own stake, in KAI; nothing in an operator's pool.
	pub owner: Balance,
	/// What all members' shares are worth: KAI in a worker's pool, licences in an operator's.
	pub members: Balance,
	/// All members' shares.
	pub shares: u128,
}

/// What Rewards asks of the two registries of pools.
pub trait Pools<AccountId> {
	/// Who owns the pool: the provider, or the operator's account. Also after it has left.
	fn owner(pool: PoolId) -> Option<AccountId>;

	/// The part of the pool's reward that goes to its members.
	fn commission(pool: PoolId) -> Perbill;

	/// The same, as it was or will be in `epoch`. Exact for every epoch since the pool was last
	/// settled, as a change of commission settles first.
	fn commission_in(pool: PoolId, _epoch: EpochIndex) -> Perbill {
		Self::commission(pool)
	}

	/// What is in the pool now, without what is unbonding. Exact for the end of every epoch since the
	/// pool was last settled, as every change of it settles first.
	fn value(_pool: PoolId) -> PoolValue {
		PoolValue::default()
	}

	/// The shares of the pool that `who` has now.
	fn shares(_pool: PoolId, _who: &AccountId) -> u128 {
		0
	}
}

impl<AccountId> Pools<AccountId> for () {
	fn owner(_: PoolId) -> Option<AccountId> {
		None
	}
	fn commission(_: PoolId) -> Perbill {
		Perbill::zero()
	}
}

/// The class table (Rewards), for Providers, Orders and Popw.
pub trait GpuClasses {
	/// Score of one GPU of the class, with two decimals (0.25 is 25); `None` if there is no such
	/// class. Class 0 is "no GPU".
	fn score(class: GpuClass) -> Option<u32>;

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
	/// Pays operators and licence holders.
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
	/// For proved time online.
	pub poc: u128,
	/// For proved time rented.
	pub pod: u128,
}

/// Workers' running scores (Rewards), for display.
pub trait RunningScores {
	/// The running score of a worker, if it has one.
	fn of_worker(_worker: WorkerId) -> Option<RunningScore> {
		None
	}
}

impl RunningScores for () {}

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

impl<AccountId> Pots<AccountId> for () {
	fn put(_: Pot, _: &AccountId, _: Balance) -> DispatchResult {
		Err(DispatchError::Unavailable)
	}
}

/// Takes the protocol's part of what is paid for a rental (Rewards).
pub trait ProtocolFees<AccountId> {
	/// Takes `amount` of `from`'s free balance as the protocol's part of a payment to the owner of
	/// `worker`. While the emission runs it goes to the treasury, after that into both reward pots,
	/// half each. It raises what the worker may earn for demand in the running epoch.
	fn pay(worker: WorkerId, from: &AccountId, amount: Balance) -> DispatchResult;
}

impl<AccountId> ProtocolFees<AccountId> for () {
	fn pay(_: WorkerId, _: &AccountId, _: Balance) -> DispatchResult {
		Err(DispatchError::Unavailable)
	}
}

/// The running hash of BABE's VRF outputs (Popw), for whoever needs randomness of a later block.
pub trait BlockSeed {
	/// The randomness of block `number`, if it is recent.
	fn seed_of(number: crate::BlockNumber) -> Option<sp_core::H256>;
}

impl BlockSeed for () {
	fn seed_of(_: crate::BlockNumber) -> Option<sp_core::H256> {
		None
	}
}
