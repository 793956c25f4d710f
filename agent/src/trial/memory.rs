//! The memory that the lanes read: filled before the trial, in huge pages where the system gives them.

use super::{
	hash::{Compress, Hash},
	ram::{CELL, CELLS, PAGE, Page, fill_page},
};
use rayon::prelude::*;
use std::{io, ptr::NonNull};

/// Number of pages filled between two calls of `wanted`.
const PART: usize = 4_096;

/// Memory with its own mapping, so that releasing it returns it to the system at once.
pub struct MappedMemory {
	at: NonNull<[u8; CELL]>,
	cells: usize,
}

// SAFETY: it owns what it points to.
unsafe impl Send for MappedMemory {}
// SAFETY: shared access only reads.
unsafe impl Sync for MappedMemory {}

impl MappedMemory {
	/// Maps memory for `pages` pages. The system backs a page once it is written.
	pub fn new(pages: u64) -> io::Result<Self> {
		let too_much = || io::Error::from(io::ErrorKind::OutOfMemory);
		let cells = usize::try_from(pages)
			.ok()
			.and_then(|pages| pages.checked_mul(CELLS));
		let cells = cells.filter(|cells| *cells > 0).ok_or_else(too_much)?;
		let length = cells.checked_mul(CELL).ok_or_else(too_much)?;
		// SAFETY: a new private mapping, which overlaps nothing.
		let at = unsafe {
			libc::mmap(
				std::ptr::null_mut(),
				length,
				libc::PROT_READ | libc::PROT_WRITE,
				libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
				-1,
				0,
			)
		};
		if at == libc::MAP_FAILED {
			return Err(io::Error::last_os_error());
		}
		let at: NonNull<[u8; CELL]> = NonNull::new(at.cast()).ok_or_else(too_much)?;
		// SAFETY: the range is the mapping from above. The call is a hint and may fail.
		unsafe { libc::madvise(at.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
		Ok(Self { at, cells })
	}

	/// Fills the memory on all cores. Calls `wanted` between parts, and returns false once it is false. The
	/// core that computes a page writes it first, so the memory spreads over the machine's NUMA nodes.
	pub fn fill(&mut self, base: &Hash, wanted: impl Fn() -> bool) -> bool {
		let pages: &mut [Page] = self.cells_mut().as_chunks_mut().0;
		for (part, pages) in pages.chunks_mut(PART).enumerate() {
			if !wanted() {
				return false;
			}
			pages.par_iter_mut().enumerate().for_each(|(at, page)| {
				fill_page(Compress::new(), base, (part * PART + at) as u64, page);
			});
		}
		true
	}

	/// Returns all cells.
	pub fn cells(&self) -> &[[u8; CELL]] {
		// SAFETY: the mapping has `cells` cells; unwritten ones are zeros.
		unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.cells) }
	}

	/// Returns all cells, to write.
	pub(super) fn cells_mut(&mut self) -> &mut [[u8; CELL]] {
		// SAFETY: as above, and the borrow is exclusive.
		unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.cells) }
	}

	/// Returns its size in bytes.
	pub fn bytes(&self) -> u64 {
		(self.cells / CELLS * PAGE) as u64
	}
}

impl Drop for MappedMemory {
	fn drop(&mut self) {
		// SAFETY: the mapping is owned, and no reference to it remains.
		unsafe { libc::munmap(self.at.as_ptr().cast(), self.cells * CELL) };
	}
}
