//! # The agent
//!
//! The part of the network that touches hardware: it proves its machine's hardware, verifies other machines,
//! measures bandwidth and runs customers' containers. `docs/proof.md` describes the proof, its limits and
//! the cost of attacks.
//!
//! | module | content |
//! | --- | --- |
//! | [`agent`] | the shell: builds, runs and stops the parts of an agent |
//! | `node_api` | the HTTP service for the node, on the loopback address |
//! | [`worker`] | a worker's side: its claim, its plot, its trials, and access to them |
//! | `checker` | a checker's side: rounds, checks, verdicts |
//! | [`containers`] | the containers that customers rent on this machine |
//! | [`peer`] | other agents: endpoint, addresses, messages, bandwidth |
//! | [`gpu`] | GPUs as devices of the trial |
//! | [`trial`] | the trial: its work, its proof, its judgment |
//! | `host` | this machine: memory, disk, clock, state that outlives a restart, and the report on all of it |
//!
//! A module imports only from those below it.
//!
//! A round, as one worker's and one checker's agents see it:
//!
//! 1. The round starts. The worker's node asks its agent to prepare: it fills memory and connects to the
//!    committee.
//! 2. The trial's block comes. The checker's agent starts its clock; the worker's runs all resources at once
//!    and sends each root, signed, as soon as it is known.
//! 3. The root over all is attested on chain. The checker's node asks its agent to check the worker: the
//!    agent fetches the receipt, requests openings at unpredictable places, verifies them on one CPU core,
//!    and measures bandwidth in the window that the chain fixes.
//! 4. The verdict and the receipt go back to the node, which votes.

#![warn(missing_docs)]

pub mod agent;
mod checker;
pub mod containers;
#[doc(hidden)]
pub mod fuzzing;
pub mod gpu;
mod host;
mod node_api;
pub mod peer;
pub mod trial;
pub mod worker;

#[doc(hidden)]
pub use agent::Bounds;
pub use agent::{Agent, Config};
pub use checker::rules;
pub use host::{
	clock::wall_ms as now_wall_ms,
	memory::{fillable_again, fillable_now},
	report,
	time::Time,
};
pub use node_api::PATH_REPORT;
