//! Types of the pallet's storage: the price book, orders and their money, the queue and the agenda.

use crate::Ordered;
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use kaisar_math::price;
use kaisar_primitives::{
	Balance, BlockNumber, CloseReason, HOURS, Issue, OrderId, Plan, Requirement, WorkerId,
};
use scale_info::TypeInfo;
use sp_runtime::{
	ArithmeticError, BoundedVec, FixedU128,
	traits::{EnsureAdd, EnsureAddAssign},
};

/// Maximum number of segments in which an order is bought: the first, and one for each extension. Each has
/// prices of its own in the order's record, whose size is bounded.
pub const MAX_SEGMENTS: u32 = 8;
/// Orders in a page of the agenda.
pub const AGENDA_PAGE: u32 = 64;

/// The running cost of a class: its price while the contingency is on.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Cost {
	/// The cost of a unit and hour, in units of 10⁻¹⁸ KAI.
	pub cost: Balance,
	/// The factor from cost to price.
	pub multiplier: FixedU128,
}

/// A class in the price book. The unit is a GPU, or a core of class 0.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct ClassPrice {
	/// The median cloud price of a unit and hour, in units of 10⁻¹⁸ KAI.
	pub reference: Option<Balance>,
	/// The running cost, from which the price is computed in a contingency.
	pub cost: Option<Cost>,
}

/// Prices of a unit and hour with each plan.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Prices {
	/// The price without commitment.
	#[codec(compact)]
	pub on_demand: Balance,
	/// The price with a commitment of 30 days.
	#[codec(compact)]
	pub month: Balance,
	/// The price with a commitment of 90 days.
	#[codec(compact)]
	pub quarter: Balance,
}

impl Prices {
	/// Returns the price with `plan`.
	pub fn of(&self, plan: Plan) -> Balance {
		match plan {
			Plan::OnDemand => self.on_demand,
			Plan::Month => self.month,
			Plan::Quarter => self.quarter,
		}
	}
}

/// Today's price of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Quote {
	/// Prices of a unit and hour.
	pub prices: Prices,
	/// Units to pay for: GPUs, or CPU cores.
	pub units: u32,
	/// The price of the whole order, with the requested plan.
	pub total: Balance,
}

/// An amount in the two kinds of money with which a customer can pay.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Money {
	/// KAI.
	#[codec(compact)]
	pub kai: Balance,
	/// Credits.
	#[codec(compact)]
	pub credits: Balance,
}

impl Money {
	/// Returns the sum of both kinds.
	pub fn total(&self) -> Result<Balance, ArithmeticError> {
		self.kai.ensure_add(self.credits)
	}

	/// Adds other money, kind by kind. Fails on overflow.
	pub fn ensure_add_assign(&mut self, other: Self) -> Result<(), ArithmeticError> {
		self.kai.ensure_add_assign(other.kai)?;
		self.credits.ensure_add_assign(other.credits)
	}

	/// Takes `amount` out for a payment: credits first, KAI for the rest. `None` if there is less.
	pub fn take(&mut self, amount: Balance) -> Option<Self> {
		let credits = amount.min(self.credits);
		let kai = amount.checked_sub(credits)?;
		self.kai = self.kai.checked_sub(kai)?;
		self.credits = self.credits.checked_sub(credits)?;
		Some(Self { kai, credits })
	}

	/// Takes `amount` out for a refund: KAI first, credits for the rest. `None` if there is less.
	pub fn take_back(&mut self, amount: Balance) -> Option<Self> {
		let kai = amount.min(self.kai);
		let credits = amount.checked_sub(kai)?;
		self.credits = self.credits.checked_sub(credits)?;
		self.kai = self.kai.checked_sub(kai)?;
		Some(Self { kai, credits })
	}
}

/// The ledger of an order's money: `charged` is always the sum of all other fields.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Ledger {
	/// The total ever put into escrow.
	#[codec(compact)]
	pub charged: Balance,
	/// The money in escrow now: KAI on hold on the customer's account, credits in the pot.
	pub escrow: Money,
	/// The total paid to the worker's owner.
	#[codec(compact)]
	pub paid: Balance,
	/// The protocol's part of the payments.
	#[codec(compact)]
	pub fees: Balance,
	/// The treasury's part: for a failed deployment, or for used time that no check proved of an order whose
	/// container ended.
	#[codec(compact)]
	pub setup: Balance,
	/// The total refunded to the customer, in the kind it was paid in.
	pub refunded: Money,
	/// The total turned into credits, or left as credits, by a cancellation or the container's end.
	#[codec(compact)]
	pub credited: Balance,
}

impl Ledger {
	/// Returns the customer's payment for use, the protocol's part included.
	pub fn gross(&self) -> Result<Balance, ArithmeticError> {
		self.paid.ensure_add(self.fees)
	}

