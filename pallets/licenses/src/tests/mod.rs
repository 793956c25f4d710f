//! Tests by subject.

mod lock;
mod mint;
mod sale;
mod story;
