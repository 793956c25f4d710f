//! The memory that a stranger's bytes take, counted by this binary's allocator. The tests have a separate
//! process and run one at a time, so that nothing else is counted.

#[path = "compute/opened.rs"]
mod opened;
#[path = "suite/world.rs"]
mod world;

use codec::{Compact, Encode};
use kaisar_agent::{
	fuzzing::{CHALLENGE, TARGETS, TRIAL_SEED, job},
	peer::wire::{self, Request, RootsReply},
	trial::{
		job::{Job, Sizes},
		part::Resource,
		proof::{self, Roots},
		sample::Reject,
	},
};
use kaisar_math::classes;
use kaisar_primitives::BenchParams;
use opened::opened;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
	alloc::{GlobalAlloc, Layout, System},
	path::Path,
	sync::{
		Mutex, MutexGuard, PoisonError,
		atomic::{AtomicUsize, Ordering::Relaxed},
	},
	time::Duration,
};
use tokio::io::AsyncWriteExt;
use world::{CHECKERS, World, receipt, rogue};

/// Currently allocated bytes, and their maximum since [`measure`] started.
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Size from which an allocation has its own pages, whatever was allocated before.
const MAPPED: usize = 32 << 20;

/// The system's allocator, counted.
struct Counted;

fn grown(by: usize) {
	PEAK.fetch_max(NOW.fetch_add(by, Relaxed) + by, Relaxed);
}

// SAFETY: each call is the system allocator's, unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
	unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
		grown(layout.size());
		// SAFETY: the caller's.
		unsafe { System.alloc(layout) }
	}

	unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
		grown(layout.size());
		// SAFETY: the caller's.
		unsafe { System.alloc_zeroed(layout) }
	}

	unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
		NOW.fetch_sub(layout.size(), Relaxed);
		// SAFETY: the caller's.
		unsafe { System.dealloc(pointer, layout) }
	}

	unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
		if layout.size() >= MAPPED && size >= layout.size() {
			// Its pages are mapped anew and not copied.
			grown(size - layout.size());
		} else {
			grown(size);
			NOW.fetch_sub(layout.size(), Relaxed);
		}
		// SAFETY: the caller's.
		unsafe { System.realloc(pointer, layout, size) }
	}
}

#[global_allocator]
static COUNTED: Counted = Counted;

/// One measurement at a time.
fn alone() -> MutexGuard<'static, ()> {
	static ALONE: Mutex<()> = Mutex::new(());
	ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a measurement; the result returns the maximum of bytes since then, above those allocated at its
/// start.
fn measure() -> impl Fn() -> usize {
	let before = NOW.load(Relaxed);
	PEAK.store(before, Relaxed);
	move || PEAK.load(Relaxed) - before
}

/// Allowance beyond the message: an agent, two QUIC endpoints and the buffers between them.
const AROUND: usize = 24 << 20;

/// Returns a job of production's size with the largest claim: 16 GPUs of the largest class, and all openings
/// as long as they may be.
fn largest() -> Job {
	let mut job = job(16);
	job.bench = BenchParams::FULL;
	(job.spec.gpu_class, job.spec.cpu_cores) = (33, u16::MAX);
	(job.spec.memory_gb, job.spec.disk_gb) = (u32::MAX, u32::MAX);
	job.reference = classes::get(33).and_then(|class| class.planned());
	assert!(job.reference.is_some());
	job
}

/// Returns the roots that a worker names, of these sizes.
fn roots(sizes: Sizes) -> Roots {
	Roots {
		sizes,
		gpus: vec![[5; 32]; sizes.gpus.into()],
		processor: [5; 32],
		disk: [5; 32],
	}
}

