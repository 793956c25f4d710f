//! The agenda: orders by the block in which work is due for them.
//!
//! An entry is an order's number in a page of its block; the order's record names the block in which its
//! entry counts ([`Order::wake`]). So an entry is never searched for or removed when plans change, it only
//! becomes stale. A cursor holds the agenda's position. Work that does not fit into a block's weight is done
//! in the next blocks, in order; an order that fails is put aside and retried later.
//!
//! An order has one entry that counts, and at most one stale entry for each extension, for its cancellation
//! and for each time it was put aside. So the agenda's length is bounded by the calls for which customers
//! have paid fees.

use crate::{pallet::*, *};
use frame_support::{defensive, ensure, storage::with_storage_layer, weights::Weight};
use kaisar_primitives::{BlockNumber, Checks, CloseReason, Market, OrderId, WorkerRegistry};
use sp_runtime::{DispatchError, DispatchResult};

/// Blocks after which a failed step is retried.
pub const RETRY: BlockNumber = 25;

/// The work that an entry triggers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
	/// None: the order is gone, or has its entry elsewhere.
	Stale,
	/// Removing an order whose history is over.
	Forget,
	/// Reviewing the worker of a closed order at the end of its bar.
	Review,
	/// Ending the order's paid time.
	End,
	/// Any other: the deadline, the last check, or a step that failed before.
	Other,
}

impl Step {
	fn weight<T: Config>(self) -> Weight {
		match self {
			Self::Stale => T::WeightInfo::agenda_stale(),
			Self::Forget => T::WeightInfo::agenda_forget(),
			Self::Review => T::WeightInfo::agenda_review(),
			Self::End => T::WeightInfo::agenda_end(),
			Self::Other => T::WeightInfo::agenda_other(),
		}
	}
}

impl<T: Config> Pallet<T> {
	/// Returns the maximum weight of one step.
	pub(crate) fn heaviest_step() -> Weight {
		[
			Step::Stale,
			Step::Forget,
			Step::Review,
			Step::End,
			Step::Other,
		]
		.into_iter()
		.fold(Weight::zero(), |most, step| most.max(step.weight::<T>()))
	}

	/// Schedules a look at the order in block `at`, or in the next one if that is past. The caller stores
	/// the record, which names the block.
	pub(crate) fn schedule(id: OrderId, order: &mut OrderOf<T>, at: BlockNumber) -> DispatchResult {
		// This block's entries may have been processed already.
		let at = at.max(Self::now().saturating_add(1));
		if order.wake == at {
			return Ok(());
		}
		let len = AgendaLen::<T>::get(at);
		Agenda::<T>::try_mutate(at, len / AGENDA_PAGE, |page| page.try_push(id))
			.map_err(|_| Error::<T>::Inconsistent)?;
		AgendaLen::<T>::insert(at, len.ensure_add(1)?);
		order.wake = at;
		Ok(())
	}

	/// Reports that a step of an order failed, and schedules its retry.
	pub(crate) fn put_aside(id: OrderId, error: DispatchError) {
		Self::note_failure(id, error);
		let aside = with_storage_layer(|| {
			let Some(mut order) = Orders::<T>::get(id) else {
				return Ok(());
			};
			let at = Self::now().saturating_add(RETRY);
			Self::schedule(id, &mut order, at)?;
			Orders::<T>::insert(id, order);
			Ok::<(), DispatchError>(())
		});
		if aside.is_err() {
			defensive!("an entry can always be added");
		}
	}

