//! The state that the model holds: orders, prices and accounts.

use super::*;
use kaisar_primitives::{CloseReason, Plan, Requirement};
use num_bigint::BigInt;
use num_rational::BigRational;
use std::collections::{BTreeSet, VecDeque};

/// An amount in both kinds of money.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Both {
	pub kai: Balance,
	pub credits: Balance,
}

impl Both {
	pub(super) fn all(&self) -> Balance {
		self.kai + self.credits
	}

	/// Takes out a refund: KAI first, since the rest becomes credits.
	pub(super) fn give_back(&mut self, amount: Balance) -> Self {
		let kai = amount.min(self.kai);
		let credits = amount - kai;
		self.kai -= kai;
		self.credits -= credits;
		Self { kai, credits }
	}

	/// Takes out a payment: credits first.
	pub(super) fn take(&mut self, amount: Balance) -> Self {
		let credits = amount.min(self.credits);
		let kai = amount - credits;
		self.credits -= credits;
		self.kai -= kai;
		Self { kai, credits }
	}

	pub(super) fn add(&mut self, other: Self) {
		self.kai += other.kai;
		self.credits += other.credits;
	}

	pub(super) fn is(&self, money: &Money) -> bool {
		(self.kai, self.credits) == (money.kai, money.credits)
	}

	pub(super) fn money(&self) -> Money {
		Money {
			kai: self.kai,
			credits: self.credits,
		}
	}
}

/// An open report.
#[derive(Clone, Copy, Debug)]
pub struct Report {
	pub(super) at: BlockNumber,
	pub(super) undecided: u32,
}

/// An order that waits for its last check.
#[derive(Clone, Copy, Debug)]
pub struct End {
	pub(super) reason: CloseReason,
	pub(super) since: BlockNumber,
	pub(super) undecided: u32,
	/// Visits that did not count: a check from before the match was open.
	pub(super) waits: u32,
}

impl End {
	/// Returns the block of the last visit.
	pub(super) fn last_look(&self) -> BlockNumber {
		self.since + (16 + self.waits) * TIMEOUT
	}
}

/// An order in the model.
#[derive(Clone, Debug)]
pub struct Plain {
	pub customer: AccountId,
	pub(super) requirement: Requirement,
	pub(super) plan: Plan,
	/// Hours, and the prices of a unit and hour with each plan.
	pub(super) spans: Vec<(u32, [Balance; 3])>,
	pub state: OrderState,
	pub worker: Option<WorkerId>,
	pub(super) floor: Balance,
	pub(super) placed_at: BlockNumber,
	pub(super) matched_at: BlockNumber,
	pub(super) deploy_blocks: u16,
	pub(super) deploy_by: BlockNumber,
	pub(super) started_at: BlockNumber,
	pub ends_at: BlockNumber,
	pub(super) closed_at: BlockNumber,
	/// The block before which the worker's rented time is credited or void.
	pub(super) credited_to: BlockNumber,
	pub(super) proved_to: BlockNumber,
	pub(super) proved: BlockNumber,
	pub(super) end: Option<End>,
	pub(super) report: Option<Report>,
	pub(super) charged: Both,
	pub(super) escrow: Both,
	pub(super) paid: Balance,
	pub(super) fees: Balance,
	pub(super) setup: Balance,
	pub(super) refunded: Both,
	pub(super) credited: Balance,
}

impl Plain {
	pub fn is_closed(&self) -> bool {
		matches!(self.state, OrderState::Closed { .. })
	}

	pub(super) fn has_worker(&self) -> bool {
		self.is_served() || self.state == OrderState::Deploying
	}

	pub(super) fn is_served(&self) -> bool {
		matches!(self.state, OrderState::Active | OrderState::Closing)
	}

	pub(super) fn is_cancelled(&self) -> bool {
		self.end
			.is_some_and(|end| end.reason == CloseReason::Cancelled)
	}

	pub fn hours(&self) -> u32 {
		self.spans.iter().map(|(hours, _)| hours).sum()
	}

	/// Returns the price of the first blocks of use with a plan, rounded down to the unit.
	pub(super) fn cost(&self, plan: Plan, blocks: BlockNumber) -> Balance {
		let (mut left, mut sum) = (blocks, BigRational::from(BigInt::from(0)));
		for (hours, prices) in &self.spans {
			let part = left.min(hours * HOURS);
			left -= part;
			let price = BigRational::from(BigInt::from(prices[plan as usize]));
			sum += price * ratio(part, HOURS);
		}
		let all = sum * BigRational::from(BigInt::from(units(&self.requirement)));
		whole(all.floor()).expect("an order was paid for")
	}

	/// Marks the time up to block `to` as proved, at most `most` blocks of it.
	pub(super) fn prove(&mut self, to: BlockNumber, most: BlockNumber) {
		let to = to.min(self.ends_at);
		if to > self.proved_to {
			self.proved += (to - self.proved_to).min(most);
			self.proved_to = to;
		}
	}

	/// Returns the price of `blocks` of used time, at least an hour, with the earned plan.
	pub(super) fn used(&self, blocks: BlockNumber) -> Balance {
		self.cost(self.earned(), blocks.max(HOURS))
	}

