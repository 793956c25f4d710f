//! A model of the money and the lives of orders by `docs/spec/06-orders.md`, written down plainly.
//!
//! The model gets the calls and the results of checks ([`Heard`]), in the order in which they occurred.
//! Steps that the chain does by itself it takes from the chain's events, and asserts that they were allowed.
//! From these it computes every figure of every order, the balance of every account, and the events that
//! must have been emitted, and compares all of them.

use super::*;
use kaisar_primitives::{
	BlockSeed, CloseReason, DeployFailure, Issue, Market, Plan, Requirement, Workload,
};
use std::collections::BTreeSet;

mod expect;
mod state;

use state::{Both, End, Report, accounts, total_of};
pub use state::{Model, Plain};

/// A call of an order.
#[derive(Clone, Copy, Debug)]
pub enum Act {
	Place(Placing),
	Confirm(OrderId),
	Fail(OrderId, DeployFailure),
	Exit(OrderId, i32),
	Extend(OrderId, u32, Balance),
	Cancel(OrderId),
	Report(OrderId, Issue),
	Close(OrderId),
}

impl Act {
	/// Returns the order of the call, if it exists yet.
	fn order(&self) -> Option<OrderId> {
		match *self {
			Self::Place(_) => None,
			Self::Confirm(order)
			| Self::Fail(order, _)
			| Self::Exit(order, _)
			| Self::Extend(order, _, _)
			| Self::Cancel(order)
			| Self::Report(order, _)
			| Self::Close(order) => Some(order),
		}
	}

	pub fn call(&self) -> RuntimeCall {
		let signature = None;
		match *self {
			Self::Place(Placing {
				requirement,
				hours,
				plan,
				max_price,
				credits,
				deploy_blocks,
			}) => Call::place_order {
				requirement,
				workload: Workload {
					deploy_blocks,
					..crate::mock::workload()
				},
				hours,
				plan,
				max_price,
				credits,
				client_key: crate::mock::client_key(),
			},
			Self::Confirm(order) => Call::confirm_deployment { order, signature },
			Self::Fail(order, reason) => Call::fail_deployment {
				order,
				reason,
				signature,
			},
			Self::Exit(order, code) => Call::report_exit {
				order,
				code,
				signature,
			},
			Self::Extend(order, hours, max_price) => Call::extend_order {
				order,
				hours,
				max_price,
			},
			Self::Cancel(order) => Call::cancel_order { order },
			Self::Report(order, reason) => Call::report_issue { order, reason },
			Self::Close(order) => Call::close_order { order },
		}
		.into()
	}
}

/// The arguments of an order to place.
#[derive(Clone, Copy, Debug)]
pub struct Placing {
	pub requirement: Requirement,
	pub hours: u32,
	pub plan: Plan,
	pub max_price: Balance,
	pub credits: Balance,
	pub deploy_blocks: u16,
}

/// The action that caused the change to explain.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
	/// The hooks of the block.
	Hook,
	/// A call of an order.
	Call(AccountId, Act),
	/// Any other call, which can only close checks.
	Other,
}

/// Moves of money.
impl Model {
	fn moves(&mut self, from: AccountId, to: AccountId, amount: Balance) {
		let has = self.accounts.entry(from).or_default();
		*has = has
			.checked_sub(amount)
			.expect("nobody pays what it has not");
		*self.accounts.entry(to).or_default() += amount;
	}

	pub(super) fn say(&mut self, event: Event<World>) {
		self.said.push(format!("{event:?}"));
	}

	fn gives_credits(&mut self, who: AccountId, amount: Balance) {
		if amount > 0 {
			*self.credits.entry(who).or_default() += amount;
			self.say(Event::CreditsGiven { who, amount });
		}
	}

	/// Moves money from escrow into the pot.
	fn collects(&mut self, order: &mut Plain, amount: Balance) {
		let taken = order.escrow.take(amount);
		self.moves(order.customer, Rentals::pot(), taken.kai);
	}

	fn can_get(&self, who: AccountId, amount: Balance) -> bool {
		let lives = self.accounts.get(&who).is_some_and(|has| *has > 0);
		lives || amount >= ED || amount == 0
	}

