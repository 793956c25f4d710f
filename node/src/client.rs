//! The types of the client and of its parts.

use kaisar_runtime::{Block, RuntimeApi};

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
