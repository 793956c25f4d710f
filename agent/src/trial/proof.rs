//! The roots of a trial under one attested root, and a checker's challenge to open them.

use super::{
	disk,
	hash::{Hash, key},
	job::{Job, Sizes},
	matrix,
	part::Resource,
	processor,
	sample::{Draw, Reader, Reject},
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use sp_core::H256;

/// Maximum length of the openings of one GPU, in bytes, without the roots of its turns: for matrices up to
/// the largest line.
const GPU_LIMIT: usize = 5 << 20;
/// Maximum length of the openings of the lanes, in bytes: all digests of one lane, 1 MB in production, and
/// 16 bytes for each further stage.
const SAMPLES_LIMIT: usize = 1 << 20;
/// Maximum length of the openings of the disk, in bytes.
const DISK_LIMIT: usize = 2 << 20;

/// The roots of a trial. A resource that failed, or that the worker does not show, has root 0.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Roots {
	/// The sizes of the work.
	pub sizes: Sizes,
	/// The root of each GPU; as many as `sizes.gpus`.
	pub gpus: Vec<Hash>,
	/// The root of the lanes.
	pub processor: Hash,
	/// The root of the strands.
	pub disk: Hash,
}

impl Roots {
	/// Returns the root that is attested.
	pub fn root(&self, job: &Job) -> Hash {
		key(
			"root",
			&[
				&job.base(),
				&self.sizes.encode(),
				self.gpus.as_flattened(),
				&self.processor,
				&self.disk,
			],
		)
	}

	/// Returns whether the number of roots agrees with the sizes.
	pub fn is_whole(&self) -> bool {
		self.gpus.len() == usize::from(self.sizes.gpus) && self.gpus.len() <= matrix::Size::MAX_GPUS
	}

	/// Returns whether a resource was shown.
	pub fn has(&self, resource: Resource) -> bool {
		const NONE: Hash = [0; 32];
		match resource {
			Resource::Gpus => !self.gpus.is_empty() && !self.gpus.contains(&NONE),
			Resource::Processor => self.processor != NONE,
			Resource::Disk => self.disk != NONE,
		}
	}
}

/// Randomness that a checker draws its samples from. It is the same in every try.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Challenge {
	/// `R(a + 1)`: the randomness of the block after the attestation.
	pub open_seed: H256,
	/// The checker's nonce.
	pub nonce: Hash,
}

impl Challenge {
	/// Returns the challenge of a checker's agent, whose secret only it knows.
	pub fn new(secret: &[u8; 32], root: &Hash, open_seed: H256) -> Self {
		let nonce = key("nonce", &[secret, root, open_seed.as_bytes()]);
		Self { open_seed, nonce }
	}

	/// Returns its draw of a trial.
	pub fn draw(&self, job: &Job, trial_seed: &H256, root: &Hash) -> Draw {
		Draw::new(&job.start(trial_seed), root, &self.open_seed.0, &self.nonce)
	}
}

/// Verifies the openings of a resource under the attested root. Returns the marks of GPUs.
pub fn verify(
	job: &Job,
	trial_seed: &H256,
	root: &Hash,
	roots: &Roots,
	resource: Resource,
	challenge: &Challenge,
	openings: &[u8],
) -> Result<Vec<Hash>, Reject> {
	let (base, start) = (job.base(), job.start(trial_seed));
	let draw = challenge.draw(job, trial_seed, root);
	let mut shown = Reader::new(openings);
	let sizes = &roots.sizes;
	match resource {
		Resource::Gpus => {
			return matrix::verify(&base, &start, &job.gpu(sizes), &roots.gpus, &draw, shown);
		}
		Resource::Processor => {
			let (size, root) = (job.processor(sizes), &roots.processor);
			processor::verify(&base, &start, &size, root, &draw, &mut shown)?;
		}
		Resource::Disk => {
			let (size, root) = (job.disk(sizes), &roots.disk);
			disk::verify(&job.recipe(), &start, &size, root, &draw, &mut shown)?;
		}
	}
	shown.end()?;
	Ok(Vec::new())
}

/// Returns the maximum length of a resource's openings, in bytes.
pub fn limit(job: &Job, sizes: &Sizes, resource: Resource) -> usize {
	match resource {
		Resource::Gpus => {
			// A sample of a product shows a whole row.
			let rows = GPU_LIMIT * (job.bench.n as usize).div_ceil(4_096);
			usize::from(sizes.gpus) * (rows + 32 * job.turns() as usize)
		}
		Resource::Processor => SAMPLES_LIMIT + 16 * job.bench.stages as usize,
		Resource::Disk => DISK_LIMIT,
	}
}