	fn owner_gets(&self, worker: WorkerId, amount: Balance) -> AccountId {
		let owner = record(worker).owner;
		if self.can_get(owner, amount) {
			owner
		} else {
			TREASURY
		}
	}

	/// Pays for use from escrow, up to `due` in total.
	fn pays(&mut self, id: OrderId, order: &mut Plain, due: Balance) {
		let gross = order.paid + order.fees;
		let amount = due.saturating_sub(gross).min(order.escrow.all());
		if amount == 0 {
			return;
		}
		self.collects(order, amount);
		use kaisar_primitives::Pot;
		let pot = Rewards::pot_account;
		let (mut fee, mut net) = (amount / 10, amount - amount / 10);
		let worker = order.worker.expect("a worker is paid");
		let to = self.owner_gets(worker, net);
		if !self.can_get(to, net) {
			(fee, net) = (amount, 0);
		}
		self.moves(Rentals::pot(), to, net);
		if kaisar_math::Schedule::KAISAR.left(now() - 1) > 0 {
			let taker = if self.can_get(TREASURY, fee) {
				TREASURY
			} else {
				pot(Pot::Providers)
			};
			self.moves(Rentals::pot(), taker, fee);
		} else {
			let half = fee / 2;
			self.moves(Rentals::pot(), pot(Pot::Checkers), half);
			self.moves(Rentals::pot(), pot(Pot::Providers), fee - half);
		}
		order.paid += net;
		order.fees += fee;
		self.say(Event::OrderPaid {
			order: id,
			worker,
			to,
			amount: net,
			fee,
			proved: order.proved,
		});
	}

	pub(super) fn pays_proved(&mut self, id: OrderId, order: &mut Plain) {
		let due = order.cost(order.plan, order.proved);
		self.pays(id, order, due);
	}

	/// Charges a deployment that failed by the customer's fault: its time, at least 0.1 h.
	pub(super) fn pays_setup(&mut self, order: &mut Plain) {
		let time = (now() - order.matched_at).max(SETUP);
		self.pays_treasury(order, order.cost(order.plan, time));
	}

	fn pays_treasury(&mut self, order: &mut Plain, due: Balance) {
		let amount = due.min(order.escrow.all());
		if self.can_get(TREASURY, amount) {
			self.collects(order, amount);
			self.moves(Rentals::pot(), TREASURY, amount);
			order.setup += amount;
		}
	}

	fn refunds(&mut self, order: &mut Plain, amount: Balance) {
		let back = order.escrow.give_back(amount);
		order.refunded.add(back);
		self.gives_credits(order.customer, back.credits);
	}

	pub(super) fn refunds_rest(&mut self, order: &mut Plain) {
		let rest = order.escrow.all();
		self.refunds(order, rest);
	}

	fn credits_rest(&mut self, order: &mut Plain) {
		let rest = order.escrow.all();
		self.collects(order, rest);
		order.credited += rest;
		self.gives_credits(order.customer, rest);
	}

	/// Resolves the open report: the bond goes to the customer, or to the provider.
	pub(super) fn resolves(&mut self, id: OrderId, order: &mut Plain, returned: bool) {
		if order.report.take().is_none() {
			return;
		}
		let to = if returned {
			order.customer
		} else {
			self.owner_gets(order.worker.expect("it is served"), BOND)
		};
		self.moves(order.customer, to, BOND);
		self.say(Event::IssueResolved {
			order: id,
			// An owner that rents its own machine gets its bond back in any case.
			returned: to == order.customer,
			bond: BOND,
		});
	}

	/// Settles an order whose paid time is over, or that was canceled. `proved`: the last check has come.
	pub(super) fn settles(&mut self, id: OrderId, order: &mut Plain, proved: bool) {
		match (order.is_cancelled(), proved) {
			(true, true) => {
				let due = order.used(order.proved);
				self.pays(id, order, due);
				self.credits_rest(order);
			}
			(true, false) => {
				let due = order.cost(order.earned(), order.proved);
				self.pays(id, order, due);
				// Only the price of the time that the check would have proved is refunded in its kind.
				let tail = order.run().saturating_sub(order.paid + order.fees);
				self.refunds(order, tail.min(order.escrow.all()));
				self.credits_rest(order);
			}
			(false, _) => {
				self.pays_proved(id, order);
				self.refunds_rest(order);
			}
		}
	}

