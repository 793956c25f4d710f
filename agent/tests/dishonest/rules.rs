//! The rules of an honest checker over trials at small sizes, and each rule switched off.

use kaisar_agent::{
	rules::{Attested, Protocol},
	trial::{
		hash::Hash,
		job::{Job, Sizes},
		judge::Rates,
		part::{Part, Resource},
		proof::{Challenge, Roots},
		sample::Reject,
		verdict::{self, Arrivals, Proved},
	},
};
use kaisar_primitives::{BenchParams, Verdict};
use sp_core::H256;
use std::sync::Mutex;

/// The computed sizes, which represent [`BenchParams::FULL`].
pub const SMALL: BenchParams = BenchParams {
	n: 64,
	// 64 spans, and 16 marks, as in production.
	turns: 64,
	window_mib: 1,
	stages: 8,
	memory_mib: 2,
	disk_mib: 1,
	reads: 40,
	// No bandwidth is measured.
	bandwidth_secs: 0,
};

/// The rule that a checker omits.
#[derive(Clone)]
pub enum Off {
	/// None: the checker is honest.
	None,
	/// These parts count as if they had arrived at the start.
	Lateness(fn(Part) -> bool),
	/// A part counts from its first arrival on, whatever hash came then.
	FirstHash,
	/// Openings of a resource pass in spite of a rejection that the function overlooks. GPUs' marks are then
	/// those that came.
	Rejections(Resource, fn(Reject) -> bool),
	/// The challenge is drawn anew in each try.
	OneDraw,
	/// Evidence is a share of the plan, which counts as that share of the claim.
	Absolute,
	/// Each root is judged by the time since the one before it.
	OneStart,
	/// Openings of another trial are accepted.
	Seed(H256),
}

/// Rules over trials at small sizes.
pub struct Rules {
	off: Off,
	verified: Mutex<Vec<(Resource, Result<(), Reject>)>>,
}

/// Returns the job of production's sizes that a small one represents.
pub fn production(job: &Job) -> Job {
	Job {
		bench: BenchParams::FULL,
		..job.clone()
	}
}

/// Returns the sizes of production that small ones represent.
pub fn scaled(job: &Job, sizes: &Sizes) -> Sizes {
	let (small, full) = (job.plan(), production(job).plan());
	let scale = |size: u64, small: u64, full: u64| match small {
		0 => 0,
		small => size * full / small,
	};
	let of_window = scale(sizes.window.into(), small.window.into(), full.window.into());
	let of_groups = scale(sizes.groups.into(), small.groups.into(), full.groups.into());
	Sizes {
		window: u32::try_from(of_window).unwrap(),
		pages: scale(sizes.pages, small.pages, full.pages),
		groups: u32::try_from(of_groups).unwrap(),
		..*sizes
	}
}

impl Rules {
	pub fn new(off: Off) -> Self {
		Self {
			off,
			verified: Mutex::default(),
		}
	}

	/// The results of verifying openings since the last [`forget`](Self::forget).
	pub fn verified(&self) -> Vec<(Resource, Result<(), Reject>)> {
		self.verified.lock().unwrap().clone()
	}

	/// Forgets the last check.
	pub fn forget(&self) {
		self.verified.lock().unwrap().clear();
	}
}

impl kaisar_agent::rules::Rules for Rules {
	fn challenge(&self, secret: &Hash, root: &Hash, open_seed: H256, tries: u32) -> Challenge {
		let mut challenge = Challenge::new(secret, root, open_seed);
		if matches!(self.off, Off::OneDraw) {
			challenge.nonce[0] = challenge.nonce[0].wrapping_add(tries as u8);
		}
		challenge
	}

	fn verify(
		&self,
		attested: &Attested,
		resource: Resource,
		challenge: &Challenge,
		openings: &[u8],
	) -> Result<Vec<Hash>, Reject> {
		let mut attested = attested.clone();
		if let Off::Seed(seed) = self.off {
			attested.trial_seed = seed;
		}
		let verified = Protocol.verify(&attested, resource, challenge, openings);
		let result = verified.clone().map(|_| ());
		self.verified.lock().unwrap().push((resource, result));
		match (&self.off, verified) {
			(Off::Rejections(of, overlooked), Err(reject))
				if *of == resource && overlooked(reject) =>
			{
				Ok(Vec::new())
			}
			(_, verified) => verified,
		}
	}

