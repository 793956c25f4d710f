//! Tests, by call and by subject.

mod attacks;
mod claims;
mod constant;
mod delegations;
mod emission;
mod epochs;
mod fees;
mod members;
mod model;
mod params;
mod properties;
mod redemptions;
mod retired;
mod scores;
mod settle;
mod simulation;
mod story;
mod tables;
