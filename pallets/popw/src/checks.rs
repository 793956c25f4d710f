//! Checks: opened by an attestation, filled by reveals, closed once.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{defensive, ensure, traits::Defensive, weights::Weight};
use kaisar_primitives::{
	BlockNumber, CheckedWorkers, Checks, ClosedCheck, ClosedSeat, Closing, OnClosed, OperatorId,
	Outcome, Profile, Proved, RoundIndex, RoundKind, SeatResult, Seats, WorkerId, WorkerInfo,
	WorkerRegistry, WorkerState, authorized::Signer,
};
use sp_core::H256;
use sp_runtime::{BoundedVec, DispatchError, DispatchResult};

/// The effect of an attestation, for its weight.
pub(crate) enum AttestEffect {
	/// It opened a check, whose committee took `draws` draws.
	Opened { draws: u32 },
	/// It closed an earlier check, and did nothing more.
	Touched(ClosedCounts),
}

/// Counts of the checks that a call closed, for its weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ClosedCounts {
	/// Checks that only confirmed the known facts.
	pub confirming: u32,
	/// All other checks.
	pub changing: u32,
	/// The weight that observers added ([`OnClosed::on_closed`]).
	pub observers: Weight,
}

impl ClosedCounts {
	pub(crate) fn add(&mut self, other: Self) {
		self.confirming = self.confirming.saturating_add(other.confirming);
		self.changing = self.changing.saturating_add(other.changing);
		self.observers = self.observers.saturating_add(other.observers);
	}
}

impl<T: Config> Pallet<T> {
	pub(crate) fn ensure_round(index: RoundIndex, phase: Phase) -> Result<Round, Error<T>> {
		let round = Rounds::<T>::get(index).ok_or(Error::<T>::UnknownRound)?;
		ensure!(round.phase(Self::now()) == phase, Error::<T>::WrongPhase);
		Ok(round)
	}

	/// Makes every check of `attest` except that of the sender.
	pub(crate) fn ensure_attest(
		worker: WorkerId,
		round: RoundIndex,
	) -> Result<(Round, crate::committee::Due<T::AccountId>), Error<T>> {
		let round = Self::ensure_round(round, Phase::Attest)?;
		let due = Self::due(worker, &round)?;
		Ok((round, due))
	}

	/// Opens the worker's check; or closes an earlier one that is over. The pool admitted the call by the
	/// worker's state before that, so closing uses the call up: if it failed, the closing would be undone,
	/// and the same call could come again and again.
	pub(crate) fn do_attest(
		signer: Signer<T::AccountId>,
		worker: WorkerId,
		round: RoundIndex,
		root: [u8; 32],
	) -> Result<AttestEffect, DispatchError> {
		let closed = Self::close_if_over(worker, None);
		if closed != ClosedCounts::default() {
			return Ok(AttestEffect::Touched(closed));
		}
		let (round, due) = Self::ensure_attest(worker, round)?;
		ensure!(signer.stands_for(&due.info.owner), Error::<T>::NotOwner);

		let (committee, draws) = Self::draw_committee(worker, &due.info.owner, &round);
		let weight: u32 = committee.iter().map(|(_, weight)| *weight).sum();
		let size = u8::try_from(weight)
			.unwrap_or(u8::MAX)
			.max(round.committee_size);
		let seats = committee
			.iter()
			.map(|(operator, weight)| Seat {
				operator: *operator,
				weight: u8::try_from(*weight).unwrap_or(u8::MAX),
				number: Self::take_number(*operator, round.index),
				vote: None,
			})
			.collect();
		let credit = if due.rented || round.kind == RoundKind::Census {
			round.credit
		} else {
			0
		};
		T::Workers::attested(worker, round.index)?;
		LastChecks::<T>::insert(
			worker,
			LastCheck::Open(Check {
				round: round.index,
				round_start: round.start,
				ends: round.ends(),
				attested_at: Self::now(),
				root,
				size,
				min_operators: round.min_operators,
				committee: BoundedVec::truncate_from(seats),
				full: due.full,
				rented: due.rented,
				remeasure: due.remeasure,
				credit,
			}),
		);
		let position = AttestedCount::<T>::get(round.index);
		Attested::<T>::mutate(round.index, position / PAGE, |page| {
			page.try_push(worker)
				.defensive_proof("pages are filled one after the other")
		})
		.ok();
		AttestedCount::<T>::insert(round.index, position.saturating_add(1));
		Self::deposit_event(Event::Attested {
			worker,
			round: round.index,
			root,
			committee,
		});
		Ok(AttestEffect::Opened { draws })
	}

