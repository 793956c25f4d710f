//! Tests, by call and by idea.

mod claims;
mod constant;
mod epochs;
mod properties;
mod scores;
mod settle;
mod tables;
