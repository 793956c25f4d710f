//! This machine: its memory, its disk, its clock, values kept over a restart, and what happened to the agent
//! on it.

pub mod cgroup;
pub mod clock;
pub mod disk;
pub mod kept;
pub mod memory;
pub mod report;
pub mod store;
pub mod time;
