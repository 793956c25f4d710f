//! This machine: its memory, its clock, and values kept over a restart.

pub mod cgroup;
pub mod kept;
pub mod memory;
pub mod store;
