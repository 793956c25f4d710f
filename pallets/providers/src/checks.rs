//! Checks as Popw reports them ([`CheckedWorkers`]): which workers are marked for one, and the effects of
//! a check on its worker.
//!
//! A **mark** makes a worker due once. It is used up when a check of the worker opens, and renewed if
//! that check decides nothing. A worker whose order was deployed is also
//! [`unproved`](WorkerRecord::unproved): it stays marked, and unlisted, until a full check supports its
//! claim.

use super::*;
use kaisar_primitives::{CheckedWorkers, Closing, Outcome, Proved, RoundKind};

impl<T: Config> CheckedWorkers<T::AccountId> for Pallet<T> {
	fn force(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::mark(worker, record, round);
			Ok(())
		})
	}

	fn postpone(worker: WorkerId, from: RoundIndex, to: RoundIndex) -> DispatchResult {
		Self::mutate(worker, |record| {
			let Some(forced) = record.forced.filter(|forced| forced.round == from) else {
				return Ok(());
			};
			// A worker that left while its check was open is not due: it would be found absent for having
			// left.
			if matches!(
				record.state(),
				WorkerState::Offline | WorkerState::Suspended
			) {
				record.forced = None;
				return Ok(());
			}
			let later = Forced {
				round: to,
				..forced
			};
			Self::set_forced(worker, record, later);
			Ok(())
		})
	}

	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		let mut record = Workers::<T>::get(worker).ok_or(Error::<T>::UnknownWorker)?;
		// Most workers have no mark, and nothing is written. The market waits for the check to close.
		if record.forced.is_some_and(|forced| forced.round == round) {
			record.forced = None;
			Workers::<T>::insert(worker, record);
		}
		Ok(())
	}

	fn absent(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::found_offline(worker, record, closing, false, finder)?;
			Self::after_check(worker, record, closing, finder)
		})
	}

	fn closed(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> Result<Proved, DispatchError> {
		Self::mutate(worker, |record| {
			let marked = Self::take_mark(record, closing);
			let stake = record.pool.bonded()?;
			let before = record.profile.unwrap_or_default();
			let (idle, rented) = match closing.outcome {
				Outcome::Online { profile, service } => {
					let hardware = profile.filter(|_| !closing.rented);
					Self::found_online(worker, record, closing, hardware, service, marked)
				}
				Outcome::Offline => {
					Self::found_offline(worker, record, closing, true, finder)?;
					(0, 0)
				}
				Outcome::NoConsensus => {
					Self::no_consensus(worker, record, closing, marked);
					(0, 0)
				}
			};
			Self::after_check(worker, record, closing, finder)?;
			let after = record.profile.unwrap_or_default();
			Ok(Proved {
				idle,
				rented,
				stake,
				profile: before.lesser(&after),
			})
		})
	}
}

/// Marks.
impl<T: Config> Pallet<T> {
	/// Marks the worker for `round`, unless a mark is still due or the worker is away. The check proves
	/// time only if the worker is rented.
	pub(crate) fn mark(worker: WorkerId, record: &mut RecordOf<T>, round: RoundIndex) {
		let verify_only = match record.state() {
			WorkerState::Rented => false,
			WorkerState::Pending | WorkerState::Online => true,
			WorkerState::Offline | WorkerState::Suspended => return,
		};
		if record.forced.is_none_or(Self::is_stale) {
			Self::set_forced(worker, record, Forced { round, verify_only });
		}
	}

	/// Marks the worker for the next round.
	pub(crate) fn mark_next(worker: WorkerId, record: &mut RecordOf<T>) {
		Self::mark(worker, record, T::Checks::next_round());
	}

	pub(crate) fn set_forced(worker: WorkerId, record: &mut RecordOf<T>, forced: Forced) {
		record.forced = Some(forced);
		let Forced { round, verify_only } = forced;
		Self::deposit_event(Event::WorkerForced {
			worker,
			round,
			verify_only,
		});
	}

	/// Marks the worker for the first round in which it may be verified.
	pub(crate) fn schedule_verification(worker: WorkerId, record: &mut RecordOf<T>) {
		let round = T::Checks::next_round().max(record.retry_from);
		let forced = Forced {
			round,
			verify_only: true,
		};
		Self::set_forced(worker, record, forced);
	}

