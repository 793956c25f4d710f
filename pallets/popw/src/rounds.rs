//! Rounds: their start, their seeds, their end.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{defensive, traits::Get};
use kaisar_math::rounds::{
	census_chance, census_interval, census_phase, rented_chance, rented_gap,
};
use kaisar_primitives::{BlockNumber, BlockSeed, RoundIndex, RoundKind, Seats, WorkerRegistry};
use sp_core::H256;
use sp_io::hashing::blake2_256;
use sp_runtime::{BoundedVec, SaturatedConversion};

/// Steps by which a round's start removes old records: four times the number that it adds.
const DROPPED_A_START: u32 = 8;

/// Returns the seed of a round: `H(b"kaisar/round", index, R(start))`, R being the running hash.
pub(crate) fn seed_of(index: RoundIndex, running: H256) -> H256 {
	(b"kaisar/round", index, running)
		.using_encoded(blake2_256)
		.into()
}

/// Returns the seed of a round's trial: `H(b"kaisar/trial", index, R(trial))`.
pub(crate) fn trial_seed_of(index: RoundIndex, running: H256) -> H256 {
	(b"kaisar/trial", index, running)
		.using_encoded(blake2_256)
		.into()
}

/// Folds a block's VRF output into the running hash: `R(b) = H(b"kaisar/vrf", R(b − 1), output)`.
pub(crate) fn fold(running: H256, vrf: [u8; 32]) -> H256 {
	(b"kaisar/vrf", running, vrf)
		.using_encoded(blake2_256)
		.into()
}

impl<T: Config> Pallet<T> {
	/// Returns the running block.
	pub(crate) fn now() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Stores the network's numbers at the start of this block. Returns those that a round which starts in
	/// this block uses: without the changes of the last [`NOTICE`] − 1 blocks.
	pub(crate) fn note_numbers() -> Numbers {
		let workers = T::Workers::counts();
		let numbers = Numbers {
			minted: T::Seats::minted(),
			active: T::Seats::active(),
			online: workers.online,
			rented: workers.rented,
		};
		Recent::<T>::mutate(|recent| {
			if recent.is_full() {
				recent.remove(0);
			}
			recent.force_push(numbers);
			recent.first().copied().unwrap_or(numbers)
		})
	}

	/// Prepares the spot round that starts in block `now`, if one does, and the census that it may start.
	/// The seeds follow at the block's end. Returns whether a round starts.
	pub(crate) fn start_round(now: BlockNumber, numbers: Numbers) -> bool {
		if now < NextStart::<T>::get() {
			return false;
		}
		let index = NextRound::<T>::get();
		let phase_length = Self::phase_length();
		let trial = now.saturating_add(Self::trial_offset());
		// After `PhaseLength` was lowered, a round waits until the round before it in its lane of
		// commitments will be over when its own commitments begin, and until there is room for it and a
		// census.
		let running = Self::in_flight(now);
		let commits_after = trial.saturating_add(phase_length);
		let is_taken = |other: &InFlight| {
			Lane::of(other.index) == Lane::of(index) && other.ends > commits_after
		};
		if running.len().saturating_add(2) > MAX_IN_FLIGHT as usize || running.iter().any(is_taken)
		{
			return false;
		}

		let check_period = Self::check_period();
		let max_due = Self::max_due();
		let mut spot = Round {
			index,
			kind: RoundKind::Spot,
			start: now,
			trial,
			phase_length,
			committee_size: Self::committee_size(),
			min_operators: Self::min_operators(),
			max_due,
			credit: 0,
			bench: Self::bench(),
			seed: H256::zero(),
			trial_seed: None,
			minted: numbers.minted,
			active: numbers.active,
			online: numbers.online,
			rented: numbers.rented,
		};
		let mut census = Round {
			index: index.saturating_add(1),
			kind: RoundKind::Census,
			phase_length: census_phase(phase_length, numbers.online, max_due).min(MAX_CENSUS_PHASE),
			..spot
		};
		let length = |round: &Round| round.ends().saturating_sub(now);
		let chance = rented_chance(max_due, numbers.rented);
		spot.credit = rented_gap(Self::gap_periods(), phase_length, chance, length(&spot));
		census.credit = census_interval(check_period, phase_length, length(&census));
		Starting::<T>::put(Start {
			spot,
			census,
			check_period,
		});
		NextRound::<T>::put(index.saturating_add(2));
		NextStart::<T>::put(now.saturating_add(phase_length));
		Self::drop_records(now, index);
		true
	}

