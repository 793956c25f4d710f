//! The worker's side: the claim that it registers, its plot, the trials that it runs, what it serves to its
//! committee, and who may reach its containers.

pub mod claim;
pub mod doorkeeper;
pub(crate) mod jobs;
pub mod plots;
pub(crate) mod push;
pub(crate) mod run;
pub(crate) mod serve;