	/// Returns whether each unit charged is in exactly one place.
	pub fn balances(&self) -> bool {
		let sum = || {
			self.escrow
				.total()?
				.ensure_add(self.gross()?)?
				.ensure_add(self.setup)?
				.ensure_add(self.refunded.total()?)?
				.ensure_add(self.credited)
		};
		sum() == Ok(self.charged)
	}
}

/// A span of an order's time, bought at one moment's prices.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Segment {
	/// The length of the span.
	#[codec(compact)]
	pub hours: u32,
	/// Prices of a unit and hour with each plan: a canceled order pays by the plan that it has earned.
	pub prices: Prices,
}

/// The state of an order.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum OrderState {
	/// The order waits to be matched with a worker.
	Matching,
	/// The order has a worker, which deploys the container.
	Deploying,
	/// The container runs, and paid time passes.
	Active,
	/// Paid time is over; the order waits for the check that proves the rest of it.
	Closing,
	/// The order is over.
	Closed {
		/// The reason for which it was closed.
		reason: CloseReason,
	},
}

/// An order's wait for its last check, while it is `Closing`.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Ending {
	/// The reason of the end: `Expired` or `Cancelled`.
	pub reason: CloseReason,
	/// Whether the rest of the order's time was proved, and only its money could not be settled yet.
	pub proved: bool,
	/// Checks without consensus since the end.
	pub undecided: u8,
	/// Visits of the agenda while the order waits, excluding those while a check from before the match was
	/// open.
	pub looks: u8,
}

/// An issue that a customer reported.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct OpenIssue {
	/// The kind of issue.
	pub reason: Issue,
	/// The KAI on hold for the report.
	#[codec(compact)]
	pub bond: Balance,
	/// The block of the report: a check of a round that started before does not count.
	#[codec(compact)]
	pub reported_at: BlockNumber,
	/// Checks without consensus since the report.
	pub undecided: u8,
}

/// An order: everything that a payment reads and writes, in one storage item.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Order<AccountId> {
	/// The account that pays.
	pub customer: AccountId,
	/// The machine that the customer requires.
	pub requirement: Requirement,
	/// The plan with which the order is bought.
	pub plan: Plan,
	/// The state of the order.
	pub state: OrderState,
	/// The worker that serves or served the order.
	pub worker: Option<WorkerId>,
	/// The worker's price floor when it was matched: the minimum price of an extension.
	#[codec(compact)]
	pub floor: Balance,
	/// The block in which it was placed.
	#[codec(compact)]
	pub placed_at: BlockNumber,
	/// The block in which it was matched.
	#[codec(compact)]
	pub matched_at: BlockNumber,
	/// Blocks that the customer allows for the deployment; 0 for the parameter `DeployDeadline`.
	#[codec(compact)]
	pub deploy_blocks: u16,
	/// The last block in which the deployment may be confirmed.
	#[codec(compact)]
	pub deploy_by: BlockNumber,
	/// The block in which paid time began.
	#[codec(compact)]
	pub started_at: BlockNumber,
	/// The block in which paid time ends.
	#[codec(compact)]
	pub ends_at: BlockNumber,
	/// The block in which it was closed.
	#[codec(compact)]
	pub closed_at: BlockNumber,
	/// The segments of time bought, in order.
	pub segments: BoundedVec<Segment, ConstU32<MAX_SEGMENTS>>,
	/// The block up to which checks have covered the order; earlier time that they did not prove stays
	/// unproved.
	#[codec(compact)]
	pub proved_to: BlockNumber,
	/// Blocks of paid time that checks proved.
	#[codec(compact)]
	pub proved: BlockNumber,
	/// The wait for the last check, exactly while the order is `Closing`.
	pub ending: Option<Ending>,
	/// Whether a check found the container down, and only the money could not be settled yet.
	pub down: bool,
	/// The customer's open issue, if any.
	pub issue: Option<OpenIssue>,
	/// The block of the order's entry in the agenda; 0 while it waits in the queue.
	#[codec(compact)]
	pub wake: BlockNumber,
	/// The ledger of its money.
	pub ledger: Ledger,
}

impl<AccountId> Order<AccountId> {
	/// Returns the units that the order pays for.
	pub fn units(&self) -> u32 {
		let Requirement {
			gpu_class,
			gpu_count,
			min_cpu,
			..
		} = self.requirement;
		price::units(gpu_class, gpu_count, min_cpu)
	}

	/// Returns the hours bought.
	pub fn hours(&self) -> u32 {
		self.segments
			.iter()
			.fold(0, |sum, segment| sum.saturating_add(segment.hours))
	}

