//! Tests by subject.

mod lock;
mod mint;