	/// Makes every check of `report_absent`. Returns also whether the worker was rented.
	pub(crate) fn ensure_absent(
		worker: WorkerId,
		round: RoundIndex,
	) -> Result<(Round, bool), Error<T>> {
		let round = Rounds::<T>::get(round).ok_or(Error::<T>::UnknownRound)?;
		ensure!(
			matches!(round.phase(Self::now()), Phase::Commit | Phase::Reveal),
			Error::<T>::WrongPhase
		);
		let due = Self::due(worker, &round)?;
		Ok((round, due.rented))
	}

	/// Finds the worker offline; or closes an earlier check of it that is over, see [`Self::do_attest`].
	/// Returns the weight used.
	pub(crate) fn do_report_absent(
		reporter: Option<T::AccountId>,
		worker: WorkerId,
		round: RoundIndex,
	) -> Result<Weight, DispatchError> {
		let closed = Self::close_if_over(worker, None);
		if closed != ClosedCounts::default() {
			return Ok(Self::weight_of_closing(&closed));
		}
		let (round, rented) = Self::ensure_absent(worker, round)?;
		let closing = Closing {
			round: round.index,
			round_start: round.start,
			outcome: Outcome::Offline,
			rented,
			full: false,
			credit: 0,
			false_proof: false,
			slashes: true,
		};
		let order = T::Workers::info(worker, round.index).and_then(|info| info.order);
		T::Workers::absent(worker, &closing, reporter.as_ref())?;
		let observers = T::OnClosed::on_closed(&ClosedCheck {
			worker,
			order,
			closing: &closing,
			proved: Proved::default(),
			seats: &[],
		});
		// It was due in this round once; from now on it is not.
		LastChecks::<T>::insert(
			worker,
			LastCheck::Closed {
				round: round.index,
				at: Self::now(),
				remeasure: false,
			},
		);
		Self::deposit_event(Event::AbsentReported {
			worker,
			round: round.index,
			reporter,
		});
		Ok(T::WeightInfo::report_absent().saturating_add(observers))
	}

	/// Returns whether the worker has a check that is over and not closed.
	pub(crate) fn is_over(worker: WorkerId) -> bool {
		matches!(
			LastChecks::<T>::get(worker),
			Some(LastCheck::Open(check)) if Self::now() > check.ends
		)
	}

	/// Closes the workers' checks that are over. `finder` shares the bounty of a slash.
	pub(crate) fn do_finalize(
		workers: &[WorkerId],
		finder: Option<&T::AccountId>,
	) -> Result<ClosedCounts, DispatchError> {
		let mut closed = ClosedCounts::default();
		for worker in workers {
			closed.add(Self::close_if_over(*worker, finder));
		}
		ensure!(
			closed != ClosedCounts::default(),
			Error::<T>::NothingToFinalize
		);
		Ok(closed)
	}

	/// Moves a worker's mark to the next round in which it can count. The worker's check of round `closed`
	/// was over in block `at`. If the mark's round began before that or is over, the worker could not
	/// prepare in it with the others, or attested elsewhere. A mark never falls due in a round that has
	/// begun. The check itself uses up a mark for its own round or an earlier one.
	fn postpone_mark(
		worker: WorkerId,
		info: &WorkerInfo<T::AccountId>,
		closed: RoundIndex,
		at: BlockNumber,
	) {
		let Some(mark) = info.forced.filter(|mark| mark.round > closed) else {
			return;
		};
		let begun = match Rounds::<T>::get(mark.round) {
			Some(round) => round.start <= at || round.phase(Self::now()) == Phase::Over,
			// Its first block has not ended, or its record is gone.
			None => mark.round < NextRound::<T>::get(),
		};
		if begun {
			let moved = T::Workers::postpone(worker, mark.round, Self::counts_from());
			let _ = moved.defensive_proof("the registry refuses nothing that Popw sends");
		}
	}

