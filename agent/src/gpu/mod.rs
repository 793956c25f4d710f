//! GPUs. Drivers are loaded at run time; building and starting the agent needs no vendor's software.
//!
//! The work of a trial and of its openings ([`run`], [`desk`]) is the same on every GPU. A [`backend`] does
//! it through the GPU's driver: [`cuda`] for NVIDIA's GPUs, [`vulkan`] for all others.
//!
//! A driver's description of a GPU, its name included, is only for people: it is never evidence.

mod backend;
mod card;
mod cuda;
mod desk;
mod memo;
mod names;
mod pool;
mod run;
mod vulkan;

use crate::trial::{
	device::{Device, DeviceError, Rated, Window},
	hash::Hash,
	matrix::Size,
};
use backend::{Backend, Source, contained};
pub use card::{BadName, BusId, Card, GpuName, Kind, Uuid, Vendor};
pub use names::by_driver_name;
use parking_lot::{Mutex, MutexGuard};
pub use pool::Pool;
use run::Held;
use std::{
	path::PathBuf,
	sync::{
		Arc,
		atomic::{AtomicU32, Ordering},
	},
	time::{Duration, Instant},
};

/// The kinds of devices to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
	/// None.
	Off,
	/// GPUs.
	#[default]
	Hardware,
	/// Software Vulkan as well as GPUs. Far too slow for any class: for tests.
	Software,
}

/// The kernels that may compute the product.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kernels {
	/// The fastest correct one on each device.
	#[default]
	Fastest,
	/// The one that runs everywhere.
	Portable,
	/// One on matrix units; a device without them is not used.
	Tensor,
}

/// The split of a window into buffers, and the way walks reach them. For tests and benches on small GPUs.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
	/// Maximum bytes of a buffer; the driver's limit if `None`.
	pub most: Option<u64>,
	/// Walks branch to their buffers even if buffers have addresses.
	pub branches: bool,
}

/// The selection of GPUs and kernels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
	/// Which devices.
	pub choice: Choice,
	/// Names of the GPUs to use, in order of use; without names, all of them.
	pub names: Vec<GpuName>,
	/// Which kernels.
	pub kernels: Kernels,
	/// Folder for the record of the chosen kernel and of kernels that crash the driver; no record if `None`.
	pub memory: Option<PathBuf>,
	/// The split of windows into buffers.
	#[doc(hidden)]
	pub cut: Cut,
}

impl From<Choice> for Options {
	fn from(choice: Choice) -> Self {
		Self {
			choice,
			..Default::default()
		}
	}
}

/// A GPU that a scan found, and the function that opens it.
struct Found {
	card: Card,
	open: Box<dyn FnOnce() -> Result<Arc<dyn Device>, DeviceError> + Send>,
}

impl Found {
	fn new(source: impl Source, kernels: Kernels) -> Self {
		Self {
			card: source.card().clone(),
			open: Box::new(move || Ok(Arc::new(Gpu::open(source, kernels)?))),
		}
	}

	/// Combines two ways to open one GPU: the second is the fallback of the first.
	fn by_either(first: Self, second: Option<Self>) -> Self {
		let Some(second) = second else {
			return first;
		};
		let card = first.card.clone();
		let open = move || match (first.open)() {
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(
					gpu = %card,
					error,
					"CUDA cannot be used on this GPU; falling back to Vulkan, which is slower. Check the driver with \
					 nvidia-smi and dmesg, and update it if it is old"
				);
				(second.open)()
			}
			other => other,
		};
		Self {
			card: first.card,
			open: Box::new(open),
		}
	}
}

/// The result of a scan for GPUs.
struct Look<T> {
	/// The GPUs to use, in order of use.
	chosen: Vec<T>,
	/// Names that match none of them.
	missing: Vec<GpuName>,
	/// Every GPU found.
	all: Vec<Card>,
}

/// Selects GPUs according to the options.
fn chosen_of<T>(found: Vec<T>, options: &Options, card: impl Fn(&T) -> &Card + Copy) -> Look<T> {
	let all = found.iter().map(|each| card(each).clone()).collect();
	let (mut chosen, missing) = card::choose(found, &options.names, card);
	chosen.truncate(Size::MAX_GPUS);
	Look {
		chosen,
		missing,
		all,
	}
}

/// Scans for GPUs. Those that CUDA's driver shows are opened by it, with Vulkan as their fallback.
fn look(options: &Options) -> Look<Found> {
	let mut others = vulkan::find(options);
	let mut found = Vec::new();
	for source in cuda::find(options) {
		let same = others
			.iter()
			.position(|other| other.card().is_same(source.card()));
		let same = same.map(|at| Found::new(others.remove(at), options.kernels));
		found.push(Found::by_either(Found::new(source, options.kernels), same));
	}
	let others = others
		.into_iter()
		.map(|source| Found::new(source, options.kernels));
	found.extend(others);
	chosen_of(found, options, |found| &found.card)
}

