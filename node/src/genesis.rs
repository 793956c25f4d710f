//! Builds the genesis block with the client's own executor.
//!
//! The SDK's builder compiles the WASM of a preset twice before the client compiles it once more, and does
//! so even if the database already has its genesis block. Each compilation takes seconds. This builder uses
//! the client's executor, which keeps compiled code, and builds nothing that the database already has.

use crate::{
	chain_spec,
	client::{Executor, FullBackend},
};
use codec::{Decode, Encode};
use kaisar_runtime::opaque::Block;
use sc_chain_spec::{BuildGenesisBlock, ChainSpec, GenesisBlockBuilder};
use sc_client_api::Backend;
use serde_json::Value;
use sp_core::{
	storage::{Storage, well_known_keys::CODE},
	traits::{CallContext, CodeExecutor, RuntimeCode, WrappedRuntimeCode},
};
use sp_genesis_builder::PresetId;
use sp_runtime::traits::{BlakeTwo256, Hash};
use sp_state_machine::BasicExternalities;
use std::sync::Arc;

/// Builder of the genesis block, which the client uses if its database has none.
pub struct Genesis<'a> {
	/// Specification of the chain.
	pub spec: &'a dyn ChainSpec,
	/// Whether the state is written with the block.
	pub commit_state: bool,
	/// Database.
	pub backend: Arc<FullBackend>,
	/// Executor of the client.
	pub executor: Executor,
}

impl BuildGenesisBlock<Block> for Genesis<'_> {
	type BlockImportOperation = <FullBackend as Backend<Block>>::BlockImportOperation;

	fn build_genesis_block(self) -> sp_blockchain::Result<(Block, Self::BlockImportOperation)> {
		let storage = storage(self.spec, &self.executor).map_err(sp_blockchain::Error::Storage)?;
		GenesisBlockBuilder::new_with_storage(
			storage,
			self.commit_state,
			self.backend,
			self.executor,
		)?
		.build_genesis_block()
	}
}

/// Returns the genesis state of a chain. A specification from a file builds its own.
fn storage(spec: &dyn ChainSpec, executor: &Executor) -> Result<Storage, String> {
	match chain_spec::preset(spec) {
		Some(preset) => of_preset(chain_spec::wasm()?, preset, executor),
		None => spec.as_storage_builder().build_storage(),
	}
}

/// Returns the state that `wasm` builds from its preset, which patches the default configuration.
fn of_preset(wasm: &[u8], preset: &str, executor: &Executor) -> Result<Storage, String> {
	let fetcher = WrappedRuntimeCode(wasm.into());
	let code = RuntimeCode {
		code_fetcher: &fetcher,
		heap_pages: None,
		// The client hashes the code in the state in this way, so it finds what is compiled here.
		hash: BlakeTwo256::hash(wasm).encode(),
	};
	let call = |ext: &mut BasicExternalities, method: &str, data: Vec<u8>| {
		executor
			.call(ext, &code, method, &data, CallContext::Offchain)
			.0
			.map_err(|error| format!("{method} failed: {error}"))
	};
	let config = |name: Option<PresetId>| -> Result<Value, String> {
		let answer = call(
			&mut BasicExternalities::new_empty(),
			"GenesisBuilder_get_preset",
			name.encode(),
		)?;
		let json = Option::<Vec<u8>>::decode(&mut &answer[..])
			.map_err(|error| format!("Invalid answer to GenesisBuilder_get_preset: {error}"))?
			.ok_or_else(|| format!("The runtime has no preset {name:?}"))?;
		serde_json::from_slice(&json)
			.map_err(|error| format!("The preset {name:?} is not valid JSON: {error}"))
	};

	let mut json = config(None)?;
	sc_chain_spec::json_patch::merge(&mut json, config(Some(preset.into()))?);
	let mut ext = BasicExternalities::new_empty();
	let answer = call(
		&mut ext,
		"GenesisBuilder_build_state",
		json.to_string().encode(),
	)?;
	sp_genesis_builder::Result::decode(&mut &answer[..])
		.map_err(|error| format!("Invalid answer to GenesisBuilder_build_state: {error}"))??;
	let mut storage = ext.into_storages();
	storage.top.insert(CODE.to_vec(), wasm.to_vec());
	Ok(storage)
}

#[cfg(test)]
mod tests {
	use super::*;
	use kaisar_runtime::presets;

	/// Returns the state that the runtime's native code builds.
	fn native(preset: &str) -> Storage {
		let config = |name| -> Value {
			let json = presets::get_preset(name).expect("the preset exists");
			serde_json::from_slice(&json).expect("the preset is JSON")
		};
		let mut json = config(None);
		sc_chain_spec::json_patch::merge(&mut json, config(Some(preset)));
		let mut ext = BasicExternalities::new_empty();
		ext.execute_with(|| presets::build_state(json.to_string().as_bytes()))
			.expect("the preset builds");
		ext.into_storages()
	}

	// The SDK's builder would be another reference, but compiles the WASM twice for each preset.
	#[test]
	fn the_state_of_every_preset_is_that_of_the_native_code() {
		let executor = Executor::default();
		for (name, preset) in [("dev", presets::DEVELOPMENT), ("local", presets::LOCAL)] {
			let spec = chain_spec::load(name)
				.expect("the chain is known")
				.expect("the WASM is built");
			let mut built = storage(&spec, &executor).expect("the genesis builds");
			let code = built.top.remove(CODE);
			assert_eq!(
				code.as_deref(),
				Some(chain_spec::wasm().expect("the WASM is built"))
			);
			let expected = native(preset);
			assert!(expected.top.len() > 50, "{name}");
			assert_eq!(built.top, expected.top, "{name}");
			assert_eq!(built.children_default, expected.children_default, "{name}");
		}
	}

	#[test]
	fn a_specification_from_a_file_is_no_preset() {
		let spec = chain_spec::load("dev")
			.expect("the chain is known")
			.expect("the WASM is built");
		assert_eq!(chain_spec::preset(&spec), Some(presets::DEVELOPMENT));
		let json = r#"{"name":"Changed","id":"dev","bootNodes":[],"genesis":{"raw":{"top":{},"childrenDefault":{}}}}"#;
		let spec = chain_spec::ChainSpec::from_json_bytes(json.as_bytes())
			.expect("the specification is valid");
		assert_eq!(chain_spec::preset(&spec), None);
		let storage =
			storage(&spec, &Executor::default()).expect("the specification has raw storage");
		assert!(storage.top.is_empty());
	}
}
