//! The interface between the work on a GPU and the driver that runs it.

use super::{Card, Kernels};
use crate::trial::{
	device::{DeviceError, Matrix, Rated, Shown},
	hash::{Hash, Running},
	matrix::Size,
};
use std::{
	ops::Range,
	panic::{AssertUnwindSafe, catch_unwind},
};

/// Number of step roots that a GPU holds, each at its step's number modulo this: a multiple of a turn's
/// steps.
pub(super) const ROOTS: u32 = 1 << 16;

/// An open GPU, which does the trial's work in its own memory. Used by one thread at a time.
pub(super) trait Backend: Send + Sync + Sized + 'static {
	/// The memory of one window: its kept matrices, the working matrices of the fill and of the trial, and
	/// the tree built last.
	type Memory: Send + Sync;

	/// Minimum number of rows of a matrix.
	const LEAST_ROWS: u32;

	/// Allocates memory for `window` matrices of n × n bytes, or for as many as fit.
	fn take(&self, n: u32, window: u32) -> Result<Self::Memory, DeviceError>;

	/// Returns the number of matrices that fit.
	fn matrices(memory: &Self::Memory) -> u32;

	/// Fills the window, and returns the roots of all matrices if `trees`. Stops when `go_on` fails.
	fn fill(
		&self,
		memory: &Self::Memory,
		seed: &Hash,
		trees: bool,
		go_on: &dyn Fn() -> Result<(), DeviceError>,
	) -> Result<Vec<Hash>, DeviceError>;

	/// Fills `A` of the trial and the first of its two matrices.
	fn begin(&self, memory: &Self::Memory, seed: &Hash) -> Result<(), DeviceError>;

	/// Sets the running hash, from which the next step's κ follows.
	fn set_running(&self, memory: &Self::Memory, running: &Running) -> Result<(), DeviceError>;

	/// Reads back the running hash.
	fn running(&self, memory: &Self::Memory) -> Result<Hash, DeviceError>;

	/// Runs steps on matrix `x` of the trial, and returns which of the two matrices holds the result. Need
	/// not wait for them. Each root is stored at its step's number modulo [`ROOTS`].
	fn steps(
		&self,
		memory: &Self::Memory,
		seed: &Hash,
		size: &Size,
		steps: Range<u32>,
		x: usize,
	) -> Result<usize, DeviceError>;

	/// Walks all lanes of the trial's first matrix over part of the window's matrices `times` times, at most
	/// 128. For measurements. Need not wait.
	fn walk(&self, memory: &Self::Memory, part: Range<u32>, times: u32) -> Result<(), DeviceError>;

	/// Reads lines all over the window with the least possible arithmetic, and returns the number of bytes
	/// read. For measurements: the yardstick of walks; `None` if the backend has none. Need not wait.
	fn reads(&self, _memory: &Self::Memory, _times: u32) -> Option<Result<u64, DeviceError>> {
		None
	}

	/// Multiplies the trial's first matrix `times` times, at most 128. For measurements. Need not wait.
	fn products(&self, memory: &Self::Memory, times: u32) -> Result<(), DeviceError>;

	/// Computes `X_to` of the fill, from `before` (an earlier result's number and place), or from the last
	/// kept matrix before it. Returns its place among the fill's two matrices.
	fn filled(
		&self,
		memory: &Self::Memory,
		before: Option<(u32, usize)>,
		to: u32,
	) -> Result<usize, DeviceError>;

	/// Returns lines of a matrix with their paths: a matrix of the fill, in the window or at place `x` of
	/// the fill's two, or the last step's, whose tree was built last.
	fn show(
		&self,
		memory: &Self::Memory,
		seed: &Hash,
		matrix: Matrix,
		x: usize,
		lines: &[u32],
	) -> Result<Vec<(u32, Shown)>, DeviceError>;

	/// Reads back roots of steps, by their places.
	fn roots(&self, memory: &Self::Memory, places: Range<u32>) -> Result<Vec<Hash>, DeviceError>;

	/// Waits until all work is done and all released memory is free. A driver that hangs counts as a lost
	/// GPU.
	fn wait(&self) -> Result<(), DeviceError>;

	/// Returns whether the GPU was lost or rejected its work.
	fn has_failed(&self) -> bool;

	/// Marks the GPU failed: it must be reopened before its next use.
	fn fail(&self);

	/// Returns the rate of a plain copy within its memory, in 10⁹ bytes per second, counting bytes read and
	/// written.
	fn copy_gbps(&self) -> Result<f64, DeviceError>;

	/// Returns the kernels for the product; the first is in use.
	fn rated(&self) -> Vec<Rated>;
}

/// A GPU that a scan found, and the means to open it.
pub(super) trait Source: Send + Sync + 'static {
	/// The open GPU.
	type Backend: Backend;

	/// Returns its description.
	fn card(&self) -> &Card;

	/// Opens it with one of `kernels` for the product.
	fn open(&self, kernels: Kernels) -> Result<Self::Backend, DeviceError>;

	/// Opens it after a loss, with a new scan of the machine: its driver may have been replaced.
	fn open_again(&self, kernels: Kernels) -> Result<Self::Backend, DeviceError>;

	/// Tries each of its kernels for the product, with all others that a trial needs, against the
	/// processor's code. Returns the name of each and whether it can be used.
	fn try_each(&self) -> Vec<(String, Result<(), DeviceError>)>;
}

/// Makes the error of a lost GPU.
pub(super) fn lost(error: impl std::fmt::Display) -> DeviceError {
	DeviceError::Lost(error.to_string())
}

/// Runs `act`, and turns a panic into an error: wgpu panics when a driver loses the device.
pub(super) fn contained<T>(act: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
	// After a panic, `act` and everything it made are dropped.
	catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
		let text = panic
			.downcast_ref::<String>()
			.map(String::as_str)
			.or_else(|| panic.downcast_ref::<&str>().copied());
		Err(lost(text.unwrap_or(
			"the driver's interface panicked without a message",
		)))
	})
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_panic_is_an_error() {
		let error = contained(|| -> Result<(), _> { panic!("the device is lost") });
		assert_eq!(error, Err(lost("the device is lost")));
		assert_eq!(contained(|| Ok(7)), Ok(7));
	}
}
