//! Assembles and starts the node's services.

use crate::{
	addresses::{self, Addresses},
	agents,
	cli::{Roles, Sealing},
	client::{self, FullBackend, FullClient, FullPool, FullSelectChain},
	dev::{self, Clock},
	genesis::Genesis,
	rpc, wall_clock,
};
use futures::FutureExt;
use kaisar_primitives::offchain::LOCKS;
use kaisar_runtime::{Hash, RuntimeApi, opaque::Block};
use sc_client_api::{Backend, BlockBackend};
use sc_consensus_babe::{BabeBlockImport, BabeLink, BabeWorkerHandle, SlotProportion};
use sc_consensus_grandpa::{FinalityProofProvider, GrandpaBlockImport, LinkHalf, SharedVoterState};
use sc_network::NetworkBackend;
use sc_service::{ChainType, Configuration, Error, PartialComponents, TaskManager, WarpSyncConfig};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_core::offchain::{OffchainStorage, STORAGE_PREFIX};
use std::{path::Path, sync::Arc};

/// GRANDPA's block import.
type FullGrandpaImport = GrandpaBlockImport<FullBackend, Block, FullClient, FullSelectChain>;
/// BABE's block import, which wraps GRANDPA's.
type FullBlockImport =
	BabeBlockImport<Block, FullClient, FullGrandpaImport, Clock, FullSelectChain>;

/// Interval, in blocks, of the GRANDPA justifications that the node stores and imports.
const JUSTIFICATION_PERIOD: u32 = 512;

/// Parts that only [`new_full`] uses.
pub struct FullNodeParts {
	/// Block import of BABE and GRANDPA.
	block_import: FullBlockImport,
	/// GRANDPA's link, from which the voter is built.
	grandpa: LinkHalf<Block, FullClient, FullSelectChain>,
	/// BABE's link, with its epochs.
	babe: BabeLink<Block>,
	/// BABE's worker; none on a development chain.
	babe_handle: Option<BabeWorkerHandle<Block>>,
	/// Source of the time of new blocks.
	clock: Clock,
	/// Telemetry, if endpoints are set.
	telemetry: Option<Telemetry>,
}

/// Components of a node that does not run yet.
type Partial = PartialComponents<
	FullClient,
	FullBackend,
	FullSelectChain,
	sc_consensus::DefaultImportQueue<Block>,
	FullPool,
	FullNodeParts,
>;

/// Releases the locks of off-chain workers that an earlier run of the node still holds.
fn release_locks(storage: &mut impl OffchainStorage) {
	for lock in LOCKS {
		storage.remove(STORAGE_PREFIX, lock);
	}
}

