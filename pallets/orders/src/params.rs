//! Parameters, held to their limits where they are read, so that no value set by governance jams a hook.

use crate::{agenda::RETRY, pallet::*};
use core::ops::RangeInclusive;
use frame_support::traits::Get;
use kaisar_primitives::{BlockNumber, DEPLOY_BLOCKS, HOURS, MAX_HOURS};

/// Limits of [`Config::MatchDraws`]: half of [`Config::HookWeight`] suffices for a match with the most
/// draws.
pub const MATCH_DRAWS: RangeInclusive<u32> = 1..=32;
/// Limits of [`Config::DeployDeadline`]: an agent gives up some blocks before it and reports the reason.
pub const DEPLOY_DEADLINE: RangeInclusive<BlockNumber> =
	RETRY..=*DEPLOY_BLOCKS.end() as BlockNumber;
/// Limits of [`Config::ClosingTimeout`]: at most a day.
pub const CLOSING_TIMEOUT: RangeInclusive<BlockNumber> = 1..=24 * HOURS;
/// Limits of [`Config::History`]: at most the maximum length of an order.
pub const HISTORY: RangeInclusive<BlockNumber> = 1..=MAX_HOURS * HOURS;
/// Limits of [`Config::BarBlocks`]: at most 30 days.
pub const BAR_BLOCKS: RangeInclusive<BlockNumber> = 0..=30 * 24 * HOURS;
/// Limits of [`Config::SetupBlocks`]: at most an hour.
pub const SETUP_BLOCKS: RangeInclusive<BlockNumber> = 0..=HOURS;

fn held<N: Ord + Copy>(value: N, limits: RangeInclusive<N>) -> N {
	value.clamp(*limits.start(), *limits.end())
}

impl<T: Config> Pallet<T> {
	/// Returns the number of fitting workers among which an order's worker is chosen.
	pub(crate) fn match_draws() -> u32 {
		held(T::MatchDraws::get(), MATCH_DRAWS)
	}

	/// Returns the blocks that a deployment may take if its order does not set them.
	pub(crate) fn deploy_deadline() -> BlockNumber {
		held(T::DeployDeadline::get(), DEPLOY_DEADLINE)
	}

	/// Returns the blocks between two visits of the agenda to an order that waits for its last check.
	pub(crate) fn closing_timeout() -> BlockNumber {
		held(T::ClosingTimeout::get(), CLOSING_TIMEOUT)
	}

	/// Returns the blocks for which a closed order is stored.
	pub(crate) fn history() -> BlockNumber {
		held(T::History::get(), HISTORY)
	}

	/// Returns the blocks for which a worker that failed to deploy an order is barred.
	pub(crate) fn bar_blocks() -> BlockNumber {
		held(T::BarBlocks::get(), BAR_BLOCKS)
	}

	/// Returns the fewest blocks charged for a failed deployment.
	pub(crate) fn setup_blocks() -> BlockNumber {
		held(T::SetupBlocks::get(), SETUP_BLOCKS)
	}
}
