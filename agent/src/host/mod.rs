//! This machine: its memory, its clock, values kept over a restart, and what happened to the agent on it.

pub mod cgroup;
pub mod clock;
pub mod kept;
pub mod memory;
pub mod report;
pub mod store;
