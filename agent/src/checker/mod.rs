//! The checker's side: admission of workers' agents, starts of trials and arrivals of their parts, and
//! checks.

pub mod admission;
pub mod check;
pub mod checks;
pub mod line;
mod probe;
pub mod rounds;
pub mod rules;
