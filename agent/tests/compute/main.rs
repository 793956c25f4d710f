//! Tests that take every core and no network: the kernels on software Vulkan, the verifier at full size,
//! and all decoders over their corpus.

mod fuzz;
mod gpu;
mod made;
mod opened;
mod verifier;
