//! Prepares and runs a trial: all resources at the same time, each with its own root.

use super::{
	device::{Device, DeviceError, Window},
	disk,
	hash::{Compress, Hash},
	job::{Job, Sizes},
	judge, matrix,
	memory::MappedMemory,
	part::{Part, Parts, Resource},
	processor,
	proof::{Challenge, Roots},
	ram::{PAGE, Page, fill_page},
	verdict::{self, Arrivals, Figure, Proved},
};
use kaisar_primitives::Verdict;
use parking_lot::Mutex;
use rayon::prelude::*;
use sp_core::H256;
use std::{
	sync::Arc,
	time::{Duration, Instant},
};

/// Maximum time for filling memory: the plan has no more than fits in it.
pub const FILL_TIME: Duration = Duration::from_secs(200);
/// Part of the time until the trial that filling may take, in percent, since the rate is measured only
/// briefly.
const FILL_SHARE: u32 = 80;
/// Number of pages per thread that are filled to measure the rate.
const MEASURED: usize = 32;
/// Time after which the trial abandons a resource: by any checker's clock, its root would come too late to
/// count. The other resources are attested.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Part of the time until the trial in which a GPU must be filled at the first try, in percent: the GPUs
/// behind one that is too slow are filled again.
const FIRST_FILL: u32 = 60;
/// Memory of each lane for its states and hashes, in bytes.
const LANE_MEMORY: u64 = 20_000_000;
/// Number of matrices left out of a window that is smaller than planned, so that it can be filled once more.
const SPARE_MATRICES: u32 = 4;
/// Root of a resource that is not shown.
const NONE: Hash = [0; 32];

/// The hardware that a trial runs on.
pub struct Machine<'a> {
	/// Its GPUs, in order of use.
	pub devices: Vec<Arc<dyn Device>>,
	/// Memory that can be filled, in bytes.
	pub memory: u64,
	/// Memory that can be filled for an earlier plan, in bytes: more than a new plan takes.
	pub memory_again: u64,
	/// Number of ready groups of the plot.
	pub groups: u32,
	/// Keeps other work of this agent away until the trial is over.
	pub undisturbed: Box<dyn Send>,
	/// Opens the plot for a trial. `None` if it has fewer groups by now.
	pub plot: &'a (dyn Fn(disk::Size) -> std::io::Result<Option<disk::Ready>> + Sync),
}

/// Reason why a resource is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotOpened {
	/// The device is busy with another trial.
	#[error("the device is busy with another trial")]
	Busy,
	/// The attested work cannot be computed again.
	#[error("the attested work is lost and cannot be computed again")]
	Gone,
}

/// A machine that is ready for a trial: everything that does not depend on the trial's seed is computed, and
/// the sizes are fixed.
pub struct Prepared {
	job: Job,
	base: Hash,
	sizes: Sizes,
	memory: Mutex<Option<Arc<MappedMemory>>>,
	windows: Vec<Arc<dyn Window>>,
	plot: Option<Arc<disk::Ready>>,
	/// Dropped when the trial is over.
	undisturbed: Mutex<Option<Box<dyn Send>>>,
}