	/// Settles an order whose container ended, or did not answer: it costs as much as a cancellation.
	pub(super) fn settles_stopped(&mut self, id: OrderId, order: &mut Plain) {
		order.ends_at = order.ends_at.min(now());
		self.pays_proved(id, order);
		let due = order.run().saturating_sub(order.paid + order.fees);
		self.pays_treasury(order, due);
		let was_over = order.end.is_some() && !order.is_cancelled();
		if order.is_cancelled() || (order.proved > 0 && !was_over) {
			self.credits_rest(order);
		} else {
			self.refunds_rest(order);
		}
	}

	/// Closes the order. Returns its event.
	pub(super) fn closes(
		&mut self,
		id: OrderId,
		order: &mut Plain,
		reason: CloseReason,
	) -> Event<World> {
		self.resolves(id, order, true);
		order.state = OrderState::Closed { reason };
		order.end = None;
		order.closed_at = now();
		assert_eq!(order.escrow, Both::default(), "{id}: something is left");
		Event::OrderClosed {
			order: id,
			reason,
			paid: order.paid,
			fee: order.fees + order.setup,
			refunded: order.refunded.money(),
			credited: order.credited,
		}
	}

	pub(super) fn fails(&mut self, id: OrderId, order: &mut Plain) {
		// A cancellation stands, whatever the machine does.
		self.settles(id, order, false);
		let event = self.closes(id, order, CloseReason::WorkerFailed);
		self.due.push_back(event);
	}

	pub(super) fn goes_down(&mut self, id: OrderId, order: &mut Plain) {
		self.settles_stopped(id, order);
		let event = self.closes(id, order, CloseReason::ServiceDown);
		self.due.push_back(event);
	}

	pub(super) fn finishes(&mut self, id: OrderId, order: &mut Plain) {
		let reason = order.end.expect("it is closing").reason;
		self.settles(id, order, true);
		let event = self.closes(id, order, reason);
		self.due.push_back(event);
	}
}

/// Processing of the chain's events.
impl Model {
	/// Processes a closed check of a worker that serves an order.
	fn hears(&mut self, heard: &Heard) {
		let id = heard.order;
		let mut order = self.orders.remove(&id).expect("it was placed");
		assert!(order.has_worker() && order.worker == Some(heard.worker));
		let start = heard.round_start;
		// Other checks are no evidence about this order: they cover the time before it.
		let speaks = order.is_served() && heard.was_rented && start > order.matched_at;
		match heard.found {
			Some(Finding::Offline) => self.fails(id, &mut order),
			Some(Finding::NotServing) => {
				if speaks {
					self.goes_down(id, &mut order);
				}
				order.credited_to = order.credited_to.max(start);
			}
			Some(Finding::Serving) => self.confirms(heard, &mut order, speaks),
			None if speaks => self.undecided(id, &mut order, start),
			None => {}
		}
		self.orders.insert(id, order);
	}

	fn confirms(&mut self, heard: &Heard, order: &mut Plain, speaks: bool) {
		let (id, start) = (heard.order, heard.round_start);
		let gap = heard.credit;
		let rented = if heard.false_proof {
			// All pending time is void.
			order.credited_to = now();
			0
		} else if !heard.was_rented {
			0
		} else {
			let rented = start.saturating_sub(order.credited_to).min(gap);
			order.credited_to = order.credited_to.max(start);
			rented
		};
		// Time of an earlier order, which ended without a check, can still be credited, at nobody's cost.
		assert!(
			(rented..=gap).contains(&heard.rented),
			"{heard:?}: {rented}"
		);
		if !speaks {
			return;
		}
		if order.report.is_some_and(|report| start >= report.at) {
			self.resolves(id, order, false);
		}
		order.prove(start, rented);
		if order.end.is_some() && start >= order.ends_at {
			self.finishes(id, order);
		} else {
			self.pays_proved(id, order);
		}
	}