	pub(super) fn earned(&self) -> Plan {
		let ran = (self.ends_at - self.started_at) / HOURS;
		match self.plan {
			Plan::Quarter if ran >= 2_160 => Plan::Quarter,
			Plan::Quarter | Plan::Month if ran >= 720 => Plan::Month,
			_ => Plan::OnDemand,
		}
	}

	/// Returns the price of all used time: proved time, and the time since the last proof.
	pub(super) fn run(&self) -> Balance {
		self.used(self.proved + self.ends_at.saturating_sub(self.proved_to))
	}
}

pub(super) fn ratio(a: u32, b: u32) -> BigRational {
	BigRational::new(a.into(), b.into())
}

pub(super) fn whole(number: BigRational) -> Option<Balance> {
	Balance::try_from(number.to_integer()).ok()
}

/// Returns the units for which an order pays: GPUs, or the fewest cores of the tier.
pub(super) fn units(requirement: &Requirement) -> u32 {
	if requirement.gpu_class == 0 {
		[4, 32, 64, 129][usize::from(requirement.min_cpu) - 1]
	} else {
		requirement.gpu_count.into()
	}
}

/// The state of the model.
pub struct Model {
	pub orders: BTreeMap<OrderId, Plain>,
	pub(super) next: OrderId,
	pub(super) book: BTreeMap<GpuClass, ClassPrice>,
	pub(super) contingency: bool,
	pub(super) credits: BTreeMap<AccountId, Balance>,
	/// The KAI of each account, held or not.
	pub(super) accounts: BTreeMap<AccountId, Balance>,
	/// The KAI of the pot beyond that behind credits.
	pub(super) spare: Balance,
	/// Workers that could be rented before this block's hooks of orders.
	pub(super) idle: BTreeSet<WorkerId>,
	/// Whether some of them had ended checks, and too many have an open one for all to be closed first.
	pub(super) crowded: bool,
	/// The events that must come next, and below the ones that must have been emitted as well.
	pub(super) due: VecDeque<Event<World>>,
	pub(super) reported: Vec<String>,
}

/// Returns all accounts with their KAI.
pub(super) fn accounts() -> BTreeMap<AccountId, Balance> {
	frame_system::Account::<World>::iter_keys()
		.map(|who| (who, total_of(who)))
		.filter(|(_, amount)| *amount > 0)
		.collect()
}

pub(super) fn total_of(who: AccountId) -> Balance {
	<Balances as frame_support::traits::fungible::Inspect<_>>::total_balance(&who)
}

impl Model {
	/// Returns the model of the world at its start.
	pub fn new() -> Self {
		let book = REFERENCES.map(|(class, reference)| {
			let price = ClassPrice {
				reference: Some(reference),
				cost: None,
			};
			(class, price)
		});
		Self {
			orders: BTreeMap::new(),
			next: 0,
			book: book.into(),
			contingency: false,
			credits: BTreeMap::new(),
			accounts: accounts(),
			spare: ED,
			idle: BTreeSet::new(),
			crowded: false,
			due: VecDeque::new(),
			reported: Vec::new(),
		}
	}

	pub fn order(&self, id: OrderId) -> Option<&Plain> {
		self.orders.get(&id)
	}

	pub fn credits_of(&self, who: AccountId) -> Balance {
		self.credits.get(&who).copied().unwrap_or(0)
	}

	/// Records a price set by governance.
	pub fn set_price(&mut self, class: GpuClass, reference: Option<Balance>) {
		self.book.entry(class).or_default().reference = reference;
	}

	/// Records a cost set by governance.
	pub fn set_cost(&mut self, class: GpuClass, cost: Option<Cost>) {
		self.book.entry(class).or_default().cost = cost;
	}

	/// Records a switch of the contingency by governance.
	pub fn set_contingency(&mut self, on: bool) {
		self.contingency = on;
	}

	/// Records the workers with which an order could be matched, if one waits.
	pub fn look_around(&mut self) {
		for order in self.orders.values_mut() {
			let looks_back = order.worker.is_some_and(|worker| {
				matches!(
					Popw::last_check(worker),
					Some(LastCheck::Open(check)) if now() <= check.ends
						&& !(check.rented && check.round_start > order.matched_at)
				)
			});
			if let Some(end) = order.end.as_mut().filter(|_| looks_back) {
				end.waits += u32::from((now() - end.since).is_multiple_of(TIMEOUT));
			}
		}
		self.idle.clear();
		if self
			.orders
			.values()
			.any(|order| order.state == OrderState::Matching)
		{
			self.idle = workers()
				.map(|(worker, _)| worker)
				.filter(|worker| Self::is_listed(*worker))
				.collect();
			let open = self
				.idle
				.iter()
				.filter(|worker| <Popw as Checks>::is_open(**worker));
			self.crowded = open.count() > 2 && self.idle.iter().any(|worker| is_over(*worker));
		}
	}

	/// Records balances after the end of an epoch, which may mint into the pots.
	pub fn rewarded(&mut self) {
		let issued: Balance = self.accounts.values().sum();
		if issued != pallet_balances::TotalIssuance::<World>::get() {
			self.outside();
		}
	}

	/// Records balances after moves of money that have nothing to do with orders: the pot has lost nothing.
	pub fn outside(&mut self) {
		let before = self.accounts[&Rentals::pot()];
		self.accounts = accounts();
		self.spare += self.accounts[&Rentals::pot()]
			.checked_sub(before)
			.expect("nobody else takes from the pot");
	}
}
