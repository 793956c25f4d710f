//! The disk plot: a file filled once from a seed of the worker's, read in each round at places that
//! the round draws.
//!
//! A sector of 4 MiB must be computed from its beginning to know any page near its end, which takes
//! about 8 ms; reading a page takes an SSD 0.1 ms. A checker computes the sectors that it samples.

use crate::bench::hash::{
	Hash, SegmentOpening, Segments, TreeTag, draw, fill_linked, hash, segment_start,
};
use kaisar_primitives::AgentKey;
use rayon::prelude::*;
use std::{
	fs::{File, OpenOptions},
	io,
	os::unix::fs::FileExt,
	path::{Path, PathBuf},
};

/// Bytes of a sector.
pub const SECTOR: usize = 4 << 20;
/// MiB of a sector.
pub const SECTOR_MIB: u32 = 4;
/// Bytes that one read takes.
pub const PAGE: usize = 4_096;
/// Reads in a round, each at a place that depends on the one before.
pub const READS: usize = 256;
/// Reads that a checker computes again.
pub const SAMPLES: usize = 8;

/// The seed of a worker's plot.
pub fn plot_seed(agent: &AgentKey) -> Hash {
	hash("kaisar/agent 2026 plot", &[&agent.0])
}

/// The file of an agent's plot.
fn plot_path(dir: &Path, agent: &AgentKey) -> PathBuf {
	dir.join(format!("plot-{}", hex::encode(&agent.0[..8])))
}

/// The size of an agent's plot, in MiB, without looking into it; 0 where there is none.
pub fn plot_mib(dir: &Path, agent: &AgentKey) -> u32 {
	let length = std::fs::metadata(plot_path(dir, agent)).map_or(0, |file| file.len());
	u32::try_from(length >> 20).unwrap_or(u32::MAX)
}

/// A worker's plot on disk.
pub struct Plot {
	seed: Hash,
	file: File,
	path: PathBuf,
	sectors: u64,
}

impl Plot {
	/// Opens or creates the plot of an agent in `dir`. A plot of which a sector does not fit is
	/// thrown away.
	pub fn open(dir: &Path, agent: &AgentKey) -> io::Result<Self> {
		std::fs::create_dir_all(dir)?;
		let path = plot_path(dir, agent);
		let file = OpenOptions::new()
			.read(true)
			.write(true)
			.create(true)
			.truncate(false)
			.open(&path)?;
		let sectors = file.metadata()?.len() / SECTOR as u64;
		let mut plot = Self {
			seed: plot_seed(agent),
			file,
			path,
			sectors,
		};
		if sectors > 0 && !(plot.sector_fits(0)? && plot.sector_fits(sectors - 1)?) {
			tracing::warn!(path = %plot.path.display(), "the plot is damaged; filling it again");
			plot.sectors = 0;
			plot.file.set_len(0)?;
		}
		Ok(plot)
	}

	fn sector_fits(&self, sector: u64) -> io::Result<bool> {
		let (mut there, mut right) = (vec![0u8; SECTOR], vec![0u8; SECTOR]);
		self.file
			.read_exact_at(&mut there, sector * SECTOR as u64)?;
		fill_linked(&self.seed, sector, &mut right);
		Ok(there == right)
	}

	/// Fills the plot up to `mib` MiB, as far as there is room, and returns how big it is. What was
	/// there stays.
	pub fn grow(&mut self, mib: u32) -> u32 {
		let wanted = u64::from(mib / SECTOR_MIB);
		while self.sectors < wanted {
			let batch = (wanted - self.sectors).min(2 * rayon::current_num_threads() as u64);
			let filled: Vec<Vec<u8>> = (0..batch)
				.into_par_iter()
				.map(|offset| {
					let mut bytes = vec![0u8; SECTOR];
					fill_linked(&self.seed, self.sectors + offset, &mut bytes);
					bytes
				})
				.collect();
			// One after the other: an agent that is killed in the middle leaves a shorter file, never
			// one with a hole in it that would be taken for a sector.
			let written = filled.iter().try_for_each(|bytes| {
				self.file
					.write_all_at(bytes, self.sectors * SECTOR as u64)
					.map(|()| self.sectors += 1)
			});
			if let Err(error) = written {
				tracing::warn!(
					%error,
					path = %self.path.display(),
					"the plot cannot grow beyond {} of {mib} MiB, so less disk is proved than is claimed. Free space on \
					 its disk, or claim less",
					self.mib()
				);
				let _ = self.file.set_len(self.sectors * SECTOR as u64);
				break;
			}
		}
		self.mib()
	}

	/// Its size in MiB.
	pub fn mib(&self) -> u32 {
		u32::try_from(self.sectors)
			.unwrap_or(u32::MAX)
			.saturating_mul(SECTOR_MIB)
	}

	/// Reads at the places that `seed` draws, over the first `mib` MiB.
	pub fn walk(&self, seed: &Hash, mib: u32) -> io::Result<Segments> {
		let sectors = u64::from(mib.min(self.mib()) / SECTOR_MIB);
		let mut state = first(seed);
		let mut ends = Vec::with_capacity(READS);
		let mut page = vec![0u8; PAGE];
		for _ in 0..READS {
			if sectors > 0 {
				let (sector, offset) = place(&state, sectors);
				self.file
					.read_exact_at(&mut page, sector * SECTOR as u64 + offset as u64)?;
			}
			state = next(&state, &page);
			ends.push(state);
		}
		Ok(Segments::new(TreeTag::Disk, READS, ends))
	}
}

