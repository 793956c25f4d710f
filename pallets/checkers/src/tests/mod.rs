//! Tests by call.

mod bans;
mod delegation;
mod genesis;
mod model;
mod operator;
mod prune;
mod seats;
mod story;
mod world;
