use super::*;
use crate::trial::{device::Processor, hash};
use crate::trial::{
	disk::Plot,
	job::tests::{job, small},
	sample::Reader,
};
use kaisar_math::ClassReference;
use kaisar_primitives::WorkerSpec;
use std::{
	path::Path,
	sync::atomic::{AtomicUsize, Ordering},
};
use tempfile::TempDir;

const SEED: H256 = H256::repeat_byte(9);
const CHALLENGE: Challenge = Challenge {
	open_seed: H256::repeat_byte(5),
	nonce: [6; 32],
};

fn open_plot(dir: &Path, job: &Job) -> Plot {
	Plot::open(dir, "test", job.recipe()).unwrap()
}

/// A machine with a plot in `dir`, and this much memory.
fn prepared(dir: &Path, job: &Job, fixed: Option<Sizes>, memory: u64) -> Arc<Prepared> {
	let mut plot = open_plot(dir, job);
	plot.grow(job.plan().groups, 1, || true, |_| ()).unwrap();
	let groups = plot.groups();
	let machine = Machine {
		devices: Vec::new(),
		undisturbed: Box::new(()),
		memory,
		memory_again: memory,
		groups,
		plot: &|size| disk::Ready::new(open_plot(dir, job).view(), size),
	};
	Arc::new(Prepared::new(job, fixed, machine, None, &|| true).unwrap())
}

fn run(prepared: &Arc<Prepared>, seed: H256) -> Proof {
	prepared.run(seed, &|_, _| (), &|| true).unwrap()
}

/// Opens a resource and verifies it like a checker.
fn is_believed(proof: &Proof, resource: Resource) -> bool {
	let job = proof.prepared().job();
	let (base, start) = (job.base(), job.start(&proof.trial_seed()));
	let draw = CHALLENGE.draw(job, &proof.trial_seed(), &proof.root());
	let shown = proof.open(resource, &CHALLENGE).unwrap();
	let (roots, mut shown) = (proof.roots(), Reader::new(&shown));
	let sizes = &roots.sizes;
	let verified = match resource {
		Resource::Processor => {
			let size = job.processor(sizes);
			processor::verify(&base, &start, &size, &roots.processor, &draw, &mut shown)
		}
		Resource::Disk => {
			let size = job.disk(sizes);
			disk::verify(&job.recipe(), &start, &size, &roots.disk, &draw, &mut shown)
		}
		Resource::Gpus => unreachable!("there are none"),
	};
	verified.is_ok() && shown.end().is_ok()
}

fn dir() -> TempDir {
	tempfile::tempdir().unwrap()
}

#[test]
fn what_ran_is_told_at_once_and_believed() {
	let dir = dir();
	let told = Mutex::new(Vec::new());
	let tell = |part: Part, root: Hash| told.lock().push((part, root));
	let proof = prepared(dir.path(), &small(), None, 1 << 30)
		.run(SEED, &tell, &|| true)
		.unwrap();
	let roots = proof.roots();
	assert_eq!(roots.sizes, small().plan());
	let mut told = told.into_inner();
	told.sort_unstable();
	let expected = [(Part::Processor, roots.processor), (Part::Disk, roots.disk)];
	assert_eq!(told, expected);
	assert!(is_believed(&proof, Resource::Processor) && is_believed(&proof, Resource::Disk));
	assert_eq!(proof.open(Resource::Gpus, &CHALLENGE), Err(NotOpened::Gone));
	// The same without the memory.
	proof.release();
	assert!(is_believed(&proof, Resource::Processor));
}

#[test]
fn a_fork_that_moves_the_trial_alone_keeps_what_was_filled() {
	let dir = dir();
	let prepared = prepared(dir.path(), &small(), None, 1 << 30);
	let (one, other) = (run(&prepared, SEED), run(&prepared, H256::zero()));
	assert_ne!(one.roots().processor, other.roots().processor);
	assert_ne!(one.roots().disk, other.roots().disk);
	for proof in [one, other] {
		assert!(is_believed(&proof, Resource::Processor) && is_believed(&proof, Resource::Disk));
	}
}