	fn judge(
		&self,
		job: &Job,
		roots: &Roots,
		proved: &Proved,
		arrivals: &Arrivals,
		rates: Option<Rates>,
		full: bool,
	) -> (Verdict, Vec<String>) {
		let full_job = production(job);
		let mut roots = roots.clone();
		let small = roots.sizes;
		roots.sizes = scaled(job, &small);
		let mut proved = proved.clone();
		let mut arrivals = *arrivals;
		let start = arrivals.start.unwrap_or_default();
		let hash_of = |part: Part, roots: &Roots, proved: &Proved| match part {
			Part::Mark(mark) => {
				let marks = proved.gpus.as_ref()?;
				marks.get(usize::from(mark)).copied()
			}
			Part::Processor => Some(roots.processor),
			Part::Disk => Some(roots.disk),
		};
		match &self.off {
			Off::Rejections(Resource::Gpus, _)
				if proved.gpus.as_ref().is_some_and(Vec::is_empty) =>
			{
				let sent = (0..full_job.gpu(&roots.sizes).marks()).map(Part::Mark);
				let sent = sent.map(|part| arrivals.at.get(part).map_or([0; 32], |(_, hash)| hash));
				proved.gpus = Some(sent.collect());
			}
			Off::Lateness(forgiven) => {
				for part in Part::all().filter(|part| forgiven(*part)) {
					if let Some((_, hash)) = arrivals.at.get(part) {
						arrivals.at.set(part, Some((start, hash)));
					}
				}
			}
			Off::FirstHash => {
				for part in Part::all() {
					if let (Some((at, _)), Some(hash)) =
						(arrivals.at.get(part), hash_of(part, &roots, &proved))
					{
						arrivals.at.set(part, Some((at, hash)));
					}
				}
			}
			Off::OneStart => {
				// The roots come in this order, and each has its time since the one before.
				let (first, second) = (Part::Processor, Part::Disk);
				if let (Some((before, _)), Some((at, hash))) =
					(arrivals.at.get(first), arrivals.at.get(second))
				{
					let alone = at.saturating_sub(before);
					arrivals.at.set(second, Some((start + alone, hash)));
				}
			}
			_ => (),
		}
		let judged = verdict::judge(&full_job, &roots, &proved, &arrivals, rates, full);
		if matches!(self.off, Off::Absolute) {
			return (
				relative(&full_job, &roots, &proved, &arrivals, judged.0),
				judged.1,
			);
		}
		judged
	}
}

/// The first edition's figures: a share of the planned work counts as the same share of the claim, and a
/// time above the planned time reduces it in proportion.
fn relative(
	job: &Job,
	roots: &Roots,
	proved: &Proved,
	arrivals: &Arrivals,
	judged: Verdict,
) -> Verdict {
	use kaisar_math::tiers;
	let plan = job.plan();
	let after = |part, hash| {
		let after = arrivals.after(part, hash)?;
		Some((10.0 / (after.as_secs_f64() - 2.0).max(10.0)).min(1.0))
	};
	let share = |ran: u64, planned: u64| ran as f64 / planned.max(1) as f64;
	let in_time = after(Part::Processor, &roots.processor).filter(|_| proved.processor);
	let lanes = share(roots.sizes.lanes.into(), plan.lanes.into()) * in_time.unwrap_or(0.0);
	let pages = share(roots.sizes.pages, plan.pages) * in_time.unwrap_or(0.0);
	let read = after(Part::Disk, &roots.disk).filter(|_| proved.disk);
	let groups = share(roots.sizes.groups.into(), plan.groups.into()) * read.unwrap_or(0.0);
	Verdict {
		cpu: tiers::cpu((lanes * f64::from(job.spec.cpu_cores)) as u32),
		memory: tiers::memory((pages * f64::from(job.spec.memory_gb)) as u32),
		disk: tiers::disk((groups * f64::from(job.spec.disk_gb)) as u32),
		..judged
	}
}
