//! Dishonest provers against an honest checker, over the wire.
//!
//! Each attack is a working program: it does at small sizes the work that it would do at production's, sends
//! the parts over QUIC at the times that the model of its machine needs for production's sizes ([`model`]),
//! and answers challenges. The checker is the real agent, with a clock that the test drives. It verifies the
//! openings at the small sizes and judges them as production's ([`rules`]).
//!
//! Each attack is paired with its honest twin, which passes, and with itself without the one rule that
//! detects it, where it passes too. So no test passes for another reason. `docs/proof.md` names the tests.

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
