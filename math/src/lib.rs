//! # The formulas of the network
//!
//! Every formula that the chain, the node or the agent works with, pure and `no_std`: no storage, no
//! runtime, no floating point. One module an idea:
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`emission`] | how much KAI each block emits, the checkers' reserve, the split, the cap |
//! | [`tiers`] | from measured bandwidth, cores, memory and disk to a tier 0 … 4 |
//! | [`classes`] | the GPU classes: ids, names, scores, peak figures, what they are held to |
//! | [`separation`] | which cheaper GPU passes for a class, and how many weaker ones a stronger one shows |
//! | [`score`] | hardware, boost, the scores of workers and checkers |
//! | [`price`] | the price of a machine, by the hour and by the block |
//! | [`reward`] | pots, ratio, shares of a pot, the cap of rented time, vKAI terms, fees |
//! | [`members`] | the members' part of a pool's reward, and what a share of it has earned |
//! | [`stake`] | minimum stake, shares of a pool, slashes and bounties |
//! | [`committee`] | drawing, majorities, draws and batches, chance of detection |
//! | [`rounds`] | length of a census, chance of being due, the time that a check may credit |
//! | [`arith`] | multiply and divide through 256 bits, rounding down |
//!
//! ## Exactness
//!
//! Money is `u128` in units of 10⁻¹⁸ KAI, scores are `u128` in units that the module [`score`] names.
//! Where two of them are multiplied before a division, the product is taken in 256 bits
//! ([`arith::mul_div`]), so nothing is lost but the one rounding at the end, which is always **down**
//! for the payee: what is left stays in the pot. A function that could overflow returns `Option`;
//! `None` means that a figure was far out of the range that the network can reach, and is for the
//! caller to treat as an error, never as zero.
//!
//! The published tables are the *defaults* here ([`score::ScoreTable`], [`classes::CLASSES`]); on chain
//! they are state, set at genesis and changeable by governance, and are handed to the functions.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod arith;
pub mod classes;
pub mod committee;
pub mod emission;
pub mod members;
pub mod price;
pub mod reward;
pub mod rounds;
pub mod score;
pub mod separation;
pub mod stake;
pub mod tiers;

pub use arith::mul_div;
pub use classes::ClassReference;
pub use emission::{Schedule, Split};
pub use reward::{Ratio, RedeemTerm};
pub use score::{Hardware, ScoreTable};

/// 1 KAI in the units of a balance.
pub const KAI: u128 = 1_000_000_000_000_000_000;
/// Blocks in a day of the chain's time.
pub const DAY: u32 = 7_200;
