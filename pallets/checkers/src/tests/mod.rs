//! Tests by call.

mod delegation;
mod genesis;
mod model;
mod operator;
mod seats;
