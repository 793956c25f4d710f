//! RPC that the node adds to Substrate's own.

use crate::{
	addresses::Addresses,
	client::{FullBackend, FullClient, FullPool, FullSelectChain},
};
use jsonrpsee::{
	RpcModule,
	core::{RpcResult, async_trait},
	proc_macros::rpc,
};
use kaisar_primitives::AgentKey;
use kaisar_runtime::{BlockNumber, Hash, opaque::Block};
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
use sc_sync_state_rpc::{SyncState, SyncStateApiServer};
use sp_core::{Bytes, H256};
use sp_keystore::KeystorePtr;
use std::{sync::Arc, time::Duration};

/// Kaisar's own RPCs.
#[rpc(server, namespace = "kaisar")]
pub trait KaisarApi {
	/// Returns the address of the agent with this ed25519 key: its encoded `AddressRecord`, signed by the
	/// agent itself, or null if neither this node nor the network's DHT has one. May take some seconds.
	#[method(name = "agentAddress")]
	async fn agent_address(&self, agent: H256) -> RpcResult<Option<Bytes>>;
}

/// Timeout of a DHT lookup for a user.
const ANSWER: Duration = Duration::from_secs(8);

/// Implementation of `KaisarApi`.
struct Kaisar(Addresses);

#[async_trait]
impl KaisarApiServer for Kaisar {
	async fn agent_address(&self, agent: H256) -> RpcResult<Option<Bytes>> {
		let agent = AgentKey::from_raw(agent.0);
		Ok(self.0.locate(&agent, ANSWER).await.map(Bytes))
	}
}

/// Dependencies of the RPC methods.
pub struct Deps {
	/// Client.
	pub client: Arc<FullClient>,
	/// Transaction pool.
	pub pool: Arc<FullPool>,
	/// Rule that selects the best chain.
	pub select_chain: FullSelectChain,
	/// Keystore.
	pub keystore: KeystorePtr,
	/// Handle of BABE's worker; none on a development chain.
	pub babe: Option<BabeWorkerHandle<Block>>,
	/// State of this node's GRANDPA voter.
	pub voter: SharedVoterState,
	/// GRANDPA's authorities.
	pub authorities: SharedAuthoritySet<Hash, BlockNumber>,
	/// GRANDPA's justifications.
	pub justifications: GrandpaJustificationStream<Block>,
	/// Prover of finality.
	pub finality: Arc<FinalityProofProvider<FullBackend, Block>>,
	/// Specification of the chain.
	pub chain_spec: Box<dyn sc_chain_spec::ChainSpec>,
	/// Addresses of agents.
	pub addresses: Addresses,
	/// Channel for commands that seal blocks; on a development chain only.
	pub seal: Option<futures::channel::mpsc::Sender<EngineCommand<Hash>>>,
	/// Executor of subscriptions.
	pub executor: SubscriptionTaskExecutor,
}

/// Creates a module with all RPC methods.
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
		chain_spec,
		addresses,
		seal,
		executor,
	} = deps;
	let mut module = RpcModule::new(());
	module.merge(System::new(client.clone(), pool).into_rpc())?;
	module.merge(Kaisar(addresses).into_rpc())?;
	module.merge(TransactionPayment::new(client.clone()).into_rpc())?;
	let grandpa = Grandpa::new(
		executor,
		authorities.clone(),
		voter,
		justifications,
		finality,
	);
	module.merge(grandpa.into_rpc())?;
	if let Some(babe) = babe {
		let sync_state = SyncState::new(chain_spec, client.clone(), authorities, babe.clone())?;
		module.merge(sync_state.into_rpc())?;
		module.merge(Babe::new(client, babe, keystore, select_chain).into_rpc())?;
	}
	if let Some(seal) = seal {
		module.merge(ManualSeal::new(seal).into_rpc())?;
	}
	Ok(module)
}
