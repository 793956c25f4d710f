//! # Primitives
//!
//! The vocabulary shared by the pallets, the node and the agent: identifiers ([`ids`]), keys ([`keys`]),
//! the types of workers, checkers and customers ([`worker`], [`round`], [`order`]), values that change at
//! the start of a round or an epoch ([`timeline`], [`history`]), the traits through which pallets meet
//! ([`traits`]), the messages between the off-chain worker and the agent ([`agent`]), and helpers for
//! off-chain workers ([`offchain`]) and fee-less calls ([`authorized`]).
//!
//! Pallets never depend on each other's crates; they meet here.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod agent;
pub mod authorized;
pub mod history;
pub mod ids;
pub mod keys;
pub mod offchain;
pub mod order;
pub mod round;
pub mod timeline;
pub mod traits;
pub mod worker;

pub use history::*;
pub use ids::*;
pub use keys::{AgentKey, AgentSignature, CheckerKey, KeyProof, WorkerKey};
pub use order::*;
pub use round::*;
pub use timeline::*;
pub use traits::*;
pub use worker::*;
