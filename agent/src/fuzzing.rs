//! Everything that an agent decodes, one function a source: what the fuzz targets and the tests over
//! their corpus run. Nothing here may panic, hang, or allocate more than its bound, whatever it is given: more
//! than the input's length again and a constant, as `agent/tests/memory.rs` counts.

use crate::{
	bench::{
		device::MAX_DEVICES,
		hash::Hash,
		job::{self, Job},
		proof::{self, Challenge, Counts},
	},
	checker::admission::Admissions,
	node_api::MAX_BODY,
	peer::{
		bandwidth,
		endpoint::Peers,
		wire::{self, Introduced, MAX_REPLY, MAX_REQUEST, Refusal, Request, RootsReply},
	},
};
use codec::{DecodeWithMemTracking, Encode};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, AgentSignature, BenchParams, WorkerSpec,
	agent::{
		AddressesFound, OrderRequest, PrepareRequest, ProveRequest, RoundStart, SeatAnswers,
		SeatRequest, decode_within,
	},
};
use kaisar_tunnel::{Door, places};
use sp_core::H256;
use tokio::io::AsyncWriteExt;

/// A source of bytes, by its name, and what is done with them.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
	("request", request),
	("reply", reply),
	("openings", openings),
	("service", service),
	("record", record),
	("echo", echo),
	("tunnel", tunnel),
];

fn block_on<T>(future: impl Future<Output = T>) -> T {
	tokio::runtime::Builder::new_current_thread()
		.enable_time()
		.build()
		.expect("a runtime of one thread")
		.block_on(future)
}

/// What another agent asks.
fn request(bytes: &[u8]) {
	let read = block_on(wire::read::<Request, _>(&mut &bytes[..], MAX_REQUEST));
	if let Ok(request) = read {
		let mut again = Vec::new();
		block_on(wire::write(&mut again, &request)).expect("it was read");
		assert!(bytes.starts_with(&again), "what is read is what is written");
		if let Request::Push(push) = request {
			push.verify(&AgentKey::from_raw([1; 32]));
		}
	}
}

/// What another agent answers, but for openings.
fn reply(bytes: &[u8]) {
	block_on(async {
		let _ = wire::read::<RootsReply, _>(&mut &bytes[..], MAX_REPLY).await;
		let _ = wire::read::<Result<AgentSignature, Refusal>, _>(&mut &bytes[..], MAX_REPLY).await;
		let _ = wire::read::<Result<Introduced, Refusal>, _>(&mut &bytes[..], MAX_REPLY).await;
		let _ = wire::read::<Result<(), Refusal>, _>(&mut &bytes[..], MAX_REPLY).await;
	});
}

/// The job whose openings are verified: with two GPUs, or with none.
pub fn job(gpus: u8) -> Job {
	Job {
		genesis: H256::repeat_byte(1),
		round: 4,
		seed: H256::repeat_byte(2),
		worker: 7,
		agent: AgentKey::from_raw([3; 32]),
		spec: WorkerSpec {
			gpu_class: if gpus > 0 { 11 } else { 0 },
			gpu_count: gpus,
			cpu_cores: 1,
			memory_gb: 1,
			disk_gb: 1,
			region: *b"DE",
			..Default::default()
		},
		bench: BenchParams {
			n: 64,
			steps: 2,
			samples: 2,
			cpu_segments: 1,
			memory_mib: 1,
			disk_mib: 4,
			bandwidth_secs: 1,
		},
		reference: Some(ClassReference::LEAST),
	}
}

/// Where a checker looks.
pub const CHALLENGE: Challenge = Challenge {
	open_seed: H256([5; 32]),
	nonce: [6; 32],
	full: true,
};

/// What a worker shows: decoded within its bound, and verified. The root is made to fit, so that what
/// lies under it is looked at.
fn openings(bytes: &[u8]) {
	let Some((gpus, bytes)) = bytes.split_first() else {
		return;
	};
	let job = job(gpus % 3);
	if bytes.len() > job.openings_limit() {
		return;
	}
	if let Ok(Ok(openings)) = wire::decode_openings(bytes, &Counts::of(&job, true)) {
		assert!(
			openings.encode() == bytes[1..],
			"what is decoded is what would be sent"
		);
		let root: Hash = openings.roots.attested(&job.base());
		let _ = proof::verify(&job, &root, &CHALLENGE, &openings);
	}
}