fn first(seed: &Hash) -> Hash {
	hash("kaisar/agent 2026 disk walk", &[seed])
}

fn next(state: &Hash, page: &[u8]) -> Hash {
	hash("kaisar/agent 2026 disk step", &[state, page])
}

/// Sector and offset within it. Pages lie in a sector's last quarter, so that each costs most of it
/// to compute.
fn place(state: &Hash, sectors: u64) -> (u64, usize) {
	let mut buffer = [0; 8];
	buffer.copy_from_slice(&state[..8]);
	let sector = ((u128::from(u64::from_le_bytes(buffer)) * u128::from(sectors)) >> 64) as u64;
	let pages = SECTOR / PAGE;
	let page = u32::from_le_bytes([state[8], state[9], state[10], state[11]]) as usize;
	(sector, (pages * 3 / 4 + page % (pages / 4)) * PAGE)
}

/// The reads that a checker looks at.
pub fn positions(open: &Hash) -> Vec<usize> {
	draw(open, "disk/samples", SAMPLES, READS as u64)
		.into_iter()
		.map(|at| at as usize)
		.collect()
}

/// Whether the openings fit the plot of `agent`, of `mib` MiB.
pub fn verify(
	seed: &Hash,
	agent: &AgentKey,
	mib: u32,
	root: &Hash,
	positions: &[usize],
	openings: &[SegmentOpening],
) -> bool {
	let plot = plot_seed(agent);
	let sectors = u64::from(mib / SECTOR_MIB);
	positions.len() == openings.len()
		&& positions
			.par_iter()
			.zip(openings)
			.with_max_len(1)
			.all(|(at, opening)| {
				let Some(state) =
					segment_start(TreeTag::Disk, root, 1, READS, *at, opening, |_| first(seed))
				else {
					return false;
				};
				let mut bytes = vec![0u8; PAGE];
				if sectors > 0 {
					let (sector, offset) = place(&state, sectors);
					let mut whole = vec![0u8; offset + PAGE];
					fill_linked(&plot, sector, &mut whole);
					bytes.copy_from_slice(&whole[offset..]);
				}
				next(&state, &bytes) == opening.after
			})
}

#[cfg(test)]
mod tests {
	use super::*;

	fn agent(byte: u8) -> AgentKey {
		AgentKey::from_raw([byte; 32])
	}

	#[test]
	fn a_plot_that_was_cut_off_while_it_grew_goes_on() {
		let dir = tempfile::tempdir().unwrap();
		let mut plot = Plot::open(dir.path(), &agent(1)).unwrap();
		assert_eq!(plot.grow(16), 16);
		// Killed in the middle of the third sector.
		plot.file.set_len((2 * SECTOR + SECTOR / 2) as u64).unwrap();
		let mut plot = Plot::open(dir.path(), &agent(1)).unwrap();
		assert_eq!(plot.mib(), 8);
		assert_eq!(plot.grow(16), 16);
		let seed = [3; 32];
		let done = plot.walk(&seed, 16).unwrap();
		let at: Vec<usize> = (0..READS).collect();
		let openings: Vec<_> = at.iter().map(|at| done.open(*at)).collect();
		assert!(verify(&seed, &agent(1), 16, &done.root(), &at, &openings));
	}

	#[test]
	fn a_plot_is_filled_once_and_opened_in_each_round() {
		let dir = tempfile::tempdir().unwrap();
		let mut plot = Plot::open(dir.path(), &agent(1)).unwrap();
		assert_eq!(plot.mib(), 0);
		assert_eq!(plot.grow(11), 8);
		assert_eq!(plot.grow(4), 8);
		for round in 0..2u8 {
			let seed = [round; 32];
			let done = plot.walk(&seed, 8).unwrap();
			let at = positions(&[round + 1; 32]);
			let openings: Vec<_> = at.iter().map(|at| done.open(*at)).collect();
			let root = done.root();
			assert!(verify(&seed, &agent(1), 8, &root, &at, &openings));
			assert!(
				!verify(&seed, &agent(2), 8, &root, &at, &openings),
				"another's plot"
			);
			assert!(!verify(
				&[99; 32],
				&agent(1),
				8,
				&root,
				&[0],
				&[done.open(0)]
			));
			assert!(
				!verify(&seed, &agent(1), 12, &root, &at, &openings),
				"a smaller plot"
			);
		}
		drop(plot);
		let plot = Plot::open(dir.path(), &agent(1)).unwrap();
		assert_eq!(plot.mib(), 8, "it survives a restart");
		plot.file.write_all_at(&[1], SECTOR as u64 + 3).unwrap();
		drop(plot);
		assert_eq!(
			Plot::open(dir.path(), &agent(1)).unwrap().mib(),
			0,
			"damage is seen"
		);
	}

	#[test]
	fn an_empty_plot_says_so() {
		let dir = tempfile::tempdir().unwrap();
		let plot = Plot::open(dir.path(), &agent(1)).unwrap();
		let done = plot.walk(&[1; 32], 8).unwrap();
		let at = positions(&[1; 32]);
		let openings: Vec<_> = at.iter().map(|at| done.open(*at)).collect();
		assert!(verify(&[1; 32], &agent(1), 0, &done.root(), &at, &openings));
		assert!(!verify(
			&[1; 32],
			&agent(1),
			8,
			&done.root(),
			&at,
			&openings
		));
	}
}
