//! Parameters, held to their limits where they are read, so that no value set by governance jams a round.

use crate::pallet::*;
use core::ops::RangeInclusive;
use frame_support::traits::Get;
use kaisar_primitives::{BenchParams, BlockNumber, MAX_COMMITTEE};

/// Limits of [`Config::PhaseLength`]: at most four hours, the longest that a wrong value can last.
pub const PHASE_LENGTH: RangeInclusive<BlockNumber> = 1..=1_200;
/// Limits of [`Config::CheckPeriod`]: at the longest a census a month, with production's phases.
pub const CHECK_PERIOD: RangeInclusive<u32> = 1..=8_640;
/// Limits of [`Config::GapPeriods`]: no check credits more than a hundred mean intervals.
pub const GAP_PERIODS: RangeInclusive<u32> = 1..=100;
/// Limits of [`Config::MaxDue`]: with a million, the largest network that the chain is designed for is
/// checked within one phase.
pub const MAX_DUE: RangeInclusive<u32> = 1..=1_000_000;
/// Limits of [`Config::CommitteeSize`].
pub const COMMITTEE_SIZE: RangeInclusive<u8> = 1..=MAX_COMMITTEE as u8;

fn held<N: Ord + Copy>(value: N, limits: RangeInclusive<N>) -> N {
	value.clamp(*limits.start(), *limits.end())
}

impl<T: Config> Pallet<T> {
	/// Returns the blocks between the starts of two spot rounds.
	pub(crate) fn phase_length() -> BlockNumber {
		held(T::PhaseLength::get(), PHASE_LENGTH)
	}

	/// Returns the blocks from a round's start to its trial: no more than a phase.
	pub(crate) fn trial_offset() -> BlockNumber {
		T::TrialOffset::get().min(Self::phase_length())
	}

	/// Returns the number of spot rounds of which one starts a census on average.
	pub(crate) fn check_period() -> u32 {
		held(T::CheckPeriod::get(), CHECK_PERIOD)
	}

	/// Returns the most that a check of a rented worker credits, in mean intervals.
	pub(crate) fn gap_periods() -> u32 {
		held(T::GapPeriods::get(), GAP_PERIODS)
	}

	/// Returns the number of checks for which a phase is planned.
	pub(crate) fn max_due() -> u32 {
		held(T::MaxDue::get(), MAX_DUE)
	}

	/// Returns the intended weight of a committee.
	pub(crate) fn committee_size() -> u8 {
		held(T::CommitteeSize::get(), COMMITTEE_SIZE)
	}

	/// Returns the minimum number of operators that decide, at most the size of a committee.
	pub(crate) fn min_operators() -> u8 {
		held(T::MinOperators::get(), 1..=Self::committee_size())
	}

	/// Returns the amount of work in a trial, within the limits of agents.
	pub(crate) fn bench() -> BenchParams {
		T::Bench::get().held()
	}
}