	/// Removes records of rounds that have been over for [`RECORD_DEPTH`] blocks, in order: a long census
	/// holds back those after it.
	fn drop_records(now: BlockNumber, before: RoundIndex) {
		let first = Dropped::<T>::get();
		let mut index = first;
		let last = first.saturating_add(DROPPED_A_START).min(before);
		while index < last {
			if let Some(round) = Rounds::<T>::get(index) {
				if round.ends().saturating_add(RECORD_DEPTH) >= now {
					break;
				}
				Rounds::<T>::remove(index);
			}
			index = index.saturating_add(1);
		}
		if index > first {
			Dropped::<T>::put(index);
		}
	}

	/// Folds the block's VRF output into the running hash, and seeds the rounds that start in this block and
	/// the trials.
	pub(crate) fn fold_seed(now: BlockNumber) {
		let running_hash = Self::folded().unwrap_or_else(|| {
			// BABE is configured with secondary VRF slots, so this cannot happen.
			defensive!("a block without a VRF output");
			RunningHash::<T>::get()
		});
		RunningHash::<T>::put(running_hash);
		BlockSeeds::<T>::insert(now, running_hash);
		if let Some(old) = now.checked_sub(SEED_DEPTH) {
			BlockSeeds::<T>::remove(old);
		}
		if let Some(start) = Starting::<T>::take() {
			Self::seed_start(now, start, running_hash);
		}
		for flight in Running::<T>::get() {
			if flight.trial == now {
				Self::seed_trial(flight.index, running_hash);
			}
		}
	}

	/// Returns the running hash with this block's VRF output folded in.
	fn folded() -> Option<H256> {
		let vrf = T::VrfOutput::get()?;
		Some(fold(RunningHash::<T>::get(), vrf))
	}

	fn seed_start(now: BlockNumber, start: Start, running_hash: H256) {
		let mut running = Self::in_flight(now);
		let census_runs = running.iter().any(InFlight::is_census);
		let Start {
			mut spot,
			mut census,
			check_period,
		} = start;
		spot.seed = seed_of(spot.index, running_hash);
		Self::insert_round(spot, &mut running);
		// One census at a time, so that each covers every idle worker: no two identities can take turns.
		if !census_runs && Self::draws_census(&spot, check_period) {
			census.seed = seed_of(census.index, running_hash);
			Self::insert_round(census, &mut running);
		}
		Running::<T>::put(BoundedVec::truncate_from(running));
	}

	fn insert_round(round: Round, running: &mut Vec<InFlight>) {
		running.push(InFlight {
			index: round.index,
			trial: round.trial,
			ends: round.ends(),
		});
		Rounds::<T>::insert(round.index, round);
		Self::deposit_event(Event::RoundStarted {
			round: round.index,
			kind: round.kind,
			seed: round.seed,
			phase_length: round.phase_length,
		});
	}

	fn seed_trial(index: RoundIndex, running_hash: H256) {
		let seed = trial_seed_of(index, running_hash);
		Rounds::<T>::mutate(index, |round| match round {
			Some(round) => round.trial_seed = Some(seed),
			None => {
				defensive!("a round in flight has no record");
			}
		});
		Self::deposit_event(Event::TrialStarted { round: index, seed });
	}

	/// Returns the rounds in flight in block `now`: seed known, reveal part not over.
	pub(crate) fn in_flight(now: BlockNumber) -> Vec<InFlight> {
		let mut running = Running::<T>::get().into_inner();
		running.retain(|round| round.ends >= now);
		running
	}

