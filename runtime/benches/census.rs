//! Measures the cost of a census: the figures of *Load* in `docs/spec/04-popw.md`.
//!
//! ```text
//! cargo bench -p kaisar-runtime --bench census --profile dev -- [--workers N] [--due N] [--operators N]
//! ```
//!
//! Runs a whole census on the WASM runtime, over a trie in memory: every due worker attests, and every
//! operator commits to and reveals its votes, fee-less and signed. The blocks are as full as in a census of
//! 10⁶ workers: the length of a phase grows with the number of workers, so its blocks are the same at
//! 40,000. Each block is built first, and then imported from the state before it by `Core_execute_block`,
//! with the checks of signatures and state root; only the import is timed.
//!
//! The yardstick is a transfer in the same run: the time of a block of attestations, commitments or verdicts
//! is given as a number of transfers, and as the weight that these transfers would be charged, which is the
//! SDK's, benchmarked on its reference machine. The weight that the chain charges stands beside it.
//!
//! The times alone mean little: the host (trie, state machine) is compiled as in a development build, the
//! runtime as always, and the database is not part of the measurement. Weights include it with ParityDB's
//! figures.

use codec::{Decode, Encode};
use kaisar_primitives::{
	CheckedWorkers, Closing, KAI, KeyProof, MAX_BATCH, OperatorId, Outcome, Profile, Verdict,
	Votes, WorkerId, WorkerSpec, commitment,
	keys::{KeyRole, possession_payload},
};
use kaisar_runtime::{
	AccountId, Block, Header, Providers, Runtime, RuntimeCall, RuntimeOrigin, SessionKeys,
	SignedPayload, System, UncheckedExtrinsic, WASM_BINARY,
	configs::{
		extension,
		params::{RuntimeParameters, dynamic_params},
	},
	constants::SLOT_DURATION,
	presets,
};
use pallet_popw::{Check, LastCheck, LastChecks, Rounds, signing_payload};
use sc_executor::WasmExecutor;
use serde_json::json;
use sp_core::{
	H256, Pair,
	crypto::VrfSecret,
	ed25519, sr25519,
	traits::{CallContext, RuntimeCode, WrappedRuntimeCode},
};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use sp_runtime::{
	Digest, DigestItem, Perbill, generic::Era, traits::BlakeTwo256,
	transaction_validity::TransactionValidityError,
};
use sp_state_machine::{OverlayedChanges, StateMachine, TestExternalities};
use std::{
	collections::BTreeMap,
	time::{Duration, Instant},
};

/// Blocks in a phase of a census with at most `MaxDue` workers.
const PHASE: u32 = 25;
/// First slot of the chain; any slot will do.
const FIRST_SLOT: u64 = 150_000_000;
/// Block in which the first round starts.
const FIRST_ROUND: u32 = 6;
/// Number of licenses, which the operators share.
const LICENSES: u32 = 29_998;
/// Profile that every operator finds.
const PROFILE: Profile = Profile {
	bandwidth: 4,
	cpu: 4,
	memory: 4,
	disk: 4,
	gpu_class: 0,
	gpu_count: 0,
};
const VERDICT: Verdict = Verdict {
	online: true,
	service: true,
	timed: true,
	proof: true,
	bandwidth: 4,
	cpu: 4,
	memory: 4,
	disk: 4,
	gpu_class: 0,
	gpu_count: 0,
};

struct Options {
	/// Number of registered workers.
	workers: u32,
	/// Number of workers that are online and due.
	due: u32,
	/// Number of operators: fewer than on the network, so that batches are as full as with 10⁶ due workers.
	operators: u32,
}

