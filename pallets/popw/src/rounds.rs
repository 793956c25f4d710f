//! Rounds: their start, their seed, their end.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::traits::Get;
use kaisar_math::rounds::{census_chance, census_phase, max_gap};
use kaisar_primitives::{
	BlockNumber, BlockSeed, MAX_COMMITTEE, RoundIndex, RoundKind, Seats, WorkerRegistry,
};
use sp_core::H256;
use sp_io::hashing::blake2_256;
use sp_runtime::SaturatedConversion;

/// The seed of a round: `H(b"kaisar/seed", index, running hash)`.
pub(crate) fn seed_of(index: RoundIndex, running: H256) -> H256 {
	(b"kaisar/seed", index, running)
		.using_encoded(blake2_256)
		.into()
}

impl<T: Config> Pallet<T> {
	/// The running block.
	pub(crate) fn now() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Fixes the numbers of the spot round that starts in block `now`, if one does. The seed follows
	/// at the block's end.
	pub(crate) fn start_round(now: BlockNumber) -> bool {
		if now < NextStart::<T>::get() {
			return false;
		}
		let index = NextRound::<T>::get();
		let phase_length = T::PhaseLength::get().max(1);
		let workers = T::Workers::counts();
		Starting::<T>::put(Round {
			index,
			kind: RoundKind::Spot,
			start: now,
			phase_length,
			params: RoundParams {
				committee_size: T::CommitteeSize::get().clamp(1, MAX_COMMITTEE as u8),
				max_due: T::MaxDue::get().max(1),
				max_gap: max_gap(T::CheckPeriod::get(), phase_length),
				bench: T::Bench::get(),
			},
			seed: H256::zero(),
			minted: T::Seats::minted(),
			active: T::Seats::active(),
			online: workers.online,
			rented: workers.rented,
		});
		NextRound::<T>::put(index.saturating_add(2));
		NextStart::<T>::put(now.saturating_add(phase_length));
		if let Some(old) = index.checked_sub(2 * ROUND_DEPTH) {
			Rounds::<T>::remove(old);
			Rounds::<T>::remove(old.saturating_add(1));
		}
		true
	}

	/// Folds the block's VRF output into the running hash, and seeds what this block starts.
	pub(crate) fn fold_seed(now: BlockNumber) {
		let running_hash: H256 = match T::VrfOutput::get() {
			Some(vrf) => {
				let before = RunningHash::<T>::get();
				(b"kaisar/running", before, vrf)
					.using_encoded(blake2_256)
					.into()
			}
			// BABE is configured with secondary VRF slots, so that this cannot happen.
			None => {
				frame_support::defensive!("a block without a VRF output");
				RunningHash::<T>::get()
			}
		};
		RunningHash::<T>::put(running_hash);
		BlockSeeds::<T>::insert(now, running_hash);
		if let Some(old) = now.checked_sub(SEED_DEPTH) {
			BlockSeeds::<T>::remove(old);
		}

		let Some(mut spot) = Starting::<T>::take() else {
			return;
		};
		spot.seed = seed_of(spot.index, running_hash);
		Self::insert_round(spot);

		if !Self::draws_census(&spot) {
			return;
		}
		// One census at a time is in its attest phase; those before it may still be voted on.
		let mut running = CensusRounds::<T>::get();
		running
			.retain(|index| Rounds::<T>::get(index).is_some_and(|r| r.phase(now) != Phase::Over));
		let attesting = running
			.last()
			.and_then(Rounds::<T>::get)
			.is_some_and(|census| matches!(census.phase(now), Phase::Starting | Phase::Attest));
		let index = spot.index.saturating_add(1);
		if attesting || running.try_push(index).is_err() {
			return;
		}
		CensusRounds::<T>::put(running);
		Self::insert_round(Round {
			index,
			kind: RoundKind::Census,
			phase_length: census_phase(spot.phase_length, spot.online, spot.params.max_due),
			seed: seed_of(index, running_hash),
			..spot
		});
	}

	fn insert_round(round: Round) {
		Rounds::<T>::insert(round.index, round);
		Self::deposit_event(Event::RoundStarted {
			round: round.index,
			kind: round.kind,
			seed: round.seed,
			phase_length: round.phase_length,
		});
	}

	/// Whether the seed of a spot round draws a census: with probability 1 / `CheckPeriod`.
	fn draws_census(spot: &Round) -> bool {
		census_chance(T::CheckPeriod::get()).happens(draw(b"kaisar/census", spot.seed, 0))
	}

	/// Removes lists of rounds that are over. At most [`SWEEP`] steps, a step being a page or a round
	/// without one; returns how many it took.
	///
	/// Rounds are swept in order: a census that takes long holds back those after it, which cost
	/// nothing but the few pages they have.
	pub(crate) fn sweep() -> u32 {
		let now = Self::now();
		let next = NextRound::<T>::get();
		let first = Swept::<T>::get();
		let (mut index, mut steps) = (first, 0u32);
		while index < next && steps < SWEEP {
			if Rounds::<T>::get(index).is_some_and(|round| round.phase(now) != Phase::Over) {
				break;
			}
			// From the last page to the first; the count says where this got to.
			if let Some(last) = AttestedCount::<T>::get(index).checked_sub(1) {
				let page = last / PAGE;
				Attested::<T>::remove(index, page);
				if page > 0 {
					AttestedCount::<T>::insert(index, page.saturating_mul(PAGE));
					steps = steps.saturating_add(1);
					continue;
				}
				AttestedCount::<T>::remove(index);
			}
			steps = steps.saturating_add(1);
			if Self::sweep_counters(index) {
				continue;
			}
			index = index.saturating_add(1);
		}
		if index > first {
			Swept::<T>::put(index);
		}
		steps
	}

	/// The rounds whose seed is known and whose reveal phase is not over in block `now`.
	pub(crate) fn running_rounds(now: BlockNumber) -> Vec<Round> {
		let next = NextRound::<T>::get();
		let spots = (1..=4).filter_map(|back| next.checked_sub(2 * back));
		spots
			.chain(CensusRounds::<T>::get())
			.filter_map(Rounds::<T>::get)
			.filter(|round| round.phase(now) != Phase::Over)
			.collect()
	}
}

/// A number drawn from a seed: the first sixteen bytes of `H(domain, seed, item)`.
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
}
