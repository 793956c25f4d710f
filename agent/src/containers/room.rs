//! The disk that containers share with something that gives way to them.

use kaisar_primitives::OrderId;
use std::path::Path;

/// A tenant of the disk that gives way to orders.
pub trait Room: Send + Sync {
	/// Frees the disk for an order that may write `bytes`; the engine keeps its data in `store`, if it says
	/// where. Returns the bytes that the order can have, at most `bytes`. Asked again about an order, it
	/// returns the same. Blocks.
	fn make_room(&self, order: OrderId, bytes: u64, store: Option<&Path>) -> u64;
}

/// Nothing gives way, and nothing is in the way.
impl Room for () {
	fn make_room(&self, _: OrderId, bytes: u64, _: Option<&Path>) -> u64 {
		bytes
	}
}
