//! This machine: its memory, its disk, its clock, state that outlives a restart, and the report on the
//! agent.

pub mod cgroup;
pub mod clock;
pub mod disk;
pub mod expiring;
pub mod memory;
pub mod report;
pub mod store;
pub mod time;
