//! Decodes openings. A checker knows from the job how many of everything there can be, so a count that does
//! not fit is refused before anything is allocated for it: four bytes of an empty sample would otherwise
//! become 144. Openings have no other decoder.

use super::{ComputeOpening, GpuOpening, Openings, Roots};
use crate::bench::{
	chain::{ChainOpening, MAX_DEPTH, MAX_TOPS, RowOpening, Sample, Tops},
	cpu, disk,
	hash::{Hash, SegmentOpening},
	job::Job,
	memory,
	walk::{self, Kept, LINE, LegOpening, LineOpening, READS, State, Walk},
};
use codec::{Compact, Decode, Error};

/// Longest path in a tree over the ends of segments or over a walk's states: 2³² of them.
const MAX_PATH: usize = 32;

/// Most of each part that the openings of a job may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
	/// Samples of a chain.
	samples: usize,
	/// Bytes in a row of the processor's chain.
	row: usize,
	/// GPUs.
	gpus: usize,
	/// Bytes in a row of a GPU's chain.
	gpu_row: usize,
	/// States between the legs of a walk's stage.
	states: usize,
	/// Reads of the disk walk.
	disk: usize,
}

impl Counts {
	/// The counts for a job; only a full check opens the disk.
	pub fn of(job: &Job, full: bool) -> Self {
		let samples = usize::from(job.bench.samples);
		let gpus = job.gpu_plan().map(|plan| Self {
			gpus: usize::from(plan.devices),
			..Self::of_gpu(samples, &plan.walk)
		});
		Self {
			samples,
			row: job.shape().n,
			disk: if full { disk::SAMPLES } else { 0 },
			..gpus.unwrap_or_default()
		}
	}

	/// The counts for one GPU that is shown alone.
	pub fn of_gpu(samples: usize, walk: &Walk) -> Self {
		Self {
			samples,
			gpus: 1,
			gpu_row: walk.shape.n,
			states: walk.legs.saturating_sub(1),
			..Self::default()
		}
	}
}

pub(crate) type Input<'a> = &'a [u8];

/// The count before a list, if it is at most `most`.
fn count(input: &mut Input, most: usize) -> Result<usize, Error> {
	let count = Compact::<u32>::decode(input)?.0 as usize;
	if count > most {
		return Err("more parts than the job has".into());
	}
	Ok(count)
}

pub(crate) fn list<T>(
	input: &mut Input,
	most: usize,
	mut item: impl FnMut(&mut Input) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
	let count = count(input, most)?;
	let mut all = Vec::with_capacity(count);
	for _ in 0..count {
		all.push(item(input)?);
	}
	Ok(all)
}

fn bytes(input: &mut Input, most: usize) -> Result<Vec<u8>, Error> {
	let count = count(input, most)?;
	let (bytes, rest) = input
		.split_at_checked(count)
		.ok_or("the bytes end before the list does")?;
	*input = rest;
	Ok(bytes.to_vec())
}

fn path(input: &mut Input, most: usize) -> Result<Vec<Hash>, Error> {
	list(input, most, |input| Hash::decode(input))
}

fn option<T>(
	input: &mut Input,
	some: impl FnOnce(&mut Input) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
	match u8::decode(input)? {
		0 => Ok(None),
		1 => some(input).map(Some),
		_ => Err("neither none nor some".into()),
	}
}

fn row(input: &mut Input, length: usize) -> Result<RowOpening, Error> {
	Ok(RowOpening {
		bytes: bytes(input, length)?,
		path: path(input, MAX_DEPTH)?,
		root_path: path(input, MAX_DEPTH)?,
	})
}

pub(crate) fn chain(
	input: &mut Input,
	samples: usize,
	length: usize,
) -> Result<ChainOpening, Error> {
	Ok(ChainOpening {
		tops: Tops(path(input, MAX_TOPS)?),
		samples: list(input, samples, |input| {
			Ok(Sample {
				x: option(input, |input| row(input, length))?,
				y: row(input, length)?,
			})
		})?,
	})
}

fn line(input: &mut Input) -> Result<LineOpening, Error> {
	Ok(LineOpening {
		line: bytes(input, LINE)?,
		chunks: path(input, MAX_DEPTH)?,
		path: path(input, MAX_DEPTH)?,
		root_path: path(input, MAX_DEPTH)?,
	})
}

pub(crate) fn leg(input: &mut Input, states: usize) -> Result<LegOpening, Error> {
	Ok(LegOpening {
		before: option(input, |input| {
			Ok((Kept::decode(input)?, path(input, MAX_PATH)?))
		})?,
		after: Kept::decode(input)?,
		path: path(input, MAX_PATH)?,
		states: list(input, states, |input| State::decode(input))?,
		lines: list(input, READS, line)?,
	})
}

fn segment(input: &mut Input) -> Result<SegmentOpening, Error> {
	Ok(SegmentOpening {
		before: option(input, |input| {
			Ok((Hash::decode(input)?, path(input, MAX_PATH)?))
		})?,
		after: Hash::decode(input)?,
		path: path(input, MAX_PATH)?,
	})
}

fn gpu(input: &mut Input, counts: &Counts) -> Result<GpuOpening, Error> {
	Ok(GpuOpening {
		chain_root: Hash::decode(input)?,
		walk_root: Hash::decode(input)?,
		chain: chain(input, counts.samples, counts.gpu_row)?,
		walk: list(input, walk::SAMPLES, |input| leg(input, counts.states))?,
	})
}

/// Decodes all of `input`.
fn all<T>(
	mut input: &[u8],
	decode: impl FnOnce(&mut Input) -> Result<T, Error>,
) -> Result<T, Error> {
	let decoded = decode(&mut input)?;
	if !input.is_empty() {
		return Err("bytes after the end".into());
	}
	Ok(decoded)
}

impl GpuOpening {
	/// Decodes all of `input`, as [`Openings::decode_within`] does.
	pub fn decode_within(input: &[u8], counts: &Counts) -> Result<Self, Error> {
		all(input, |input| gpu(input, counts))
	}
}

impl Openings {
	/// Decodes all of `input`. Fails on a list that is longer than the job's counts allow; the verifier
	/// refuses one that is shorter.
	pub fn decode_within(input: &[u8], counts: &Counts) -> Result<Self, Error> {
		all(input, |input| {
			Ok(Self {
				roots: Roots::decode(input)?,
				compute: match u8::decode(input)? {
					0 => ComputeOpening::Processor(chain(input, counts.samples, counts.row)?),
					1 => {
						let gpus = list(input, counts.gpus, |input| gpu(input, counts))?;
						ComputeOpening::Gpus(gpus)
					}
					_ => return Err("neither a processor's chain nor GPUs'".into()),
				},
				cpu: list(input, cpu::SAMPLES, segment)?,
				memory: list(input, memory::SAMPLES, segment)?,
				disk: list(input, counts.disk, segment)?,
			})
		})
	}
}