	/// Returns the maximum weight of closing an earlier check before a call.
	pub(crate) fn max_weight_of_touch() -> Weight {
		T::WeightInfo::finalize(0, 1).saturating_add(T::OnClosed::max_weight())
	}

	/// Returns the maximum weight of the observers of `n` closed checks.
	pub(crate) fn max_weight_of_observers(n: u32) -> Weight {
		T::OnClosed::max_weight().saturating_mul(n.into())
	}

	/// Returns the weight of closing checks outside a reveal.
	pub(crate) fn weight_of_closing(closed: &ClosedCounts) -> Weight {
		T::WeightInfo::finalize(closed.confirming, closed.changing).saturating_add(closed.observers)
	}

	/// Closes the worker's check if it is over.
	fn close_if_over(worker: WorkerId, finder: Option<&T::AccountId>) -> ClosedCounts {
		match LastChecks::<T>::get(worker) {
			Some(LastCheck::Open(check)) if Self::now() > check.ends => {
				Self::close(worker, check, finder)
			}
			_ => ClosedCounts::default(),
		}
	}

	/// Closes a check: tallies it, then notifies the registries and the observers. Each check is closed
	/// once. `finder` is the account that closed an overdue check.
	pub(crate) fn close(
		worker: WorkerId,
		check: Check,
		finder: Option<&T::AccountId>,
	) -> ClosedCounts {
		let info = T::Workers::info(worker, check.round);
		let old = info.as_ref().and_then(|info| info.profile);
		let bound = info.as_ref().map(|info| info.spec.bound());
		let tally = Tally::of(&check, old.as_ref(), &bound.unwrap_or_default());
		let at = Self::now().min(check.ends);
		let new = match tally.outcome {
			Outcome::Online { profile, .. } => profile,
			Outcome::Offline | Outcome::NoConsensus => None,
		};
		LastChecks::<T>::insert(
			worker,
			LastCheck::Closed {
				round: check.round,
				at,
				remeasure: match (new, old) {
					// A check of a rented worker measures nothing: a pending measurement stays pending.
					_ if check.rented => check.remeasure,
					(None, _) => check.full,
					(Some(new), Some(old)) if lowers_a_tier(&new, &old) => true,
					(Some(_), _) => tally.lacks_bandwidth(),
				},
			},
		);

		let closing = Closing {
			round: check.round,
			round_start: check.round_start,
			outcome: tally.outcome,
			rented: check.rented,
			full: check.full,
			credit: check.credit,
			false_proof: tally.false_proof,
			slashes: tally.slashes,
		};
		// Before the registry gets the check: it drops a mark whose round is over.
		if let Some(info) = &info {
			Self::postpone_mark(worker, info, check.round, at);
		}
		// The registry refuses nothing that Popw sends. Should it ever do so, the check is closed
		// nevertheless, so that nobody is stuck, and its seats are paid.
		let (order, proved) = match T::Workers::closed(worker, &closing, finder) {
			Ok(proved) => (info.as_ref().and_then(|info| info.order), proved),
			Err(_) => {
				if info.is_some() {
					defensive!("the registry refused a check that is closed");
				}
				(None, Proved::default())
			}
		};

		let decided = tally.outcome != Outcome::NoConsensus;
		let mut votes = 0u32;
		let mut seats = Vec::with_capacity(check.committee.len());
		for (index, seat) in check.committee.iter().enumerate() {
			let (result, lone) = tally.seat(&check, index);
			let weight = u32::from(seat.weight);
			votes = votes.saturating_add(u32::from(seat.vote.is_some()));
			// Without consensus nobody is paid or punished; a missed seat still counts as missed.
			if decided || result == SeatResult::Missed {
				T::Seats::credit(seat.operator, worker, check.round, weight, result, lone);
			}
			if decided {
				seats.push(ClosedSeat {
					operator: seat.operator,
					weight,
					result,
				});
			}
		}
		let observers = T::OnClosed::on_closed(&ClosedCheck {
			worker,
			order,
			closing: &closing,
			proved,
			seats: &seats,
		});
		Self::deposit_event(Event::CheckClosed {
			worker,
			round: check.round,
			outcome: tally.outcome,
			votes,
		});
		let confirms = info.is_some_and(|info| says_nothing_new(&info, &closing));
		ClosedCounts {
			confirming: u32::from(confirms),
			changing: u32::from(!confirms),
			observers,
		}
	}
}

