//! Provers' claims and work: each runs its trial and reports when its parts were known.

use crate::{
	model::{Clock, Gpu, MATRIX, ModelDevice, class, reference, secs},
	rules::{SMALL, production, scaled},
	wire::{Lab, Shown, key_of},
	world::{self, World},
};
use kaisar_agent::trial::{
	device::Window,
	hash::Hash,
	job::{Job, Sizes},
	matrix::{Seeds, run_all},
	part::{Part, Resource},
	proof::Roots,
	sample::Draw,
};
use kaisar_math::ClassReference;
use kaisar_primitives::{BenchParams, WorkerId, WorkerSpec};
use sp_core::{H256, Pair};
use std::{
	sync::{Arc, Mutex},
	time::Duration,
};

/// Seconds at which later parts are sent: the checker keeps a trial for ten minutes.
pub const LATEST: f64 = 300.0;

/// A claim: a machine, and the reference of its class.
pub type Claim = (WorkerSpec, Option<ClassReference>);

/// A claim of GPUs of a class.
pub fn gpus(name: &str, count: u8) -> Claim {
	let spec = WorkerSpec {
		gpu_class: class(name).id,
		gpu_count: count,
		..server(1, 2, 0).0
	};
	(spec, Some(reference(name)))
}

/// A claim of cores, and of GB of memory and disk.
pub fn server(cpu_cores: u16, memory_gb: u32, disk_gb: u32) -> Claim {
	let spec = WorkerSpec {
		cpu_cores,
		memory_gb,
		disk_gb,
		..world::spec()
	};
	(spec, None)
}

/// The job of a worker with a claim.
pub fn job(worker: WorkerId, claim: Claim) -> Job {
	job_of(worker, claim, SMALL)
}

/// Does the same with other sizes.
pub fn job_of(worker: WorkerId, (spec, reference): Claim, bench: BenchParams) -> Job {
	let world = World::new();
	Job {
		genesis: world.genesis,
		round: 4,
		seed: world.round_seed,
		worker,
		agent: key_of(worker).public(),
		spec,
		bench,
		reference,
	}
}

/// Openings of a draw.
pub type Open = Box<dyn Fn(&Draw) -> Vec<u8> + Send + Sync>;

/// A resource that has run: its roots, and its openings.
pub struct Ran {
	pub roots: Vec<Hash>,
	pub open: Open,
}

/// A trial that has run.
pub struct Work {
	pub job: Job,
	pub sizes: Sizes,
	pub gpus: Option<Ran>,
	pub processor: Option<Ran>,
	pub disk: Option<Ran>,
	/// Its parts, with the times at which they were known.
	pub parts: Vec<(Duration, Part, Hash)>,
}

impl Work {
	/// Creates the trial of a job with its whole plan, before any work.
	pub fn new(job: &Job) -> Self {
		Self::of(job, job.plan())
	}

	/// Does the same with other sizes.
	pub fn of(job: &Job, sizes: Sizes) -> Self {
		Self {
			job: job.clone(),
			sizes,
			gpus: None,
			processor: None,
			disk: None,
			parts: Vec::new(),
		}
	}

	/// Adds lanes whose root is known after some seconds.
	pub fn with_processor(mut self, ran: Ran, after: f64) -> Self {
		self.parts
			.push((secs(after), Part::Processor, ran.roots[0]));
		self.processor = Some(ran);
		self
	}

	/// Adds a disk whose root is known after some seconds.
	pub fn with_disk(mut self, ran: Ran, after: f64) -> Self {
		self.parts.push((secs(after), Part::Disk, ran.roots[0]));
		self.disk = Some(ran);
		self
	}

	/// The roots under the attested one.
	pub fn roots(&self) -> Roots {
		let one = |ran: &Option<Ran>| ran.as_ref().map_or([0; 32], |ran| ran.roots[0]);
		Roots {
			sizes: self.sizes,
			gpus: match &self.gpus {
				Some(ran) => ran.roots.clone(),
				None => vec![[0; 32]; self.sizes.gpus.into()],
			},
			processor: one(&self.processor),
			disk: one(&self.disk),
		}
	}

	/// Shows it to the checker.
	pub fn show(self) -> Shown {
		self.show_under(Lab::trial_seed())
	}