	fn undecided(&mut self, id: OrderId, order: &mut Plain, start: BlockNumber) {
		if let Some(report) = order.report.as_mut().filter(|report| start >= report.at) {
			report.undecided += 1;
			if report.undecided == 2 {
				self.resolves(id, order, true);
			}
		}
		let ends_at = order.ends_at;
		if let Some(end) = order.end.as_mut().filter(|_| start >= ends_at) {
			end.undecided += 1;
			if end.undecided == 2 {
				order.prove(ends_at, BlockNumber::MAX);
				self.finishes(id, order);
			}
		}
	}

	/// Processes the events since the last call.
	pub fn absorb(&mut self, cause: Cause) {
		let heard = Told::take();
		let mut heard = heard.iter().peekable();
		let mut acted = BTreeSet::new();
		let mut said = Vec::new();
		for (at, record) in System::events().into_iter().enumerate() {
			while let Some(next) = heard.next_if(|heard| heard.after as usize <= at) {
				acted.insert(next.order);
				self.hears(next);
			}
			let RuntimeEvent::Rentals(event) = record.event else {
				continue;
			};
			match event {
				Event::OrderFailed { .. } => panic!("{event:?}"),
				Event::CreditsGiven { .. }
				| Event::CreditsUsed { .. }
				| Event::OrderPaid { .. }
				| Event::IssueResolved { .. }
				| Event::DeploymentFailed { .. }
				| Event::ContainerExited { .. } => said.push(format!("{event:?}")),
				Event::PriceSet { .. } | Event::CostSet { .. } | Event::ContingencySet { .. } => {}
				_ => match self.due.pop_front() {
					Some(due) => assert_eq!(event, due),
					None => {
						acted.extend(self.happens(event, cause));
					}
				},
			}
		}
		for next in heard {
			acted.insert(next.order);
			self.hears(next);
		}
		forget_events();
		assert!(self.due.is_empty(), "{cause:?}: {:?}", self.due);
		said.sort();
		self.said.sort();
		assert_eq!(said, self.said, "{cause:?}");
		self.said.clear();
		// A successful call has an effect, or the check that it closed has.
		if let Cause::Call(_, act) = cause {
			let order = act.order().unwrap_or(self.next - 1);
			assert!(acted.contains(&order), "{act:?} did nothing");
		}
	}

	/// Processes an event of an order that no check caused. Returns the order.
	fn happens(&mut self, event: Event<World>, cause: Cause) -> Option<OrderId> {
		if let Event::OrderPlaced { order, .. } = event {
			let Cause::Call(who, Act::Place(placing)) = cause else {
				panic!("{event:?} of {cause:?}")
			};
			assert_eq!(order, self.next);
			let expected = self.places(who, &placing);
			assert_eq!(event, expected);
			return Some(order);
		}
		let id = match event {
			Event::OrderMatched { order, .. }
			| Event::OrderDeployed { order, .. }
			| Event::OrderExtended { order, .. }
			| Event::OrderClosing { order, .. }
			| Event::OrderClosed { order, .. }
			| Event::IssueReported { order, .. } => order,
			_ => panic!("{event:?} of {cause:?}"),
		};
		let mut order = self.orders.remove(&id).expect("it was placed");
		let expected = match event {
			Event::OrderMatched { worker, .. } => self.matches(id, &mut order, worker, cause),
			Event::OrderClosed { reason, .. } => {
				self.settle_and_close(id, &mut order, reason, cause)
			}
			Event::OrderClosing { reason, .. } => Self::ends(id, &mut order, reason, cause),
			_ => self.acts(id, &mut order, cause),
		};
		assert_eq!(event, expected, "{cause:?}");
		self.orders.insert(id, order);
		Some(id)
	}

