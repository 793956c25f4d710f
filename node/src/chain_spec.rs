//! The chains that the node knows by name. Each is a genesis preset of the same WASM.

use kaisar_runtime::{WASM_BINARY, presets};
use sc_chain_spec::{ChainSpecBuilder, ChainType, GenericChainSpec, GetExtension, Properties};
use sc_sync_state_rpc::LightSyncStateExtension;
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId};

/// The chains that a node can be given.
const CHOICES: &str = "`--dev` is a chain of this machine alone, `--chain local` one of two validators with \
	well-known keys, and `--chain FILE` that of a chain spec";

/// A chain specification.
pub type ChainSpec = GenericChainSpec<Origin>;

/// Where a specification comes from, and what light clients need in it. A file does not tell the first: whatever it was
/// exported from, it may have been changed since.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
	/// The preset of this node's own WASM that is its genesis.
	#[serde(skip)]
	preset: Option<&'static str>,
	/// A block to start from, for light clients: `sync_state_genSyncSpec` puts it in.
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

/// Name, id and kind of `staging`, until its operator names it.
pub const STAGING: (&str, &str, ChainType) = ("Kaisar Staging", "kaisar_staging", ChainType::Live);

/// The specification of this name, or `None` if there is none. There is no default chain: a node that joins or starts
/// one by mistake is worse than one that asks.
pub fn load(name: &str) -> Option<Result<ChainSpec, String>> {
	let (title, id, kind, preset) = match name {
		"" => return Some(Err(format!("no chain is named: {CHOICES}"))),
		presets::STAGING => {
			return Some(Err(
				"`staging` knows no keys: write those of its validators into a file, make its chain spec by \
				 `kaisar-node staging-spec --keys FILE > staging.json`, and give all of its nodes `--chain staging.json`"
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

/// What the specifications of all chains have in common.
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