#[test]
fn after_a_restart_the_same_root_comes_or_none() {
	let dir = dir();
	let before = run(&prepared(dir.path(), &small(), None, 1 << 30), SEED);
	let sizes = Some(*before.prepared().sizes());
	let again = run(&prepared(dir.path(), &small(), sizes, 1 << 30), SEED);
	assert_eq!(again.root(), before.root());
	// Other programs have the memory by now: no smaller one is filled in its place.
	let poor = run(&prepared(dir.path(), &small(), sizes, 0), SEED);
	assert_ne!(poor.root(), before.root());
	let poor = poor.attested(before.roots().clone());
	assert_eq!(poor.root(), before.root());
	assert_eq!(
		poor.open(Resource::Processor, &CHALLENGE),
		Err(NotOpened::Gone)
	);
	assert!(is_believed(&poor, Resource::Disk));
	// The plot has lost a part: the other roots are the attested ones.
	let mut plot = open_plot(dir.path(), &small());
	plot.shrink(0).unwrap();
	drop(plot);
	let machine = Machine {
		devices: Vec::new(),
		undisturbed: Box::new(()),
		memory: 1 << 30,
		memory_again: 1 << 30,
		groups: 0,
		plot: &|size| disk::Ready::new(open_plot(dir.path(), &small()).view(), size),
	};
	let less = Prepared::new(&small(), sizes, machine, None, &|| true).unwrap();
	let less = run(&Arc::new(less), SEED);
	assert_ne!(less.root(), before.root());
	let less = less.attested(before.roots().clone());
	assert_eq!(less.root(), before.root());
	assert!(is_believed(&less, Resource::Processor));
	assert_eq!(less.open(Resource::Disk, &CHALLENGE), Err(NotOpened::Gone));
}

#[test]
fn a_root_that_differs_from_the_attested_one_is_gone() {
	let dir = dir();
	let prepared = prepared(dir.path(), &small(), None, 1 << 30);
	let proof = run(&prepared, SEED);
	let other = Roots {
		processor: [7; 32],
		..proof.roots().clone()
	};
	let attested = other.root(prepared.job());
	let proof = proof.attested(other);
	assert_eq!(proof.root(), attested);
	assert_eq!(
		proof.open(Resource::Processor, &CHALLENGE),
		Err(NotOpened::Gone)
	);
	assert!(is_believed(&proof, Resource::Disk));
}

#[test]
fn what_is_not_wanted_any_more_ends() {
	let dir = dir();
	let prepared = prepared(dir.path(), &small(), None, 1 << 30);
	assert!(prepared.run(SEED, &|_, _| (), &|| false).is_none());
	let looks = AtomicUsize::new(0);
	let wanted = || looks.fetch_add(1, Ordering::Relaxed) < 2;
	assert!(prepared.run(SEED, &|_, _| (), &wanted).is_none());
	let machine = Machine {
		devices: Vec::new(),
		undisturbed: Box::new(()),
		memory: 1 << 30,
		memory_again: 1 << 30,
		groups: 0,
		plot: &|_| Ok(None),
	};
	assert!(Prepared::new(&small(), None, machine, None, &|| false).is_none());
}