#[test]
fn hostile_answers_of_full_length_take_their_size_once() {
	let _alone = alone();
	let runtime = tokio::runtime::Builder::new_multi_thread()
		.worker_threads(2)
		.enable_all()
		.build()
		.unwrap();
	runtime.block_on(async {
		let largest = largest();
		let mut world = World::new();
		(world.spec, world.bench) = (largest.spec, largest.bench);
		world.reference = largest.reference;
		let checker = world.agent_with(CHECKERS[0], Duration::from_secs(60)).await;
		let mut request = world.seat(CHECKERS[0], [0; 32]);
		let job = Job::of_seat(&request).unwrap();
		let roots = roots(job.plan());
		request.root = roots.root(&job);
		// The job measures no bandwidth, which the test does not need.
		request.window = Some(kaisar_primitives::agent::WINDOW_MISSED);
		let limit = |resource| proof::limit(&job, &roots.sizes, resource);
		let all: usize = Resource::ALL.into_iter().map(limit).sum();
		assert!(all > 64 << 20, "the claim is as large as one can be: {all}");
		let act = async |send: &mut iroh::endpoint::SendStream, request: Request| {
			let _ = match request {
				Request::Hello(which) => wire::write(send, &receipt(&which)).await,
				Request::Roots(_) => wire::write(send, &RootsReply::Ok(roots.clone())).await,
				Request::Open(_, resource, _) => {
					let length = limit(resource);
					let chunk = [0; 16 << 10];
					let sent = async {
						send.write_all(&(length as u32 + 1).to_le_bytes()).await?;
						send.write_all(&[0]).await?;
						for at in (0..length).step_by(chunk.len()) {
							send.write_all(&chunk[..chunk.len().min(length - at)])
								.await?;
						}
						send.flush().await
					};
					sent.await.map_err(wire::WireError::Io)
				}
				_ => Ok(()),
			};
		};
		let peak = measure();
		let checked = tokio::select! {
			checked = world.check(&checker, request) => checked,
			() = rogue(&world, act) => unreachable!(),
		};
		let peak = peak();
		assert!(
			checked.verdict.online && !checked.verdict.proof,
			"{:?}",
			checked.verdict
		);
		assert!(
			peak <= all + AROUND,
			"answers of {} MiB took {} MiB",
			all >> 20,
			peak >> 20
		);
	});
}

/// Memory that a verifier may take beside openings of the largest claim: the running hashes of 16 GPUs'
/// turns, or a tree over a lane's digests.
const VERIFIER: usize = 8 << 20;

#[test]
fn the_largest_claim_is_verified_in_bounded_memory() {
	let _alone = alone();
	let job = largest();
	let roots = roots(job.plan());
	let root = roots.root(&job);
	for resource in Resource::ALL {
		let openings = vec![0; proof::limit(&job, &roots.sizes, resource)];
		let peak = measure();
		let verified = proof::verify(
			&job,
			&TRIAL_SEED,
			&root,
			&roots,
			resource,
			&CHALLENGE,
			&openings,
		);
		let peak = peak();
		assert!(
			matches!(verified, Err(Reject::Root | Reject::Place(_))),
			"{resource}: {verified:?}"
		);
		assert!(peak <= VERIFIER, "{resource} took {peak}");
	}
}

/// Memory that decoding may take beside the message: parsers, a runtime, the job, and the pages and lines
/// that a verifier computes.
const SMALL: usize = 1 << 20;

#[test]
fn decoding_anything_takes_no_more_than_its_bound() {
	let _alone = alone();
	let mut random = StdRng::seed_from_u64(11);
	for (name, target) in TARGETS {
		// Memory that is allocated once does not belong to a message.
		target(&[]);
		let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
			.join("fuzz/corpus")
			.join(name);
		let mut inputs: Vec<Vec<u8>> = std::fs::read_dir(folder)
			.unwrap()
			.map(|file| std::fs::read(file.unwrap().path()).unwrap())
			.collect();
		assert!(!inputs.is_empty(), "{name} has no corpus");
		for seed in inputs.clone() {
			// A count near the maximum, at each place of a count.
			let last = seed.len().min(512);
			for at in (0..last).step_by(1 + last / 48) {
				let mut bytes = seed.clone();
				bytes.splice(
					at..(at + 1).min(seed.len()),
					Compact((1u32 << 30) - 1).encode(),
				);
				inputs.push(bytes);
			}
		}
		// Empty items as far as the message goes: from its beginning, and after a good one.
		for length in [4 << 10, 1 << 20] {
			inputs.push(vec![0; length]);
			let mut bytes = inputs[0].clone();
			bytes.truncate(random.random_range(0..=bytes.len().min(400)));
			bytes.extend(Compact(length as u32 / 4).encode());
			bytes.resize(length, 0);
			inputs.push(bytes);
		}
		if name == "openings" {
			inputs.extend(opened(2, Resource::ALL));
		}
		for input in &inputs {
			let peak = measure();
			target(input);
			let peak = peak();
			let length = input.len();
			assert!(peak <= length + SMALL, "{name}: {length} bytes took {peak}");
		}
	}
}