impl Options {
	fn read() -> Self {
		let mut options = Self {
			workers: 40_000,
			due: 40_000,
			operators: 600,
		};
		let mut arguments = std::env::args().skip(1);
		while let Some(argument) = arguments.next() {
			let into = match argument.as_str() {
				"--workers" => &mut options.workers,
				"--due" => &mut options.due,
				"--operators" => &mut options.operators,
				// Cargo adds this argument.
				"--bench" => continue,
				other => panic!("unknown argument {other}"),
			};
			*into = arguments
				.next()
				.and_then(|value| value.replace('_', "").parse().ok())
				.unwrap_or_else(|| panic!("{argument} takes a number"));
		}
		assert!(options.due <= 40_000, "one phase of 25 blocks is measured");
		options.workers = options.workers.max(options.due);
		options
	}
}

/// Returns the seed of key number `n` of a kind.
fn seed(kind: u8, n: u32) -> [u8; 32] {
	let mut seed = [kind; 32];
	seed[..4].copy_from_slice(&n.to_le_bytes());
	seed
}
fn worker_pair(worker: WorkerId) -> sr25519::Pair {
	sr25519::Pair::from_seed(&seed(1, worker))
}
fn checker_pair(operator: OperatorId) -> sr25519::Pair {
	sr25519::Pair::from_seed(&seed(2, operator))
}
fn operator_account(operator: OperatorId) -> AccountId {
	AccountId::from(seed(3, operator))
}

/// State of the chain, and the executor of its blocks.
struct Chain {
	state: TestExternalities<BlakeTwo256>,
	executor: WasmExecutor<sp_io::SubstrateHostFunctions>,
	parent: Option<Header>,
	number: u32,
}

/// Cost of a block's import.
struct Imported {
	time: Duration,
	/// Weight that the chain charged, as a part of the limit of a block.
	charged: f64,
}

impl Chain {
	fn new(options: &Options) -> Self {
		let mut state = TestExternalities::<BlakeTwo256>::default();
		state.execute_with(|| found(options));
		state.commit_all().expect("the genesis can be committed");
		Self {
			state,
			executor: WasmExecutor::builder().build(),
			parent: None,
			number: 0,
		}
	}

	/// Runs `read` on the state. Its writes are dropped.
	fn read<R>(&mut self, read: impl FnOnce() -> R) -> R {
		let result = self.state.execute_with(read);
		self.state.reset_overlay();
		result
	}

	fn call(
		&self,
		overlay: &mut OverlayedChanges<BlakeTwo256>,
		method: &str,
		data: &[u8],
	) -> Vec<u8> {
		let wasm = WASM_BINARY.expect("the runtime is built with its WASM");
		let fetcher = WrappedRuntimeCode(wasm.into());
		let code = RuntimeCode {
			code_fetcher: &fetcher,
			heap_pages: None,
			hash: vec![1],
		};
		let mut extensions = Default::default();
		StateMachine::new(
			&self.state.backend,
			overlay,
			&self.executor,
			method,
			data,
			&mut extensions,
			&code,
			CallContext::Onchain { import: true },
		)
		.execute()
		.unwrap_or_else(|error| panic!("{method}: {error}"))
	}

