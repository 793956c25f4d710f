//! Pools of former operators, for Checkers, which removes their records.

use crate::{CheckerScores, Config, Error, Oldest, Pallet};
use frame_support::storage::with_storage_layer;
use kaisar_primitives::{EpochIndex, PoolId, RetiredPools};
use sp_runtime::DispatchResult;

impl<T: Config> RetiredPools<T::AccountId> for Pallet<T> {
	/// Returns whether nothing of the pool can be settled any more. A check that was closed late may have
	/// scored after the operator's last epoch.
	fn has_expired(pool: PoolId, last: EpochIndex) -> bool {
		let PoolId::Checker(operator) = pool else {
			return false;
		};
		let oldest = Oldest::<T>::get();
		let scored = CheckerScores::<T>::get(operator).filter(|record| record.seats > 0);
		last < oldest && scored.is_none_or(|record| record.epoch < oldest)
	}

	/// Pays a former member its claim. That removes the member, since it has no shares, and with the last
	/// member the pool.
	fn pay_out(pool: PoolId, who: &T::AccountId) -> DispatchResult {
		match with_storage_layer(|| Self::do_claim_delegation(who.clone(), pool)) {
			Err(error) if error == Error::<T>::NothingToClaim.into() => Ok(()),
			paid => paid,
		}
	}

	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_expire() {
		Oldest::<T>::put(crate::Current::<T>::get().index.saturating_add(1));
	}
}
