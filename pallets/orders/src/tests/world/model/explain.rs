//! The explanation of each change on the chain by a call, a check or a hook.

use super::{
	state::{Both, End, Report},
	*,
};
use kaisar_primitives::{CloseReason, Market, Requirement};
use std::collections::BTreeSet;

/// Processing of the chain's events.
impl Model {
	/// Processes a closed check of a worker that serves an order.
	fn observe(&mut self, observed: &Observed) {
		let id = observed.order;
		let mut order = self.orders.remove(&id).expect("it was placed");
		assert!(order.has_worker() && order.worker == Some(observed.worker));
		let start = observed.round_start;
		// Other checks are no evidence about this order: they cover the time before it.
		let speaks = order.is_served() && observed.was_rented && start > order.matched_at;
		match observed.found {
			Some(Finding::Offline) => self.fails(id, &mut order),
			Some(Finding::NotServing) => {
				if speaks {
					self.goes_down(id, &mut order);
				}
				order.credited_to = order.credited_to.max(start);
			}
			Some(Finding::Serving) => self.confirms(observed, &mut order, speaks),
			None if speaks => self.undecided(id, &mut order, start),
			None => {}
		}
		self.orders.insert(id, order);
	}

	fn confirms(&mut self, observed: &Observed, order: &mut Plain, speaks: bool) {
		let (id, start) = (observed.order, observed.round_start);
		let gap = observed.credit;
		let rented = if observed.false_proof {
			// All pending time is void.
			order.credited_to = now();
			0
		} else if !observed.was_rented {
			0
		} else {
			let rented = start.saturating_sub(order.credited_to).min(gap);
			order.credited_to = order.credited_to.max(start);
			rented
		};
		// Time of an earlier order, which ended without a check, can still be credited, at nobody's cost.
		assert!(
			(rented..=gap).contains(&observed.rented),
			"{observed:?}: {rented}"
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
		let observed = Observations::take();
		let mut observed = observed.iter().peekable();
		let mut acted = BTreeSet::new();
		let mut reported = Vec::new();
		for (at, record) in System::events().into_iter().enumerate() {
			while let Some(next) = observed.next_if(|observed| observed.after as usize <= at) {
				acted.insert(next.order);
				self.observe(next);
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
				| Event::ContainerExited { .. } => reported.push(format!("{event:?}")),
				Event::PriceSet { .. } | Event::CostSet { .. } | Event::ContingencySet { .. } => {}
				_ => match self.due.pop_front() {
					Some(due) => assert_eq!(event, due),
					None => {
						acted.extend(self.apply(event, cause));
					}
				},
			}
		}
		for next in observed {
			acted.insert(next.order);
			self.observe(next);
		}
		forget_events();
		assert!(self.due.is_empty(), "{cause:?}: {:?}", self.due);
		reported.sort();
		self.reported.sort();
		assert_eq!(reported, self.reported, "{cause:?}");
		self.reported.clear();
		// A successful call has an effect, or the check that it closed has.
		if let Cause::Call(_, act) = cause {
			let order = act.order().unwrap_or(self.next - 1);
			assert!(acted.contains(&order), "{act:?} did nothing");
		}
	}

	/// Processes an event of an order that no check caused. Returns the order.
	fn apply(&mut self, event: Event<World>, cause: Cause) -> Option<OrderId> {
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
			_ => self.execute(id, &mut order, cause),
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
			self.report(Event::CreditsUsed {
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
				self.report(Event::DeploymentFailed {
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
				self.report(Event::ContainerExited {
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
	fn execute(&mut self, id: OrderId, order: &mut Plain, cause: Cause) -> Event<World> {
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