	/// Processes the entries up to block `now` within the budget. Returns the weight used.
	///
	/// The loop ends with the budget, or with the entries up to `now`.
	pub(crate) fn run_agenda(now: BlockNumber, budget: Weight) -> Weight {
		let mut used = T::WeightInfo::agenda();
		if used.any_gt(budget) {
			return Weight::zero();
		}
		// Nothing was scheduled for blocks before the first that runs the agenda.
		let first = Cursor {
			block: now,
			position: 0,
		};
		let from = AgendaCursor::<T>::get().unwrap_or(first);
		let mut cursor = from;
		'blocks: while cursor.block <= now {
			let len = AgendaLen::<T>::get(cursor.block);
			used = used.saturating_add(T::WeightInfo::agenda_block());
			let mut page = None;
			while cursor.position < len {
				if used
					.saturating_add(T::WeightInfo::agenda_stale())
					.any_gt(budget)
				{
					break 'blocks;
				}
				let number = cursor.position / AGENDA_PAGE;
				let entries = page.get_or_insert_with(|| Agenda::<T>::get(cursor.block, number));
				let id = entries
					.get((cursor.position % AGENDA_PAGE) as usize)
					.copied();
				if let Some(id) = id {
					let step = Self::step_of(id, cursor.block, now);
					let weight = step.weight::<T>();
					if used.saturating_add(weight).any_gt(budget) {
						break 'blocks;
					}
					used = used.saturating_add(weight);
					Self::take_step(id, step);
				}
				cursor.position += 1;
				if cursor.position.is_multiple_of(AGENDA_PAGE) || cursor.position == len {
					Agenda::<T>::remove(cursor.block, number);
					page = None;
				}
			}
			if len > 0 {
				AgendaLen::<T>::remove(cursor.block);
			}
			cursor = Cursor {
				block: cursor.block.saturating_add(1),
				position: 0,
			};
			if used
				.saturating_add(T::WeightInfo::agenda_block())
				.any_gt(budget)
			{
				break;
			}
		}
		if cursor != from {
			AgendaCursor::<T>::put(cursor);
		}
		used
	}

	fn step_of(id: OrderId, block: BlockNumber, now: BlockNumber) -> Step {
		let Some(order) = Orders::<T>::get(id).filter(|order| order.wake == block) else {
			return Step::Stale;
		};
		match order.state {
			OrderState::Closed {
				reason: CloseReason::DeployFailed,
			} => Step::Review,
			OrderState::Closed { .. } => Step::Forget,
			OrderState::Active if now >= order.ends_at && !order.down => Step::End,
			_ => Step::Other,
		}
	}

	fn take_step(id: OrderId, step: Step) {
		if step == Step::Stale {
			return;
		}
		if let Err(error) = with_storage_layer(|| Self::wake(id)) {
			Self::put_aside(id, error);
		}
	}

	/// Does an order's due work, in the block for which it was scheduled.
	pub(crate) fn wake(id: OrderId) -> DispatchResult {
		let order = Orders::<T>::get(id).ok_or(Error::<T>::Inconsistent)?;
		let now = Self::now();
		match order.state {
			OrderState::Closed { reason } => return Self::after_history(id, order, reason),
			// The commonest step by far needs no touch: paid time ends whatever a check has found.
			OrderState::Active if now >= order.ends_at && !order.down => {
				return Self::end_or_fail(id, order);
			}
			OrderState::Matching => return Self::match_again(id, order),
			_ => {}
		}
		let order = Self::touched(id)?;
		if order.is_closed() || Self::do_due(id, &order)? {
			return Ok(());
		}
		if order.state == OrderState::Closing {
			return Self::look(id, order);
		}
		// It was put aside, and nothing is due for it any more.
		let mut order = order;
		let next = match order.state {
			OrderState::Deploying => order.deploy_by.saturating_add(1),
			_ => order.ends_at,
		};
		Self::schedule(id, &mut order, next)?;
		Orders::<T>::insert(id, order);
		Ok(())
	}

	/// Returns the block in which the agenda visits an order that is closed now: the end of its worker's
	/// bar, or the end of its history.
	pub(crate) fn after_close(order: &OrderOf<T>, reason: CloseReason) -> BlockNumber {
		let blocks = match reason {
			CloseReason::DeployFailed => Self::bar_blocks(),
			_ => Self::history(),
		};
		order.closed_at.saturating_add(blocks)
	}

	/// Removes a closed order at the end of its history. At the earlier end of its worker's bar, has the
	/// worker reviewed and listed again.
	fn after_history(id: OrderId, mut order: OrderOf<T>, reason: CloseReason) -> DispatchResult {
		if reason == CloseReason::DeployFailed
			&& let Some(worker) = order.worker
			&& T::Workers::info(worker, T::Checks::next_round()).is_some()
		{
			T::Workers::review(worker)?;
		}
		let forget_at = order.closed_at.saturating_add(Self::history());
		if Self::now() < forget_at {
			Self::schedule(id, &mut order, forget_at)?;
			Orders::<T>::insert(id, order);
		} else {
			Self::forget(id, &order);
		}
		Ok(())
	}

	/// Does the work that anyone may trigger, for an order whose worker was touched. Returns whether there
	/// was any.
	fn do_due(id: OrderId, order: &OrderOf<T>) -> Result<bool, DispatchError> {
		if order.down {
			Self::stop(id, order.clone(), CloseReason::ServiceDown)?;
			return Ok(true);
		}
		if order.is_placed() && Self::serving(id, order).is_none() {
			Self::fail_worker(id, order.clone())?;
			return Ok(true);
		}
		let now = Self::now();
		match order.state {
			OrderState::Deploying if now > order.deploy_by => {
				Self::miss_deadline(id, order.clone())?;
				Ok(true)
			}
			OrderState::Active if now >= order.ends_at => {
				Self::end(id, order.clone(), CloseReason::Expired)?;
				Ok(true)
			}
			_ => Ok(false),
		}
	}

	fn end_or_fail(id: OrderId, order: OrderOf<T>) -> DispatchResult {
		if Self::serving(id, &order).is_none() {
			return Self::fail_worker(id, order);
		}
		Self::end(id, order, CloseReason::Expired)
	}

	/// Ends an order whose worker let the deployment's deadline pass, and slashes the worker.
	fn miss_deadline(id: OrderId, order: OrderOf<T>) -> DispatchResult {
		let worker = order.worker.ok_or(Error::<T>::Inconsistent)?;
		T::Workers::fault(worker)?;
		Self::fail_deployment_of(id, order, worker)
	}

	pub(crate) fn do_close(id: OrderId) -> DispatchResult {
		let before = Orders::<T>::get(id).ok_or(Error::<T>::UnknownOrder)?;
		ensure!(before.is_placed(), Error::<T>::NothingDue);
		let order = Self::touched(id)?;
		if order.is_closed() || Self::do_due(id, &order)? {
			return Ok(());
		}
		// The agenda is behind, or reaches the order in this block.
		let ready = order.ending.is_some_and(|ending| ending.proved) || Self::now() >= order.wake;
		ensure!(
			order.state == OrderState::Closing && ready,
			Error::<T>::NothingDue
		);
		Self::look(id, order)
	}
}
