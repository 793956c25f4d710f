//! subxt's configuration for the chain.

use subxt::SubstrateConfig;

/// The chain's primitive types, for subxt.
pub type Config = SubstrateConfig;