	/// Builds block `number` of these extrinsics, imports it, and keeps its state. All extrinsics must be
	/// valid and succeed.
	fn block(&mut self, number: u32, extrinsics: Vec<UncheckedExtrinsic>) -> Imported {
		let slot = FIRST_SLOT + u64::from(number);
		let digest = self.read(|| {
			let data = sp_consensus_babe::make_vrf_sign_data(
				&kaisar_runtime::Babe::randomness(),
				slot.into(),
				pallet_babe::EpochIndex::<Runtime>::get(),
			);
			use sp_consensus_babe::digests::{PreDigest, SecondaryVRFPreDigest};
			let pre = PreDigest::SecondaryVRF(SecondaryVRFPreDigest {
				authority_index: 0,
				slot: slot.into(),
				vrf_signature: Sr25519Keyring::Alice.pair().vrf_sign(&data),
			});
			Digest {
				logs: vec![DigestItem::PreRuntime(
					sp_consensus_babe::BABE_ENGINE_ID,
					pre.encode(),
				)],
			}
		});
		let parent = self
			.parent
			.as_ref()
			.map_or(H256::zero(), sp_runtime::traits::Header::hash);
		let header = <Header as sp_runtime::traits::Header>::new(
			number,
			Default::default(),
			Default::default(),
			parent,
			digest,
		);
		let time =
			UncheckedExtrinsic::new_bare(RuntimeCall::Timestamp(pallet_timestamp::Call::set {
				now: slot * SLOT_DURATION,
			}));
		let all: Vec<_> = std::iter::once(time).chain(extrinsics).collect();

		let mut overlay = OverlayedChanges::default();
		self.call(&mut overlay, "Core_initialize_block", &header.encode());
		for extrinsic in &all {
			let result = self.call(
				&mut overlay,
				"BlockBuilder_apply_extrinsic",
				&extrinsic.encode(),
			);
			let result =
				Result::<Result<(), sp_runtime::DispatchError>, TransactionValidityError>::decode(
					&mut &result[..],
				)
				.expect("an apply result");
			assert!(matches!(result, Ok(Ok(()))), "block {number}: {result:?}");
		}
		let header = self.call(&mut overlay, "BlockBuilder_finalize_block", &[]);
		let header = Header::decode(&mut &header[..]).expect("a header");

		let block = <Block as sp_runtime::traits::Block>::new(header.clone(), all).encode();
		let mut overlay = OverlayedChanges::default();
		let started = Instant::now();
		self.call(&mut overlay, "Core_execute_block", &block);
		let time = started.elapsed();

		let changes = overlay
			.drain_storage_changes(&self.state.backend, sp_core::storage::StateVersion::V1)
			.expect("the changes of a block");
		self.state
			.backend
			.apply_transaction(changes.transaction_storage_root, changes.transaction);
		self.parent = Some(header);
		self.number = number;
		let charged = self.read(|| {
			let used = System::block_weight().total().ref_time();
			let most = <Runtime as frame_system::Config>::BlockWeights::get().max_block;
			used as f64 / most.ref_time() as f64
		});
		Imported { time, charged }
	}
}

/// Builds the genesis: production's parameters, and a census that starts with the first round.
fn found(options: &Options) {
	let each = LICENSES / options.operators;
	let operators: Vec<_> = (0..options.operators)
		.map(|n| {
			(
				operator_account(n),
				checker_pair(n).public(),
				ed25519::Pair::from_seed(&seed(4, n)).public(),
				Perbill::from_percent(10),
				true,
			)
		})
		.collect();
	let licenses: Vec<_> = operators.iter().map(|one| (one.0.clone(), each)).collect();
	let delegations: Vec<_> = (0..each * options.operators)
		.map(|license| (license, operator_account(license / each)))
		.collect();
	let alice = Sr25519Keyring::Alice.to_account_id();
	let mut balances = vec![(alice.clone(), 550_000_000 * KAI)];
	balances.extend(operators.iter().map(|one| (one.0.clone(), 1_000 * KAI)));
	let keys = SessionKeys {
		babe: Sr25519Keyring::Alice.public().into(),
		grandpa: Ed25519Keyring::Alice.public().into(),
	};
	let mut genesis: serde_json::Value =
		serde_json::from_slice(&presets::get_preset(None).expect("the default")).expect("JSON");
	genesis["parameterSet"] = json!("production");
	genesis["balances"]["balances"] = json!(balances);
	genesis["babe"]["epochConfig"] = json!(kaisar_runtime::constants::BABE_GENESIS_EPOCH_CONFIG);
	genesis["session"]["keys"] = json!([(alice.clone(), alice.clone(), keys)]);
	genesis["licenses"]["licenses"] = json!(licenses);
	genesis["checkers"]["operators"] = json!(operators);
	genesis["checkers"]["delegations"] = json!(delegations);
	presets::build_state(genesis.to_string().as_bytes()).expect("the genesis holds together");

	use dynamic_params::popw;
	kaisar_runtime::Parameters::set_parameter(
		RuntimeOrigin::root(),
		RuntimeParameters::Popw(popw::Parameters::CheckPeriod(popw::CheckPeriod, Some(1))),
	)
	.expect("root sets parameters");
	// Registrations made now count from the first round on.
	pallet_popw::NextStart::<Runtime>::put(FIRST_ROUND);
	for worker in 0..options.due {
		register(&alice, worker);
	}
	// Copies of one worker make the trie as deep as it would be.
	let one = frame_support::storage::unhashed::get_raw(
		&pallet_providers::Workers::<Runtime>::hashed_key_for(0),
	)
	.expect("the worker is registered");
	for worker in options.due..options.workers {
		let key = pallet_providers::Workers::<Runtime>::hashed_key_for(worker);
		frame_support::storage::unhashed::put_raw(&key, &one);
	}
}

