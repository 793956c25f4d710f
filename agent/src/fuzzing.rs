//! Fuzz targets for all input that an agent decodes, one function per source; tests run them over their
//! corpus too. For any input, none of them may panic, hang, or allocate more than the input's length again
//! and a constant. `agent/tests/memory.rs` measures the allocations.

use crate::{
	checker::admission::Admissions,
	node_api::MAX_BODY,
	peer::{
		bandwidth,
		endpoint::Peers,
		wire::{self, Introduced, MAX_REPLY, MAX_REQUEST, Refusal, Request, RootsReply},
	},
	trial::{
		hash::Hash,
		job::Job,
		judge, matrix,
		part::Resource,
		proof::{Challenge, Roots, limit, verify},
		sample::Reject,
	},
};
use codec::{DecodeWithMemLimit, DecodeWithMemTracking, Encode};
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

/// A source of bytes by its name, and the function that decodes them.
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

/// Reads another agent's request.
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

/// Reads another agent's answer.
fn reply(bytes: &[u8]) {
	block_on(async {
		let roots = wire::read::<RootsReply, _>(&mut &bytes[..], MAX_REPLY).await;
		if let Ok(Ok(roots)) = roots {
			// As a checker uses them.
			let _ = (roots.is_whole(), roots.root(&job(2)));
			let _ = Resource::ALL.map(|resource| roots.has(resource));
		}
		let _ = wire::read::<Result<AgentSignature, Refusal>, _>(&mut &bytes[..], MAX_REPLY).await;
		let _ = wire::read::<Result<Introduced, Refusal>, _>(&mut &bytes[..], MAX_REPLY).await;
		let _ = wire::read::<Result<(), Refusal>, _>(&mut &bytes[..], MAX_REPLY).await;
		if let Ok(openings) = wire::read_openings(&mut &bytes[..], MAX_OPENINGS).await {
			assert!(openings.as_ref().map_or(0, Vec::len) <= MAX_OPENINGS);
			let mut again = Vec::new();
			let written = wire::write_openings(&mut again, &openings).await;
			written.expect("it was read");
			assert!(bytes.starts_with(&again), "what is read is what is written");
		}
	});
}

/// Maximum length of openings that are read here, in bytes.
const MAX_OPENINGS: usize = 256 << 10;

/// Returns the job whose openings are verified: with GPUs, or with none.
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
			cpu_cores: 2,
			memory_gb: 8,
			disk_gb: 100,
			region: *b"DE",
			..Default::default()
		},
		bench: BenchParams {
			n: 64,
			turns: 3,
			window_mib: 1,
			stages: 3,
			memory_mib: 1,
			disk_mib: 1,
			reads: 4,
			bandwidth_secs: 1,
		},
		reference: Some(ClassReference::LEAST),
	}
}

/// Seed of the trial whose openings are verified.
pub const TRIAL_SEED: H256 = H256([4; 32]);

/// The checker's challenge.
pub const CHALLENGE: Challenge = Challenge {
	open_seed: H256([5; 32]),
	nonce: [6; 32],
};

/// The openings of a resource in the form of their target: the number of GPUs of the [`job`] (modulo 3), the
/// resource, the attested root and the roots, encoded one after the other, and then the openings.
///
/// The attested root is part of the input and not derived from the roots. So a change of the roots does not
/// change the draw, and the data under them is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
	/// GPUs that are claimed.
	pub gpus: u8,
	/// The resource.
	pub resource: Resource,
	/// The attested root.
	pub root: Hash,
	/// The roots under it.
	pub roots: Roots,
	/// The openings.
	pub openings: &'a [u8],
}

