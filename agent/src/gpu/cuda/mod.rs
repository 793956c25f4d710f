//! NVIDIA's GPUs, through CUDA's driver alone. The kernels are in `agent/cuda/`; the driver compiles them
//! for the machine's GPU.

mod choice;
mod code;
mod driver;
mod layout;
mod memory;
mod work;

use super::{
	Choice, Kernels, Options,
	backend::{Source, lost},
	card::Card,
};
use crate::trial::device::{DeviceError, Rated};
use code::{BASE_EARLY, Recipe};
use driver::{Context, Kernel, Listed, Version};
use layout::{LANE, LANES, LEAVES, PARTS, THREADS};
use std::{path::PathBuf, sync::atomic::AtomicBool};

/// A GPU that CUDA's driver shows.
pub(super) struct Found {
	listed: Listed,
	version: Version,
	/// Folder for the record of chosen kernels.
	memory: Option<PathBuf>,
}

/// Finds GPUs. Returns none without CUDA's driver, or if the options exclude CUDA.
pub(super) fn find(options: &Options) -> Vec<Found> {
	if options.choice == Choice::Off || options.kernels == Kernels::Portable {
		return Vec::new();
	}
	let Some(version) = driver::version() else {
		return Vec::new();
	};
	let listed = driver::list().unwrap_or_else(|error| {
		tracing::warn!(
			%error,
			"CUDA's driver cannot list its GPUs; using those that Vulkan shows. Check the driver with nvidia-smi and \
			 dmesg"
		);
		Vec::new()
	});
	let found = |listed: Listed| {
		// Older GPUs have no matrix units for bytes.
		let fits = code::fitting(&listed, version);
		let known = fits.base.is_some() || !fits.too_new.is_empty();
		known.then(|| Found {
			listed,
			version,
			memory: options.memory.clone(),
		})
	};
	listed.into_iter().filter_map(found).collect()
}

impl Source for Found {
	type Backend = Cuda;

	fn card(&self) -> &Card {
		&self.listed.card
	}

	fn open(&self, kernels: Kernels) -> Result<Cuda, DeviceError> {
		choice::choose(&self.listed, self.version, kernels, self.memory.as_deref())
	}

	fn open_again(&self, kernels: Kernels) -> Result<Cuda, DeviceError> {
		// Its number may have changed.
		let mut listed = driver::list()?.into_iter();
		let listed = listed.find(|listed| listed.card.is_same(&self.listed.card));
		let listed = listed.ok_or_else(|| lost("its driver no longer shows it"))?;
		choice::choose(&listed, self.version, kernels, self.memory.as_deref())
	}

	fn try_each(&self) -> Vec<(String, Result<(), DeviceError>)> {
		choice::try_each(&self.listed, self.version)
	}
}

/// An open GPU.
pub(super) struct Cuda {
	/// Its name, for display.
	name: String,
	context: Context,
	base: Base,
	product: Product,
	/// The kernels for the product, with their measured rates.
	rated: Vec<Rated>,
	multiprocessors: u32,
	/// Kernels may start before the previous one ends.
	early: bool,
	failed: AtomicBool,
}

/// The kernels other than products.
struct Base {
	fill: Kernel,
	tree: Kernel,
	walk: Kernel,
	/// For measurements only: a GPU is used without it, too.
	reads: Option<Kernel>,
	gather: Kernel,
	copy: Kernel,
}

/// The kernel for products.
struct Product {
	recipe: Recipe,
	kernel: Kernel,
}

impl Cuda {
	/// Opens a GPU and compiles its kernels.
	fn open(
		listed: &Listed,
		base: &code::Code,
		recipe: &Recipe,
		early: bool,
	) -> Result<Self, DeviceError> {
		let context = Context::open(listed.ordinal)?;
		let around = context.module(base.ptx)?;
		Ok(Self {
			name: listed.card.to_string(),
			base: Base {
				fill: around.kernel("fill", THREADS, 0)?,
				tree: around.kernel("tree", LEAVES, 32 * LEAVES + 16)?,
				walk: around.kernel("walk", LANE * LANES, 0)?,
				reads: around.kernel("reads", LANE * LANES, 0).ok(),
				gather: around.kernel("gather", PARTS, 0)?,
				copy: around.kernel("copy", THREADS, 0)?,
			},
			product: Product {
				recipe: *recipe,
				kernel: context.module(recipe.code.ptx)?.kernel(
					recipe.entry,
					recipe.threads,
					recipe.shared,
				)?,
			},
			rated: Vec::new(),
			multiprocessors: listed.multiprocessors,
			early: early && std::ptr::eq(base, &BASE_EARLY),
			failed: AtomicBool::new(false),
			context,
		})
	}
}

#[cfg(test)]
mod tests;
