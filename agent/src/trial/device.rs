//! Devices that fill a GPU's memory and run its turns: a GPU ([`crate::gpu`]), or the processor, which is
//! the oracle for every kernel.

mod plain;

use super::{
	hash::{Hash, Running},
	matrix::{Line, Size},
};
pub use plain::Processor;
use std::{
	collections::{BTreeMap, BTreeSet},
	time::Duration,
};

/// Size of a plain copy, in bytes.
pub(crate) const COPIED: usize = 64 << 20;
/// Number of plain copies in a measurement.
pub(crate) const COPIES: u32 = 32;

/// Returns the rate of [`COPIES`] copies of `size` bytes, in 10⁹ bytes per second, read and written ones.
pub(crate) fn copied_gbps(size: u64, took: Duration) -> f64 {
	2.0 * size as f64 * f64::from(COPIES) / took.as_secs_f64().max(1e-9) / 1e9
}

/// Reason for a device's failure.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
	/// A trial runs on it; work that is not timed waits.
	#[error("a trial runs on the device")]
	Busy,
	/// It has too little memory even for the matrices.
	#[error("the device has too little memory: {0}")]
	Memory(String),
	/// The driver failed, or the device was lost.
	#[error("the device failed: {0}")]
	Lost(String),
	/// It cannot compute with matrices of this size.
	#[error("the device cannot compute with matrices of this size")]
	Shape,
	/// The work is no longer wanted.
	#[error("the work was canceled")]
	Canceled,
}

/// A kernel for the matrix product, and its measured speed.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Rated {
	/// Name, for display.
	pub kernel: String,
	/// 10⁹ operations per second in a short measurement. `None` if the device has no choice of kernels, or
	/// is a software renderer.
	pub gops: Option<f64>,
}

/// A matrix of a GPU's work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Matrix {
	/// `X_t` of the fill.
	Filled(u32),
	/// The result of a step, counted over all turns.
	Step(u32),
}

/// A line of a matrix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
	/// The matrix.
	pub matrix: Matrix,
	/// Its line.
	pub line: u32,
}

/// A line with its path in the tree over its matrix, from the leaf up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
	/// The line.
	pub line: Line,
	/// Its path.
	pub path: Vec<Hash>,
}

/// Calls of a device that runs its turns.
pub trait Spans {
	/// Called before each span except the first, with the device's running hash. Waits for the worker's
	/// other GPUs, and returns the hash bound to theirs. `None` ends the run.
	fn bind(&mut self, turn: u32, running: Running) -> Option<Running>;
}

/// A device.
pub trait Device: Send + Sync {
	/// Returns its name, for display. It is never evidence.
	fn name(&self) -> String;
	/// Returns its name, and its number among devices of that name.
	fn label(&self) -> String {
		self.name()
	}
	/// Returns its kernels for the matrix product, if it has several; it uses the first.
	fn kernels(&self) -> Vec<Rated> {
		Vec::new()
	}
	/// Returns the rate of a plain copy within its memory, in 10⁹ bytes per second, read and written ones.
	fn copy_gbps(&self) -> Result<f64, DeviceError>;
	/// Takes memory for `window` matrices of n × n bytes, or for as many as fit, and fills it from the seed
	/// of the fill. It also creates the kernels and buffers for the trial, since the clock does not run yet.
	/// Ends with [`DeviceError::Canceled`] soon after `wanted` is false.
	fn fill(
		&self,
		seed: Hash,
		n: u32,
		window: u32,
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Result<Box<dyn Window>, DeviceError>;
}

/// A device with a filled window. The memory is its own until it is released or dropped.
pub trait Window: Send + Sync {
	/// Returns the number of matrices that it holds; fewer than requested if the memory was too small.
	fn matrices(&self) -> u32;
	/// Returns the roots of all matrices of the fill in order, including those that do not stay.
	fn roots(&self) -> &[Hash];
	/// Runs all turns over the first `size.window` matrices, and returns the roots of all steps in order.
	/// `running` is the running hash before the first turn. The clock runs.
	fn run(
		&self,
		seed: Hash,
		size: Size,
		running: Running,
		spans: &mut dyn Spans,
	) -> Result<Vec<Hash>, DeviceError>;
	/// Repeats the run with this seed and returns lines of the fill and of its steps. `hashes` are the
	/// running hashes before each turn. One repetition serves all callers that wait at that time.
	fn show(
		&self,
		seed: Hash,
		size: Size,
		hashes: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError>;
	/// Walks over equal parts of the window, and returns the rates of reading, in 10⁹ bytes per second. For
	/// benches; empty if it is not implemented.
	#[doc(hidden)]
	fn part_gbps(&self, _parts: u32) -> Result<Vec<f64>, DeviceError> {
		Ok(Vec::new())
	}
	/// Returns the rate of products alone, in 10⁹ operations a second. For benches; none where it is not
	/// implemented.
	#[doc(hidden)]
	fn product_gops(&self) -> Result<Option<f64>, DeviceError> {
		Ok(None)
	}
	/// Returns the rate at which the device reads lines all over the window, each at a place that the line
	/// before determines, in 10⁹ bytes a second. For benches, as the yardstick of walks; none where it is
	/// not implemented.
	#[doc(hidden)]
	fn reads_gbps(&self) -> Result<Option<f64>, DeviceError> {
		Ok(None)
	}
	/// Releases the memory on the device. Later calls of [`show`](Self::show) fill it again.
	fn release(&self) {}
}
