//! What the agent takes from the machine it runs on.

pub mod memory;
pub mod store;
