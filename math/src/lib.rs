//! # The formulas of the network
//!
//! Every formula that the chain, the node or the agent uses, pure and `no_std`: no storage, no runtime, no
//! floating point. One module for each subject:
//!
//! | module | content |
//! | --- | --- |
//! | [`emission`] | the emission of each block, the checkers' reserve, the split, the supply cap |
//! | [`tiers`] | tiers 0 … 4 of measured bandwidth, cores, memory and disk |
//! | [`classes`] | the GPU classes: ids, names, scores, peak figures, references |
//! | [`separation`] | cheaper GPUs that pass for a class, and copies: one GPU that passes for several |
//! | [`score`] | hardware, boost, the scores of workers and checkers |
//! | [`price`] | the price of a machine, by the hour and by the block |
//! | [`reward`] | pots, ratio, shares of a pot, the cap of rented time, vKAI terms, fees |
//! | [`members`] | the members' part of a pool's reward, and the earnings of a share |
//! | [`stake`] | minimum stake, shares of a pool, slashes and bounties |
//! | [`committee`] | drawing, majorities, batches, chance of detection |
//! | [`rounds`] | length of a census, chance of being due, the time that a check may credit |
//! | [`arith`] | multiplication and division through 256 bits |
//!
//! ## Exactness
//!
//! Money is `u128` in units of 10⁻¹⁸ KAI, scores are `u128` in units that the module [`score`] names. Where
//! two of them are multiplied before a division, the product is taken in 256 bits ([`arith::mul_div`]), so
//! the only loss is the one rounding at the end, which is always **down** for the payee: the rest stays in
//! the pot. A function that could overflow returns `Option`; `None` means that a figure was far out of the
//! range that the network can reach, and the caller must treat it as an error, never as zero.
//!
//! The published tables are the *defaults* here ([`score::ScoreTable`], [`classes::CLASSES`]); on chain they
//! are state, set at genesis and changeable by governance, and are passed to the functions.

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
/// Blocks in a day of the chain's time, 12 s each.
pub const DAY: u32 = 7_200;
