//! The interface between the work on a GPU and the driver that does it.

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

/// Roots of steps that a GPU holds, at their numbers modulo this: a multiple of those of a turn.
pub(super) const ROOTS: u32 = 1 << 16;

/// An opened GPU: it does the trial's work on its own memory. One thread at a time has it.
pub(super) trait Backend: Send + Sync + Sized + 'static {
	/// The memory of one window: the matrices that stay, those of the fill and of the trial, and the tree that
	/// was built last.
	type Memory: Send + Sync;

	/// The fewest rows of a matrix.
	const LEAST_ROWS: u32;

	/// Takes memory for `window` matrices of n × n bytes, or for as many as there is room for.
	fn take(&self, n: u32, window: u32) -> Result<Self::Memory, DeviceError>;

	/// Returns the number of matrices for which there was room.
	fn matrices(memory: &Self::Memory) -> u32;

	/// Fills the window, and returns the roots of all matrices, with `trees`. Stops where `go_on` fails.
	fn fill(
		&self,
		memory: &Self::Memory,
		seed: &Hash,
		trees: bool,
		go_on: &dyn Fn() -> Result<(), DeviceError>,
	) -> Result<Vec<Hash>, DeviceError>;

	/// Fills `A` of the trial, and the first of its two matrices.
	fn begin(&self, memory: &Self::Memory, seed: &Hash) -> Result<(), DeviceError>;

	/// Sets the running hash, from which the next step's κ follows.
	fn set_running(&self, memory: &Self::Memory, running: &Running) -> Result<(), DeviceError>;

	/// Reads back the running hash.
	fn running(&self, memory: &Self::Memory) -> Result<Hash, DeviceError>;

	/// Runs steps from the one that follows what lies in matrix `x` of the trial, and returns in which of the two the
	/// result lies. Need not wait for them. Their roots lie at their numbers modulo [`ROOTS`].
	fn steps(
		&self,
		memory: &Self::Memory,
		seed: &Hash,
		size: &Size,
		steps: Range<u32>,
		x: usize,
	) -> Result<usize, DeviceError>;

	/// Walks all lanes of the first of the trial's matrices over part of the window's matrices, this number of times, at
	/// most 128. For measurements. Need not wait.
	fn walk(&self, memory: &Self::Memory, part: Range<u32>, times: u32) -> Result<(), DeviceError>;

	/// Reads lines all over the window with as little arithmetic as that takes, and returns the bytes that this reads. For
	/// measurements: the yardstick of walks, where there is one. Need not wait.
	fn reads(&self, _memory: &Self::Memory, _times: u32) -> Option<Result<u64, DeviceError>> {
		None
	}

	/// Multiplies the first of the trial's matrices, this number of times, at most 128. For measurements. Need not wait.
	fn products(&self, memory: &Self::Memory, times: u32) -> Result<(), DeviceError>;

	/// Computes `X_to` of the fill, from one that was computed before and its place, or from the last before it that
	/// stays. Returns its place among the fill's two matrices.
	fn filled(
		&self,
		memory: &Self::Memory,
		before: Option<(u32, usize)>,
		to: u32,
	) -> Result<usize, DeviceError>;

	/// Shows lines of a matrix: of the fill, in the window or in a place of its two matrices, or of the last step, whose
	/// tree was built last.
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

	/// Waits until all work is done and all memory that was given up is free. A driver that hangs has lost the GPU.
	fn wait(&self) -> Result<(), DeviceError>;

	/// Returns whether the GPU is gone, or did not do what it was told.
	fn has_failed(&self) -> bool;

	/// Notes that this opening is of no use any more: the GPU is opened again before it is used again.
	fn fail(&self);

	/// Returns the rate of a plain copy within its memory in 10⁹ bytes a second, read and written ones.
	fn copy_gbps(&self) -> Result<f64, DeviceError>;

	/// Returns the kernels for the product, the one in use first.
	fn rated(&self) -> Vec<Rated>;
}

/// A GPU that was found, and how it is opened.
pub(super) trait Source: Send + Sync + 'static {
	/// The GPU, once it is open.
	type Backend: Backend;

	/// Describes it.
	fn card(&self) -> &Card;

	/// Opens it, with one of these kernels for the product.
	fn open(&self, kernels: Kernels) -> Result<Self::Backend, DeviceError>;

	/// Opens it after it was lost, by a new look at the machine: its driver may have been replaced.
	fn open_again(&self, kernels: Kernels) -> Result<Self::Backend, DeviceError>;

	/// Tries every kernel for the product that there is for it, with all others that a trial needs, against plain code.
	/// Returns the name of each, and whether it can be used.
	fn try_each(&self) -> Vec<(String, Result<(), DeviceError>)>;
}

/// The error of a GPU that is lost.
pub(super) fn lost(error: impl std::fmt::Display) -> DeviceError {
	DeviceError::Lost(error.to_string())
}

/// Does something that may panic, as wgpu does where a driver loses the device: that is an error like others.
pub(super) fn contained<T>(act: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
	// What was being done is given up, with all that it made.
	catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
		let text = panic
			.downcast_ref::<String>()
			.map(String::as_str)
			.or_else(|| panic.downcast_ref::<&str>().copied());
		Err(lost(text.unwrap_or("the driver's interface panicked")))
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
