//! Dishonest programs over the wire, each against agents as they are, beside an honest one that does the same, and
//! against agents without the one defense that stops it.

mod floods;
mod identities;
#[path = "../suite/world.rs"]
mod world;
