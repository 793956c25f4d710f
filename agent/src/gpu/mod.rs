//! GPUs, through `wgpu`: Vulkan on Linux, its loader and driver found at run time. Nothing of a vendor's
//! is needed to build or to start.
//!
//! What a driver says of itself, its name included, is shown to people and never counts.

mod card;
mod desk;
mod kernel;
mod memo;
mod memory;
mod names;
mod pool;
mod product;
mod run;
mod shaders;
mod tensor;
mod work;

use crate::trial::{
	device::{COPIED, COPIES, Device, DeviceError, Rated, Window, copied_gbps},
	hash::Hash,
	matrix::Size,
};
pub use card::{BadName, BusId, Card, GpuName, Kind, Uuid, Vendor};
use kernel::{Code, Handle, Kernel, Use, contained};
pub use names::by_driver_name;
use parking_lot::{Mutex, MutexGuard};
pub use pool::Pool;
use product::{Chosen, Product};
use std::{
	collections::{BTreeMap, BTreeSet},
	path::PathBuf,
	sync::{
		Arc,
		atomic::{AtomicU32, Ordering},
	},
	time::{Duration, Instant},
};
use wgpu::{Adapter, BufferUsages, DeviceType};

/// Which adapters are used.
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

/// How GPUs are used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
	/// Which adapters.
	pub choice: Choice,
	/// Names of the GPUs to use, in order of use; without names, all of them.
	pub names: Vec<GpuName>,
	/// Which kernels.
	pub kernels: Kernels,
	/// Folder in which it is remembered which kernel was chosen, and that one crashes the driver; without one nothing is.
	pub memory: Option<PathBuf>,
}

impl From<Choice> for Options {
	fn from(choice: Choice) -> Self {
		Self {
			choice,
			..Default::default()
		}
	}
}

fn instance() -> wgpu::Instance {
	wgpu::Instance::new(wgpu::InstanceDescriptor {
		backends: wgpu::Backends::VULKAN,
		..wgpu::InstanceDescriptor::new_without_display_handle()
	})
}

