//! Plays strategies against the runtime, and says what they earn beside honesty.
#![allow(missing_docs)]
pub mod actors;
pub mod books;
pub mod capture;
pub mod chain;
pub mod network;
pub mod physics;
pub mod play;
pub mod pool;
pub mod store;
pub mod strategies;
pub mod world;
