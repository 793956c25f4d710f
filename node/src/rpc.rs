//! RPC beyond what every node has.

use crate::service::{FullBackend, FullClient, FullPool, FullSelectChain};
use jsonrpsee::RpcModule;
use kaisar_runtime::{Block, BlockNumber, Hash};
use sc_consensus_babe::BabeWorkerHandle;
use sc_consensus_babe_rpc::{Babe, BabeApiServer};
use sc_consensus_grandpa::{
	FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState,
};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_consensus_manual_seal::{
	EngineCommand,
	rpc::{ManualSeal, ManualSealApiServer},
};
use sc_rpc::SubscriptionTaskExecutor;
use sp_keystore::KeystorePtr;
use std::sync::Arc;

/// What the RPCs need.
pub struct Deps {
	/// The client.
	pub client: Arc<FullClient>,
	/// The pool of transactions.
	pub pool: Arc<FullPool>,
	/// Which chain is best.
	pub select_chain: FullSelectChain,
	/// The keys.
	pub keystore: KeystorePtr,
	/// Asks BABE's worker; none on a development chain.
	pub babe: Option<BabeWorkerHandle<Block>>,
	/// State of this node's GRANDPA voter.
	pub voter: SharedVoterState,
	/// GRANDPA's authorities.
	pub authorities: SharedAuthoritySet<Hash, BlockNumber>,
	/// GRANDPA's justifications.
	pub justifications: GrandpaJustificationStream<Block>,
	/// Proves finality.
	pub finality: Arc<FinalityProofProvider<FullBackend, Block>>,
	/// Seals blocks of a development chain.
	pub seal: Option<futures::channel::mpsc::Sender<EngineCommand<Hash>>>,
	/// Runs subscriptions.
	pub executor: SubscriptionTaskExecutor,
}

/// All of them in one module.
pub fn create(deps: Deps) -> Result<RpcModule<()>, Box<dyn std::error::Error + Send + Sync>> {
	use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
	use substrate_frame_rpc_system::{System, SystemApiServer};

	let Deps {
		client,
		pool,
		select_chain,
		keystore,
		babe,
		voter,
		authorities,
		justifications,
		finality,
		seal,
		executor,
	} = deps;
	let mut module = RpcModule::new(());
	module.merge(System::new(client.clone(), pool).into_rpc())?;
	module.merge(TransactionPayment::new(client.clone()).into_rpc())?;
	module
		.merge(Grandpa::new(executor, authorities, voter, justifications, finality).into_rpc())?;
	if let Some(babe) = babe {
		module.merge(Babe::new(client, babe, keystore, select_chain).into_rpc())?;
	}
	if let Some(seal) = seal {
		module.merge(ManualSeal::new(seal).into_rpc())?;
	}
	Ok(module)
}
