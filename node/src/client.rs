//! Types of the client and of its parts, and its executor.

use kaisar_runtime::{RuntimeApi, opaque::Block};
use sc_executor::{DEFAULT_HEAP_ALLOC_STRATEGY, HeapAllocStrategy};
use sc_service::config::ExecutorConfiguration;
use std::{io, path::Path};

/// Executor of the runtime's WASM.
pub type Executor = sc_executor::WasmExecutor<sp_io::SubstrateHostFunctions>;
/// Client.
pub type FullClient = sc_service::TFullClient<Block, RuntimeApi, Executor>;
/// Database.
pub type FullBackend = sc_service::TFullBackend<Block>;
/// Rule that selects the best chain: the longest.
pub type FullSelectChain = sc_consensus::LongestChain<FullBackend, Block>;
/// Transaction pool.
pub type FullPool = sc_transaction_pool::TransactionPoolHandle<Block, FullClient>;

/// Creates the executor that `config` describes. If a folder `cache` is given, the executor keeps compiled
/// code there, and finds it at the next start.
pub fn executor(config: &ExecutorConfiguration, cache: Option<&Path>) -> io::Result<Executor> {
	let heap = config
		.default_heap_pages
		.map_or(DEFAULT_HEAP_ALLOC_STRATEGY, |pages| {
			HeapAllocStrategy::Static {
				extra_pages: pages as u32,
			}
		});
	let mut builder = Executor::builder()
		.with_execution_method(config.wasm_method)
		.with_onchain_heap_alloc_strategy(heap)
		.with_offchain_heap_alloc_strategy(heap)
		.with_max_runtime_instances(config.max_runtime_instances)
		.with_runtime_cache_size(config.runtime_cache_size);
	if let Some(cache) = cache {
		builder = builder.with_cache_path(private_folder(cache)?);
	}
	Ok(builder.build())
}

/// Creates a folder that only this user can enter, unless it exists, and returns its full path.
fn private_folder(path: &Path) -> io::Result<std::path::PathBuf> {
	let mut folder = std::fs::DirBuilder::new();
	folder.recursive(true);
	#[cfg(unix)]
	std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
	folder.create(path)?;
	std::path::absolute(path)
}