/// Some names that an operator gave match no GPU.
#[derive(Debug, thiserror::Error)]
#[error("no GPU matches {names}; the GPUs of this machine are\n{all}")]
pub struct NotThere {
	names: String,
	all: String,
}

impl NotThere {
	fn check<T>(look: &Look<T>) -> Result<(), Self> {
		if look.missing.is_empty() {
			return Ok(());
		}
		let names: Vec<String> = look.missing.iter().map(ToString::to_string).collect();
		Err(Self {
			names: names.join(", "),
			all: card::list(&look.all),
		})
	}
}

/// Lists cards for people: bus id, UUID, name and memory, one per line.
pub fn list(cards: &[Card]) -> String {
	card::list(cards)
}

/// Describes the GPUs that the options choose, in order of use. Opens none.
pub fn cards(options: &Options) -> Result<Vec<Card>, NotThere> {
	let look = look(options);
	NotThere::check(&look)?;
	Ok(look.chosen.into_iter().map(|found| found.card).collect())
}

/// Opens the GPUs that the options choose, in order of use. Skips those that cannot be opened, with a
/// warning.
pub fn open(options: &Options) -> Vec<Arc<dyn Device>> {
	Pool::new(options.clone()).look()
}

/// A kernel for the product that was tried on a GPU.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Tried {
	/// The GPU's name, for display.
	pub gpu: String,
	/// The kernel's name, for display.
	pub kernel: String,
	/// The reason why it cannot be used; `None` if its results equal the processor's.
	pub error: Option<String>,
}

/// Tries every kernel on the GPUs that the options choose, including kernels that agents would not use.
pub fn try_each(options: &Options) -> Result<Vec<Tried>, NotThere> {
	type Trial = Box<dyn FnOnce() -> Vec<(String, Result<(), DeviceError>)>>;
	fn trial(source: impl Source) -> (Card, Trial) {
		(source.card().clone(), Box::new(move || source.try_each()))
	}
	let cuda = cuda::find(options).into_iter().map(trial);
	let found = cuda.chain(vulkan::find(options).into_iter().map(trial));
	let look = chosen_of(found.collect(), options, |(card, _): &(Card, Trial)| card);
	NotThere::check(&look)?;
	let tried = look.chosen.into_iter().flat_map(|(card, trial)| {
		let gpu = card.to_string();
		trial().into_iter().map(move |(kernel, result)| Tried {
			gpu: gpu.clone(),
			kernel,
			error: result.err().map(|error| error.to_string()),
		})
	});
	Ok(tried.collect())
}

/// One GPU.
struct Gpu<S: Source>(Arc<Opener<S>>);

/// Opens a GPU, and reopens it whenever it is lost.
struct Opener<S: Source> {
	source: S,
	kernels: Kernels,
	/// Replaced when the device is lost.
	shared: Mutex<Arc<Shared<S::Backend>>>,
	/// Time of the last reopening. Locked after `shared`.
	lost: Mutex<Option<Instant>>,
}

/// A GPU lost again within this time is reopened with safer kernels, through Vulkan without its matrix
/// units, through CUDA without Hopper's own kernels and early launches: passing a moment's check does not
/// mean that they hold for a trial.
const TRUSTED_AGAIN: Duration = Duration::from_secs(24 * 3_600);

/// Returns the kernels for a GPU that was just lost; `since_last` is the time since the loss before.
fn kernels_after(since_last: Option<Duration>, asked: Kernels) -> Kernels {
	match (since_last, asked) {
		(Some(time), Kernels::Fastest) if time < TRUSTED_AGAIN => Kernels::Portable,
		_ => asked,
	}
}

impl<S: Source> Gpu<S> {
	/// Opens a GPU.
	fn open(source: S, kernels: Kernels) -> Result<Self, DeviceError> {
		let shared = Shared::new(source.open(kernels)?);
		Ok(Self(Arc::new(Opener {
			source,
			kernels,
			shared: Mutex::new(Arc::new(shared)),
			lost: Mutex::new(None),
		})))
	}
}

impl<S: Source> Opener<S> {
	/// Returns the device, reopened if it was lost.
	fn shared(&self) -> Result<Arc<Shared<S::Backend>>, DeviceError> {
		let mut shared = self.shared.lock();
		if !shared.backend.has_failed() {
			return Ok(shared.clone());
		}
		let before = *self.lost.lock();
		let kernels = kernels_after(before.map(|at| at.elapsed()), self.kernels);
		tracing::warn!(gpu = %self.source.card(), "reopening a GPU that was lost");
		// Drivers may free memory only on request.
		*shared.kept.lock() = None;
		let backend = contained(|| self.source.open_again(kernels))?;
		*shared = Arc::new(Shared::new(backend));
		// One entry per loss, regardless of how many attempts the reopening took.
		*self.lost.lock() = Some(Instant::now());
		Ok(shared.clone())
	}

