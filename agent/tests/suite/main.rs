//! Agents as their nodes drive them, over QUIC and loopback HTTP, in one process and so in one binary.
//!
//! Kept apart from it are tests that would be in its way: `compute` takes every core, `containers` makes
//! engines copy images, and stages are timed here; `netns` needs the machine to itself and changes the
//! session and the priority of its process.

mod attacks;
mod binary;
mod measure;
mod relay;
mod rented;
mod round;
mod status;
mod strangers;
mod tunnel;
mod world;
