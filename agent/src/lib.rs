//! # The agent
//!
//! The part of the network that touches hardware: it runs benchmarks, proves them, verifies others'
//! proofs and measures bandwidth. `docs/benchmark.md` says what is proved, what is not, and what an
//! attack costs.
//!
//! | module | content |
//! | --- | --- |
//! | [`agent`] | the shell: builds the parts of an agent, runs and stops them |
//! | `node_api` | the HTTP service for the node, on the loopback address |
//! | [`worker`] | a worker's side: its claim, its benchmarks, what it serves and to whom |
//! | `checker` | a checker's side: rounds, checks, verdicts |
//! | [`containers`] | what customers rent: containers on this machine |
//! | [`peer`] | other agents: endpoint, addresses, messages, bandwidth |
//! | [`gpu`] | GPUs as devices of the benchmark |
//! | [`bench`] | the benchmark: chain, walks, proof, evidence |
//! | `host` | this machine: memory, clock, values kept over a restart, and what is reported of it |
//!
//! A module imports only from those below it.
//!
//! A round, as one worker's and one checker's agents see it:
//!
//! 1. The checker's node tells its agent that the round's trial began: its clock starts.
//! 2. The worker's node asks its agent to prove, by the seed of the trial. It computes, and sends each part's
//!    signed root to the committee's agents the moment it is there.
//! 3. The root is attested on chain. The checker's node asks its agent to check the worker: the agent
//!    fetches the worker's receipt, measures bandwidth, has places opened that nobody could foresee,
//!    and verifies them on one CPU core.
//! 4. The verdict and the receipt go back to the node, which votes.

#![warn(missing_docs)]

pub mod agent;
pub mod bench;
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

pub use agent::{Agent, Config};
pub use host::{clock::wall_ms as now_wall_ms, report};
pub use node_api::PATH_REPORT;
