//! GPUs. Drivers are found at run time; nothing of a vendor's is needed to build or to start.
//!
//! The work of a trial and of its openings ([`run`], [`desk`]) is the same on every GPU. A [`backend`] does it through
//! the GPU's driver: [`cuda`] for NVIDIA's, [`vulkan`] for all others.
//!
//! What a driver says of itself, its name included, is shown to people and never counts.

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

/// Which devices are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
	/// None.
	Off,
	/// GPUs.
	#[default]
	Hardware,
	/// Software that plays a GPU, too. It is as slow as it must be and supports no class: for tests.
	Software,
}

/// Which kernels may compute the product.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kernels {
	/// The fastest that is right, on each device.
	#[default]
	Fastest,
	/// The one that runs everywhere.
	Portable,
	/// One on matrix units; a device that has none is not used.
	Tensor,
}

/// The cut of a window into buffers, and the way to them. For tests and benches, which have no large GPU.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
	/// Most bytes of a buffer, instead of as many as the driver allows.
	pub most: Option<u64>,
	/// Walks branch to their buffers even where buffers have addresses.
	pub branches: bool,
}

/// How GPUs are used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
	/// Which devices.
	pub choice: Choice,
	/// Names of the GPUs to use, in order of use; without names, all of them.
	pub names: Vec<GpuName>,
	/// Which kernels.
	pub kernels: Kernels,
	/// Folder in which it is remembered which kernel was chosen, and that one crashes the driver; without one nothing is.
	pub memory: Option<PathBuf>,
	/// The cut of windows into buffers.
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

/// A GPU that a look found, and how it is opened.
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

	/// A GPU that can be opened in two ways: by the second where the first does not work.
	fn by_either(first: Self, second: Option<Self>) -> Self {
		let Some(second) = second else {
			return first;
		};
		let card = first.card.clone();
		let open = move || match (first.open)() {
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(gpu = %card, error, "CUDA cannot be used; Vulkan is, which is slower");
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

/// The result of a look for GPUs.
struct Look<T> {
	/// Those to use, in order of use.
	chosen: Vec<T>,
	/// Names that fit none of them.
	missing: Vec<GpuName>,
	/// Every GPU that was found.
	all: Vec<Card>,
}

/// Chooses from what was found as the options say.
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

/// Looks for GPUs. One that CUDA's driver shows is used by it, and through Vulkan where that does not work.
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

/// No GPU goes by some names that an operator gave.
#[derive(Debug, thiserror::Error)]
#[error("no GPU goes by the name {names}; there are\n{all}")]
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

/// Opens the GPUs that the options choose, in order of use. Leaves out one that cannot be opened, with a
/// warning.
pub fn open(options: &Options) -> Vec<Arc<dyn Device>> {
	Pool::new(options.clone()).look()
}

/// A kernel for the product that was tried on a GPU.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Tried {
	/// The GPU, for people.
	pub gpu: String,
	/// The kernel, for people.
	pub kernel: String,
	/// The reason for which it cannot be used; none if it computes what plain code does.
	pub error: Option<String>,
}

/// Tries every kernel on the GPUs that the options choose, those that agents would not use among them.
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

/// Opens a GPU, again whenever it was lost.
struct Opener<S: Source> {
	source: S,
	kernels: Kernels,
	/// Made anew where the device was lost.
	shared: Mutex<Arc<Shared<S::Backend>>>,
	/// When it was last opened again. Locked after `shared`.
	lost: Mutex<Option<Instant>>,
}

/// A GPU that is lost again within this time is used without its matrix units until the agent is started
/// again: that they do what they should for a moment does not mean that they do for a trial.
const TRUSTED_AGAIN: Duration = Duration::from_secs(24 * 3_600);

/// The kernels of a GPU that was lost, and that was lost before this long ago.
fn kernels_after(since_last: Option<Duration>, asked: Kernels) -> Kernels {
	match (since_last, asked) {
		(Some(time), Kernels::Fastest) if time < TRUSTED_AGAIN => Kernels::Portable,
		_ => asked,
	}
}

impl<S: Source> Gpu<S> {
	/// Opens a GPU that was found.
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
	/// The device. One that was lost is opened again.
	fn shared(&self) -> Result<Arc<Shared<S::Backend>>, DeviceError> {
		let mut shared = self.shared.lock();
		if !shared.backend.has_failed() {
			return Ok(shared.clone());
		}
		let before = *self.lost.lock();
		let kernels = kernels_after(before.map(|at| at.elapsed()), self.kernels);
		tracing::warn!(gpu = %self.source.card(), "a GPU that was lost is opened again");
		// A driver may give memory back only when it is asked to.
		*shared.kept.lock() = None;
		let backend = contained(|| self.source.open_again(kernels))?;
		*shared = Arc::new(Shared::new(backend));
		// Once a loss, however often it took to open it again.
		*self.lost.lock() = Some(Instant::now());
		Ok(shared.clone())
	}

	/// Does something with the device. Where it is lost meanwhile it is opened again, and the work done once
	/// more.
	fn with<T>(
		&self,
		act: impl Fn(Arc<Shared<S::Backend>>) -> Result<T, DeviceError>,
	) -> Result<T, DeviceError> {
		let shared = self.shared()?;
		match shared.noting_loss(|| act(shared.clone())) {
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(gpu = %self.source.card(), error, "a GPU was lost");
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

/// Marks that a device is filled for a trial, or runs one, for as long as it is there.
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
	/// Trials that it is filled for, or runs: work that is not timed gives way.
	timed: AtomicU32,
	/// Held by the thread that has work on the device. Locked before `kept`, where both are.
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

	/// Does something with the device, and notes if it is lost meanwhile.
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

	/// The device for work that is not timed, unless a trial has it.
	fn idle(&self) -> Result<MutexGuard<'_, ()>, DeviceError> {
		// A fill takes minutes.
		self.give_way()?;
		let guard = self.work.lock();
		self.give_way()?;
		Ok(guard)
	}

	/// Fails if a trial has the device, or waits for it.
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
		let uuid = card.uuid.expect("Mesa tells a UUID");
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
