//! The trial of the second edition in plain code: what a worker computes from one start, and how a checker verifies
//! it. The benchmark that runs today is [`crate::bench`]; this takes its place once devices, messages and the judge's
//! clock follow.
//!
//! | resource | prepared | in the trial |
//! | --- | --- | --- |
//! | processor and memory ([`processor`]) | [`memory`], filled page by page ([`ram`]) | [`lane`]s over it |
//! | disk ([`disk`]) | a [`plot`] of linked nodes | strands of dependent reads |
//! | GPU ([`matrix`]) | a window of matrices | turns of products and walks |
//!
//! [`hash`] and [`tree`] hold the definitions that all of them are written in, [`sample`] what a checker draws and
//! in which form it is shown, [`judge`] what sizes and times say.

pub mod disk;
pub mod hash;
pub mod judge;
pub mod lane;
pub mod matrix;
pub mod memory;
pub mod plot;
pub mod processor;
pub mod ram;
pub mod sample;
pub mod tree;