	/// Marks the order's time up to block `to` as proved, at most `most` blocks of it.
	pub fn prove(&mut self, to: BlockNumber, most: BlockNumber) {
		let to = to.min(self.ends_at);
		let blocks = to.saturating_sub(self.proved_to).min(most);
		self.proved = self.proved.saturating_add(blocks);
		self.proved_to = self.proved_to.max(to);
	}

	/// Returns the best plan that the order's running time has earned.
	fn earned_plan(&self) -> Plan {
		let ran = self.ends_at.saturating_sub(self.started_at);
		self.plan.earned(ran / HOURS)
	}

	/// Returns the price of the first `used` blocks, at least an hour, with the earned plan.
	fn used_price(&self, used: BlockNumber) -> Option<Balance> {
		self.cost(self.earned_plan(), used.max(HOURS))
	}

	/// Returns the price of proved time with the earned plan, without the rest of a first hour.
	pub fn proved_cost(&self) -> Option<Balance> {
		self.cost(self.earned_plan(), self.proved)
	}

	/// Returns the price of used time, if only proved time counts.
	pub fn proved_price(&self) -> Option<Balance> {
		self.used_price(self.proved)
	}

	/// Returns the price of used time, if the time since the last proof counts too. Time that a check failed
	/// to prove does not.
	pub fn run_price(&self) -> Option<Balance> {
		let tail = self.ends_at.saturating_sub(self.proved_to);
		self.used_price(self.proved.saturating_add(tail))
	}

	/// Returns whether the customer has canceled the order.
	pub fn is_cancelled(&self) -> bool {
		self.ending
			.is_some_and(|ending| ending.reason == CloseReason::Cancelled)
	}

	/// Returns the price of the first `blocks` of use with `plan`.
	pub fn cost(&self, plan: Plan, blocks: BlockNumber) -> Option<Balance> {
		let segments = self
			.segments
			.iter()
			.map(|segment| (segment.hours.saturating_mul(HOURS), segment.prices.of(plan)));
		price::used(segments, self.units(), blocks)
	}

	/// Returns the price of a unit and hour in the last segment.
	pub fn unit_price(&self) -> Balance {
		self.segments
			.last()
			.map_or(0, |segment| segment.prices.of(self.plan))
	}

	/// Returns whether the order has a worker and is not over.
	pub fn is_placed(&self) -> bool {
		matches!(
			self.state,
			OrderState::Deploying | OrderState::Active | OrderState::Closing
		)
	}

	/// Returns whether the order's container was deployed and has to answer.
	pub fn is_served(&self) -> bool {
		matches!(self.state, OrderState::Active | OrderState::Closing)
	}

	/// Returns whether the order is over.
	pub fn is_closed(&self) -> bool {
		matches!(self.state, OrderState::Closed { .. })
	}
}

/// An order in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Waiting {
	/// The order.
	pub order: OrderId,
	/// The block in which it was placed.
	pub placed_at: BlockNumber,
}

/// The queue's ends: its entries are `head .. tail`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct QueueBounds {
	/// The oldest entry.
	pub head: u64,
	/// The position of the next entry.
	pub tail: u64,
}

/// The agenda's position: all earlier entries are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Cursor {
	/// The block.
	pub block: BlockNumber,
	/// The entry within that block.
	pub position: u32,
}

/// A condition of a requirement that a worker does not meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum Lack {
	/// The GPUs, or their number.
	Gpus,
	/// The CPU tier.
	Cpu,
	/// The bandwidth tier.
	Bandwidth,
	/// The memory tier.
	Memory,
	/// The disk tier.
	Disk,
	/// The region.
	Region,
	/// The processor architecture.
	Arch,
	/// The GPU driver's version.
	Driver,
	/// The CUDA version.
	Cuda,
	/// The price, which is below the worker's floor.
	Price,
}

/// A worker with which an order could be matched, as [`Pallet::candidates`](crate::Pallet::candidates) shows
/// it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct CandidateView {
	/// Its number.
	pub worker: WorkerId,
	/// The conditions that the worker fails; empty if it fits.
	pub lacks: Vec<Lack>,
}

/// A page of the workers with which an order could be matched.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct CandidatePage {
	/// Number of idle workers with the requirement's GPUs (in class 0, its CPU tier) in its region.
	pub idle: u32,
	/// The workers of the page.
	pub workers: Vec<CandidateView>,
	/// The position to continue from; `None` at the end.
	pub next: Option<u32>,
}

/// An order as clients see it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct OrderView<AccountId> {
	/// Its number.
	pub id: OrderId,
	/// Its record.
	pub order: Order<AccountId>,
	/// The workload, until the order is closed.
	pub workload: Option<Ordered>,
	/// The hours bought.
	pub hours: u32,
	/// The price of the proved time, including the protocol's part.
	pub used: Balance,
}
