//! The chains that the node knows by name. Each is a genesis preset of the same WASM.

use kaisar_runtime::{WASM_BINARY, presets};
use sc_chain_spec::{ChainType, GenericChainSpec, Properties};

/// A chain specification.
pub type ChainSpec = GenericChainSpec;

/// What wallets need to know.
fn properties() -> Properties {
	let mut properties = Properties::new();
	properties.insert(
		"ss58Format".into(),
		kaisar_runtime::constants::SS58_PREFIX.into(),
	);
	properties.insert("tokenSymbol".into(), "KAI".into());
	properties.insert("tokenDecimals".into(), 18.into());
	properties
}

/// The specification of this name, or `None` if there is none.
pub fn load(name: &str) -> Option<Result<ChainSpec, String>> {
	let (title, id, kind, preset) = match name {
		"dev" | "development" => (
			"Kaisar Development",
			"dev",
			ChainType::Development,
			presets::DEVELOPMENT,
		),
		"local" => (
			"Kaisar Local",
			"kaisar_local",
			ChainType::Local,
			presets::LOCAL,
		),
		"" | "staging" => (
			"Kaisar Staging",
			"kaisar_staging",
			ChainType::Live,
			presets::STAGING,
		),
		_ => return None,
	};
	let Some(wasm) = WASM_BINARY else {
		return Some(Err(
			"This node was built without its WASM (SKIP_WASM_BUILD)".into(),
		));
	};
	Some(Ok(ChainSpec::builder(wasm, Default::default())
		.with_name(title)
		.with_id(id)
		.with_chain_type(kind)
		.with_protocol_id("kaisar")
		.with_properties(properties())
		.with_genesis_config_preset_name(preset)
		.build()))
}
