//! The moves of money that an event or a check causes.

use super::{state::Both, *};
use kaisar_primitives::CloseReason;

/// Moves of money.
impl Model {
	fn moves(&mut self, from: AccountId, to: AccountId, amount: Balance) {
		let has = self.accounts.entry(from).or_default();
		*has = has
			.checked_sub(amount)
			.expect("nobody pays what it has not");
		*self.accounts.entry(to).or_default() += amount;
	}

	pub(super) fn report(&mut self, event: Event<World>) {
		self.reported.push(format!("{event:?}"));
	}

	fn gives_credits(&mut self, who: AccountId, amount: Balance) {
		if amount > 0 {
			*self.credits.entry(who).or_default() += amount;
			self.report(Event::CreditsGiven { who, amount });
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
		self.report(Event::OrderPaid {
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
		self.report(Event::IssueResolved {
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
