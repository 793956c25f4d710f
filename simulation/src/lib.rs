//! # Earnings of strategies, compared with honesty
//!
//! This crate plays strategies against the real runtime. It founds a network, drives it natively block by
//! block, and plays it twice with the same randomness: once with a party that follows a strategy, and once
//! with an honest party with the same machines, licenses and KAI in its place. Every rule is the runtime's
//! own, so no second implementation has to be proved equal.
//!
//! | Module | Contents |
//! | --- | --- |
//! | [`store`] | the state: a sorted map with a journal, instead of a trie |
//! | [`chain`] | a block, from BABE's header to `on_finalize`; a transaction, with all of the runtime's extensions |
//! | [`pool`] | pending transactions, and the filling of blocks with them |
//! | [`network`] | rules, genesis, and the honest parties around a play |
//! | [`physics`] | machines, and the hardware that identities can show of them |
//! | [`actors`] | parties, and the minds that lead them |
//! | [`background`] | the mind of the honest network |
//! | [`world`] | a network in play, and the nodes that work for its parties |
//! | [`books`] | the balance sheet of a party |
//! | [`strategies`] | the strategies |
//! | [`play`] | plays in pairs |
//! | [`capture`], [`floods`], [`authors`] | separate measurements: committees, blocks, draws |
//! | [`report`] | tables and JSON |
//!
//! ```
//! use kaisar_simulation::{network::{Network, Rules}, play::Players, strategies};
//! // A play of forty blocks, too short for a census.
//! let rules = Rules { epoch_length: 40, ..Rules::short() };
//! let control = strategies::by_name("honest").expect("the strategy is listed");
//! let pair = Players::default().pair(&control, &Network::of(20, rules, 1));
//! let pair = pair.expect("the plays succeed");
//! assert_eq!(pair.strategic, pair.honest);
//! ```
//!
//! The results, and their limits, are in `docs/security.md`.

pub mod actors;
pub mod authors;
pub mod background;
pub mod books;
pub mod capture;
pub mod chain;
pub mod floods;
pub mod network;
pub mod physics;
pub mod play;
pub mod pool;
pub mod report;
pub mod store;
pub mod strategies;
pub mod world;