impl Prepared {
	/// Prepares a job. With `fixed` sizes, prepares exactly these, as far as the machine still has them.
	/// Otherwise, if times are judged, it plans no more memory than it can fill in the time that is `left`.
	/// Returns `None` once `wanted` is false.
	pub fn new(
		job: &Job,
		fixed: Option<Sizes>,
		machine: Machine,
		left: Option<Duration>,
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Option<Self> {
		let base = job.base();
		let sizes = fixed.unwrap_or_else(|| planned(job, &base, &machine, left));
		// A GPU that is not filled at the trial's start is late in any case, and must not delay the others.
		let begun = Instant::now();
		let in_time = left.filter(|_| job.bench.is_full());
		let gpus_wanted = |share: u32| {
			wanted()
				&& in_time.is_none_or(|time| begun.elapsed() < time.saturating_mul(share) / 100)
		};
		// The GPUs fill their memory while the processor fills the machine's.
		let (windows, memory) = std::thread::scope(|scope| {
			let filling =
				scope.spawn(|| fill_all(job, &base, &sizes, &machine.devices, &gpus_wanted));
			let bytes = sizes.pages.saturating_mul(PAGE as u64);
			let most = match fixed {
				Some(_) => machine.memory_again,
				None => machine.memory,
			};
			let memory = match bytes <= most || sizes.pages == 1 {
				true => MappedMemory::new(sizes.pages)
					.map(|mut memory| memory.fill(&base, wanted).then_some(memory)),
				// After a restart, other programs may have the memory.
				false => Err(std::io::Error::from(std::io::ErrorKind::OutOfMemory)),
			};
			(filling.join().unwrap_or_default(), memory)
		});
		if !wanted() {
			return None;
		}
		let memory = memory.unwrap_or_else(|error| {
			tracing::warn!(
				%error,
				mib = (sizes.pages * PAGE as u64) >> 20,
				"cannot fill the memory of a trial, so it shows no cores and no memory. See what else uses the \
				 machine's memory"
			);
			None
		});
		let mut sizes = sizes;
		if fixed.is_none() {
			// Missing GPUs are not shown. All windows have the size of the smallest.
			sizes.gpus = windows.len() as u8;
			let least = windows.iter().map(|window| window.matrices()).min();
			sizes.window = match least {
				Some(least) if least < sizes.window => least.saturating_sub(SPARE_MATRICES),
				_ => sizes.window,
			};
			if sizes.gpus == 0 {
				sizes.window = 0;
			}
		}
		let plot = match sizes.groups {
			0 => None,
			_ => (machine.plot)(job.disk(&sizes)).unwrap_or_else(|error| {
				tracing::warn!(%error, "cannot read the plot, so the trial shows no disk. Check the disk (dmesg)");
				None
			}),
		};
		Some(Self {
			job: job.clone(),
			base,
			sizes,
			memory: Mutex::new(memory.map(Arc::new)),
			windows,
			plot: plot.map(Arc::new),
			undisturbed: Mutex::new(Some(machine.undisturbed)),
		})
	}

	/// Returns its sizes.
	pub fn sizes(&self) -> &Sizes {
		&self.sizes
	}

	/// Returns its job.
	pub fn job(&self) -> &Job {
		&self.job
	}

	/// Runs the trial. `tell` gets each part as soon as it is known. Returns `None` once `wanted` is false.
	pub fn run(
		self: &Arc<Self>,
		trial_seed: H256,
		tell: &(dyn Fn(Part, Hash) + Sync),
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Option<Proof> {
		let begun = Instant::now();
		let start = self.job.start(&trial_seed);
		let arrived = Mutex::new(Parts::default());
		let tell = |part: Part, hash: Hash| {
			let at = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
			arrived.lock().set(part, Some((at, hash)));
			tell(part, hash);
		};
		let memory = self.memory.lock().clone();
		let is_full = self.job.bench.is_full();
		let goes_on = || wanted() && (!is_full || begun.elapsed() < GIVE_UP);
		let (processor, disk, gpus) = std::thread::scope(|scope| {
			let (tell, start, goes_on) = (&tell, &start, &goes_on);
			let gpus = scope.spawn(move || self.run_gpus(start, tell, goes_on));
			let disk = scope.spawn(move || {
				let proof =
					disk::Proof::run(self.plot.clone()?, start, goes_on).inspect_err(|error| {
						if wanted() {
							tracing::warn!(
								%error,
								"cannot read the plot in time, so the trial shows no disk. See what else uses the disk"
							);
						}
					});
				let proof = proof.ok()?;
				tell(Part::Disk, proof.root());
				Some(proof)
			});
			let size = self.job.processor(&self.sizes);
			let processor = memory.and_then(|memory| {
				let proof = processor::Proof::run(&self.base, start, size, memory, goes_on)?;
				tell(Part::Processor, proof.root());
				Some(proof)
			});
			let disk = disk.join().ok().flatten();
			(processor, disk, gpus.join().ok().flatten())
		});
		if !wanted() {
			return None;
		}
		// A canceled trial keeps it: the one that counts follows.
		drop(self.undisturbed.lock().take());
		let roots = Roots {
			sizes: self.sizes,
			gpus: match &gpus {
				Some(ran) => ran.roots().to_vec(),
				None => vec![NONE; self.sizes.gpus.into()],
			},
			processor: processor.as_ref().map_or(NONE, processor::Proof::root),
			disk: disk.as_ref().map_or(NONE, disk::Proof::root),
		};
		Some(Proof {
			root: roots.root(&self.job),
			roots,
			prepared: self.clone(),
			trial_seed,
			gpus,
			processor,
			disk,
			arrived: arrived.into_inner(),
		})
	}

	fn run_gpus(
		&self,
		start: &Hash,
		tell: &(dyn Fn(Part, Hash) + Sync),
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Option<matrix::Ran> {
		// After a restart, some GPUs may be missing: then none is shown.
		if self.sizes.gpus == 0 || self.windows.len() < usize::from(self.sizes.gpus) {
			return None;
		}
		let mark = |mark: u8, hash: Hash| tell(Part::Mark(mark), hash);
		let size = self.job.gpu(&self.sizes);
		let windows = self.windows.iter().take(self.sizes.gpus.into());
		let windows = windows.cloned().collect();
		matrix::run_all(windows, &self.base, start, size, &mark, wanted)
			.inspect_err(|error| {
				if *error != DeviceError::Canceled {
					tracing::warn!(%error, "a GPU failed in the trial, so it shows no GPUs. Check its driver (nvidia-smi, dmesg)");
				}
			})
			.ok()
	}

	/// Returns whether nothing was released yet.
	pub fn is_whole(&self) -> bool {
		self.memory.lock().is_some()
	}

	/// Releases the memory of the machine and of its GPUs.
	fn release(&self) {
		*self.memory.lock() = None;
		for window in &self.windows {
			window.release();
		}
	}
}

/// A device, and its window once that is filled.
type Chosen<'a> = (&'a Arc<dyn Device>, Option<Arc<dyn Window>>);

/// Fills the windows of the wanted number of devices, in order of use. The next device replaces one that
/// fails or has too little memory. The seed of a fill contains the GPU's number, so those behind it are
/// filled again.
fn fill_all(
	job: &Job,
	base: &Hash,
	sizes: &Sizes,
	devices: &[Arc<dyn Device>],
	wanted: &(dyn Fn(u32) -> bool + Sync),
) -> Vec<Arc<dyn Window>> {
	let mut spare = devices.iter();
	let first = spare.by_ref().take(sizes.gpus.into());
	let mut chosen: Vec<Chosen> = first.map(|device| (device, None)).collect();
	let fill = |number: u8, device: &Arc<dyn Device>, share: u32| -> Option<Arc<dyn Window>> {
		let wanted = || wanted(share);
		let seed = matrix::Seeds::new(base, &NONE, number).fill;
		let filled = device.fill(seed, job.bench.n, sizes.window, &wanted);
		let why = match filled {
			Ok(window) if judge::is_enough(window.matrices(), sizes.window) => {
				return Some(window.into());
			}
			Ok(window) => format!(
				"it has memory for {} of {} matrices, too little to show a class",
				window.matrices(),
				sizes.window
			),
			Err(DeviceError::Canceled) => "it was not filled in time".into(),
			Err(error) => error.to_string(),
		};
		tracing::warn!(
			gpu = device.label(),
			why,
			"a GPU is left out of the trial. Check its driver (nvidia-smi, dmesg), and that no other program holds its \
			 memory"
		);
		None
	};
	let mut share = FIRST_FILL;
	loop {
		std::thread::scope(|scope| {
			let fill = &fill;
			for (number, (device, window)) in (0u8..).zip(&mut chosen) {
				if window.is_none() {
					scope.spawn(move || *window = fill(number, device, share));
				}
			}
		});
		let Some(failed) = chosen.iter().position(|(_, window)| window.is_none()) else {
			break;
		};
		share = 100;
		if !wanted(share) {
			// Those before it have their numbers.
			chosen.truncate(failed);
			break;
		}
		let behind = chosen.split_off(failed);
		let works = behind.into_iter().filter(|(_, window)| window.is_some());
		let works: Vec<_> = works.map(|(device, _)| (device, None)).collect();
		chosen.extend(works);
		let lacking = usize::from(sizes.gpus) - chosen.len();
		chosen.extend(spare.by_ref().take(lacking).map(|device| (device, None)));
	}
	chosen
		.into_iter()
		.filter_map(|(_, window)| window)
		.collect()
}

/// Returns the sizes to prepare on a machine.
fn planned(job: &Job, base: &Hash, machine: &Machine, left: Option<Duration>) -> Sizes {
	let mut sizes = job.plan();
	let devices = u8::try_from(machine.devices.len()).unwrap_or(u8::MAX);
	sizes.gpus = sizes.gpus.min(devices);
	sizes.groups = sizes.groups.min(machine.groups);
	let of_lanes = u64::from(sizes.lanes) * LANE_MEMORY * u64::from(job.bench.is_full());
	sizes.pages = sizes
		.pages
		.min(machine.memory.saturating_sub(of_lanes) / PAGE as u64);
	if let Some(left) = left.filter(|_| job.bench.is_full()) {
		let time = left.saturating_mul(FILL_SHARE) / 100;
		let most = fill_rate(base) * time.min(FILL_TIME).as_secs_f64();
		sizes.pages = sizes.pages.min(most as u64);
	}
	sizes.pages = sizes.pages.max(1);
	sizes
}

/// Measures the pages that all cores fill in a second.
fn fill_rate(base: &Hash) -> f64 {
	let threads = rayon::current_num_threads();
	let begun = Instant::now();
	(0..threads)
		.into_par_iter()
		.with_max_len(1)
		.for_each(|thread| {
			let mut page: Box<Page> = Box::new([[0; 64]; PAGE / 64]);
			for number in 0..MEASURED {
				fill_page(
					Compress::new(),
					base,
					(thread * MEASURED + number) as u64,
					&mut page,
				);
			}
		});
	(threads * MEASURED) as f64 / begun.elapsed().as_secs_f64().max(1e-6)
}

/// A trial that has run.
pub struct Proof {
	prepared: Arc<Prepared>,
	trial_seed: H256,
	roots: Roots,
	root: Hash,
	gpus: Option<matrix::Ran>,
	processor: Option<processor::Proof>,
	disk: Option<disk::Proof>,
	/// The milliseconds after which each part was known.
	arrived: Parts<Option<(u64, Hash)>>,
}

impl Proof {
	/// The root that is attested.
	pub fn root(&self) -> Hash {
		self.root
	}

	/// Returns the roots under the attested root.
	pub fn roots(&self) -> &Roots {
		&self.roots
	}

	/// Returns the seed of the trial.
	pub fn trial_seed(&self) -> H256 {
		self.trial_seed
	}

	/// Returns the prepared machine.
	pub fn prepared(&self) -> &Arc<Prepared> {
		&self.prepared
	}

	/// Returns the verdict on it by this machine's own clock, without the network's delay and without
	/// bandwidth, and remarks on each claim that is not shown whole.
	pub fn judged(&self) -> (Verdict, Vec<String>) {
		let (proved, arrivals) = self.evidence();
		verdict::judge(
			&self.prepared.job,
			&self.roots,
			&proved,
			&arrivals,
			None,
			true,
		)
	}

	/// Returns each claim except the bandwidth, with the amount shown by this machine's own clock.
	pub fn figures(&self) -> Vec<Figure> {
		let (proved, arrivals) = self.evidence();
		verdict::figures(&self.prepared.job, &self.roots, &proved, &arrivals)
	}

	fn evidence(&self) -> (Proved, Arrivals) {
		let arrivals = Arrivals {
			start: Some(0),
			at: self.arrived,
		};
		let proved = Proved {
			gpus: self.gpus.as_ref().map(|ran| ran.marks().to_vec()),
			processor: self.processor.is_some(),
			disk: self.disk.is_some(),
		};
		(proved, arrivals)
	}

	/// Replaces the computed roots with those attested before a restart. A resource with another root is
	/// lost.
	pub fn attested(mut self, before: Roots) -> Self {
		if self.roots.gpus != before.gpus {
			self.gpus = None;
		}
		if self.roots.processor != before.processor {
			self.processor = None;
		}
		if self.roots.disk != before.disk {
			self.disk = None;
		}
		self.root = before.root(&self.prepared.job);
		self.roots = before;
		self
	}

	/// Opens a resource.
	pub fn open(&self, resource: Resource, challenge: &Challenge) -> Result<Vec<u8>, NotOpened> {
		let draw = challenge.draw(&self.prepared.job, &self.trial_seed, &self.root);
		let mut out = Vec::new();
		match resource {
			Resource::Gpus => {
				let gpus = self.gpus.as_ref().ok_or(NotOpened::Gone)?;
				gpus.open(&draw, &mut out).map_err(|error| match error {
					DeviceError::Busy => NotOpened::Busy,
					error => {
						tracing::error!(%error, "cannot open the GPUs' part of a proof. Check their driver (nvidia-smi, dmesg)");
						NotOpened::Gone
					}
				})?;
			}
			Resource::Processor => {
				let processor = self.processor.as_ref().ok_or(NotOpened::Gone)?;
				processor.open(&draw, &mut out);
			}
			Resource::Disk => {
				let disk = self.disk.as_ref().ok_or(NotOpened::Gone)?;
				disk.open(&draw, &mut out).map_err(|error| {
					tracing::warn!(%error, "cannot open the plot's part of a proof. Check the disk (dmesg)");
					NotOpened::Gone
				})?;
			}
		}
		Ok(out)
	}

	/// Releases the memory. Later openings compute the work again.
	pub fn release(&self) {
		if let Some(processor) = &self.processor {
			processor.release();
		}
		self.prepared.release();
	}
}

#[cfg(test)]
mod tests;