/// Returns whether a check found a lower tier than the known one.
fn lowers_a_tier(new: &Profile, old: &Profile) -> bool {
	new.bandwidth < old.bandwidth
		|| new.cpu < old.cpu
		|| new.memory < old.memory
		|| new.disk < old.disk
}

/// Returns whether a check only confirms the known facts about the worker, so that its closing writes
/// little. Any other may change the worker's state and profile and the counts of both, use up a mark, queue
/// a slash, or strike a checker.
fn says_nothing_new<AccountId>(info: &WorkerInfo<AccountId>, closing: &Closing) -> bool {
	let stays = matches!(
		info.standings.now.value,
		WorkerState::Online | WorkerState::Rented
	);
	let confirms = match closing.outcome {
		Outcome::Online { profile, service } => {
			service
				&& profile.is_none_or(|profile| {
					// A second check in a row that finds less than the claim changes the state.
					let bound = info.spec.bound();
					let as_claimed = Profile {
						bandwidth: profile.bandwidth,
						disk: profile.disk,
						..bound
					};
					info.profile == Some(profile) && profile == as_claimed
				})
		}
		Outcome::Offline | Outcome::NoConsensus => false,
	};
	stays && confirms && !closing.false_proof && !closing.full && info.forced.is_none()
}

/// Returns the payload that a node signs for a fee-less call: `blake2_256(SCALE((domain, genesis hash, seed,
/// arguments before the signature)))`.
pub fn signing_payload<const N: usize>(
	domain: &[u8; N],
	genesis: H256,
	seed: H256,
	arguments: impl Encode,
) -> [u8; 32] {
	(domain, genesis, seed, arguments).using_encoded(sp_io::hashing::blake2_256)
}

impl<T: Config> Checks for Pallet<T> {
	fn next_round() -> RoundIndex {
		Self::counts_from()
	}

	fn touch(worker: WorkerId) {
		Self::close_if_over(worker, None);
	}

	fn is_open(worker: WorkerId) -> bool {
		matches!(LastChecks::<T>::get(worker), Some(LastCheck::Open(_)))
	}

	fn looks_back(worker: WorkerId, since: BlockNumber) -> bool {
		Self::check_looks_back(worker, since)
	}

	fn is_due(worker: WorkerId) -> bool {
		Self::is_due_now(worker)
	}

	fn proves_until(worker: WorkerId) -> Option<BlockNumber> {
		Self::last_block_of_proof(worker)
	}

	fn force(worker: WorkerId) -> DispatchResult {
		T::Workers::force(worker, Self::counts_from())
	}

	fn is_held(worker: WorkerId) -> bool {
		Self::is_open(worker) || Self::is_due_now(worker) || Self::may_be_due_soon(worker)
	}

	fn census_prepares() -> bool {
		let now = Self::now();
		Running::<T>::get()
			.iter()
			.any(|round| round.is_census() && now <= round.trial.saturating_add(1))
	}

	fn forget(worker: WorkerId) {
		LastChecks::<T>::remove(worker);
	}

	fn oldest_round() -> RoundIndex {
		let starting = Starting::<T>::get().map(|start| start.spot.index);
		Self::in_flight(Self::now())
			.iter()
			.map(|round| round.index)
			.chain(starting)
			.min()
			.unwrap_or_else(NextRound::<T>::get)
	}

	fn in_flight() -> Vec<RoundIndex> {
		let starting = Starting::<T>::get().map(|start| start.spot.index);
		Self::in_flight(Self::now())
			.iter()
			.map(|round| round.index)
			.chain(starting)
			.chain((NextRound::<T>::get()..Self::counts_from()).step_by(2))
			.collect()
	}

	fn forget_operator(operator: OperatorId, limit: u32) -> u32 {
		Self::do_forget_operator(operator, limit)
	}

	fn round_seed(round: RoundIndex) -> Option<H256> {
		Rounds::<T>::get(round)?.trial_seed
	}

	fn is_seated(operator: OperatorId) -> bool {
		Self::in_flight(Self::now())
			.iter()
			.any(|round| Self::counters(operator, round.index).seats > 0)
	}
}
