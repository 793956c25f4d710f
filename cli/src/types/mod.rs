//! What the chain's calls take and its view functions give, as far as this program needs it. The
//! node's metadata says how each is laid out: fields are found by their names, and what is not named
//! here is passed over.

/// Gives types what the chain's types need. The paths come from outside, since lints see the code that is
/// derived with paths from here.
macro_rules! chain_types {
	($decode:literal $encode:literal $($(#[$meta:meta])* $keyword:ident $name:ident $body:tt)*) => {
		$(
			#[derive(
				Clone, PartialEq, Eq, Debug,
				subxt::ext::scale_decode::DecodeAsType, subxt::ext::scale_encode::EncodeAsType,
				serde::Serialize,
			)]
			#[decode_as_type(crate_path = $decode)]
			#[encode_as_type(crate_path = $encode)]
			$(#[$meta])*
			pub $keyword $name $body
		)*
	};
}

/// Shown and serialized as they are displayed.
macro_rules! as_displayed {
	($($type:ident)*) => {
		$(
			impl std::fmt::Debug for $type {
				fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
					write!(f, "{self}")
				}
			}

			impl serde::Serialize for $type {
				fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
					serializer.collect_str(self)
				}
			}
		)*
	};
}

mod account;
mod image;
mod keys;
mod machine;
mod order;
mod reward;
#[cfg(test)]
mod tests;
mod worker;

pub use account::Balances;
pub use image::{Image, Workload};
pub use keys::{Key, KeyProof, KeyTimeline};
pub use machine::{Arch, Cuda, Profile, Region, Requirement, WorkerSpec};
pub use order::{CloseReason, Issue, Money, Order, OrderState, Plan, Quote};
pub use reward::{DelegationPage, PoolId};
pub use worker::{Delegation, Unbonding, Worker};