	/// Shows it to a checker that takes it for the trial with this seed.
	pub fn show_under(self, seed: H256) -> Shown {
		let roots = self.roots();
		let root = roots.root(&self.job);
		let (job, of) = (self.job.clone(), self.job);
		let (gpus, processor, disk) = (self.gpus, self.processor, self.disk);
		Shown {
			job,
			roots,
			parts: self.parts,
			opens: Box::new(move |resource, challenge| {
				let draw = challenge.draw(&of, &seed, &root);
				let ran = match resource {
					Resource::Gpus => &gpus,
					Resource::Processor => &processor,
					Resource::Disk => &disk,
				};
				Ok((ran.as_ref().unwrap().open)(&draw))
			}),
		}
	}
}

/// Part of a planned window that must be shown.
const ENOUGH: u32 = 85;

/// Sizes of a claim of GPUs, with the smallest windows that show the class.
pub fn smallest(job: &Job) -> Sizes {
	let plan = job.plan();
	Sizes {
		window: (plan.window * ENOUGH).div_ceil(100),
		..plan
	}
}

/// Bytes of a window of production's size.
pub fn window_bytes(job: &Job, sizes: &Sizes) -> f64 {
	f64::from(scaled(job, sizes).window) * MATRIX
}

/// Devices of one worker, each on one of these GPUs under an identity.
pub fn devices(job: &Job, sizes: &Sizes, gpus: &[(Arc<Gpu>, usize)]) -> (Vec<ModelDevice>, Clock) {
	let clock = Clock::default();
	let devices = gpus.iter().map(|(gpu, identity)| ModelDevice {
		gpu: gpu.clone(),
		identity: *identity,
		window: window_bytes(job, sizes),
		turns: f64::from(production(job).turns()),
		clock: clock.clone(),
	});
	(devices.collect(), clock)
}

/// Fills the windows of a worker's devices.
pub fn fill(job: &Job, sizes: &Sizes, devices: &[ModelDevice]) -> Vec<Arc<dyn Window>> {
	let (base, start) = (job.base(), job.start(&Lab::trial_seed()));
	(0..)
		.zip(devices)
		.map(|(number, device)| {
			let seed = Seeds::new(&base, &start, number).fill;
			let window = device.fill(seed, job.bench.n, sizes.window);
			Arc::new(window) as Arc<dyn Window>
		})
		.collect()
}

/// Runs filled windows, with marks at the times of a clock.
pub fn run_gpus(job: &Job, sizes: Sizes, windows: Vec<Arc<dyn Window>>, clock: &Clock) -> Work {
	let (base, start) = (job.base(), job.start(&Lab::trial_seed()));
	let parts = Mutex::new(Vec::new());
	let tell = |mark: u8, hash: Hash| {
		let at = secs(clock.now());
		parts.lock().unwrap().push((at, Part::Mark(mark), hash));
	};
	let ran = run_all(windows, &base, &start, job.gpu(&sizes), &tell, &|| true).unwrap();
	Work {
		parts: parts.into_inner().unwrap(),
		gpus: Some(Ran {
			roots: ran.roots().to_vec(),
			open: Box::new(move |draw| {
				let mut out = Vec::new();
				ran.open(draw, &mut out).unwrap();
				out
			}),
		}),
		..Work::of(job, sizes)
	}
}

/// The trial of one worker on these GPUs, each under an identity there.
pub fn on_gpus(job: &Job, sizes: Sizes, gpus: &[(Arc<Gpu>, usize)]) -> Work {
	let (devices, clock) = devices(job, &sizes, gpus);
	let windows = fill(job, &sizes, &devices);
	run_gpus(job, sizes, windows, &clock)
}

/// The trials of several workers with one GPU each, at the same time.
pub fn census(workers: &[(Job, Sizes, Arc<Gpu>, usize)]) -> Vec<Shown> {
	// All windows are filled before the trial begins.
	let prepared: Vec<_> = workers
		.iter()
		.map(|(job, sizes, gpu, identity)| {
			let (devices, clock) = devices(job, sizes, &[(gpu.clone(), *identity)]);
			(job, *sizes, fill(job, sizes, &devices), clock)
		})
		.collect();
	std::thread::scope(|scope| {
		let running: Vec<_> = prepared
			.into_iter()
			.map(|(job, sizes, windows, clock)| {
				scope.spawn(move || run_gpus(job, sizes, windows, &clock).show())
			})
			.collect();
		running
			.into_iter()
			.map(|worker| worker.join().unwrap())
			.collect()
	})
}