	/// Uses up the worker's mark if it is for the round of this check or an earlier one. Returns whether
	/// the check was made for a mark.
	fn take_mark(record: &mut RecordOf<T>, closing: &Closing) -> bool {
		let due = |forced: &Forced| forced.round <= closing.round;
		let taken = record.forced.take_if(|forced| due(forced));
		// In a spot round it was used up when the check opened.
		taken.is_some() || RoundKind::of(closing.round) == RoundKind::Spot
	}

	/// Returns whether the mark's round is over, although the worker was neither checked nor reported.
	fn is_stale(forced: Forced) -> bool {
		forced.round < T::Checks::next_round() && !Self::is_in_flight(forced)
	}

	/// Returns whether the mark's round is running or about to start.
	pub(crate) fn is_in_flight(forced: Forced) -> bool {
		T::Checks::in_flight().contains(&forced.round)
	}
}

/// Outcomes of checks.
impl<T: Config> Pallet<T> {
	/// Records that a committee found the worker online. `hardware` is the profile that it agreed on;
	/// `None` if it agreed on none, or if the worker was rented. Returns the idle and rented blocks that
	/// the check proved.
	fn found_online(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		hardware: Option<Profile>,
		service: bool,
		marked: bool,
	) -> (BlockNumber, BlockNumber) {
		let last_proof = record.proved_at;
		if !closing.false_proof {
			record.proved_at = last_proof.max(Some(closing.round_start));
		}
		record.undecided = false;

		let bound = record.spec.bound();
		let hardware = hardware.map(|profile| profile.lesser(&bound));
		if let Some(profile) = hardware {
			Self::set_profile(record, profile);
			Self::judge_claim(worker, record, closing, profile);
		} else if !closing.rented {
			Self::leave_mark(worker, record, closing, marked);
		}

		// If the order was closed meanwhile, it has been dealt with; if it began after the round, the
		// committee did not look at it.
		let down = !service
			&& record.state() == WorkerState::Rented
			&& closing.round >= record.standings.now.since;
		if down {
			Self::deposit_event(Event::ServiceDown {
				worker,
				round: closing.round,
				last_proof,
			});
		}

		let supports = |profile| hardware::supports(profile, &record.spec);
		let confirmed = closing.rented || hardware.as_ref().is_some_and(supports);
		if confirmed && service && !closing.false_proof {
			record.history.push(true);
		}
		Self::credit(record, closing, hardware.is_some(), service)
	}

	/// Returns the idle and rented blocks proved by a check that found the worker online.
	fn credit(
		record: &mut RecordOf<T>,
		closing: &Closing,
		decided: bool,
		service: bool,
	) -> (BlockNumber, BlockNumber) {
		if closing.false_proof {
			record.time.empty(Self::now());
			return (0, 0);
		}
		if closing.rented {
			let proves = service && closing.credit > 0;
			let rented = if proves {
				record.time.credit(closing.round_start, closing.credit)
			} else {
				0
			};
			return (0, rented);
		}
		let idle = if decided && Self::waits(record, closing) {
			closing.credit
		} else {
			0
		};
		(idle, 0)
	}

	/// Returns whether the worker's idle time earns: a machine that cannot be rented earns nothing for
	/// waiting. That is so for a worker that was barred when the round started or since, one of a class
	/// that cannot be ordered, and one whose floor is above today's price or was lowered for the check.
	/// Judged before an expired bar is cleared ([`relist`](Self::relist)).
	fn waits(record: &RecordOf<T>, closing: &Closing) -> bool {
		let (class, _) = record.gpus();
		closing.credit > 0
			&& closing.round >= record.waits_from
			&& record.barred_until <= closing.round_start
			&& T::Classes::is_paid(class)
			&& Self::floor_is_within(record, T::Prices::today)
	}

	/// Judges a worker's claim by the verified profile.
	fn judge_claim(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		profile: Profile,
	) {
		let supports = hardware::supports(&profile, &record.spec);
		match record.state() {
			// A check of a round that saw the worker in another state says nothing about its present
			// claim.
			WorkerState::Pending if closing.round >= record.standings.now.since => {
				if supports && !closing.false_proof {
					record.failures = 0;
					record.retry_from = 0;
					record.forced = None;
					Self::set_state(worker, record, WorkerState::Online);
				} else {
					Self::verification_failed(worker, record, profile);
				}
			}
			WorkerState::Online | WorkerState::Rented if supports => {
				record.below = false;
				// A check of a round before its last order does not prove the machine as that order left
				// it.
				let since = closing.round >= record.standings.now.since;
				if closing.full && since && !closing.false_proof {
					record.unproved = false;
					// A full check in a census uses up a mark, too.
					if record.state() == WorkerState::Online {
						record.forced = None;
					}
				}
			}
			WorkerState::Online if record.below => {
				Self::set_state(worker, record, WorkerState::Pending);
				record.forced = None;
				Self::verification_failed(worker, record, profile);
			}
			state @ (WorkerState::Online | WorkerState::Rented) => {
				// The customer keeps the worker while it is rented: it is judged once it is free.
				record.unproved |= record.below && state == WorkerState::Rented;
				record.below = true;
				Self::deposit_event(Event::ClaimUnsupported {
					worker,
					round: closing.round,
					profile,
				});
			}
			WorkerState::Pending | WorkerState::Offline | WorkerState::Suspended => {}
		}
	}

