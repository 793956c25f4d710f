//! The checker's side: which workers may push, when rounds began and roots came, and the checks of workers.

pub mod admission;
pub mod check;
pub mod checks;
mod probe;
pub mod rounds;
