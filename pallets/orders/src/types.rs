//! What the pallet stores: the price book, and an order with its money.

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

/// Most spans of time that an order is bought in: the first, and one for each extension.
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
	/// Of a unit and hour.
	pub cost: Balance,
	/// By how much it is multiplied.
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
	/// The median cloud price of a unit and hour, in KAI.
	pub reference: Option<Balance>,
	/// The price's base in a contingency.
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
	/// Without any commitment.
	#[codec(compact)]
	pub on_demand: Balance,
	/// For 30 days.
	#[codec(compact)]
	pub month: Balance,
	/// For 90 days.
	#[codec(compact)]
	pub quarter: Balance,
}

impl Prices {
	/// With one of them.
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
	/// Units that are paid for: GPUs, or cores.
	pub units: u32,
	/// All of it, with the plan that was asked for.
	pub total: Balance,
}

/// An amount in both kinds that a customer can pay in.
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

	/// Adds other money, kind by kind.
	pub fn ensure_add_assign(&mut self, other: Self) -> Result<(), ArithmeticError> {
		self.kai.ensure_add_assign(other.kai)?;
		self.credits.ensure_add_assign(other.credits)
	}

	/// Takes out `amount`: credits first, KAI for the rest. `None` if there is less.
	pub fn take(&mut self, amount: Balance) -> Option<Self> {
		let credits = amount.min(self.credits);
		let kai = amount.checked_sub(credits)?;
		self.kai = self.kai.checked_sub(kai)?;
		self.credits = self.credits.checked_sub(credits)?;
		Some(Self { kai, credits })
	}

	/// Takes out `amount` to give it back: KAI first, credits for the rest. `None` if there is less.
	pub fn take_back(&mut self, amount: Balance) -> Option<Self> {
		let kai = amount.min(self.kai);
		let credits = amount.checked_sub(kai)?;
		self.credits = self.credits.checked_sub(credits)?;
		self.kai = self.kai.checked_sub(kai)?;
		Some(Self { kai, credits })
	}
}

/// Where the money of an order is, or went. What was charged is the sum of all the others, always.
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
	/// All that was ever put into escrow.
	#[codec(compact)]
	pub charged: Balance,
	/// The money that is in escrow now: KAI on hold on the customer's account, credits in the pot.
	pub escrow: Money,
	/// Paid to the worker's owner.
	#[codec(compact)]
	pub paid: Balance,
	/// The protocol's part of the payments.
	#[codec(compact)]
	pub fees: Balance,
	/// To the treasury: for a deployment that came to nothing, or for used time that no check proved of an
	/// order whose container ended.
	#[codec(compact)]
	pub setup: Balance,
	/// Back to the customer, in the kind it was paid in.
	pub refunded: Money,
	/// Turned into credits, or left as that, by a cancellation or the container's end.
	#[codec(compact)]
	pub credited: Balance,
}

impl Ledger {
	/// Returns the customer's payment for use, the protocol's part included.
	pub fn gross(&self) -> Result<Balance, ArithmeticError> {
		self.paid.ensure_add(self.fees)
	}

	/// Whether each unit that was charged is in exactly one place.
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

/// A span of time that was bought at one day's prices.
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
	/// Its length.
	#[codec(compact)]
	pub hours: u32,
	/// Prices of a unit and hour in it, with each plan: an order that is canceled pays for the plan that it
	/// has earned.
	pub prices: Prices,
}

/// Where an order is in its life.
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
	/// Waits to be matched with a worker.
	Matching,
	/// Has a worker, which deploys the container.
	Deploying,
	/// The container runs, and paid time passes.
	Active,
	/// Paid time is over; the check is awaited that proves the rest of it.
	Closing,
	/// Over.
	Closed {
		/// Why.
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
	/// Why it ends: `Expired` or `Cancelled`.
	pub reason: CloseReason,
	/// The rest of its time was proved, and only its money could not be dealt with yet.
	pub proved: bool,
	/// Checks since the end that came to no consensus.
	pub undecided: u8,
	/// Times that the agenda looked for the check, without those while a check from before the match was
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
	/// The KAI that is on hold for it.
	#[codec(compact)]
	pub bond: Balance,
	/// When it was reported: a check of a round that started before does not count.
	#[codec(compact)]
	pub reported_at: BlockNumber,
	/// Checks since then that came to no consensus.
	pub undecided: u8,
}