/// Builds the parts that every command on the chain needs. With `manual`, blocks carry no seal and the chain
/// keeps its own time. The compiled WASM is kept in `wasm_cache`.
pub fn new_partial(
	config: &Configuration,
	manual: bool,
	wasm_cache: Option<&Path>,
) -> Result<Partial, Error> {
	let telemetry = config
		.telemetry_endpoints
		.clone()
		.filter(|endpoints| !endpoints.is_empty())
		.map(|endpoints| -> Result<_, sc_telemetry::Error> {
			let worker = TelemetryWorker::new(16)?;
			let telemetry = worker.handle().new_telemetry(endpoints);
			Ok((worker, telemetry))
		})
		.transpose()?;

	let executor = client::executor(&config.executor, wasm_cache)?;
	let backend = sc_service::new_db_backend(config.db_config())?;
	let genesis = Genesis {
		spec: &*config.chain_spec,
		commit_state: !config.no_genesis(),
		backend: backend.clone(),
		executor: executor.clone(),
	};
	let (client, backend, keystore_container, task_manager) =
		sc_service::new_full_parts_with_genesis_builder::<Block, RuntimeApi, _, _>(
			config,
			telemetry.as_ref().map(|(_, telemetry)| telemetry.handle()),
			executor,
			backend,
			genesis,
			false,
		)?;
	let client = Arc::new(client);
	let telemetry = telemetry.map(|(worker, telemetry)| {
		task_manager
			.spawn_handle()
			.spawn("telemetry", None, worker.run());
		telemetry
	});

	let select_chain = sc_consensus::LongestChain::new(backend.clone());
	let transaction_pool = Arc::from(
		sc_transaction_pool::Builder::new(
			task_manager.spawn_essential_handle(),
			client.clone(),
			config.role.is_authority().into(),
		)
		.with_options(config.transaction_pool.clone())
		.with_prometheus(config.prometheus_registry())
		.build(),
	);

	let (grandpa_import, grandpa) = sc_consensus_grandpa::block_import(
		client.clone(),
		JUSTIFICATION_PERIOD,
		&(client.clone() as Arc<_>),
		select_chain.clone(),
		telemetry.as_ref().map(|telemetry| telemetry.handle()),
	)?;
	let justification_import = grandpa_import.clone();

	let babe_config = sc_consensus_babe::configuration(&*client)?;
	let slot_duration = babe_config.slot_duration();
	let clock = if manual {
		Clock::Chain(slot_duration, client.clone())
	} else {
		Clock::Wall(slot_duration)
	};
	let (block_import, babe) = sc_consensus_babe::block_import(
		babe_config,
		grandpa_import,
		client.clone(),
		clock.clone(),
		select_chain.clone(),
		OffchainTransactionPoolFactory::new(transaction_pool.clone()),
	)?;

	let (import_queue, babe_handle) = if manual {
		let verifier = sc_consensus_manual_seal::consensus::babe::BabeVerifier::new(
			babe.epoch_changes().clone(),
			client.clone(),
		);
		let queue = sc_consensus::BasicQueue::new(
			verifier,
			Box::new(block_import.clone()),
			Some(Box::new(justification_import)),
			&task_manager.spawn_essential_handle(),
			config.prometheus_registry(),
		);
		(queue, None)
	} else {
		let (queue, handle) =
			sc_consensus_babe::import_queue(sc_consensus_babe::ImportQueueParams {
				link: babe.clone(),
				block_import: block_import.clone(),
				justification_import: Some(Box::new(justification_import)),
				client: client.clone(),
				slot_duration,
				spawner: &task_manager.spawn_essential_handle(),
				registry: config.prometheus_registry(),
				telemetry: telemetry.as_ref().map(|telemetry| telemetry.handle()),
			})?;
		(queue, Some(handle))
	};

	Ok(PartialComponents {
		client,
		backend,
		task_manager,
		keystore_container,
		select_chain,
		import_queue,
		transaction_pool,
		other: FullNodeParts {
			block_import,
			grandpa,
			babe,
			babe_handle,
			clock,
			telemetry,
		},
	})
}

