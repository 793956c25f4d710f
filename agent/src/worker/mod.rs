//! The worker's side: its claim, its plot, its trials, the service to its committee, and access to its
//! containers.

pub mod claim;
pub mod doorkeeper;
pub(crate) mod jobs;
pub mod plots;
pub(crate) mod push;
pub(crate) mod run;
pub(crate) mod serve;