	fn places(&mut self, who: AccountId, placing: &Placing) -> Event<World> {
		let id = self.next;
		self.next += 1;
		let (prices, charged) = self.quote_placing(who, placing).expect("it can be placed");
		let Placing {
			requirement,
			hours,
			plan,
			deploy_blocks,
			..
		} = *placing;
		if charged.credits > 0 {
			let left = self.credits_of(who) - charged.credits;
			self.credits.insert(who, left);
			self.say(Event::CreditsUsed {
				who,
				order: id,
				amount: charged.credits,
			});
		}
		self.orders.insert(
			id,
			Plain {
				customer: who,
				requirement,
				plan,
				spans: vec![(hours, prices)],
				state: OrderState::Matching,
				worker: None,
				floor: 0,
				placed_at: now(),
				matched_at: 0,
				deploy_blocks,
				deploy_by: 0,
				started_at: 0,
				ends_at: 0,
				closed_at: 0,
				credited_to: 0,
				proved_to: 0,
				proved: 0,
				end: None,
				report: None,
				charged,
				escrow: charged,
				paid: 0,
				fees: 0,
				setup: 0,
				refunded: Both::default(),
				credited: 0,
			},
		);
		Event::OrderPlaced {
			order: id,
			customer: who,
			requirement,
			hours,
			plan,
			unit_price: prices[plan as usize],
			charged: charged.money(),
		}
	}

	/// Returns whether a worker meets an order's requirement.
	fn fits(order: &Plain, worker: WorkerId) -> bool {
		let Requirement {
			gpu_class,
			gpu_count,
			min_bandwidth,
			min_cpu,
			min_memory,
			min_disk,
			region,
			arch,
			min_driver,
			min_cuda,
		} = order.requirement;
		let record = record(worker);
		let (Some(profile), spec) = (record.profile, record.spec) else {
			return false;
		};
		profile.gpu_class == gpu_class
			&& profile.gpu_count == gpu_count
			&& profile.bandwidth >= min_bandwidth
			&& profile.cpu >= min_cpu
			&& (gpu_class > 0 || profile.cpu == min_cpu)
			&& profile.memory >= min_memory
			&& profile.disk >= min_disk
			&& region.is_none_or(|region| region == spec.region)
			&& arch.is_none_or(|arch| arch == spec.arch)
			&& min_driver.is_none_or(|driver| driver <= spec.driver)
			&& min_cuda.is_none_or(|cuda| cuda <= spec.cuda)
			&& record.price_floor <= order.spans[0].1[order.plan as usize]
	}

	/// Returns whether the worker is in the index, and can be rented.
	pub(super) fn is_listed(worker: WorkerId) -> bool {
		record(worker).place.is_some() && <Providers as Market>::candidate(worker).is_some()
	}

	/// Returns the ranks of the workers that an order could have had and that are still idle. The world is
	/// so small that the match reads all of them.
	fn left_over(&self, order: &Plain) -> impl Iterator<Item = (u32, u8)> {
		let seen = |worker: &WorkerId| !self.crowded || !<Popw as Checks>::is_open(*worker);
		self.idle
			.iter()
			.filter(|worker| Self::is_listed(**worker) && seen(worker))
			.filter(|worker| Self::fits(order, **worker))
			.map(|worker| Self::rank(*worker))
			.collect::<Vec<_>>()
			.into_iter()
	}

	/// Returns the rank of a worker: reliability in eighths, rounded up, and bandwidth.
	fn rank(worker: WorkerId) -> (u32, u8) {
		let record = record(worker);
		let bandwidth = record.profile.map_or(0, |profile| profile.bandwidth);
		let reliability = record.history.reliability().deconstruct();
		(reliability.div_ceil(1_000_000_000 / 8), bandwidth)
	}

	fn matches(
		&mut self,
		id: OrderId,
		order: &mut Plain,
		worker: WorkerId,
		cause: Cause,
	) -> Event<World> {
		assert!(matches!(cause, Cause::Hook), "{cause:?}");
		assert_eq!(order.state, OrderState::Matching);
		assert!(now() >= order.placed_at + 2);
		assert!(Self::fits(order, worker), "{order:?}");
		assert!(self.idle.contains(&worker) && record(worker).barred_until <= now());
		assert!(!record(worker).is_marked(), "no full check came first");
		assert!(!<Popw as Checks>::census_prepares());
		let best = self.left_over(order).max();
		assert!(best <= Some(Self::rank(worker)), "a better one was idle");
		order.state = OrderState::Deploying;
		order.worker = Some(worker);
		order.floor = record(worker).price_floor;
		order.matched_at = now();
		order.credited_to = now();
		let proof = <Popw as Checks>::proves_until(worker).unwrap_or(now());
		assert!(proof <= now() + 4 + TrialOffset::get() + 2 * PHASE);
		order.deploy_by = proof
			+ match order.deploy_blocks {
				0 => DEADLINE,
				blocks => blocks.into(),
			};
		Event::OrderMatched {
			order: id,
			worker,
			deploy_by: order.deploy_by,
		}
	}

