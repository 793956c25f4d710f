//! The checker's side: which workers may push, when trials began and their parts came, and the checks of workers.

pub mod admission;
pub mod check;
pub mod checks;
pub mod line;
mod probe;
pub mod rounds;
pub mod rules;