impl<'a> Opened<'a> {
	/// Reads them. `None` if the bytes before the openings are malformed.
	pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
		let head = <(u8, Resource, Hash, Roots)>::decode_with_mem_limit(&mut bytes, MAX_REPLY);
		let (gpus, resource, root, roots) = head.ok()?;
		Some(Self {
			gpus,
			resource,
			root,
			roots,
			openings: bytes,
		})
	}

	/// Writes them.
	pub fn to_bytes(&self) -> Vec<u8> {
		let mut bytes = (self.gpus, self.resource, self.root, &self.roots).encode();
		bytes.extend_from_slice(self.openings);
		bytes
	}

	/// Verifies them as a checker does. `None` if they are too long to be read.
	pub fn verify(&self) -> Option<Result<Vec<Hash>, Reject>> {
		let job = job(self.gpus % 3);
		if self.openings.len() > limit(&job, &self.roots.sizes, self.resource) {
			return None;
		}
		Some(verify(
			&job,
			&TRIAL_SEED,
			&self.root,
			&self.roots,
			self.resource,
			&CHALLENGE,
			self.openings,
		))
	}
}

/// Verifies a worker's openings.
fn openings(bytes: &[u8]) {
	if let Some(opened) = Opened::read(bytes)
		&& let Some(Ok(marks)) = opened.verify()
	{
		let job = job(opened.gpus % 3);
		let due = match opened.resource {
			Resource::Gpus => job.gpu(&opened.roots.sizes).marks(),
			Resource::Processor | Resource::Disk => 0,
		};
		assert_eq!(marks.len(), usize::from(due), "the marks that are due");
	}
}

/// Reads the node's requests.
fn service(bytes: &[u8]) {
	fn whole<T: DecodeWithMemTracking>(bytes: &[u8]) -> Option<T> {
		decode_within(bytes, MAX_BODY).ok()
	}
	let _ = whole::<RoundStart>(bytes);
	let _ = whole::<AddressesFound>(bytes);
	let _ = whole::<OrderRequest>(bytes);
	if let Some(answers) = whole::<SeatAnswers>(bytes) {
		let admissions = Admissions::new(Door::new(places::Limits::default()));
		assert!(
			admissions.answer(answers).is_empty(),
			"nobody has claimed anything"
		);
	}
	let agent = AgentKey::from_raw([1; 32]);
	if let Some(request) = whole::<PrepareRequest>(bytes)
		&& let Ok(job) = Job::of_prepare(&request, agent)
	{
		bounded(&job);
	}
	if let Some(request) = whole::<ProveRequest>(bytes)
		&& let Ok(job) = Job::of_prove(&request, agent)
	{
		bounded(&job);
	}
	for request in whole::<Vec<SeatRequest>>(bytes).unwrap_or_default() {
		if let Ok(job) = Job::of_seat(&request) {
			bounded(&job);
		}
	}
}

/// Asserts that accepted work stays within bounds: a verifier takes each size of its plan.
fn bounded(job: &Job) {
	let plan = job.plan();
	assert_eq!(job.processor(&plan).check(), Ok(()));
	if plan.gpus > 0 {
		assert_eq!(job.gpu(&plan).check(), Ok(()));
	}
	if plan.groups > 0 {
		assert_eq!(job.disk(&plan).check(), Ok(()));
	}
	let plot = u64::from(plan.groups) * job.recipe().group_bytes();
	assert!(plot <= judge::MAX_PLOT + job.recipe().group_bytes());
	assert!(usize::from(plan.gpus) <= matrix::Size::MAX_GPUS);
	let openings = Resource::ALL.map(|resource| limit(job, &plan, resource));
	assert!(openings.iter().sum::<usize>() < 1 << 30);
}

/// Reads an address record of the DHT or of the disk.
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
				// As an agent of this machine could write it.
				let _ = std::fs::write(dir.join(hex::encode(agent.0)), bytes);
				let _ = peers.lookup(&agent);
			}
			let _ = std::fs::remove_dir_all(dir);
			let _ = std::fs::create_dir_all(dir);
		}
	});
}

/// Reads a worker's echoes while its bandwidth is measured.
fn echo(bytes: &[u8]) {
	block_on(async {
		let (here, mut there) = tokio::io::duplex(1 << 16);
		let (from, to) = tokio::io::split(here);
		let counter = std::sync::Arc::new(bandwidth::Counter::default());
		let now = tokio::time::Instant::now();
		let window = bandwidth::MeasureWindow::new(now, std::time::Duration::from_millis(2));
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

/// Reads a tunnel client's first message, and the answer to it.
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
