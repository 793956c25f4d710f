//! The chains that the node knows by name. Each is a genesis preset of the same WASM.

use kaisar_runtime::{WASM_BINARY, presets};
use sc_chain_spec::{ChainType, GenericChainSpec, GetExtension, Properties};
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId};

/// A chain specification.
pub type ChainSpec = GenericChainSpec<Origin>;

/// Where a specification comes from. A file does not tell: whatever it was exported from, it may have been
/// changed since.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
	/// The preset of this node's own WASM that is its genesis.
	#[serde(skip)]
	preset: Option<&'static str>,
}

impl GetExtension for Origin {
	fn get_any(&self, _: TypeId) -> &dyn Any {
		self
	}

	fn get_any_mut(&mut self, _: TypeId) -> &mut dyn Any {
		self
	}
}

/// The preset of this node's own WASM that is the genesis of the chain, if one is.
pub fn preset(spec: &dyn sc_chain_spec::ChainSpec) -> Option<&'static str> {
	sc_chain_spec::get_extension::<Origin>(spec.extensions()).and_then(|origin| origin.preset)
}

/// This node's own WASM.
pub fn wasm() -> Result<&'static [u8], String> {
	WASM_BINARY.ok_or_else(|| "This node was built without its WASM (SKIP_WASM_BUILD)".into())
}

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
	let origin = Origin {
		preset: Some(preset),
	};
	Some(wasm().map(|wasm| {
		ChainSpec::builder(wasm, origin)
			.with_name(title)
			.with_id(id)
			.with_chain_type(kind)
			.with_protocol_id("kaisar")
			.with_properties(properties())
			.with_genesis_config_preset_name(preset)
			.build()
	}))
}