/// Registers a worker, and confirms it as a committee would.
fn register(owner: &AccountId, worker: WorkerId) {
	let key = worker_pair(worker);
	let agent = ed25519::Pair::from_seed(&seed(5, worker));
	let payload = possession_payload(KeyRole::Worker, System::block_hash(0), owner);
	let spec = WorkerSpec {
		cpu_cores: 129,
		memory_gb: 513,
		disk_gb: 10_241,
		download_mbps: 1_600,
		upload_mbps: 1_200,
		region: *b"DE",
		..Default::default()
	};
	Providers::register_worker(
		RuntimeOrigin::signed(owner.clone()),
		spec,
		key.public().into(),
		agent.public(),
		1_000 * KAI,
		KeyProof {
			key: key.sign(&payload),
			agent: agent.sign(&payload),
		},
	)
	.expect("the worker can be registered");
	let closing = Closing {
		round: 0,
		round_start: 0,
		outcome: Outcome::Online {
			profile: Some(PROFILE),
			service: true,
		},
		rented: false,
		full: true,
		credit: 0,
		false_proof: false,
		slashes: false,
	};
	<Providers as CheckedWorkers<AccountId>>::closed(worker, &closing, None)
		.expect("the worker is confirmed");
}

/// Returns a fee-less transaction.
fn authorized(call: pallet_popw::Call<Runtime>) -> UncheckedExtrinsic {
	UncheckedExtrinsic::new_transaction(RuntimeCall::Popw(call), extension(0, Era::Immortal, 0))
}

/// Returns a transfer, signed by Alice.
fn transfer(nonce: u32, to: AccountId) -> UncheckedExtrinsic {
	let call = RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive {
		dest: to.into(),
		value: KAI,
	});
	let extension = extension(nonce, Era::Immortal, 0);
	let payload =
		SignedPayload::new(call.clone(), extension.clone()).expect("the payload can be made");
	let signature = payload.using_encoded(|bytes| Sr25519Keyring::Alice.pair().sign(bytes));
	UncheckedExtrinsic::new_signed(
		call,
		Sr25519Keyring::Alice.to_account_id().into(),
		signature.into(),
		extension,
	)
}

/// Cost of the blocks of one kind.
#[derive(Default)]
struct Figures {
	what: &'static str,
	blocks: u32,
	items: usize,
	time: Duration,
	worst: Duration,
	charged: f64,
	worst_charged: f64,
}

impl Figures {
	fn new(what: &'static str) -> Self {
		Self {
			what,
			..Default::default()
		}
	}

	fn add(&mut self, items: usize, imported: Imported, empty: &Imported) {
		self.blocks += 1;
		self.items += items;
		self.time += imported.time.saturating_sub(empty.time);
		self.worst = self.worst.max(imported.time);
		self.charged += imported.charged - empty.charged;
		self.worst_charged = self.worst_charged.max(imported.charged);
	}

	/// Returns the seconds for one item.
	fn each(&self) -> f64 {
		self.time.as_secs_f64() / self.items as f64
	}

	/// Returns the weight charged for one item, as a part of the limit of a block.
	fn charge(&self) -> f64 {
		self.charged / self.items as f64
	}
}