	fn ends(id: OrderId, order: &mut Plain, reason: CloseReason, cause: Cause) -> Event<World> {
		assert_eq!(order.state, OrderState::Active);
		match (reason, cause) {
			(CloseReason::Expired, Cause::Hook) => assert!(now() >= order.ends_at),
			(CloseReason::Expired, Cause::Call(_, Act::Close(called))) => {
				assert!(called == id && now() >= order.ends_at);
			}
			(CloseReason::Cancelled, Cause::Call(who, Act::Cancel(called))) => {
				assert_eq!((called, who), (id, order.customer));
				order.ends_at = order.ends_at.min(now());
			}
			_ => panic!("{id} ends as {reason:?} of {cause:?}"),
		}
		order.state = OrderState::Closing;
		order.end = Some(End {
			reason,
			since: now(),
			undecided: 0,
			waits: 0,
		});
		Event::OrderClosing {
			order: id,
			reason,
			ends_at: order.ends_at,
		}
	}

	/// Settles and closes an order that no check closed.
	fn settle_and_close(
		&mut self,
		id: OrderId,
		order: &mut Plain,
		reason: CloseReason,
		cause: Cause,
	) -> Event<World> {
		use CloseReason as Why;
		let by_customer = matches!(
			cause,
			Cause::Call(who, Act::Cancel(called)) if called == id && who == order.customer
		);
		let by_itself = match cause {
			Cause::Hook => true,
			Cause::Call(_, Act::Close(called)) => called == id,
			_ => false,
		};
		let owner = order.worker.map(|worker| record(worker).owner);
		match (order.state, reason) {
			(OrderState::Matching, Why::NoSuitableWorker) => {
				assert!(matches!(cause, Cause::Hook) && now() >= order.placed_at + 2);
				assert_eq!(self.left_over(order).max(), None, "{order:?}");
				assert!(!<Popw as Checks>::census_prepares());
				self.refunds_rest(order);
			}
			(OrderState::Matching, Why::Cancelled) if by_customer => self.refunds_rest(order),
			(OrderState::Deploying, Why::Cancelled) if by_customer => {
				self.pays_setup(order);
				self.refunds_rest(order);
			}
			(OrderState::Deploying, Why::DeployFailed) if by_itself => {
				assert!(now() > order.deploy_by);
				self.refunds_rest(order);
			}
			(OrderState::Deploying, Why::ImageFailed | Why::DeployFailed) => {
				let Cause::Call(who, Act::Fail(called, failure)) = cause else {
					panic!("{cause:?}")
				};
				assert_eq!((called, Some(who)), (id, owner));
				self.say(Event::DeploymentFailed {
					order: id,
					worker: order.worker.expect("it has an owner"),
					reason: failure,
				});
				// Only a failure by the customer's fault costs the customer.
				assert_eq!(failure.is_customers(), reason == Why::ImageFailed);
				if failure.is_customers() {
					self.pays_setup(order);
				}
				self.refunds_rest(order);
			}
			(OrderState::Active | OrderState::Closing, Why::Exited) => {
				let Cause::Call(who, Act::Exit(called, code)) = cause else {
					panic!("{cause:?}")
				};
				assert_eq!((called, Some(who)), (id, owner));
				self.say(Event::ContainerExited {
					order: id,
					worker: order.worker.expect("it has an owner"),
					code,
				});
				self.settles_stopped(id, order);
			}
			(OrderState::Closing, reason) if by_itself => {
				let end = order.end.expect("it is closing");
				assert_eq!(end.reason, reason);
				assert!(now() >= end.last_look(), "it was not waited for");
				self.settles(id, order, false);
			}
			_ => panic!("{order:?} is closed as {reason:?} of {cause:?}"),
		}
		self.closes(id, order, reason)
	}

