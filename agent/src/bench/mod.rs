//! The benchmark: what is computed, what is proved of it, and what a proof is worth.
//!
//! | module | content |
//! | --- | --- |
//! | [`hash`] | hashes, Merkle trees, seeded streams |
//! | [`chain`] | the chain of int8 matrix products: reference, openings, verifier |
//! | [`walk`] | the walk over the memory that holds the chain |
//! | [`cpu`], [`memory`], [`disk`] | the other measurements |
//! | [`device`] | a device that computes chain and walk; the processor is one |
//! | [`classes`] | the work for a GPU of a class, and the figures it is held to |
//! | [`job`] | whose benchmark of which round it is, and how much work |
//! | [`stage`] | the stages, in the order in which they run |
//! | [`proof`] | all stages under one attested root; openings and their verification |
//! | [`evidence`] | from proof and time to the tiers that they support |

pub mod chain;
pub mod classes;
pub mod cpu;
pub mod device;
pub mod disk;
pub mod evidence;
pub mod hash;
pub mod job;
pub mod memory;
pub mod proof;
pub mod stage;
pub mod walk;
