//! RPC beyond what every node has.

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
	/// Where the agent with this ed25519 key is: its encoded `AddressRecord`, which it signed itself, or
	/// null if neither this node nor the network's DHT knows. May take some seconds.
	#[method(name = "agentAddress")]
	async fn agent_address(&self, agent: H256) -> RpcResult<Option<Bytes>>;
}

/// How long the DHT may take to answer a user.
const ANSWER: Duration = Duration::from_secs(8);

/// Answers [`KaisarApi`].
struct Kaisar(Addresses);

#[async_trait]
impl KaisarApiServer for Kaisar {
	async fn agent_address(&self, agent: H256) -> RpcResult<Option<Bytes>> {
		let agent = AgentKey::from_raw(agent.0);
		Ok(self.0.locate(&agent, ANSWER).await.map(Bytes))
	}
}

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
	/// The chain's specification.
	pub chain_spec: Box<dyn sc_chain_spec::ChainSpec>,
	/// Where agents are.
	pub addresses: Addresses,
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
