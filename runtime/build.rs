//! Builds the runtime's WASM for the node. It is built twice, since it contains the hash of its own
//! metadata. Without that hash, hardware wallets and all others that check what they sign refuse the chain.

fn main() {
	#[cfg(feature = "std")]
	substrate_wasm_builder::WasmBuilder::init_with_defaults()
		.enable_metadata_hash("KAI", 18)
		.build();
}
