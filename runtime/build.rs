//! Builds the runtime's WASM for the node: twice, since the hash of its metadata goes into it. Without that
//! hash, hardware wallets and all others that check what they sign refuse the chain.

fn main() {
	#[cfg(feature = "std")]
	substrate_wasm_builder::WasmBuilder::init_with_defaults()
		.enable_metadata_hash("KAI", 18)
		.build();
}
