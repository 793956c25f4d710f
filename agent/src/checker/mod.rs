//! The checker's side: when rounds began and roots came, and the checks of workers.

pub mod check;
pub mod checks;
mod probe;
pub mod rounds;
