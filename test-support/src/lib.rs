//! Support for tests that more than one crate needs. Only ever a dev-dependency.
//!
//! - [`property`]: number and seed of the cases of property tests.
//! - Feature `frame`: pieces of mock runtimes for pallets' tests (`frame`).
//! - Feature `line`: a network line between a client and a server that is slow, loses and reorders traffic,
//!   and can be cut ([`line`]); and network namespaces to put its ends into (`netns`).

#[cfg(feature = "frame")]
pub mod frame;
#[cfg(feature = "line")]
pub mod line;
#[cfg(all(feature = "line", target_os = "linux"))]
pub mod netns;
pub mod property;