	/// Processes an event that only a call can cause.
	fn acts(&mut self, id: OrderId, order: &mut Plain, cause: Cause) -> Event<World> {
		let Cause::Call(who, act) = cause else {
			panic!("{id}: {cause:?}")
		};
		assert_eq!(act.order(), Some(id));
		let worker = order.worker.expect("it has a worker");
		match act {
			Act::Confirm(_) => {
				assert_eq!(order.state, OrderState::Deploying);
				assert!(now() <= order.deploy_by && who == record(worker).owner);
				order.state = OrderState::Active;
				order.started_at = now();
				order.proved_to = now();
				order.ends_at = now() + order.hours() * HOURS;
				Event::OrderDeployed {
					order: id,
					worker,
					ends_at: order.ends_at,
				}
			}
			Act::Extend(_, hours, max_price) => {
				assert!(order.state == OrderState::Active && now() < order.ends_at);
				assert_eq!(who, order.customer);
				let (prices, total) = self
					.quote(&order.requirement, hours, order.plan)
					.expect("it has a price");
				let unit_price = prices[order.plan as usize];
				assert!(total <= max_price && unit_price >= order.floor);
				order.spans.push((hours, prices));
				assert!(order.spans.len() <= 8 && order.hours() <= 8_760);
				let money = Both {
					kai: total,
					credits: 0,
				};
				order.charged.add(money);
				order.escrow.add(money);
				order.ends_at += hours * HOURS;
				Event::OrderExtended {
					order: id,
					hours,
					unit_price,
					charged: total,
					ends_at: order.ends_at,
				}
			}
			Act::Report(_, reason) => {
				assert!(order.state == OrderState::Active && now() < order.ends_at);
				assert!(who == order.customer && order.report.is_none());
				order.report = Some(Report {
					at: now(),
					undecided: 0,
				});
				Event::IssueReported {
					order: id,
					worker,
					reason,
					bond: BOND,
				}
			}
			_ => panic!("{id}: {cause:?}"),
		}
	}
}

/// Assertions.
impl Model {
	/// Asserts, after the hooks of a block, that all due work was done.
	pub fn on_time(&mut self) {
		for (id, order) in &mut self.orders {
			let late = match order.state {
				OrderState::Matching => {
					// A skipped block has no seed.
					let rests = <Popw as Checks>::census_prepares()
						|| <Popw as BlockSeed>::seed_of(now() - 1).is_none()
						|| self.crowded;
					now() >= order.placed_at + 2 && !rests
				}
				OrderState::Deploying => now() > order.deploy_by,
				OrderState::Active => now() >= order.ends_at,
				// The agenda visits it sixteen times.
				OrderState::Closing => order.end.is_none_or(|end| now() > end.last_look()),
				OrderState::Closed { .. } => {
					now() >= order.closed_at + HISTORY && Orders::<World>::contains_key(id)
				}
			};
			assert!(!late, "{id} was forgotten: {order:?}");
		}
	}

	/// Returns the orders to deploy now: matched some blocks ago, a number that differs; some are never
	/// deployed.
	pub fn deployed_now(&self) -> Vec<OrderId> {
		self.orders
			.iter()
			.filter(|(id, order)| {
				let ready = order.matched_at + 1 + **id % 12;
				order.state == OrderState::Deploying && now() == ready && !id.is_multiple_of(8)
			})
			.map(|(id, _)| *id)
			.collect()
	}

	/// Compares the model with the chain.
	pub fn compare(&mut self) {
		self.orders.retain(|id, order| {
			let kept = Orders::<World>::contains_key(id);
			assert!(kept || (order.is_closed() && now() >= order.closed_at + HISTORY));
			kept
		});
		assert_eq!(
			Orders::<World>::iter_keys().count(),
			self.orders.len(),
			"no order comes of nothing"
		);
		for (id, plain) in &self.orders {
			let order = Orders::<World>::get(id).expect("it is kept");
			Self::compare_order(*id, plain, &order);
		}
		self.compare_money();
		self.compare_workers();
	}

