//! The checker's side: measures and verifies workers.

pub mod check;
