//! # What strategies earn beside honesty
//!
//! Plays strategies against the real runtime. A network is founded, driven natively block by block, and
//! played twice with the same randomness: once with a party that follows a strategy, and once with an
//! honest party with the same machines, licenses and KAI in its place. Since there is no second
//! implementation of any rule, nothing has to be proved equal.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`store`] | the state: a sorted map with a journal, in place of a trie |
//! | [`chain`] | a block, from BABE's header to `on_finalize`; a transaction, with all of the runtime's extensions |
//! | [`pool`] | transactions that wait, and how a block is filled with them |
//! | [`network`] | rules, genesis, and the honest people around a play |
//! | [`physics`] | machines: what an identity can show of one |
//! | [`actors`] | parties, and the minds that lead them |
//! | [`background`] | the mind of the honest network |
//! | [`world`] | a network in play, and the nodes that work for its parties |
//! | [`books`] | the balance sheet of a party |
//! | [`strategies`] | the strategies |
//! | [`play`] | plays in pairs |
//! | [`capture`], [`floods`], [`authors`] | what is measured by itself: committees, blocks, draws |
//! | [`report`] | tables and JSON |
//!
//! ```
//! use kaisar_simulation::{network::{Network, Rules}, play::Players, strategies};
//! // A play of forty blocks, too short for a census.
//! let rules = Rules { epoch_length: 40, ..Rules::short() };
//! let control = strategies::by_name("honest").expect("it is listed");
//! let pair = Players::default().pair(&control, &Network::of(20, rules, 1));
//! let pair = pair.expect("nothing is broken");
//! assert_eq!(pair.strategic, pair.honest);
//! ```
//!
//! The results, and what they leave out, are in `docs/security.md`.

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
