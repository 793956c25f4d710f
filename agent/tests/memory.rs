//! The memory that a stranger's bytes take, counted by this binary's allocator. A process of its own, and
//! one test at a time, so that nothing else is counted.

#[path = "suite/world.rs"]
mod world;

use codec::{Compact, Encode};
use kaisar_agent::{
	bench::{
		disk,
		job::{Job, Sizes},
		proof::{Counts, Roots},
		stage::{Stage, Stages},
	},
	fuzzing::{TARGETS, job},
	peer::wire::{self, Request, RootsReply},
};
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

/// Bytes that are allocated now, and the most since [`measure`] began.
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

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
		grown(size);
		NOW.fetch_sub(layout.size(), Relaxed);
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

/// Starts a measurement; the result gives the most bytes since then beyond those that were allocated.
fn measure() -> impl Fn() -> usize {
	let before = NOW.load(Relaxed);
	PEAK.store(before, Relaxed);
	move || PEAK.load(Relaxed) - before
}

/// Room for what is not the message: an agent, two QUIC endpoints and the buffers between them.
const AROUND: usize = 24 << 20;

/// The roots that the worker names.
const ROOTS: Roots = Roots {
	sizes: Sizes {
		devices: 16,
		window: 1,
		lanes: 2,
		memory_mib: 4,
		disk_mib: 8,
	},
	stages: Stages([[5; 32]; Stage::COUNT]),
};

/// Openings of 16 GPUs of which one shows as many empty samples as the longest answer has room for: 4 bytes
/// each on the wire, 144 in memory.
fn empty_samples(length: usize) -> (Vec<u8>, usize) {
	let hash = [5u8; 32];
	// Ok, the roots, the GPUs' openings and how many, the first one's two roots, no tops, its samples.
	let head = (0u8, ROOTS, 1u8, Compact(16u32), hash, hash, 0u8).encode();
	let samples = (length - head.len() - 4) / 4;
	let count = Compact(u32::try_from(samples).unwrap()).encode();
	([head, count].concat(), samples * 4)
}

#[test]
fn a_hostile_answer_of_full_length_takes_no_more_than_its_size_again() {
	let _alone = alone();
	let runtime = tokio::runtime::Builder::new_multi_thread()
		.worker_threads(2)
		.enable_all()
		.build()
		.unwrap();
	runtime.block_on(async {
		let mut world = World::new();
		(world.spec.gpu_class, world.spec.gpu_count) = (30, 16);
		(world.bench.n, world.bench.samples) = (8_192, 256);
		let checker = world.agent_with(CHECKERS[0], Duration::from_secs(60)).await;
		let mut request = world.seat(CHECKERS[0], [5; 32]);
		request.full = false;
		let limit = Job::of_seat(&request).unwrap().openings_limit();
		assert!(
			limit > 64 << 20,
			"the claim is as large as one can be: {limit}"
		);
		let (head, zeros) = empty_samples(limit);
		let act = async |send: &mut iroh::endpoint::SendStream, request: Request| {
			let _ = match request {
				Request::Hello(which) => wire::write(send, &receipt(&which)).await,
				Request::Roots(_) => wire::write(send, &RootsReply::Ok(ROOTS)).await,
				Request::Open(..) => {
					let length = (head.len() + zeros) as u32;
					let chunk = [0; 16 << 10];
					let sent = async {
						send.write_all(&length.to_le_bytes()).await?;
						send.write_all(&head).await?;
						for at in (0..zeros).step_by(chunk.len()) {
							send.write_all(&chunk[..chunk.len().min(zeros - at)])
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
			peak <= 2 * limit + AROUND,
			"an answer of {} MiB took {} MiB",
			limit >> 20,
			peak >> 20
		);
	});
}

/// Memory that decoding may take beside the longest message: parsers, a runtime, and the job.
const SMALL: usize = 1 << 20;
/// The sectors that a verifier computes at a time, one on each of up to 16 cores, beside it.
const SECTORS: usize = SMALL + 16 * disk::SECTOR;

#[test]
fn decoding_anything_takes_no_more_than_its_bound() {
	let _alone = alone();
	let mut random = StdRng::seed_from_u64(11);
	for (name, target) in TARGETS {
		// What is set up once is no part of a message.
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
			// A count near the largest that there are, at each place where one may be.
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
		// All zeros are empty samples without end; and so is what follows a good beginning.
		for length in [4 << 10, 1 << 20] {
			inputs.push(vec![0; length]);
			let mut bytes = inputs[0].clone();
			bytes.truncate(random.random_range(0..=bytes.len().min(400)));
			bytes.extend(Compact(length as u32 / 4).encode());
			bytes.resize(length, 0);
			inputs.push(bytes);
		}
		let within = |bound: usize, input: &[u8], decode: &dyn Fn(&[u8])| {
			let peak = measure();
			decode(input);
			let peak = peak();
			let length = input.len();
			assert!(peak <= length + bound, "{name}: {length} bytes took {peak}");
		};
		for input in &inputs {
			if name == "openings" {
				// They are verified too, for which whole sectors of the plot are computed.
				within(SECTORS, input, &target);
				let [gpus, reply @ ..] = &input[..] else {
					continue;
				};
				let counts = Counts::of(&job(gpus % 3), true);
				within(SMALL, reply, &|reply| {
					drop(wire::decode_openings(reply, &counts))
				});
			} else {
				within(SMALL, input, &target);
			}
		}
	}
}
