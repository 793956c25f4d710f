//! The memory of one window on a GPU.

use super::{
	Cuda,
	driver::{Buffer, Map, Place},
	layout::{DONE_COLUMNS, DONE_ROWS, STATE},
};
use crate::{
	gpu::backend::ROOTS,
	trial::{
		device::DeviceError,
		matrix::{KEPT, LINE},
	},
};
use std::sync::atomic::{AtomicU32, AtomicUsize};

/// Maximum number of lines gathered at a time.
pub const SHOWN: u32 = 1_024;
/// When less memory is available than requested, leave the smaller of this many bytes and the free memory
/// divided by [`LEFT_PART`]: drivers allocate some later.
const LEFT: u64 = 256 << 20;
const LEFT_PART: u64 = 64;

/// The buffers of one window.
pub struct Memory {
	pub n: u32,
	/// The working matrices of the fill; apart from the trial's, since openings repeat both side by side.
	pub fill: Matrices,
	pub trial: Matrices,
	/// Nodes of two alternating trees, level by level: one may be built before the previous one is done.
	pub nodes: [Buffer; 2],
	/// Counts of finished blocks of each tree, 64 bytes apart.
	pub arrived: Buffer,
	/// Index of the tree built last.
	pub last: AtomicUsize,
	/// The roots, and a place for one that is never read.
	pub roots: Buffer,
	pub state: Buffer,
	/// Marks of a product's finished parts.
	pub done: Buffer,
	/// Number of the current product; the value of its marks.
	pub epoch: AtomicU32,
	/// Numbers of the lines to gather.
	pub which: Buffer,
	/// The gathered lines with their paths.
	pub shown: Buffer,
	/// The kept matrices, one after the other in one buffer, so that a walk finds a line by one addition.
	window: Buffer,
	/// Number of kept matrices.
	pub matrices: u32,
}

/// The fixed factor, and two matrices: each product reads one and writes the other.
pub struct Matrices {
	pub a: Buffer,
	pub x: [Buffer; 2],
	/// Tensor maps for Hopper: of the factor, and of each of the two.
	pub maps: Option<(Map, [Map; 2])>,
}

impl Memory {
	/// Allocates memory for `window` matrices of n × n bytes, or for as many as fit.
	pub fn new(gpu: &Cuda, n: u32, window: u32) -> Result<Self, DeviceError> {
		let context = &gpu.context;
		let matrix = u64::from(n) * u64::from(n);
		let lines = matrix / LINE as u64;
		let nodes = || context.buffer(2 * lines * 32);
		let parts = u64::from(n / DONE_ROWS) * u64::from(n / DONE_COLUMNS);
		let path = LINE as u64 + 32 * u64::from(lines.trailing_zeros());
		let (fill, trial) = (Matrices::new(gpu, n)?, Matrices::new(gpu, n)?);
		let made = (
			[nodes()?, nodes()?],
			context.zeros(128)?,
			context.buffer((u64::from(ROOTS) + 1) * 32)?,
			context.zeros(STATE)?,
			context.zeros(4 * parts)?,
			context.buffer(4 * u64::from(SHOWN))?,
			context.buffer(path * u64::from(SHOWN))?,
		);
		let (nodes, arrived, roots, state, done, which, shown) = made;
		// Last, from the remaining memory.
		let (window, matrices) = Self::window(gpu, matrix, window)?;
		Ok(Self {
			n,
			fill,
			trial,
			nodes,
			arrived,
			last: AtomicUsize::new(0),
			roots,
			state,
			done,
			epoch: AtomicU32::new(0),
			which,
			shown,
			window,
			matrices,
		})
	}

	fn window(gpu: &Cuda, matrix: u64, wanted: u32) -> Result<(Buffer, u32), DeviceError> {
		let mut room = u64::from(wanted);
		loop {
			match gpu.context.buffer(room * matrix) {
				Ok(buffer) => return Ok((buffer, room as u32)),
				Err(DeviceError::Memory(error)) => {
					let free = gpu.context.free_memory()?;
					let free = (free - LEFT.min(free / LEFT_PART)) / matrix;
					tracing::debug!(
						gpu = gpu.name,
						room,
						free,
						error,
						"no room for a window this large"
					);
					// Free memory may be fragmented.
					room = free.min(room - room.div_ceil(64));
					if room < 2 {
						return Err(DeviceError::Memory(
							"no room for a window of 2 matrices, the minimum; stop other programs that use the GPU"
								.into(),
						));
					}
				}
				Err(error) => return Err(error),
			}
		}
	}

	/// Returns the size of a matrix in bytes.
	pub fn matrix(&self) -> u64 {
		u64::from(self.n) * u64::from(self.n)
	}

	/// Returns the number of lines of a matrix.
	pub fn lines(&self) -> u32 {
		(self.matrix() / LINE as u64) as u32
	}

	/// Returns the place of `X_t` in the window, if it is kept.
	pub fn kept(&self, t: u32) -> Option<Place> {
		let u = t / KEPT;
		let stays = t.is_multiple_of(KEPT) && u < self.matrices;
		stays.then(|| self.window.at(u64::from(u) * self.matrix()))
	}
}

impl Matrices {
	fn new(gpu: &Cuda, n: u32) -> Result<Self, DeviceError> {
		let matrix = || gpu.context.buffer(u64::from(n) * u64::from(n));
		let (a, x) = (matrix()?, [matrix()?, matrix()?]);
		let maps = gpu.product.recipe.pairs.then(|| {
			let of = |x: &Buffer| map_of_x(x.start(), n);
			Ok::<_, DeviceError>((map_of_a(a.start(), n)?, [of(&x[0])?, of(&x[1])?]))
		});
		Ok(Self {
			maps: maps.transpose()?,
			a,
			x,
		})
	}
}

/// Columns and rows of the boxes that `hopper.cu` copies.
const BOX: u32 = 128;

/// Describes the factor to `hopper.cu`.
fn map_of_a(at: Place, n: u32) -> Result<Map, DeviceError> {
	let n = u64::from(n);
	Map::new(at, &[n, n], &[n], &[BOX, BOX])
}

/// Describes the other matrix: its rows in groups of 64, each as 2 × 4 × 8 rows in the order of `row_at` in
/// `trial.h`.
fn map_of_x(at: Place, n: u32) -> Result<Map, DeviceError> {
	let n = u64::from(n);
	Map::new(
		at,
		&[n, 2, 4, 8, n / 64],
		&[n, 16 * n, 2 * n, 64 * n],
		&[BOX, 2, 4, 8, BOX / 64],
	)
}
