//! The disk that containers share with a tenant that gives way to them.

use kaisar_primitives::OrderId;
use std::path::Path;

/// A tenant of the disk that gives way to orders.
pub trait Room: Send + Sync {
	/// Frees disk for an order that may write `bytes`. `store` is the folder of the engine's data, if known.
	/// Returns the bytes that the order can have, at most `bytes`; for the same order always the same.
	/// Blocks.
	fn make_room(&self, order: OrderId, bytes: u64, store: Option<&Path>) -> u64;
}

/// No tenant: all of the disk is the orders'.
impl Room for () {
	fn make_room(&self, _: OrderId, bytes: u64, _: Option<&Path>) -> u64 {
		bytes
	}
}