fn main() {
	let options = Options::read();
	eprintln!(
		"setting up {} workers, {} of them due, {} operators …",
		options.workers, options.due, options.operators
	);
	let mut chain = Chain::new(&options);

	// The first spot round starts a census by its seed.
	for number in 1..=FIRST_ROUND {
		chain.block(number, Vec::new());
	}
	let census = chain
		.read(|| Rounds::<Runtime>::get(1))
		.expect("a census started");
	assert_eq!(census.phase_length, PHASE);
	let genesis = chain.read(|| System::block_hash(0));
	let empty = chain.block(FIRST_ROUND + 1, Vec::new());
	for number in FIRST_ROUND + 2..=census.trial {
		chain.block(number, Vec::new());
	}

	let mut attest = Figures::new("attestation");
	let workers: Vec<WorkerId> = (0..options.due).collect();
	let blocks = PHASE;
	for (index, due) in workers
		.chunks(workers.len().div_ceil(blocks as usize))
		.enumerate()
	{
		let extrinsics = due
			.iter()
			.map(|worker| {
				let root = [7; 32];
				let payload = signing_payload(
					b"kaisar/attest",
					genesis,
					census.seed,
					(worker, census.index, root),
				);
				authorized(pallet_popw::Call::attest {
					worker: *worker,
					round: census.index,
					root,
					signature: Some(worker_pair(*worker).sign(&payload)),
				})
			})
			.collect::<Vec<_>>();
		let count = extrinsics.len();
		let imported = chain.block(census.trial + 1 + index as u32, extrinsics);
		attest.add(count, imported, &empty);
	}

	// Seats of the operators.
	let mut seats = BTreeMap::<(OperatorId, u16), Vec<(WorkerId, Verdict)>>::new();
	chain.read(|| {
		for worker in &workers {
			let Some(LastCheck::Open(Check { committee, .. })) = LastChecks::<Runtime>::get(worker)
			else {
				panic!("worker {worker} attested");
			};
			for seat in committee {
				let batch = (seat.number / MAX_BATCH) as u16;
				let votes = seats.entry((seat.operator, batch)).or_default();
				votes.push((*worker, VERDICT));
			}
		}
	});
	let salt = [9; 32];
	let batches: Vec<(OperatorId, u16, Votes)> = seats
		.into_iter()
		.map(|((operator, batch), votes)| (operator, batch, Votes::truncate_from(votes)))
		.collect();
	// The order in which the off-chain workers send them: everyone's first batches first, the operators in
	// any order.
	let mut order: Vec<usize> = (0..batches.len()).collect();
	order.sort_by_key(|index| {
		let (_, batch, _) = &batches[*index];
		(*batch, sp_io::hashing::blake2_128(&index.to_le_bytes()))
	});
	let chunk = batches.len().div_ceil(PHASE as usize);

	let mut commit = Figures::new("commitment");
	let start = census.trial + PHASE;
	for (index, some) in order.chunks(chunk).enumerate() {
		let extrinsics = some
			.iter()
			.map(|index| {
				let (operator, batch, votes) = &batches[*index];
				let hash = commitment(genesis, census.index, *operator, *batch, votes, &salt);
				let payload = signing_payload(
					b"kaisar/commit",
					genesis,
					census.seed,
					(operator, census.index, batch, hash),
				);
				authorized(pallet_popw::Call::commit {
					operator: *operator,
					round: census.index,
					batch: *batch,
					hash,
					signature: Some(checker_pair(*operator).sign(&payload)),
				})
			})
			.collect::<Vec<_>>();
		let count = extrinsics.len();
		let imported = chain.block(start + 1 + index as u32, extrinsics);
		commit.add(count, imported, &empty);
	}

	let mut reveal = Figures::new("verdict, closing included");
	let mut votes_in_all = 0;
	let start = start + PHASE;
	for (index, some) in order.chunks(chunk).enumerate() {
		let mut count = 0;
		let extrinsics = some
			.iter()
			.map(|index| {
				let (operator, batch, votes) = &batches[*index];
				count += votes.len();
				let payload = signing_payload(
					b"kaisar/reveal",
					genesis,
					census.seed,
					(operator, census.index, batch, votes, salt),
				);
				authorized(pallet_popw::Call::reveal {
					operator: *operator,
					round: census.index,
					batch: *batch,
					votes: votes.clone(),
					salt,
					signature: Some(checker_pair(*operator).sign(&payload)),
				})
			})
			.collect::<Vec<_>>();
		let imported = chain.block(start + 1 + index as u32, extrinsics);
		reveal.add(count, imported, &empty);
		votes_in_all += count;
	}
	let closed = chain.read(|| {
		workers
			.iter()
			.filter(|worker| {
				matches!(
					LastChecks::<Runtime>::get(worker),
					Some(LastCheck::Closed { .. })
				)
			})
			.count()
	});
	assert_eq!(
		closed,
		workers.len(),
		"every check closed with its last vote"
	);

	let mut transfers = Figures::new("transfer (the yardstick)");
	let nonce = chain.read(|| System::account_nonce(Sr25519Keyring::Alice.to_account_id()));
	for block in 0..3 {
		let extrinsics: Vec<_> = chain.read(|| {
			(0..1_000)
				.map(|n| {
					let to = operator_account((block * 1_000 + n) % options.operators);
					transfer(nonce + block * 1_000 + n, to)
				})
				.collect()
		});
		let number = chain.number + 1;
		let imported = chain.block(number, extrinsics);
		transfers.add(1_000, imported, &empty);
	}

	report(
		&options,
		votes_in_all,
		&empty,
		[&transfers, &attest, &commit, &reveal],
	);
}

