//! Operators that are pruned leave nothing behind.

use crate::{Commitments, Config, Pallet};
use kaisar_primitives::OperatorId;

impl<T: Config> Pallet<T> {
	/// Removes at most `limit` of the operator's commitments, which are those that it never opened. Returns
	/// the number of them. Popw keeps nothing else of an operator beyond its rounds.
	pub(crate) fn do_forget_operator(operator: OperatorId, limit: u32) -> u32 {
		let keys: alloc::vec::Vec<_> = Commitments::<T>::iter_key_prefix((operator,))
			.take(limit as usize)
			.collect();
		for (lane, batch) in &keys {
			Commitments::<T>::remove((operator, lane, batch));
		}
		keys.len() as u32
	}
}