/// Starts a node. `sealing` is set for development chains only.
pub fn new_full<Network: NetworkBackend<Block, Hash>>(
	config: Configuration,
	roles: Roles,
	sealing: Option<Sealing>,
	wasm_cache: Option<&Path>,
) -> Result<TaskManager, Error> {
	let PartialComponents {
		client,
		backend,
		mut task_manager,
		import_queue,
		keystore_container,
		select_chain,
		transaction_pool,
		other:
			FullNodeParts {
				block_import,
				grandpa,
				babe,
				babe_handle,
				clock,
				mut telemetry,
			},
	} = new_partial(&config, sealing.is_some(), wasm_cache)?;

	let metrics = Network::register_notification_metrics(config.prometheus_registry());
	let mut network_config =
		sc_network::config::FullNetworkConfiguration::<Block, Hash, Network>::new(
			&config.network,
			config.prometheus_registry().cloned(),
		);
	let genesis = client
		.block_hash(0)?
		.ok_or_else(|| Error::Other("The database has no genesis block".into()))?;
	let grandpa_protocol =
		sc_consensus_grandpa::protocol_standard_name(&genesis, &config.chain_spec);
	let (grandpa_network, grandpa_notifications) =
		sc_consensus_grandpa::grandpa_peers_set_config::<Block, Network>(
			grandpa_protocol.clone(),
			metrics.clone(),
			network_config.peer_store_handle(),
		);
	let enable_grandpa = !config.disable_grandpa && sealing.is_none();
	if enable_grandpa {
		network_config.add_notification_protocol(grandpa_network);
	}
	let warp_sync = Arc::new(sc_consensus_grandpa::warp_proof::NetworkProvider::new(
		backend.clone(),
		grandpa.shared_authority_set().clone(),
		Vec::new(),
	));

	let (network, system_rpc_tx, tx_handler_controller, sync_service, _bitswap) =
		sc_service::build_network(sc_service::BuildNetworkParams {
			config: &config,
			net_config: network_config,
			client: client.clone(),
			transaction_pool: transaction_pool.clone(),
			spawn_handle: task_manager.spawn_handle(),
			spawn_essential_handle: task_manager.spawn_essential_handle(),
			import_queue,
			block_announce_validator_builder: None,
			warp_sync_config: Some(WarpSyncConfig::WithProvider(warp_sync)),
			block_relay: None,
			metrics,
			gap_sync_body_policy: None,
		})?;

	let keystore = keystore_container.keystore();
	let is_dev = sealing.is_some();
	let agents_folder = config
		.base_path
		.config_dir(config.chain_spec.id())
		.join("agents");
	let mut roles = roles;
	if config.chain_spec.chain_type() != ChainType::Live {
		// Such a chain runs on one machine, or in one LAN.
		roles.agent_arg.insert(0, "--publish-private".into());
	}
	let managed_agents = agents::managed_agents(&roles, is_dev, &agents_folder, &keystore)
		.map_err(|error| Error::Other(format!("{error:#}")))?;

	if config.offchain_worker.enabled || roles.provider || roles.checker || is_dev {
		if let Some(mut storage) = backend.offchain_storage() {
			release_locks(&mut storage);
		}
		let workers = sc_offchain::OffchainWorkers::new(sc_offchain::OffchainWorkerOptions {
			runtime_api_provider: client.clone(),
			keystore: Some(keystore.clone()),
			offchain_db: backend.offchain_storage(),
			transaction_pool: Some(OffchainTransactionPoolFactory::new(
				transaction_pool.clone(),
			)),
			network_provider: Arc::new(network.clone()),
			is_validator: config.role.is_authority(),
			enable_http_requests: true,
			custom_extensions: |_| Vec::new(),
		})?;
		task_manager.spawn_handle().spawn(
			"offchain-workers-runner",
			Some("offchain-worker"),
			workers
				.run(client.clone(), task_manager.spawn_handle())
				.boxed(),
		);
	}
	// Every node stores the addresses of others' agents, whether or not it has agents itself.
	let addresses = Addresses::new(client.clone());
	task_manager.spawn_handle().spawn(
		"agent-addresses",
		Some("agents"),
		addresses::run(addresses.clone(), network.clone()),
	);
	if let Some(storage) = backend.offchain_storage() {
		agents::spawn(
			managed_agents,
			storage,
			keystore.clone(),
			&addresses,
			&task_manager.spawn_handle(),
		);
	}

	// A development chain keeps its own time.
	if let Clock::Wall(slot) = &clock {
		task_manager.spawn_handle().spawn(
			"wall-clock",
			None,
			wall_clock::run(
				client.clone(),
				sync_service.clone(),
				*slot,
				addresses.clone(),
			),
		);
	}

	let role = config.role;
	let force_authoring = config.force_authoring;
	let backoff = Some(sc_consensus_slots::BackoffAuthoringOnFinalizedHeadLagging::default());
	let name = config.network.node_name.clone();
	let prometheus = config.prometheus_registry().cloned();
	let voter = SharedVoterState::empty();
	let (seal, seal_orders) = futures::channel::mpsc::channel(1_000);

	let rpc_builder = {
		let client = client.clone();
		let pool = transaction_pool.clone();
		let select_chain = select_chain.clone();
		let keystore = keystore.clone();
		let voter = voter.clone();
		let authorities = grandpa.shared_authority_set().clone();
		let justifications = grandpa.justification_stream();
		let finality =
			FinalityProofProvider::new_for_service(backend.clone(), Some(authorities.clone()));
		let chain_spec = config.chain_spec.cloned_box();
		let addresses = addresses.clone();
		let seal = is_dev.then_some(seal);
		Box::new(move |executor| {
			rpc::create(rpc::Deps {
				client: client.clone(),
				pool: pool.clone(),
				select_chain: select_chain.clone(),
				keystore: keystore.clone(),
				babe: babe_handle.clone(),
				voter: voter.clone(),
				authorities: authorities.clone(),
				justifications: justifications.clone(),
				finality: finality.clone(),
				chain_spec: chain_spec.cloned_box(),
				addresses: addresses.clone(),
				seal: seal.clone(),
				executor,
			})
			.map_err(Error::Application)
		})
	};

	sc_service::spawn_tasks(sc_service::SpawnTasksParams {
		config,
		client: client.clone(),
		backend,
		task_manager: &mut task_manager,
		keystore: keystore.clone(),
		transaction_pool: transaction_pool.clone(),
		rpc_builder,
		network: network.clone(),
		system_rpc_tx,
		tx_handler_controller,
		sync_service: sync_service.clone(),
		telemetry: telemetry.as_mut(),
		tracing_execute_block: None,
	})?;

	if role.is_authority() {
		let proposer = sc_basic_authorship::ProposerFactory::new(
			task_manager.spawn_handle(),
			client.clone(),
			transaction_pool.clone(),
			prometheus.as_ref(),
			telemetry.as_ref().map(|telemetry| telemetry.handle()),
		);
		if let Some(sealing) = sealing {
			let consensus =
				sc_consensus_manual_seal::consensus::babe::BabeConsensusDataProvider::new(
					client.clone(),
					keystore.clone(),
					babe.epoch_changes().clone(),
					babe.config().authorities.clone(),
				)
				.map_err(|error| Error::Other(error.to_string()))?;
			let author = sc_consensus_manual_seal::run_manual_seal(
				sc_consensus_manual_seal::ManualSealParams {
					block_import,
					env: proposer,
					client: client.clone(),
					pool: transaction_pool.clone(),
					commands_stream: dev::commands(sealing, &*transaction_pool, seal_orders),
					select_chain,
					consensus_data_provider: Some(Box::new(consensus)),
					create_inherent_data_providers: clock,
				},
			);
			task_manager.spawn_essential_handle().spawn_blocking(
				"finalize",
				Some("block-authoring"),
				dev::finalize(client.clone(), transaction_pool.clone()),
			);
			task_manager.spawn_essential_handle().spawn_blocking(
				"manual-seal",
				Some("block-authoring"),
				author,
			);
			return Ok(task_manager);
		}
		let author = sc_consensus_babe::start_babe(sc_consensus_babe::BabeParams {
			keystore: keystore.clone(),
			client,
			select_chain,
			env: proposer,
			block_import,
			sync_oracle: sync_service.clone(),
			justification_sync_link: sync_service.clone(),
			create_inherent_data_providers: clock,
			force_authoring,
			backoff_authoring_blocks: backoff,
			babe_link: babe,
			block_proposal_slot_portion: SlotProportion::new(
				kaisar_runtime::constants::BLOCK_PROPOSAL_SLOT_PORTION,
			),
			max_block_proposal_slot_portion: None,
			telemetry: telemetry.as_ref().map(|telemetry| telemetry.handle()),
		})?;
		task_manager.spawn_essential_handle().spawn_blocking(
			"babe-proposer",
			Some("block-authoring"),
			author,
		);
	}

	if enable_grandpa {
		let config = sc_consensus_grandpa::Config {
			gossip_duration: std::time::Duration::from_millis(333),
			justification_generation_period: JUSTIFICATION_PERIOD,
			name: Some(name),
			observer_enabled: false,
			keystore: role.is_authority().then(|| keystore.clone()),
			local_role: role,
			telemetry: telemetry.as_ref().map(|telemetry| telemetry.handle()),
			protocol_name: grandpa_protocol,
		};
		let voter = sc_consensus_grandpa::run_grandpa_voter(sc_consensus_grandpa::GrandpaParams {
			config,
			link: grandpa,
			network,
			sync: sync_service,
			notification_service: grandpa_notifications,
			voting_rule: sc_consensus_grandpa::VotingRulesBuilder::default().build(),
			prometheus_registry: prometheus,
			shared_voter_state: voter,
			telemetry: telemetry.as_ref().map(|telemetry| telemetry.handle()),
			offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(transaction_pool),
		})?;
		task_manager
			.spawn_essential_handle()
			.spawn_blocking("grandpa-voter", None, voter);
	}

	Ok(task_manager)
}
