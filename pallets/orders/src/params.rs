//! Parameters, held to their limits where they are read: no value that governance can set jams a hook.

use crate::{agenda::RETRY, pallet::*};
use core::ops::RangeInclusive;
use frame_support::traits::Get;
use kaisar_primitives::{BlockNumber, DEPLOY_BLOCKS, HOURS, MAX_HOURS};

/// Limits of [`Config::MatchDraws`]: half of [`Config::HookWeight`] does for a match with the most draws.
pub const MATCH_DRAWS: RangeInclusive<u32> = 1..=32;
/// Limits of [`Config::DeployDeadline`]: an agent gives up and says why some blocks before it.
pub const DEPLOY_DEADLINE: RangeInclusive<BlockNumber> =
	RETRY..=*DEPLOY_BLOCKS.end() as BlockNumber;
/// Limits of [`Config::ClosingTimeout`]: a day.
pub const CLOSING_TIMEOUT: RangeInclusive<BlockNumber> = 1..=24 * HOURS;
/// Limits of [`Config::History`]: as long as an order can be.
pub const HISTORY: RangeInclusive<BlockNumber> = 1..=MAX_HOURS * HOURS;
/// Limits of [`Config::BarBlocks`]: 30 days.
pub const BAR_BLOCKS: RangeInclusive<BlockNumber> = 0..=30 * 24 * HOURS;
/// Limits of [`Config::SetupBlocks`]: an hour.
pub const SETUP_BLOCKS: RangeInclusive<BlockNumber> = 0..=HOURS;

fn held<N: Ord + Copy>(value: N, limits: RangeInclusive<N>) -> N {
	value.clamp(*limits.start(), *limits.end())
}

impl<T: Config> Pallet<T> {
	/// Returns the number of workers that are wanted to choose from.
	pub(crate) fn match_draws() -> u32 {
		held(T::MatchDraws::get(), MATCH_DRAWS)
	}

	/// Returns the blocks that a deployment has if its order asks for no others.
	pub(crate) fn deploy_deadline() -> BlockNumber {
		held(T::DeployDeadline::get(), DEPLOY_DEADLINE)
	}

	/// Returns the blocks between two looks of the agenda for the check that proves an order's tail.
	pub(crate) fn closing_timeout() -> BlockNumber {
		held(T::ClosingTimeout::get(), CLOSING_TIMEOUT)
	}

	/// Returns the blocks for which a closed order is kept.
	pub(crate) fn history() -> BlockNumber {
		held(T::History::get(), HISTORY)
	}

	/// Returns the blocks for which a worker is barred that failed to deploy an order.
	pub(crate) fn bar_blocks() -> BlockNumber {
		held(T::BarBlocks::get(), BAR_BLOCKS)
	}

	/// Returns the fewest blocks whose price the set-up costs.
	pub(crate) fn setup_blocks() -> BlockNumber {
		held(T::SetupBlocks::get(), SETUP_BLOCKS)
	}
}