/// What the node sends.
fn service(bytes: &[u8]) {
	fn whole<T: DecodeWithMemTracking>(bytes: &[u8]) -> Option<T> {
		decode_within(bytes, MAX_BODY).ok()
	}
	let _ = whole::<RoundStart>(bytes);
	let _ = whole::<AddressesFound>(bytes);
	let _ = whole::<OrderRequest>(bytes);
	let _ = whole::<PrepareRequest>(bytes);
	if let Some(answers) = whole::<SeatAnswers>(bytes) {
		let admissions = Admissions::new(Door::new(places::Limits::default()));
		assert!(
			admissions.answer(answers).is_empty(),
			"nobody has claimed anything"
		);
	}
	if let Some(request) = whole::<ProveRequest>(bytes)
		&& let Ok(job) = Job::of_prove(&request, AgentKey::from_raw([1; 32]))
	{
		bounded(&job);
	}
	for request in whole::<Vec<SeatRequest>>(bytes).unwrap_or_default() {
		if let Ok(job) = Job::of_seat(&request) {
			bounded(&job);
		}
	}
}

/// Work that is accepted stays within bounds.
fn bounded(job: &Job) {
	let plan = job.plan();
	assert!(plan.lanes <= job::MAX_LANES && plan.memory_mib <= job::MAX_MEMORY_MIB);
	assert!(plan.devices <= MAX_DEVICES && job.openings_limit() < 1 << 30);
	if let Some(gpu) = job.gpu_plan() {
		assert!(gpu.walk.is_possible());
	}
}

/// An address record, found in the DHT or on the disk.
fn record(bytes: &[u8]) {
	thread_local! {
		static PEERS: Option<(std::path::PathBuf, Peers)> = {
			let name = format!("kaisar-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
			let dir = std::env::temp_dir().join(name);
			Peers::new(&dir).ok().map(|peers| (dir, peers))
		};
	}
	PEERS.with(|peers| {
		if let Some((dir, peers)) = peers {
			if let Some(agent) = peers.accept(bytes) {
				let _ = peers.lookup(&agent);
				// As an agent of this machine that writes anything would leave it.
				let _ = std::fs::write(dir.join(hex::encode(agent.0)), bytes);
				let _ = peers.lookup(&agent);
			}
			let _ = std::fs::remove_dir_all(dir);
			let _ = std::fs::create_dir_all(dir);
		}
	});
}

/// What a worker echoes while its bandwidth is measured.
fn echo(bytes: &[u8]) {
	block_on(async {
		let (here, mut there) = tokio::io::duplex(1 << 16);
		let (from, to) = tokio::io::split(here);
		let counter = std::sync::Arc::new(bandwidth::Counter::default());
		let now = tokio::time::Instant::now();
		let window = bandwidth::Window::new(now, std::time::Duration::from_millis(2));
		let offer = bandwidth::Offer::steady(1 << 20);
		let measured = bandwidth::measure(from, to, [7; 32], 0, window, offer, counter.clone());
		let answer = async {
			let _ = there.write_all(bytes).await;
			let _ = there.shutdown().await;
		};
		let _ = tokio::join!(measured, answer);
		let _ = counter.rates(window, u8::MAX);
	});
}

/// What a client of the tunnel says first, and what it is answered.
fn tunnel(bytes: &[u8]) {
	use kaisar_tunnel::{Open, Refusal, wire};
	block_on(async {
		if let Ok(open) = wire::read::<Open, _>(&mut &bytes[..]).await {
			let mut again = Vec::new();
			wire::write(&mut again, &open).await.expect("it was read");
			assert!(bytes.starts_with(&again), "what is read is what is written");
		}
		let _ = wire::read::<Result<(), Refusal>, _>(&mut &bytes[..]).await;
	});
}
