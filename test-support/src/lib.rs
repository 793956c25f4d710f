//! Support for tests that more than one crate needs. Only ever a dev-dependency.

#[cfg(feature = "frame")]
pub mod frame;
