//! The agent among other agents: its endpoint and their addresses, messages, and the bandwidth between
//! two of them.

pub mod bandwidth;
pub(crate) mod dial;
pub mod endpoint;
mod mapping;
pub mod measure;
pub mod network;
mod stamps;
pub mod wire;