/// An order: all that a payment reads and writes, in one storage item.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Order<AccountId> {
	/// The account that pays.
	pub customer: AccountId,
	/// The machine that was asked for.
	pub requirement: Requirement,
	/// The plan that it is bought with.
	pub plan: Plan,
	/// Where it is in its life.
	pub state: OrderState,
	/// The worker that serves, or served, it.
	pub worker: Option<WorkerId>,
	/// That worker's price floor when it was matched: an extension is not cheaper.
	#[codec(compact)]
	pub floor: Balance,
	/// When it was placed.
	#[codec(compact)]
	pub placed_at: BlockNumber,
	/// When it was matched.
	#[codec(compact)]
	pub matched_at: BlockNumber,
	/// Blocks that its customer gives the deployment; 0 for the parameter.
	#[codec(compact)]
	pub deploy_blocks: u16,
	/// The last block in which its deployment may be confirmed.
	#[codec(compact)]
	pub deploy_by: BlockNumber,
	/// When its paid time began.
	#[codec(compact)]
	pub started_at: BlockNumber,
	/// When it ends.
	#[codec(compact)]
	pub ends_at: BlockNumber,
	/// When it was closed.
	#[codec(compact)]
	pub closed_at: BlockNumber,
	/// The time that was bought, one after the other.
	pub segments: BoundedVec<Segment, ConstU32<MAX_SEGMENTS>>,
	/// The block up to which checks have been; time before it that they did not prove stays unproved.
	#[codec(compact)]
	pub proved_to: BlockNumber,
	/// Blocks of paid time that they proved.
	#[codec(compact)]
	pub proved: BlockNumber,
	/// The wait for its last check, exactly while it is `Closing`.
	pub ending: Option<Ending>,
	/// A check found its container down, and only its money could not be dealt with yet.
	pub down: bool,
	/// The issue that its customer reported, if one is open.
	pub issue: Option<OpenIssue>,
	/// The block in which the agenda looks at it next; 0 while it waits in the queue.
	#[codec(compact)]
	pub wake: BlockNumber,
	/// Its money.
	pub ledger: Ledger,
}

impl<AccountId> Order<AccountId> {
	/// Units that are paid for.
	pub fn units(&self) -> u32 {
		let Requirement {
			gpu_class,
			gpu_count,
			min_cpu,
			..
		} = self.requirement;
		price::units(gpu_class, gpu_count, min_cpu)
	}

	/// Hours that were bought.
	pub fn hours(&self) -> u32 {
		self.segments
			.iter()
			.fold(0, |sum, segment| sum.saturating_add(segment.hours))
	}

	/// Proves the order's time up to block `to`, but no more than `most` blocks of it.
	pub fn prove(&mut self, to: BlockNumber, most: BlockNumber) {
		let to = to.min(self.ends_at);
		let blocks = to.saturating_sub(self.proved_to).min(most);
		self.proved = self.proved.saturating_add(blocks);
		self.proved_to = self.proved_to.max(to);
	}

	/// Returns the best plan that the time it ran for has earned.
	fn earned_plan(&self) -> Plan {
		let ran = self.ends_at.saturating_sub(self.started_at);
		self.plan.earned(ran / HOURS)
	}

	/// Returns the price of the used time: the first `used` blocks, an hour at least, with the plan that it
	/// has earned.
	fn used_price(&self, used: BlockNumber) -> Option<Balance> {
		self.cost(self.earned_plan(), used.max(HOURS))
	}

	/// Returns what proved time costs with the plan that the order has earned, without the rest of a first
	/// hour.
	pub fn proved_cost(&self) -> Option<Balance> {
		self.cost(self.earned_plan(), self.proved)
	}

	/// Returns the price of the used time, if only proved time counts.
	pub fn proved_price(&self) -> Option<Balance> {
		self.used_price(self.proved)
	}

	/// Returns the price of the used time, if the time since the last proof counts too. Time that a check
	/// has lost does not.
	pub fn run_price(&self) -> Option<Balance> {
		let tail = self.ends_at.saturating_sub(self.proved_to);
		self.used_price(self.proved.saturating_add(tail))
	}

	/// Whether its customer has canceled it.
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

	/// Returns the price of a unit and hour that was bought last.
	pub fn unit_price(&self) -> Balance {
		self.segments
			.last()
			.map_or(0, |segment| segment.prices.of(self.plan))
	}

	/// Whether it has a worker and is not over.
	pub fn is_placed(&self) -> bool {
		matches!(
			self.state,
			OrderState::Deploying | OrderState::Active | OrderState::Closing
		)
	}

	/// Whether its container was deployed and has to answer.
	pub fn is_served(&self) -> bool {
		matches!(self.state, OrderState::Active | OrderState::Closing)
	}

	/// Whether it is over.
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
	/// Where the next one goes.
	pub tail: u64,
}

/// Where the agenda has got to: all entries before this one are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Cursor {
	/// The block.
	pub block: BlockNumber,
	/// The entry of that block.
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
	/// The price: the worker's floor is above it.
	Price,
}

/// A worker that an order could be matched with, as [`Pallet::candidates`] shows it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct CandidateView {
	/// Its number.
	pub worker: WorkerId,
	/// The conditions that it fails; empty if it fits.
	pub lacks: Vec<Lack>,
}

/// A page of the workers that an order could be matched with.
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
	/// Its workload, until it is closed.
	pub workload: Option<Ordered>,
	/// Hours that were bought.
	pub hours: u32,
	/// The price of its proved time, the protocol's part included.
	pub used: Balance,
}