#[test]
fn no_more_is_planned_than_there_is_and_is_filled_in_time() {
	let mut job = job();
	job.spec.memory_gb = 400;
	job.spec.disk_gb = 1_000;
	let planned = |memory, groups, left| {
		let machine = Machine {
			devices: Vec::new(),
			undisturbed: Box::new(()),
			memory,
			memory_again: memory,
			groups,
			plot: &|_| Ok(None),
		};
		planned(&job, &job.base(), &machine, left)
	};
	let all = planned(u64::MAX, u32::MAX, None);
	assert_eq!(all, job.plan());
	let left = (10 << 30) - 2 * LANE_MEMORY;
	assert_eq!(planned(10 << 30, 3, None).pages, left / PAGE as u64);
	assert_eq!(planned(u64::MAX, 3, None).groups, 3);
	let moment = planned(u64::MAX, 0, Some(Duration::from_millis(10))).pages;
	assert!((1..all.pages / 100).contains(&moment), "{moment}");
	// A trial that has already begun runs at once, with the available part.
	assert_eq!(planned(u64::MAX, 0, Some(Duration::ZERO)).pages, 1);
	// If sizes are not evidence, there is no hurry.
	let small = small();
	let machine = Machine {
		devices: Vec::new(),
		undisturbed: Box::new(()),
		memory: u64::MAX,
		memory_again: u64::MAX,
		groups: 1,
		plot: &|_| Ok(None),
	};
	let sizes = super::planned(&small, &small.base(), &machine, Some(Duration::ZERO));
	assert_eq!(sizes, small.plan());
}

/// A device that fails `failures` times, or has memory for `room` matrices.
struct Flaky {
	failures: AtomicUsize,
	room: u32,
}

impl Device for Flaky {
	fn name(&self) -> String {
		"flaky".into()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		Err(DeviceError::Shape)
	}

	fn fill(
		&self,
		seed: hash::Hash,
		n: u32,
		window: u32,
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Result<Box<dyn Window>, DeviceError> {
		let fails = |left: usize| left.checked_sub(1);
		if self
			.failures
			.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails)
			.is_ok()
		{
			return Err(DeviceError::Lost("as a driver says".into()));
		}
		Processor.fill(seed, n, window.min(self.room), wanted)
	}
}

fn flaky(failures: usize, room: u32) -> Arc<dyn Device> {
	Arc::new(Flaky {
		failures: failures.into(),
		room,
	})
}

/// Runs a trial of a claim of three GPUs on these devices, and returns the number of GPUs that a checker
/// accepts.
fn gpus_believed(devices: Vec<Arc<dyn Device>>) -> u8 {
	let mut job = small();
	job.bench.window_mib = 1;
	job.bench.n = 256;
	job.spec = WorkerSpec {
		gpu_class: 11,
		gpu_count: 3,
		disk_gb: 0,
		..job.spec
	};
	job.reference = Some(ClassReference::LEAST);
	let machine = Machine {
		devices,
		undisturbed: Box::new(()),
		memory: 1 << 30,
		memory_again: 1 << 30,
		groups: 0,
		plot: &|_| Ok(None),
	};
	let prepared = Arc::new(Prepared::new(&job, None, machine, None, &|| true).unwrap());
	let proof = run(&prepared, SEED);
	let gpus = proof.roots().gpus.len() as u8;
	if gpus > 0 {
		let shown = proof.open(Resource::Gpus, &CHALLENGE).unwrap();
		let roots = proof.roots();
		let verified = crate::trial::proof::verify(
			&job,
			&SEED,
			&proof.root(),
			roots,
			Resource::Gpus,
			&CHALLENGE,
			&shown,
		);
		assert!(verified.is_ok(), "{verified:?}");
	}
	assert_eq!(proof.judged().0.gpu_count, gpus);
	gpus
}

#[test]
fn a_gpu_that_fails_before_the_trial_leaves_the_others_proved() {
	let good = || flaky(0, u32::MAX);
	assert_eq!(gpus_believed(vec![good(), good(), good()]), 3);
	// The first one fails: those behind it get other numbers.
	assert_eq!(gpus_believed(vec![flaky(9, 99), good(), good()]), 2);
	// The next one takes its place.
	assert_eq!(gpus_believed(vec![good(), flaky(9, 99), good(), good()]), 3);
	// A device that fails after a moment.
	assert_eq!(
		gpus_believed(vec![flaky(9, 99), flaky(0, u32::MAX), flaky(1, 99)]),
		1
	);
	// Another program holds most of its memory: this does not shrink the others' windows.
	assert_eq!(gpus_believed(vec![good(), flaky(0, 3), good()]), 2);
	assert_eq!(gpus_believed(vec![flaky(9, 99), flaky(9, 99)]), 0);
}