	/// Returns the records of the rounds in flight in block `now`, newest first.
	pub(crate) fn running_rounds(now: BlockNumber) -> Vec<Round> {
		Self::in_flight(now)
			.into_iter()
			.rev()
			.filter_map(|round| Rounds::<T>::get(round.index))
			.collect()
	}

	/// Returns the first spot round that starts at least [`NOTICE`] blocks from now. The state at genesis
	/// counts from the first round.
	pub(crate) fn counts_from() -> RoundIndex {
		let now = Self::now();
		let next = NextRound::<T>::get();
		if now == 0 {
			return next;
		}
		let soonest = NextStart::<T>::get().max(now.saturating_add(1));
		let wait = now.saturating_add(NOTICE).saturating_sub(soonest);
		next.saturating_add(wait.div_ceil(Self::phase_length()).saturating_mul(2))
	}

	/// Returns whether the seed of a spot round draws a census: with chance 1 / `CheckPeriod`.
	fn draws_census(spot: &Round, check_period: u32) -> bool {
		census_chance(check_period).happens(draw(b"kaisar/census", spot.seed, 0u32))
	}

	/// Removes the lists, counters and commitments of rounds that are over, within the limits of a block.
	/// Returns the work done.
	///
	/// Each kind of round is swept in order, on its own: a census can outlast a hundred spot rounds, whose
	/// counters do not wait for its end.
	pub(crate) fn sweep() -> SweepCounts {
		let (now, next) = (Self::now(), NextRound::<T>::get());
		let before = SweptTo::<T>::get();
		let (mut positions, mut swept) = (before, SweepCounts::default());
		for (kind, position) in (0..).zip(&mut positions) {
			while !swept.is_full() {
				let index = position.saturating_mul(2).saturating_add(kind);
				let runs = |round: Round| round.phase(now) != Phase::Over;
				if index >= next || Rounds::<T>::get(index).is_some_and(runs) {
					break;
				}
				swept.step();
				if !Self::sweep_list(index, &mut swept) || !Self::sweep_counters(index, &mut swept)
				{
					break;
				}
				*position = position.saturating_add(1);
			}
		}
		if positions != before {
			SweptTo::<T>::put(positions);
		}
		swept
	}

	/// Removes the list of the workers that attested in a round. Returns whether nothing is left of it.
	fn sweep_list(round: RoundIndex, swept: &mut SweepCounts) -> bool {
		let count = AttestedCount::<T>::get(round);
		if count == 0 {
			return true;
		}
		// From the last page to the first; the count says how far this got.
		let mut pages = count.div_ceil(PAGE);
		while pages > 0 && !swept.is_full() {
			swept.step();
			pages = pages.saturating_sub(1);
			Attested::<T>::remove(round, pages);
		}
		if pages > 0 {
			AttestedCount::<T>::insert(round, pages.saturating_mul(PAGE));
			return false;
		}
		AttestedCount::<T>::remove(round);
		true
	}
}

/// The work of a block on the storage of past rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SweepCounts {
	/// Pages removed, slots read, and rounds.
	pub steps: u32,
	/// Unopened commitments found.
	pub unopened: u32,
}

impl SweepCounts {
	pub(crate) fn step(&mut self) {
		self.steps = self.steps.saturating_add(1);
	}

	/// Returns whether a block has reached its limit.
	pub(crate) fn is_full(&self) -> bool {
		self.steps >= SWEEP || self.unopened >= SWEEP_UNOPENED
	}
}

/// Draws a number from a seed: the first sixteen bytes of `H(domain, seed, item)`.
pub(crate) fn draw<const N: usize>(domain: &[u8; N], seed: H256, item: impl Encode) -> u128 {
	let hash = (domain, seed, item).using_encoded(blake2_256);
	let mut bytes = [0u8; 16];
	bytes.copy_from_slice(&hash[..16]);
	u128::from_le_bytes(bytes)
}

impl<T: Config> BlockSeed for Pallet<T> {
	fn seed_of(number: BlockNumber) -> Option<H256> {
		BlockSeeds::<T>::get(number)
	}

	fn running() -> Option<H256> {
		Self::folded()
	}
}
