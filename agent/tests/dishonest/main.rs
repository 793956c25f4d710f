//! Dishonest provers against an honest checker, over the wire.
//!
//! Each attack is a program that does it: it computes at small sizes what it would compute at production's, sends the
//! parts over QUIC at the times that the model of its machine needs for production's sizes ([`model`]), and opens
//! what it is asked for. The checker is the agent as it is, with a clock that the test drives. It verifies the
//! openings at the small sizes and judges them as production's ([`rules`]).
//!
//! An attack stands beside its honest twin, which passes, and beside itself with the one rule off that is said to find
//! it, where it passes too. So no test passes for another reason. `docs/proof.md` names the tests.

mod floods;
mod gpus;
mod honest;
mod identities;
mod lanes;
mod matrices;
mod model;
mod plots;
mod provers;
mod restarts;
mod roots;
mod rules;
mod windows;
mod wire;
#[path = "../suite/world.rs"]
mod world;
