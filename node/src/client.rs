//! The types of the client and of its parts, and its executor.

use kaisar_runtime::{RuntimeApi, opaque::Block};
use sc_executor::{DEFAULT_HEAP_ALLOC_STRATEGY, HeapAllocStrategy};
use sc_service::config::ExecutorConfiguration;
use std::{io, path::Path};

/// Runs the WASM.
pub type Executor = sc_executor::WasmExecutor<sp_io::SubstrateHostFunctions>;
/// The client.
pub type FullClient = sc_service::TFullClient<Block, RuntimeApi, Executor>;
/// The database.
pub type FullBackend = sc_service::TFullBackend<Block>;
/// Which chain is best.
pub type FullSelectChain = sc_consensus::LongestChain<FullBackend, Block>;
/// The pool of transactions.
pub type FullPool = sc_transaction_pool::TransactionPoolHandle<Block, FullClient>;

/// The executor that `config` describes. It keeps the code that it compiles in the folder `cache`, if there
/// is one, and finds it there the next time.
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

/// Makes a folder that only this user can enter, unless it is there already, and returns its whole path.
fn private_folder(path: &Path) -> io::Result<std::path::PathBuf> {
	let mut folder = std::fs::DirBuilder::new();
	folder.recursive(true);
	#[cfg(unix)]
	std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
	folder.create(path)?;
	std::path::absolute(path)
}
