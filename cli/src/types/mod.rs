//! Arguments of the chain's calls and answers of its view functions, as far as this program needs them.
//! The node's metadata defines their layout: fields are found by name, and fields that are not declared
//! here are skipped.

/// Declares types with the derives that the chain's types need. The paths are arguments, since lints check
/// derived code whose paths come from here.
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

/// Implements `Debug` and `Serialize` by `Display`.
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
pub use image::{Image, Template, Text, Workload};
pub use keys::{Key, KeyProof, KeyTimeline};
pub use machine::{Arch, Cuda, Profile, Region, Requirement, WorkerSpec};
pub use order::{CloseReason, Issue, Money, Order, OrderState, Plan, Quote};
pub use reward::{DelegationPage, PoolId};
pub use worker::{Delegation, Unbonding, Worker};
