//! The fuzz targets over their corpus and over a fuzzer's first steps: the same bytes with bits flipped,
//! parts cut out, doubled, or taken from another. Always the same ones, so a failure stays. `cargo fuzz`
//! goes further (`agent/fuzz`).

use crate::opened::opened;
use codec::Encode;
use kaisar_agent::{
	fuzzing::{CHALLENGE, Opened, TARGETS, TRIAL_SEED, job},
	peer::{
		endpoint::Peers,
		wire::{Introduced, Introduction, ProofRequest, Push, Refusal, Request, RootsReply, Trial},
	},
	trial::{
		hash,
		part::{Part, Resource},
		proof::Roots,
		sample::Reject,
	},
};
use kaisar_primitives::{
	AgentSignature, CheckerKey,
	agent::{
		AddressesFound, PrepareRequest, ProveRequest, RoundStart, SeatAnswers, SeatClaim,
		SeatRequest, SeatRound,
	},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sp_core::{H256, Pair, ed25519, sr25519};
use std::{collections::BTreeMap, path::PathBuf};

/// Number of mutations of each seed.
const MUTATIONS: usize = 400;
/// Number of mutations of openings, each of which is verified, and of echoes, each of which takes long.
const COSTLY_MUTATIONS: usize = 120;

fn corpus() -> PathBuf {
	PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn framed(message: impl Encode) -> Vec<u8> {
	let bytes = message.encode();
	let mut out = (bytes.len() as u32).to_le_bytes().to_vec();
	out.extend(bytes);
	out
}

fn tunnelled(message: &impl Encode) -> Vec<u8> {
	let bytes = message.encode();
	let mut out = (bytes.len() as u16).to_le_bytes().to_vec();
	out.extend(bytes);
	out
}

/// Openings in the form of an answer, without a length prefix of their own.
fn framed_openings(openings: &[u8]) -> Vec<u8> {
	let mut bytes = (openings.len() as u32 + 1).to_le_bytes().to_vec();
	bytes.push(0);
	bytes.extend(openings);
	bytes
}

/// One good message of each kind, by target.
fn seeds() -> BTreeMap<(&'static str, &'static str), Vec<u8>> {
	let pair = ed25519::Pair::from_seed(&[1; 32]);
	let checker: CheckerKey = sr25519::Pair::from_seed(&[2; 32]).public().into();
	let signature = AgentSignature::from_raw([3; 64]);
	let which = ProofRequest {
		genesis: H256::repeat_byte(1),
		round: 4,
		seed: TRIAL_SEED,
		worker: 7,
		checker: checker.clone(),
	};
	let job = job(2);
	let start = RoundStart {
		genesis: job.genesis,
		round: 4,
		seed: job.seed,
		trial_seed: TRIAL_SEED,
		late: false,
		keep_ms: 1_000,
	};
	let prove = ProveRequest {
		genesis: job.genesis,
		round: 4,
		seed: job.seed,
		trial_seed: TRIAL_SEED,
		worker: 7,
		spec: job.spec,
		bench: job.bench,
		reference: job.reference,
		order: None,
		committee: vec![(checker.clone(), pair.public()); 3],
		keep_ms: 1_000,
	};
	let seat = SeatRequest {
		genesis: job.genesis,
		round: 4,
		seed: job.seed,
		trial_seed: TRIAL_SEED,
		worker: 7,
		agent: job.agent,
		spec: job.spec,
		bench: job.bench,
		reference: job.reference,
		root: [1; 32],
		open_seed: H256::repeat_byte(3),
		checker,
		seats: 3,
		full: true,
		window: Some(1_000),
		rented: true,
		order: Some(1),
	};
	let dir = tempfile::tempdir().unwrap();
	let peers = Peers::new(dir.path()).unwrap();
	let id = iroh::PublicKey::from_bytes(&pair.public().0).unwrap();
	let addr = iroh::EndpointAddr::new(id).with_ip_addr("127.0.0.1:4711".parse().unwrap());
	peers.publish(&pair, &addr, 5).unwrap();
	let record = peers.record(&pair.public()).unwrap().encode();
	let roots = Roots {
		sizes: job.plan(),
		gpus: vec![[4; 32]; 2],
		processor: [5; 32],
		disk: [6; 32],
	};
	let found = AddressesFound {
		records: vec![record.clone()],
		chain_ms: 1,
	};
	let open = kaisar_tunnel::Open {
		genesis: job.genesis.0,
		order: 1,
		port: Some(8_080),
		purpose: kaisar_tunnel::Purpose::Connect,
	};
	let mut echoed = vec![1];
	hash::fill(&[7; 32], 0, 0, {
		echoed.resize(1 + kaisar_agent::peer::bandwidth::CHUNK, 0);
		&mut echoed[1..]
	});
	let trial = Trial {
		genesis: job.genesis,
		round: job.round,
		seed: TRIAL_SEED,
		worker: job.worker,
	};
	let [processor] = opened(0, [Resource::Processor]);
	let introduction = Introduction {
		genesis: job.genesis,
		round: job.round,
		worker: job.worker,
	};
	let claim = SeatClaim {
		round: job.round,
		worker: job.worker,
		agent: job.agent,
	};
	let answers = SeatAnswers {
		genesis: job.genesis,
		rounds: vec![SeatRound {
			round: job.round,
			seed: job.seed,
			keep_ms: 1_000,
		}],
		answers: vec![(claim, true); 2],
	};
	let prepare = PrepareRequest {
		genesis: job.genesis,
		round: job.round,
		seed: job.seed,
		worker: job.worker,
		spec: job.spec,
		bench: job.bench,
		reference: job.reference,
		trial_ms: 60_000,
		committee: prove.committee.clone(),
		runs: true,
		spread_ms: 10,
		keep_ms: 1_000,
	};
	BTreeMap::from([
		(
			("request", "push"),
			framed(Request::Push(Push::signed(
				&pair,
				trial,
				Part::Processor,
				[4; 32],
			))),
		),
		(("request", "hello"), framed(Request::Hello(which.clone()))),
		(("request", "roots"), framed(Request::Roots(which.clone()))),
		(
			("request", "open"),
			framed(Request::Open(which.clone(), Resource::Disk, CHALLENGE)),
		),
		(("request", "bandwidth"), framed(Request::Bandwidth(which))),
		(
			("request", "introduce"),
			framed(Request::Introduce(introduction)),
		),
		(
			("reply", "introduced"),
			framed(Result::<Introduced, Refusal>::Ok(Introduced::ComeBack {
				ms: 1_000,
			})),
		),
		(("reply", "roots"), framed(RootsReply::Ok(roots))),
		(
			("reply", "refusal"),
			framed(RootsReply::Err(Refusal::NotReady)),
		),
		(
			("reply", "receipt"),
			framed(Result::<AgentSignature, Refusal>::Ok(signature)),
		),
		(("reply", "openings"), framed_openings(&[7; 600])),
		(("openings", "processor"), processor),
		(("service", "round"), start.encode()),
		(("service", "prepare"), prepare.encode()),
		(("service", "prove"), prove.encode()),
		(("service", "seats"), answers.encode()),
		(("service", "check"), vec![seat; 2].encode()),
		(("service", "addresses"), found.encode()),
		(("record", "one"), record),
		(("echo", "chunk"), echoed),
		(("tunnel", "open"), tunnelled(&open)),
		(
			("tunnel", "refusal"),
			tunnelled(&Result::<(), kaisar_tunnel::Refusal>::Err(
				kaisar_tunnel::Refusal::Over,
			)),
		),
	])
}

fn mutated(random: &mut StdRng, seed: &[u8], other: &[u8]) -> Vec<u8> {
	let mut bytes = seed.to_vec();
	for _ in 0..random.random_range(1..4) {
		let at = random.random_range(0..bytes.len().max(1)).min(bytes.len());
		match random.random_range(0..7) {
			0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
			2 if at < bytes.len() => {
				// The edges of numbers and of compact lengths.
				const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, 0x03, 0xfc];
				bytes[at] = EDGES[random.random_range(0..EDGES.len())];
			}
			3 => bytes.truncate(at),
			4 => bytes.extend(std::iter::repeat_n(0xa5, random.random_range(1..64))),
			5 => {
				let from = random.random_range(0..other.len().max(1)).min(other.len());
				bytes.truncate(at);
				bytes.extend(&other[from..]);
			}
			_ => {
				let end = (at + random.random_range(1..64)).min(bytes.len());
				bytes.drain(at..end);
			}
		}
	}
	bytes
}

/// Verifies openings in the form of their target.
fn verified(bytes: &[u8]) -> Option<Result<(), Reject>> {
	let verified = Opened::read(bytes)?.verify()?;
	Some(verified.map(|_| ()))
}

#[test]
fn no_target_fails_on_its_corpus_nor_near_it() {
	let mut random = StdRng::seed_from_u64(7);
	for (name, target) in TARGETS {
		let mut files: Vec<PathBuf> = std::fs::read_dir(corpus().join(name))
			.unwrap()
			.map(|file| file.unwrap().path())
			.collect();
		files.sort();
		assert!(!files.is_empty(), "{name} has no corpus");
		let mut all: Vec<Vec<u8>> = files
			.iter()
			.map(|file| std::fs::read(file).unwrap())
			.collect();
		if name == "openings" {
			// Too large to be kept.
			all.extend(opened(2, Resource::ALL));
			assert!(all.iter().all(|seed| verified(seed) == Some(Ok(()))));
		}
		let mutations = match name {
			"openings" | "echo" => COSTLY_MUTATIONS,
			_ => MUTATIONS,
		};
		for seed in &all {
			target(seed);
			for _ in 0..mutations {
				let other = &all[random.random_range(0..all.len())];
				target(&mutated(&mut random, seed, other));
			}
		}
		target(&[]);
		target(&vec![0xff; 1 << 20]);
	}
}

#[test]
fn the_corpus_is_what_the_messages_are_today() {
	for ((target, name), bytes) in seeds() {
		let path = corpus().join(target).join(name);
		assert!(
			std::fs::read(&path).unwrap_or_default() == bytes,
			"{} is old: cargo test -p kaisar-agent --test compute fuzz:: -- --ignored",
			path.display()
		);
	}
}

#[test]
#[ignore = "writes the corpus anew, after a message has changed"]
fn write_the_corpus() {
	for ((target, name), bytes) in seeds() {
		std::fs::create_dir_all(corpus().join(target)).unwrap();
		std::fs::write(corpus().join(target).join(name), bytes).unwrap();
	}
}
