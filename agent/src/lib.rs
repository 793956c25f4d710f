//! # The agent
//!
//! The part of the network that touches hardware: it runs benchmarks, proves them, verifies others'
//! proofs and measures bandwidth. `docs/benchmark.md` says what is proved, what is not, and what an
//! attack costs.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`hardware`] | what this machine has, as the operating system tells it |
//! | [`hash`] | hashes, Merkle trees, seeded streams |
//! | [`chain`] | the chain of int8 matrix products: reference, openings, verifier |
//! | [`walk`] | the walk over the memory in which the chain lies |
//! | [`device`], [`gpu`] | what computes both: the processor, or GPUs |
//! | [`classes`] | what a GPU of a class is given to do and held to |
//! | [`cpu`], [`memory`], [`disk`] | the other measurements |
//! | [`proof`] | all of them under one attested root; what a checker opens and verifies |
//! | [`evidence`] | from proof and time to the tiers that they support |
//! | [`bandwidth`] | echoed streams between two agents |
//! | [`containers`] | what customers rent: containers on this machine |
//! | [`tunnel`] | who may reach them, and whether they answer |
//! | [`wire`], [`net`] | messages between agents, and where agents are |
//! | [`agent`] | a running agent: work, memory over restarts, serving and checking others |
//! | [`service`] | its HTTP service on the loopback address |
//!
//! A round, as one worker's and one checker's agents see it:
//!
//! 1. The checker's node tells its agent that the round began: its clock starts.
//! 2. The worker's node asks its agent to prove. It computes, and sends each part's signed root to the
//!    committee's agents the moment it is there.
//! 3. The root is attested on chain. The checker's node asks its agent to check the worker: the agent
//!    fetches the worker's receipt, measures bandwidth, has places opened that nobody could foresee,
//!    and verifies them on one CPU core.
//! 4. The verdict and the receipt go back to the node, which votes.

#![warn(missing_docs)]

pub mod agent;
pub mod bandwidth;
pub mod chain;
mod check;
pub mod classes;
pub mod containers;
pub mod cpu;
pub mod device;
pub mod disk;
pub mod evidence;
#[doc(hidden)]
pub mod fuzzing;
pub mod gpu;
pub mod hardware;
pub mod hash;
pub mod memory;
pub mod net;
pub mod proof;
mod serve;
pub mod service;
mod store;
pub mod tunnel;
pub mod walk;
pub mod wire;

pub use agent::{Agent, Config};