	/// Records a failed verification: the worker stays `Pending` until its owner asks for another one,
	/// which is delayed.
	fn verification_failed(worker: WorkerId, record: &mut RecordOf<T>, profile: Profile) {
		Self::delay_verification(record);
		Self::deposit_event(Event::VerificationFailed { worker, profile });
	}

	/// Delays the next verification after a failed one: by 1, 2, 4 … rounds.
	pub(crate) fn delay_verification(record: &mut RecordOf<T>) {
		record.failures = record.failures.saturating_add(1);
		let delay = kaisar_math::stake::retry_delay(record.failures.into()).min(MAX_DELAY);
		let delay: RoundIndex = SPOT_STEP * delay;
		record.retry_from = T::Checks::next_round().saturating_add(delay);
	}

	/// Records a check without consensus: no pay, no penalty, and no extra check that the worker could
	/// provoke at will. Only the second such census in a row marks an idle worker.
	fn no_consensus(worker: WorkerId, record: &mut RecordOf<T>, closing: &Closing, marked: bool) {
		if marked {
			Self::leave_mark(worker, record, closing, marked);
		} else if record.state() == WorkerState::Online {
			let again = core::mem::replace(&mut record.undecided, true);
			if again {
				record.undecided = false;
				Self::mark_next(worker, record);
			}
		}
	}

	/// Renews the mark if a check made for it decided nothing, and marks a rented worker that was drawn.
	/// A worker that was rented since the round is checked once it is free.
	fn leave_mark(worker: WorkerId, record: &mut RecordOf<T>, closing: &Closing, marked: bool) {
		if record.state() == WorkerState::Rented && !closing.rented {
			record.unproved |= marked;
		}
		let due = match record.state() {
			WorkerState::Pending => true,
			WorkerState::Online => marked && !closing.rented,
			WorkerState::Rented => closing.rented,
			WorkerState::Offline | WorkerState::Suspended => false,
		};
		if due {
			Self::mark_next(worker, record);
		}
	}

	/// Records that the worker was found offline: by a committee, or because it did not attest. Its
	/// pending time is void, and it is away until its owner brings it back.
	fn found_offline(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		attested: bool,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let state = record.state();
		let earned = matches!(
			record.standings.at(closing.round).copied(),
			Some(WorkerState::Online | WorkerState::Rented)
		);
		record.time.empty(Self::now());
		record.history.push(false);
		record.forced = None;
		Self::deposit_event(Event::FoundOffline {
			worker,
			round: closing.round,
			state,
			last_proof: record.proved_at,
			attested,
			finder: finder.cloned(),
		});
		if state == WorkerState::Pending && closing.round >= record.standings.now.since {
			Self::delay_verification(record);
		}
		// It loses its order.
		record.order = None;
		if record.short && state == WorkerState::Rented {
			Self::set_state(worker, record, WorkerState::Suspended);
		} else if state != WorkerState::Suspended {
			Self::set_state(worker, record, WorkerState::Offline);
		}
		// One finding is enough: no other round that saw it online counts any more.
		record.standings.forget_earlier();
		if earned && closing.slashes {
			Self::slash_absence(worker, record, closing.round_start, finder)?;
		}
		Ok(())
	}

	/// Does what follows every check, whatever its outcome.
	fn after_check(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		Self::judge_proof(worker, record, closing, finder)?;
		// A worker back from an order stays marked until a full check supports its claim. Any other
		// worker's mark ends with its round.
		if record.unproved && record.state() == WorkerState::Online {
			Self::mark_next(worker, record);
		} else if record.forced.is_some_and(Self::is_stale) {
			record.forced = None;
		}
		Ok(())
	}
}