fn report(options: &Options, votes: usize, empty: &Imported, all: [&Figures; 4]) {
	let [transfers, attest, commit, reveal] = all;
	println!(
		"{} workers registered, {} due, {} operators, {votes} verdicts; an empty block {:.1} ms",
		options.workers,
		options.due,
		options.operators,
		empty.time.as_secs_f64() * 1e3,
	);
	println!(
		"{:<28} {:>7} {:>8} {:>9} {:>10} {:>13} {:>13} {:>14}",
		"",
		"blocks",
		"each µs",
		"transfers",
		"charged µs",
		"worst block s",
		"worst charged",
		"of its work"
	);
	let most = 4e6;
	for figures in all {
		println!(
			"{:<28} {:>7} {:>8.1} {:>9.2} {:>10.1} {:>13.3} {:>12.1}% {:>14.2}",
			figures.what,
			figures.blocks,
			figures.each() * 1e6,
			figures.each() / transfers.each(),
			figures.charge() * most,
			figures.worst.as_secs_f64(),
			figures.worst_charged * 100.0,
			// The weight charged, relative to that of the same work in transfers.
			figures.charge() / (figures.each() / transfers.each() * transfers.charge()),
		);
	}
	// 10⁶ workers, a census every 3,075 blocks on average; in its own phases, 625 blocks each.
	let (operators, per_operator) = (3_000.0, 27.0);
	for (what, blocks, together) in [
		("on average", 3_075.0, true),
		("attesting, at full load", 625.0, false),
		("revealing, at full load", 625.0, false),
	] {
		let attestations = 1e6 / blocks;
		let verdicts = 5e6 / blocks;
		let commitments = operators * per_operator / blocks;
		let of = |each: &dyn Fn(&Figures) -> f64| {
			if together {
				attestations * each(attest) + verdicts * each(reveal) + commitments * each(commit)
			} else if what.starts_with("attesting") {
				attestations * each(attest)
			} else {
				verdicts * each(reveal)
			}
		};
		let transfers_worth = of(&Figures::each) / transfers.each();
		println!(
			"10⁶ workers, {what}: {attestations:.0} attestations, {verdicts:.0} verdicts a block: the work of {transfers_worth:.0} transfers, which would be charged {:.0} % of a block; charged are {:.0} %",
			transfers_worth * transfers.charge() * 100.0,
			of(&Figures::charge) * 100.0,
		);
	}
}