/// The adapters of a choice, each piece of hardware once.
fn adapters(choice: Choice) -> Vec<Adapter> {
	if choice == Choice::Off {
		return Vec::new();
	}
	let instance = instance();
	let mut seen = BTreeSet::new();
	let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
	found.retain(|adapter| {
		let info = adapter.get_info();
		let wanted = match info.device_type {
			DeviceType::DiscreteGpu | DeviceType::IntegratedGpu | DeviceType::VirtualGpu => true,
			DeviceType::Cpu | DeviceType::Other => choice == Choice::Software,
		};
		// Two drivers can show the same hardware.
		let bus = &info.device_pci_bus_id;
		wanted && (bus.is_empty() || seen.insert(bus.clone()))
	});
	found
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

/// Looks for GPUs. Each look has an instance of its own, which finds drivers that came since the last one.
fn look(options: &Options) -> Look<(Card, Adapter)> {
	let found = adapters(options.choice).into_iter();
	let found = found.map(|adapter| (Card::of(&adapter), adapter)).collect();
	chosen_of(found, options, |(card, _)| card)
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
	Ok(look.chosen.into_iter().map(|(card, _)| card).collect())
}

/// Opens the GPUs that the options choose, in order of use. Leaves out one that cannot be opened, with a
/// warning.
pub fn open(options: &Options) -> Vec<Arc<dyn Device>> {
	Pool::new(options.clone()).look()
}

/// One GPU.
pub struct Gpu(Arc<Opener>);

/// Opens a GPU, again whenever it was lost.
struct Opener {
	card: Card,
	adapter: Adapter,
	options: Options,
	/// Made anew where the device was lost.
	shared: Mutex<Arc<Shared>>,
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

impl Gpu {
	/// Opens an adapter.
	pub fn open(adapter: &Adapter, options: &Options) -> Result<Self, DeviceError> {
		Ok(Self(Arc::new(Opener {
			card: Card::of(adapter),
			adapter: adapter.clone(),
			options: options.clone(),
			shared: Mutex::new(Arc::new(Shared::open(adapter, options)?)),
			lost: Mutex::new(None),
		})))
	}
}

impl Opener {
	/// The device. One that was lost is opened again, by a new look at the machine: its driver may have been
	/// replaced.
	fn shared(&self) -> Result<Arc<Shared>, DeviceError> {
		let mut shared = self.shared.lock();
		if !shared.handle.has_failed() {
			return Ok(shared.clone());
		}
		let before = *self.lost.lock();
		let kernels = kernels_after(before.map(|at| at.elapsed()), self.options.kernels);
		tracing::warn!(gpu = %self.card, "a GPU that was lost is opened again");
		// A driver may give memory back only when it is asked to.
		*shared.kept.lock() = None;
		let options = Options {
			kernels,
			..self.options.clone()
		};
		let found = adapters(options.choice).into_iter();
		let found = found.map(|adapter| (Card::of(&adapter), adapter));
		let fresh = found
			.filter(|(card, _)| card.is_same(&self.card))
			.map(|(_, adapter)| adapter)
			.next();
		let adapter = fresh.as_ref().unwrap_or(&self.adapter);
		*shared = Arc::new(contained(|| Shared::open(adapter, &options))?);
		// Once a loss, however often it took to open it again.
		*self.lost.lock() = Some(Instant::now());
		Ok(shared.clone())
	}

	/// Does something with the device. Where it is lost meanwhile it is opened again, and the work done once
	/// more.
	fn with<T>(
		&self,
		act: impl Fn(Arc<Shared>) -> Result<T, DeviceError>,
	) -> Result<T, DeviceError> {
		let shared = self.shared()?;
		match shared.noting_loss(|| act(shared.clone())) {
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(gpu = %self.card, error, "a GPU was lost");
				let shared = self.shared()?;
				shared.noting_loss(|| act(shared.clone()))
			}
			other => other,
		}
	}
}

impl Device for Gpu {
	fn name(&self) -> String {
		self.0.card.name.clone()
	}

	fn label(&self) -> String {
		self.0.card.to_string()
	}

	fn kernels(&self) -> Vec<Rated> {
		let shared = self.0.shared.lock();
		shared.rated.clone()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let shared = self.0.shared()?;
		let _work = shared.idle()?;
		let handle = &shared.handle;
		let size = (COPIED as u64).min(handle.limits.max_buffer_size);
		let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
		let from = handle.buffer("from", size, usage)?;
		let to = handle.buffer("to", size, usage)?;
		let copy = |times| {
			let mut encoder = handle.encoder();
			for _ in 0..times {
				encoder.copy_buffer_to_buffer(&from, 0, &to, 0, Some(size));
			}
			handle.submit(encoder);
			handle.wait()
		};
		// The first makes the memory real.
		copy(1)?;
		let start = Instant::now();
		copy(COPIES)?;
		Ok(copied_gbps(size, start.elapsed()))
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
struct Timed(Arc<Shared>);

impl Timed {
	fn begin(shared: &Arc<Shared>) -> Self {
		shared.timed.fetch_add(1, Ordering::SeqCst);
		Self(shared.clone())
	}
}

impl Drop for Timed {
	fn drop(&mut self) {
		self.0.timed.fetch_sub(1, Ordering::SeqCst);
	}
}

/// State shared by a GPU and its runs.
struct Shared {
	name: String,
	handle: Handle,
	fill: Kernel,
	product: Product,
	/// The kernels for the product, with their measured speeds.
	rated: Vec<Rated>,
	leaves: Kernel,
	reduce: Kernel,
	top: Kernel,
	/// Trials that it is filled for, or runs: work that is not timed gives way.
	timed: AtomicU32,
	/// Held by the thread that has work on the device. Locked before `kept`, where both are.
	work: Mutex<()>,
	/// Memory of the last window on the device. The next one replaces it.
	kept: Mutex<Option<(u64, Arc<memory::Memory>)>>,
	/// The walk's kernels, by the number of buffers that the window lies in.
	walks: Mutex<BTreeMap<usize, Arc<Kernel>>>,
}

impl Shared {
	fn open(adapter: &Adapter, options: &Options) -> Result<Self, DeviceError> {
		let Chosen {
			handle,
			product,
			rated,
		} = product::choose(adapter, options)?;
		let kernel = |name, code: String, uses: &[Use]| handle.kernel(name, Code::Wgsl(code), uses);
		use Use::{Read, Write};
		Ok(Self {
			name: adapter.get_info().name,
			fill: kernel("fill", shaders::fill(), &[Write])?,
			leaves: kernel("leaves", shaders::leaves(), &[Read, Write])?,
			reduce: kernel("reduce", shaders::reduce(), &[Write])?,
			top: kernel("top", shaders::top(), &[Write; 4])?,
			product,
			rated,
			handle,
			timed: AtomicU32::new(0),
			work: Mutex::new(()),
			kept: Mutex::new(None),
			walks: Mutex::default(),
		})
	}

	/// The walk's kernel over a window in this number of buffers.
	fn walk_kernel(&self, buffers: usize) -> Result<Arc<Kernel>, DeviceError> {
		let mut walks = self.walks.lock();
		if let Some(kernel) = walks.get(&buffers) {
			return Ok(kernel.clone());
		}
		let mut uses = vec![Use::Write];
		uses.resize(1 + buffers, Use::Read);
		let code = Code::Wgsl(shaders::walk(buffers));
		let made = Arc::new(self.handle.kernel("walk", code, &uses)?);
		walks.insert(buffers, made.clone());
		Ok(made)
	}

	/// Does something with the device, and notes if it is lost meanwhile.
	fn noting_loss<T>(
		&self,
		act: impl FnOnce() -> Result<T, DeviceError>,
	) -> Result<T, DeviceError> {
		contained(act).inspect_err(|error| {
			if matches!(error, DeviceError::Lost(_)) {
				self.handle.fail();
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
