//! Operators that are pruned leave nothing behind.

use crate::{Commitments, Config, Pallet, Withheld};
use kaisar_primitives::OperatorId;

impl<T: Config> Pallet<T> {
	/// Removes at most `limit` of the operator's commitments, and with the last what was noted of those that
	/// it did not open. Returns the number of commitments. All else of an operator goes with its rounds.
	pub(crate) fn do_forget_operator(operator: OperatorId, limit: u32) -> u32 {
		let slots: alloc::vec::Vec<_> = Commitments::<T>::iter_key_prefix((operator,))
			.take(limit as usize)
			.collect();
		for (lane, batch) in &slots {
			Commitments::<T>::remove((operator, lane, batch));
		}
		let removed = slots.len() as u32;
		if removed < limit {
			Withheld::<T>::remove(operator);
		}
		removed
	}
}