	fn compare_order(id: OrderId, plain: &Plain, order: &OrderOf<World>) {
		let Ledger {
			charged,
			escrow,
			paid,
			fees,
			setup,
			refunded,
			credited,
		} = &order.ledger;
		let figures = (*charged, *paid, *fees, *setup, *credited);
		let same = (
			plain.charged.all(),
			plain.paid,
			plain.fees,
			plain.setup,
			plain.credited,
		);
		assert_eq!(figures, same, "{id}: {plain:?}");
		assert!(
			plain.escrow.is(escrow) && plain.refunded.is(refunded),
			"{id}: {plain:?}"
		);
		let whereabouts = plain.escrow.all()
			+ plain.paid
			+ plain.fees
			+ plain.setup
			+ plain.refunded.all()
			+ plain.credited;
		assert_eq!(plain.charged.all(), whereabouts, "{id}: to the unit");
		// Refunds are in their kind.
		assert!(plain.refunded.kai + plain.escrow.kai <= plain.charged.kai);
		assert!(plain.refunded.credits + plain.escrow.credits <= plain.charged.credits);
		let life = (
			order.state,
			order.worker,
			order.started_at,
			order.ends_at,
			order.proved_to,
			order.proved,
			order.issue.is_some(),
			order.ending.map(|ending| ending.reason),
		);
		let told = (
			plain.state,
			plain.worker,
			plain.started_at,
			plain.ends_at,
			plain.proved_to,
			plain.proved,
			plain.report.is_some(),
			plain.end.map(|end| end.reason),
		);
		assert_eq!(life, told, "{id}");
	}

	fn compare_money(&self) {
		let mut known = self.accounts.clone();
		known.retain(|_, amount| *amount > 0);
		assert_eq!(accounts(), known);
		let all: Balance = known.values().sum();
		assert_eq!(all, pallet_balances::TotalIssuance::<World>::get());

		let kept: BTreeMap<_, _> = Credits::<World>::iter().collect();
		let mut credits = self.credits.clone();
		credits.retain(|_, amount| *amount > 0);
		assert_eq!(kept, credits);
		let escrow = self.orders.values().map(|order| order.escrow.credits);
		let all = credits.values().copied().chain(escrow).sum::<Balance>();
		assert_eq!(TotalCredits::<World>::get(), all);
		// Credits are backed one to one, whatever others give to the pot.
		assert_eq!(total_of(Rentals::pot()), all + self.spare);

		let mut held = BTreeMap::<AccountId, (Balance, Balance)>::new();
		for order in self.orders.values() {
			let (escrow, bonds) = held.entry(order.customer).or_default();
			*escrow += order.escrow.kai;
			*bonds += if order.report.is_some() { BOND } else { 0 };
		}
		for who in known.keys() {
			use frame_support::traits::fungible::InspectHold;
			let of = |reason: HoldReason| Balances::balance_on_hold(&reason.into(), who);
			let on_hold = (of(HoldReason::Escrow), of(HoldReason::IssueBond));
			assert_eq!(on_hold, held.get(who).copied().unwrap_or_default(), "{who}");
		}
	}

	/// Asserts that a worker is rented exactly if one open order has it, and that the indices hold exactly
	/// the idle ones.
	fn compare_workers(&self) {
		let rented: BTreeMap<WorkerId, OrderId> = workers()
			.filter(|(_, record)| {
				assert_eq!(
					record.state() == WorkerState::Rented,
					record.order.is_some()
				);
				record.order.is_some()
			})
			.filter_map(|(worker, record)| Some((worker, record.order?)))
			.collect();
		let open: BTreeMap<WorkerId, OrderId> = self
			.orders
			.iter()
			.filter(|(_, order)| order.has_worker())
			.map(|(id, order)| (order.worker.expect("it has one"), *id))
			.collect();
		assert_eq!(rented, open);
		let placed = self.orders.values().filter(|order| order.has_worker());
		assert_eq!(placed.count(), open.len(), "no worker has two");

		// No worker that cannot be rented is in an index; Providers ensures that those that can are.
		let mut listed = BTreeSet::new();
		for (bucket, head) in pallet_providers::BucketHeads::<World>::iter() {
			for worker in head.first {
				assert!(listed.insert((bucket.region, worker)), "listed twice");
				let record = record(worker);
				assert_eq!(record.state(), WorkerState::Online);
				assert!(record.barred_until <= now() && !record.is_marked());
			}
		}
	}
}
