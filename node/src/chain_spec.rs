//! Chains that the node knows by name. Each is a genesis preset of the same WASM.

use kaisar_runtime::{WASM_BINARY, presets};
use sc_chain_spec::{ChainSpecBuilder, ChainType, GenericChainSpec, GetExtension, Properties};
use sc_sync_state_rpc::LightSyncStateExtension;
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId};

/// Help on how to name a chain on the command line.
const CHOICES: &str = "`--dev` runs a chain on this machine alone, `--chain local` one with two validators and \
	well-known keys, `--chain FILE` the chain of a chain spec";

/// Chain specification.
pub type ChainSpec = GenericChainSpec<Origin>;

/// Origin of a specification, and its extension for light clients. The origin of a file is unknown: the file
/// may have been changed since it was exported.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
	/// Preset of this node's own WASM that is the chain's genesis.
	#[serde(skip)]
	preset: Option<&'static str>,
	/// Finalized block from which light clients start, set by `sync_state_genSyncSpec`.
	#[serde(
		default,
		rename = "lightSyncState",
		skip_serializing_if = "Option::is_none"
	)]
	sync_state: LightSyncStateExtension,
}

impl GetExtension for Origin {
	fn get_any(&self, wanted: TypeId) -> &dyn Any {
		match wanted == TypeId::of::<LightSyncStateExtension>() {
			true => &self.sync_state,
			false => self,
		}
	}

	fn get_any_mut(&mut self, wanted: TypeId) -> &mut dyn Any {
		match wanted == TypeId::of::<LightSyncStateExtension>() {
			true => &mut self.sync_state,
			false => self,
		}
	}
}

/// Returns the preset of this node's own WASM that is the chain's genesis, if one is.
pub fn preset(spec: &dyn sc_chain_spec::ChainSpec) -> Option<&'static str> {
	sc_chain_spec::get_extension::<Origin>(spec.extensions()).and_then(|origin| origin.preset)
}

/// Returns this node's own WASM.
pub fn wasm() -> Result<&'static [u8], String> {
	WASM_BINARY.ok_or_else(|| {
		"This node was built without its WASM; build it again without SKIP_WASM_BUILD".into()
	})
}

/// Returns the chain's properties for wallets.
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

/// Default name and id of a staging chain, and its type.
pub const STAGING: (&str, &str, ChainType) = ("Kaisar Staging", "kaisar_staging", ChainType::Live);

/// Returns the specification with this name, or `None` if the name is unknown. No chain is the default: an
/// error is better than a node on an unintended chain.
pub fn load(name: &str) -> Option<Result<ChainSpec, String>> {
	let (title, id, kind, preset) = match name {
		"" => return Some(Err(format!("no chain was named; {CHOICES}"))),
		presets::STAGING => {
			return Some(Err(
				"`staging` has no keys of its own: write those of its validators into a file, build its chain spec with \
				 `kaisar-node staging-spec --keys FILE > staging.json`, and start all of its nodes with \
				 `--chain staging.json`"
					.into(),
			));
		}
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
		_ => return None,
	};
	let origin = Origin {
		preset: Some(preset),
		..Default::default()
	};
	Some(
		builder(title, id, kind, origin)
			.map(|it| it.with_genesis_config_preset_name(preset).build()),
	)
}

/// Returns a builder with the settings that all chains share.
pub fn builder(
	name: &str,
	id: &str,
	kind: ChainType,
	origin: Origin,
) -> Result<ChainSpecBuilder<Origin>, String> {
	Ok(ChainSpec::builder(wasm()?, origin)
		.with_name(name)
		.with_id(id)
		.with_chain_type(kind)
		.with_protocol_id("kaisar")
		.with_properties(properties()))
}