	/// Runs `act` on the device. If the device is lost meanwhile, reopens it and runs `act` once more.
	fn with<T>(
		&self,
		act: impl Fn(Arc<Shared<S::Backend>>) -> Result<T, DeviceError>,
	) -> Result<T, DeviceError> {
		let shared = self.shared()?;
		match shared.noting_loss(|| act(shared.clone())) {
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(
					gpu = %self.source.card(),
					error,
					"a GPU was lost; repeating its work after reopening it. If this recurs, check dmesg, its power and \
					 its cooling"
				);
				let shared = self.shared()?;
				shared.noting_loss(|| act(shared.clone()))
			}
			other => other,
		}
	}
}

impl<S: Source> Device for Gpu<S> {
	fn name(&self) -> String {
		self.0.source.card().name.clone()
	}

	fn label(&self) -> String {
		self.0.source.card().to_string()
	}

	fn kernels(&self) -> Vec<Rated> {
		let shared = self.0.shared.lock();
		shared.backend.rated()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let shared = self.0.shared()?;
		let _work = shared.idle()?;
		shared.backend.copy_gbps()
	}

	fn fill(
		&self,
		seed: Hash,
		n: u32,
		window: u32,
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Result<Box<dyn Window>, DeviceError> {
		let filled = self.0.with(|shared| {
			run::GpuWindow::fill(self.0.clone(), shared, seed, (n, window), wanted)
		})?;
		Ok(Box::new(filled))
	}
}

/// Guard: its device is being filled for a trial, or runs one.
struct Timed<B: Backend>(Arc<Shared<B>>);

impl<B: Backend> Timed<B> {
	fn begin(shared: &Arc<Shared<B>>) -> Self {
		shared.timed.fetch_add(1, Ordering::SeqCst);
		Self(shared.clone())
	}
}

impl<B: Backend> Drop for Timed<B> {
	fn drop(&mut self) {
		self.0.timed.fetch_sub(1, Ordering::SeqCst);
	}
}

/// State shared by a GPU and its runs.
struct Shared<B: Backend> {
	backend: B,
	/// Number of trials it is filled for or runs: untimed work yields to them.
	timed: AtomicU32,
	/// Held by the thread that works on the device. Locked before `kept` where both are.
	work: Mutex<()>,
	/// Memory of the last window on the device. The next one replaces it.
	kept: Mutex<Option<(u64, Arc<Held<B>>)>>,
}

impl<B: Backend> Shared<B> {
	fn new(backend: B) -> Self {
		Self {
			backend,
			timed: AtomicU32::new(0),
			work: Mutex::new(()),
			kept: Mutex::new(None),
		}
	}

	/// Runs `act`, and marks the device failed if it is lost meanwhile.
	fn noting_loss<T>(
		&self,
		act: impl FnOnce() -> Result<T, DeviceError>,
	) -> Result<T, DeviceError> {
		contained(act).inspect_err(|error| {
			if matches!(error, DeviceError::Lost(_)) {
				self.backend.fail();
			}
		})
	}

	/// Locks the device for untimed work, unless a trial has it.
	fn idle(&self) -> Result<MutexGuard<'_, ()>, DeviceError> {
		// A fill takes minutes.
		self.give_way()?;
		let guard = self.work.lock();
		self.give_way()?;
		Ok(guard)
	}

	/// Fails if a trial has the device or waits for it.
	fn give_way(&self) -> Result<(), DeviceError> {
		match self.timed.load(Ordering::SeqCst) {
			0 => Ok(()),
			_ => Err(DeviceError::Busy),
		}
	}
}

#[cfg(test)]
pub(crate) mod tests {
	pub use super::card::tests::card;
	use super::*;

	#[test]
	fn a_gpu_that_is_lost_again_does_without_its_matrix_units() {
		use Kernels::{Fastest, Portable, Tensor};
		let day = TRUSTED_AGAIN;
		assert_eq!(kernels_after(None, Fastest), Fastest, "a driver's reset");
		assert_eq!(kernels_after(Some(day / 2), Fastest), Portable);
		assert_eq!(kernels_after(Some(day), Fastest), Fastest);
		assert_eq!(kernels_after(Some(day / 2), Tensor), Tensor, "as asked");
	}

	#[test]
	fn a_name_that_fits_no_gpu_is_an_error_that_lists_what_there_is() {
		let software = |names: Vec<GpuName>| {
			cards(&Options {
				choice: Choice::Software,
				names,
				..Default::default()
			})
		};
		let found = software(Vec::new()).unwrap();
		let card = found.last().unwrap();
		let uuid = card.uuid.expect("Mesa reports a UUID");
		assert!(card.memory > 0);
		let named = software(vec![GpuName::Uuid(uuid)]).unwrap();
		assert_eq!(named.iter().collect::<Vec<_>>(), [card]);
		let error = software(vec!["0000:fe:1f.0".parse().unwrap()]).unwrap_err();
		let error = error.to_string();
		assert!(error.contains("0000:fe:1f.0"), "{error}");
		assert!(
			error.contains(&uuid.to_string()) && error.contains(&card.name),
			"{error}"
		);
	}
}
