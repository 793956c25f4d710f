//! The trial: the work that a worker does from one start, and how a checker verifies and judges it.
//! `docs/proof.md` describes it whole.
//!
//! | resource | prepared | in the trial |
//! | --- | --- | --- |
//! | processor and memory ([`processor`]) | [`memory`], filled page by page ([`ram`]) | [`lane`]s over it |
//! | disk ([`disk`]) | a [`plot`] of linked nodes | strands of dependent reads |
//! | GPU ([`matrix`]) | a window of matrices | turns of products and walks, on a [`device`] |
//!
//! A [`job`] names the worker and the round of a trial, and plans its sizes. [`run`] prepares a machine and
//! runs all resources together; it announces each [`part`] as soon as it is known. [`proof`] puts the roots
//! under the attested one. [`sample`] draws a checker's samples, and reads their openings. [`verdict`] turns
//! verified resources and arrivals into the figures of [`judge`]. [`hash`] and [`tree`] have the definitions
//! that all of them use.

pub mod device;
pub mod disk;
pub mod hash;
pub mod job;
pub mod judge;
pub mod lane;
pub mod matrix;
pub mod memory;
pub mod part;
pub mod plot;
pub mod processor;
pub mod proof;
pub mod ram;
pub mod run;
pub mod sample;
pub mod tree;
pub mod verdict;
