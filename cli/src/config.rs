//! The chain's primitive types, as subxt is configured with them.

use subxt::SubstrateConfig;

/// The chain as subxt sees it.
pub type Config = SubstrateConfig;
