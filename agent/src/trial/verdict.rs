//! The verdict on a worker: a pure function of its sizes, the resources whose openings were verified, and
//! the arrivals of its parts. Each figure is the lesser of the claimed and the shown amount.

use super::{
	hash::Hash,
	job::Job,
	judge::{self, DISK_LATEST, LATEST, LENGTH, Rates, TOLERANCE, line_of_measured},
	part::{Part, Parts},
	proof::Roots,
	ram::PAGE,
};
use kaisar_math::tiers;
use kaisar_primitives::Verdict;
use std::time::Duration;

/// Arrivals of a worker's parts by one checker's clock, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrivals {
	/// Start of the trial. `None` if the checker's agent did not receive it, or was down.
	pub start: Option<u64>,
	/// First arrival of each part, with its hash.
	pub at: Parts<Option<(u64, Hash)>>,
}

impl Arrivals {
	/// Returns the time from the start to the arrival of a part with this hash. `None` if no start is known,
	/// and for a part that did not arrive, or arrived first with another hash: the worker did not know it
	/// then, and the checker asks for it only after every limit.
	pub fn after(&self, part: Part, hash: &Hash) -> Option<Duration> {
		let (at, heard) = self.at.get(part)?;
		let since = at.saturating_sub(self.start?);
		(heard == *hash).then(|| Duration::from_millis(since))
	}
}

/// Resources whose openings were verified against the attested root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proved {
	/// The marks that follow from the openings of the GPUs.
	pub gpus: Option<Vec<Hash>>,
	/// Processor and memory.
	pub processor: bool,
	/// The disk.
	pub disk: bool,
}

impl Proved {
	/// Returns whether nothing was verified.
	pub fn is_empty(&self) -> bool {
		*self == Self::default()
	}
}

/// Returns the verdict on a worker that served its check, and remarks on each claim that is not shown whole.
/// `rates` is `None` if the checker has no opinion on the bandwidth. Only a `full` check judges disk and
/// bandwidth.
pub fn judge(
	job: &Job,
	roots: &Roots,
	proved: &Proved,
	arrivals: &Arrivals,
	rates: Option<Rates>,
	full: bool,
) -> (Verdict, Vec<String>) {
	let mut judge = Judge::new(job, roots, proved, arrivals);
	let gpus = judge.gpus();
	let verdict = Verdict {
		online: true,
		// The worker is not rented, so it has no customer to serve.
		service: true,
		timed: arrivals.start.is_some(),
		proof: true,
		bandwidth: if full { judge.bandwidth(rates) } else { 0 },
		cpu: tiers::cpu(judge.cores()),
		memory: tiers::memory(judge.memory()),
		disk: if full { tiers::disk(judge.disk()) } else { 0 },
		gpu_class: if gpus > 0 { job.spec.gpu_class } else { 0 },
		gpu_count: gpus,
	};
	if arrivals.start.is_none() {
		judge.remarks = vec!["this agent did not receive the start of the trial".into()];
	}
	(verdict, judge.remarks)
}

/// A claim of a worker, and the amount that a trial shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
	/// Name, with its unit.
	pub name: &'static str,
	/// Claimed amount.
	pub claim: u32,
	/// Shown amount.
	pub shown: u32,
	/// Time from the start to the arrival of its root or last mark.
	pub after: Option<Duration>,
	/// Limit of that time for showing all that ran.
	pub limit: Duration,
}

/// Returns each claim except the bandwidth, with the shown amount.
pub fn figures(job: &Job, roots: &Roots, proved: &Proved, arrivals: &Arrivals) -> Vec<Figure> {
	let mut judge = Judge::new(job, roots, proved, arrivals);
	let spec = &job.spec;
	let size = job.gpu(&roots.sizes);
	let last = proved.gpus.as_ref().and_then(|marks| {
		let mark = Part::Mark(size.marks().saturating_sub(1));
		arrivals.after(mark, marks.last()?)
	});
	let processor = arrivals.after(Part::Processor, &roots.processor);
	let figure = |name, claim, shown, after, limit| Figure {
		name,
		claim,
		shown,
		after,
		limit,
	};
	vec![
		figure(
			"GPUs",
			spec.gpu_count.into(),
			judge.gpus().into(),
			last,
			judge::mark_limit(size.turns, size.turns),
		),
		figure(
			"CPU cores",
			spec.cpu_cores.into(),
			judge.cores(),
			processor,
			LENGTH + TOLERANCE,
		),
		figure(
			"memory GB",
			spec.memory_gb,
			judge.memory(),
			processor,
			LATEST,
		),
		figure(
			"disk GB",
			spec.disk_gb,
			judge.disk(),
			arrivals.after(Part::Disk, &roots.disk),
			DISK_LATEST,
		),
	]
}

struct Judge<'a> {
	job: &'a Job,
	roots: &'a Roots,
	proved: &'a Proved,
	arrivals: &'a Arrivals,
	/// Times and sizes are evidence. On other chains, work that is proved whole shows its claim.
	timed: bool,
	remarks: Vec<String>,
}

/// Formats a time.
fn secs(time: Duration) -> String {
	format!("{:.1} s", time.as_secs_f64())
}

/// Formats the arrival of a root.
fn arrival(time: Option<Duration>) -> String {
	time.map_or("its root did not arrive in time".into(), |time| {
		format!("its root arrived after {}", secs(time))
	})
}

/// Formats bytes in GB.
fn gb(bytes: u64) -> String {
	format!("{:.1} GB", bytes as f64 / 1e9)
}

impl<'a> Judge<'a> {
	fn new(job: &'a Job, roots: &'a Roots, proved: &'a Proved, arrivals: &'a Arrivals) -> Self {
		Self {
			job,
			roots,
			proved,
			arrivals,
			timed: job.bench.is_full(),
			remarks: Vec::new(),
		}
	}

	/// Returns the lesser of a claimed and a shown amount. Adds a remark if the claim is not shown.
	fn least(&mut self, claim: u32, shown: u32, unit: &str, why: impl FnOnce() -> String) -> u32 {
		if shown < claim {
			let why = why();
			let remark = format!("{shown} of {claim} claimed {unit} shown: {why}");
			self.remarks.push(remark);
		}
		claim.min(shown)
	}

	fn cores(&mut self) -> u32 {
		if !self.proved.processor {
			return 0;
		}
		let lanes = self.roots.sizes.lanes;
		let after = self.arrivals.after(Part::Processor, &self.roots.processor);
		let shown = match self.timed {
			true => judge::cores(lanes, after),
			false => lanes.into(),
		};
		let claim = self.job.spec.cpu_cores.into();
		self.least(claim, shown, "CPU cores", || {
			format!(
				"{lanes} lanes, {}; all count until {} and none after {}",
				arrival(after),
				secs(LENGTH + TOLERANCE),
				secs(LATEST)
			)
		})
	}

	fn memory(&mut self) -> u32 {
		if !self.proved.processor {
			return 0;
		}
		let pages = self.roots.sizes.pages;
		let bytes = pages.saturating_mul(PAGE as u64);
		let after = self.arrivals.after(Part::Processor, &self.roots.processor);
		let claim = self.job.spec.memory_gb;
		let shown = match self.timed {
			true => judge::memory_gb(bytes, after),
			false if pages >= self.job.plan().pages => claim,
			false => judge::memory_gb(bytes, Some(Duration::ZERO)),
		};
		self.least(claim, shown, "GB of memory", || {
			format!(
				"{} filled, {}; the limit is {}",
				gb(bytes),
				arrival(after),
				secs(LATEST)
			)
		})
	}

	fn disk(&mut self) -> u32 {
		if !self.proved.disk {
			return 0;
		}
		let groups = self.roots.sizes.groups;
		let bytes = u64::from(groups).saturating_mul(self.job.recipe().group_bytes());
		let after = self.arrivals.after(Part::Disk, &self.roots.disk);
		let claim = self.job.spec.disk_gb;
		let shown = match self.timed {
			true => judge::disk_gb(bytes, after),
			false if groups >= self.job.plan().groups => claim,
			false => judge::disk_gb(bytes, Some(Duration::ZERO)),
		};
		self.least(claim, shown, "GB of disk", || {
			format!(
				"{} plotted, {}; the limit is {}",
				gb(bytes),
				arrival(after),
				secs(DISK_LATEST)
			)
		})
	}

	/// Returns the GPUs of the claimed class that are shown: all that ran, if each mark is in time.
	fn gpus(&mut self) -> u8 {
		let spec = &self.job.spec;
		let claim = match (spec.gpu_class, self.job.reference) {
			(0, _) | (_, None) => 0,
			_ => spec.gpu_count,
		};
		let Some(marks) = self.proved.gpus.as_ref().filter(|_| claim > 0) else {
			return 0;
		};
		if let Some(why) = self.too_little(marks) {
			let remark = format!(
				"0 of {claim} claimed GPUs of class {} shown: {why}",
				spec.gpu_class
			);
			self.remarks.push(remark);
			return 0;
		}
		let ran = self.roots.sizes.gpus;
		self.least(claim.into(), ran.into(), "GPUs", || format!("{ran} ran"));
		claim.min(ran)
	}

	/// Returns the reason why GPUs with these marks do not show the class.
	fn too_little(&self, marks: &[Hash]) -> Option<String> {
		let size = self.job.gpu(&self.roots.sizes);
		let planned = self.job.plan().window;
		let enough = match self.timed {
			true => judge::is_enough(size.window, planned),
			false => size.window >= planned,
		};
		if !enough {
			return Some(format!(
				"they filled {} of {planned} matrices of the class's memory",
				size.window
			));
		}
		if !self.timed {
			return None;
		}
		if marks.len() != usize::from(size.marks()) {
			return Some(format!(
				"{} of {} marks are known",
				marks.len(),
				size.marks()
			));
		}
		(0..).zip(marks).find_map(|(mark, hash)| {
			let done = size.mark_turns(mark);
			let limit = judge::mark_limit(done, size.turns);
			let after = self.arrivals.after(Part::Mark(mark), hash);
			if after.is_some_and(|after| after <= limit) {
				return None;
			}
			let after = after.map_or("did not arrive in time".into(), |after| {
				format!("arrived after {}", secs(after))
			});
			let (turns, limit) = (size.turns, secs(limit));
			Some(format!(
				"mark {mark}, after {done} of {turns} turns, {after}; its limit is {limit}"
			))
		})
	}

	fn bandwidth(&mut self, rates: Option<Rates>) -> u8 {
		let Some(Rates { down_mbps, up_mbps }) = rates else {
			return Verdict::NO_OPINION;
		};
		let (down, up) = (self.job.spec.download_mbps, self.job.spec.upload_mbps);
		let shown = (
			line_of_measured(down_mbps).min(down),
			line_of_measured(up_mbps).min(up),
		);
		let tier = tiers::bandwidth(shown.0, shown.1);
		let claimed = tiers::bandwidth(down, up);
		if tier < claimed {
			self.remarks.push(format!(
				"bandwidth of tier {tier} shown where {claimed} is claimed: a line of {}/{} of {down}/{up} Mb/s down/up",
				shown.0, shown.1
			));
		}
		tier
	}
}

#[cfg(test)]
pub(crate) mod tests {
	use super::*;
	use crate::trial::{
		disk,
		job::Sizes,
		judge::{MAX_LANES, MAX_PAGES},
		matrix, processor,
	};
	use kaisar_math::ClassReference;
	use kaisar_primitives::{AgentKey, BenchParams, WorkerSpec};
	use proptest::prelude::*;
	use sp_core::H256;

	/// The seed of a trial.
	pub const SEED: H256 = H256::repeat_byte(9);

	/// A trial of a small machine without GPUs, at the sizes of production.
	pub fn job() -> Job {
		Job {
			genesis: H256::repeat_byte(1),
			round: 4,
			seed: H256::repeat_byte(2),
			worker: 7,
			agent: AgentKey::from_raw([3; 32]),
			spec: WorkerSpec {
				cpu_cores: 64,
				memory_gb: 128,
				disk_gb: 6_000,
				download_mbps: 900,
				upload_mbps: 700,
				..WorkerSpec::default()
			},
			bench: BenchParams::FULL,
			reference: None,
		}
	}

	/// Returns the same trial with eight GPUs of a class that makes 5,000 turns in 10 s.
	fn gpu_job() -> Job {
		let mut job = job();
		(job.spec.gpu_class, job.spec.gpu_count) = (1, 8);
		job.reference = Some(ClassReference {
			trial_turns: 5_000,
			memory_gb: 80,
			calibrated: true,
		});
		job
	}

	fn scaled(mut job: Job) -> Job {
		job.bench = BenchParams {
			n: 64,
			turns: 2,
			window_mib: 1,
			stages: 4,
			memory_mib: 1,
			disk_mib: 1,
			reads: 8,
			bandwidth_secs: 1,
		};
		job
	}

	fn roots(sizes: Sizes) -> Roots {
		Roots {
			gpus: vec![[5; 32]; sizes.gpus.into()],
			sizes,
			processor: [1; 32],
			disk: [2; 32],
		}
	}

	fn marks(job: &Job, sizes: &Sizes) -> Vec<Hash> {
		let marks = job.gpu(sizes).marks();
		(0..marks).map(|mark| [10 + mark; 32]).collect()
	}

	fn proved(job: &Job, sizes: &Sizes) -> Proved {
		Proved {
			gpus: (sizes.gpus > 0).then(|| marks(job, sizes)),
			processor: true,
			disk: sizes.groups > 0,
		}
	}

	/// Returns arrivals of lanes and disk after these times, and of GPUs that take `gpu_ms` for all turns.
	fn arrivals(job: &Job, sizes: &Sizes, cpu_ms: u64, disk_ms: u64, gpu_ms: u64) -> Arrivals {
		let start = 1_000_000;
		let mut at = Parts::default();
		at.set(Part::Processor, Some((start + cpu_ms, [1; 32])));
		at.set(Part::Disk, Some((start + disk_ms, [2; 32])));
		let size = job.gpu(sizes);
		for (mark, hash) in (0..).zip(marks(job, sizes)) {
			let done = gpu_ms * u64::from(size.mark_turns(mark)) / u64::from(size.turns);
			at.set(Part::Mark(mark), Some((start + done, hash)));
		}
		Arrivals {
			start: Some(start),
			at,
		}
	}

	const FAST: Option<Rates> = Some(Rates {
		down_mbps: 10_000,
		up_mbps: 10_000,
	});

	/// Returns the verdict on sizes whose parts come after these milliseconds: lanes, disk, GPUs.
	fn judged(job: &Job, sizes: Sizes, ms: [u64; 3]) -> (Verdict, Vec<String>) {
		let arrivals = arrivals(job, &sizes, ms[0], ms[1], ms[2]);
		let proved = proved(job, &sizes);
		judge(job, &roots(sizes), &proved, &arrivals, FAST, true)
	}

	const HONEST: [u64; 3] = [11_000, 9_000, 10_500];

	fn tiers_of(verdict: &Verdict) -> [u8; 4] {
		[verdict.cpu, verdict.memory, verdict.disk, verdict.bandwidth]
	}

	#[test]
	fn an_honest_worker_shows_its_claim() {
		let job = gpu_job();
		let (verdict, remarks) = judged(&job, job.plan(), HONEST);
		assert_eq!(remarks, [""; 0]);
		assert_eq!(tiers_of(&verdict), [3, 3, 3, 3]);
		assert_eq!((verdict.gpu_class, verdict.gpu_count), (1, 8));
		assert!(verdict.online && verdict.service && verdict.timed && verdict.proof);
		// An empty claim shows nothing.
		let nothing = Job {
			spec: WorkerSpec::default(),
			..job
		};
		let (verdict, remarks) = judged(&nothing, nothing.plan(), HONEST);
		assert_eq!((tiers_of(&verdict), verdict.gpu_class), ([0; 4], 0));
		assert_eq!(remarks, [""; 0]);
	}

	#[test]
	fn a_large_claim_gains_nothing() {
		// In the first edition, evidence was a share of the claim, and 4 lanes of 144 were 1,820 cores.
		let mut job = job();
		(job.spec.cpu_cores, job.spec.memory_gb, job.spec.disk_gb) =
			(u16::MAX, 4_000_000, 4_000_000_000);
		let sizes = Sizes {
			lanes: 4,
			pages: (14 << 30) / PAGE as u64,
			groups: 1,
			..Sizes::default()
		};
		let (verdict, remarks) = judged(&job, sizes, HONEST);
		assert_eq!(tiers_of(&verdict), [1, 1, 0, 3]);
		assert_eq!(
			remarks,
			[
				"4 of 65535 claimed CPU cores shown: 4 lanes, its root arrived after 11.0 s; all count until 12.0 s \
				 and none after 20.0 s",
				"17 of 4000000 claimed GB of memory shown: 15.0 GB filled, its root arrived after 11.0 s; the limit is \
				 20.0 s",
				"21 of 4000000000 claimed GB of disk shown: 1.1 GB plotted, its root arrived after 9.0 s; the limit is \
				 12.0 s",
			]
		);
		// 16 cores that run 144 lanes one after the other take 92 s.
		let sizes = Sizes {
			lanes: MAX_LANES,
			..sizes
		};
		let (verdict, _) = judged(&job, sizes, [92_000, 9_000, 0]);
		assert_eq!((verdict.cpu, verdict.memory), (0, 0));
	}

	#[test]
	fn memory_that_is_computed_in_place_of_kept_is_too_late() {
		// 64 lanes of 16 reads in each of 62,504 · 32 legs, on 64 cores; a read of a page that is not there
		// takes half a fill of 173 µs.
		let reads = u64::from(BenchParams::FULL.stages) * 32 * 16;
		let ms = reads * 86 / 1_000;
		let job = job();
		let (verdict, _) = judged(&job, job.plan(), [10_000 + ms, 9_000, 0]);
		assert_eq!((verdict.cpu, verdict.memory), (0, 0));
		// With a hundredth of the reads missing as well.
		let (verdict, _) = judged(&job, job.plan(), [10_000 + ms / 100, 9_000, 0]);
		assert_eq!((verdict.cpu, verdict.memory), (0, 0));
	}

	#[test]
	fn a_root_that_is_held_back_counts_by_its_arrival_and_hides_no_other() {
		let job = gpu_job();
		let on_time = judged(&job, job.plan(), HONEST).0;
		// The lanes' root comes with the disk's, whose reads were computed: neither gains by it.
		let (verdict, _) = judged(&job, job.plan(), [19_000, 19_000, 10_500]);
		assert_eq!((verdict.disk, verdict.gpu_class), (0, 1));
		assert!(verdict.cpu < on_time.cpu);
		// The disk does not gain by the slack of quick parts either.
		let (verdict, _) = judged(&job, job.plan(), [1_000, 12_001, 1_000]);
		assert_eq!((verdict.disk, verdict.cpu), (0, on_time.cpu));
		let (verdict, _) = judged(&job, job.plan(), [1_000, 12_000, 1_000]);
		assert_eq!(verdict.disk, on_time.disk);
	}

	#[test]
	fn a_part_with_another_hash_than_is_proved_shows_nothing() {
		let job = gpu_job();
		let sizes = job.plan();
		let proved = proved(&job, &sizes);
		for part in Part::all() {
			let mut arrivals = arrivals(&job, &sizes, 9_000, 9_000, 9_000);
			let (at, _) = arrivals.at.get(part).unwrap();
			for other in [None, Some((at, [99; 32]))] {
				arrivals.at.set(part, other);
				let (verdict, _) = judge(&job, &roots(sizes), &proved, &arrivals, FAST, true);
				let shown = (
					verdict.gpu_count > 0,
					verdict.cpu + verdict.memory > 0,
					verdict.disk > 0,
				);
				let expected = match part {
					Part::Mark(_) => (false, true, true),
					Part::Processor => (true, false, true),
					Part::Disk => (true, true, false),
				};
				assert_eq!(shown, expected, "{part}");
			}
		}
	}

	#[test]
	fn boundary_a_class_needs_every_mark_in_time_and_its_memory() {
		let job = gpu_job();
		let plan = job.plan();
		let gpus = |sizes, gpu_ms| {
			let (verdict, remarks) = judged(&job, sizes, [10_000, 9_000, gpu_ms]);
			(verdict.gpu_class, verdict.gpu_count, remarks)
		};
		assert_eq!(gpus(plan, 13_764), (1, 8, vec![]));
		let (class, count, remarks) = gpus(plan, 13_765);
		assert_eq!((class, count), (0, 0));
		assert_eq!(
			remarks,
			[
				"0 of 8 claimed GPUs of class 1 shown: mark 15, after 5000 of 5000 turns, arrived after 13.8 s; its \
			  limit is 13.8 s"
			]
		);
		// Two workers' worth of turns one after the other, and one GPU behind two.
		assert_eq!(gpus(plan, 20_000).0, 0);
		let window = |percent| plan.window * percent / 100;
		let with = |window| Sizes { window, ..plan };
		assert_eq!(gpus(with(window(85) + 1), 10_000).1, 8);
		assert_eq!(gpus(with(window(85) - 1), 10_000).0, 0);
		// Fewer GPUs than claimed ran, and more.
		assert_eq!(gpus(Sizes { gpus: 3, ..plan }, 10_000).1, 3);
		assert_eq!(gpus(Sizes { gpus: 9, ..plan }, 10_000).1, 8);
		// A class without a reference is not shown.
		let unknown = Job {
			reference: None,
			..job.clone()
		};
		assert_eq!(judged(&unknown, unknown.plan(), HONEST).0.gpu_class, 0);
	}

	#[test]
	fn one_late_mark_fails_the_class_though_the_last_is_in_time() {
		let job = gpu_job();
		let sizes = job.plan();
		let mut arrivals = arrivals(&job, &sizes, 9_000, 9_000, 9_000);
		let hash = marks(&job, &sizes)[4];
		arrivals
			.at
			.set(Part::Mark(4), Some((1_000_000 + 6_200, hash)));
		let proved = proved(&job, &sizes);
		let (verdict, _) = judge(&job, &roots(sizes), &proved, &arrivals, FAST, true);
		assert_eq!(verdict.gpu_class, 0);
	}

	#[test]
	fn a_resource_that_was_not_verified_shows_nothing() {
		let job = gpu_job();
		let sizes = job.plan();
		let all = arrivals(&job, &sizes, 9_000, 9_000, 9_000);
		let (verdict, _) = judge(&job, &roots(sizes), &Proved::default(), &all, FAST, true);
		assert_eq!((tiers_of(&verdict), verdict.gpu_class), ([0, 0, 0, 3], 0));
		assert!(verdict.proof && verdict.online);
		let disk_alone = Proved {
			disk: true,
			..Proved::default()
		};
		let (verdict, _) = judge(&job, &roots(sizes), &disk_alone, &all, FAST, true);
		assert_eq!((tiers_of(&verdict), verdict.gpu_class), ([0, 0, 3, 3], 0));
		// Only a full check judges disk and bandwidth.
		let (verdict, _) = judge(
			&job,
			&roots(sizes),
			&proved(&job, &sizes),
			&all,
			FAST,
			false,
		);
		assert_eq!(tiers_of(&verdict), [3, 3, 0, 0]);
	}

	#[test]
	fn without_a_start_no_time_is_judged() {
		let job = gpu_job();
		let sizes = job.plan();
		let arrivals = Arrivals {
			start: None,
			..arrivals(&job, &sizes, 9_000, 9_000, 9_000)
		};
		let proved = proved(&job, &sizes);
		let (verdict, remarks) = judge(&job, &roots(sizes), &proved, &arrivals, FAST, true);
		assert!(!verdict.timed && verdict.proof);
		assert_eq!((tiers_of(&verdict), verdict.gpu_class), ([0, 0, 0, 3], 0));
		assert_eq!(
			remarks,
			["this agent did not receive the start of the trial"]
		);
	}

	#[test]
	fn a_scaled_plan_that_is_proved_whole_counts_as_the_claim() {
		let job = scaled(gpu_job());
		let plan = job.plan();
		let (verdict, remarks) = judged(&job, plan, [60_000; 3]);
		assert_eq!(remarks, [""; 0]);
		assert_eq!(tiers_of(&verdict), [3, 3, 3, 3]);
		assert_eq!((verdict.gpu_class, verdict.gpu_count), (1, 8));
		let less = Sizes {
			gpus: 7,
			window: plan.window - 1,
			lanes: 3,
			pages: plan.pages - 1,
			groups: 0,
		};
		let (verdict, remarks) = judged(&job, less, [0; 3]);
		assert_eq!((tiers_of(&verdict), verdict.gpu_class), ([0, 0, 0, 3], 0));
		assert_eq!(remarks.len(), 3, "{remarks:?}");
	}

	#[test]
	fn a_line_is_the_measured_rate_and_a_tenth() {
		let mut job = job();
		(job.spec.download_mbps, job.spec.upload_mbps) = (2_000, 2_000);
		let sizes = job.plan();
		let arrivals = arrivals(&job, &sizes, 9_000, 9_000, 0);
		let tier = |rates| {
			let proved = Proved::default();
			let (verdict, _) = judge(&job, &roots(sizes), &proved, &arrivals, rates, true);
			verdict.bandwidth
		};
		for (down_mbps, up_mbps, expected) in [
			(67, 68, 0),
			(68, 68, 1),
			(359, 270, 1),
			(360, 269, 1),
			(360, 270, 2),
			(720, 540, 3),
			(1_440, 1_080, 4),
			(u32::MAX, u32::MAX, 4),
		] {
			let rates = Some(Rates { down_mbps, up_mbps });
			assert_eq!(tier(rates), expected, "{down_mbps}/{up_mbps}");
		}
		assert_eq!(tier(None), Verdict::NO_OPINION);
	}

	/// Returns the odds that three of five seats miss an event that each misses with odds `q`.
	fn majority_misses(q: f64) -> f64 {
		10.0 * q.powi(3) * (1.0 - q).powi(2) + 5.0 * q.powi(4) * (1.0 - q) + q.powi(5)
	}

	/// Returns these odds for made-up work in a `share` of the places, with this number of samples each.
	fn three_of_five_miss(share: f64, samples: u32) -> f64 {
		majority_misses((1.0 - share).powi(samples as i32))
	}

	#[test]
	fn five_percent_of_any_part_escapes_a_majority_in_less_than_1_of_1000() {
		for (name, samples, share) in [
			("words of legs", processor::SAMPLES, 0.05),
			("reads of the plot", disk::SAMPLES, 0.05),
			("walks", matrix::WALKS, 0.05),
			// A wrong row or line is one of a sample's two chances: it is detected in its row, or in its
			// byte.
			("fill", matrix::FILLS, 0.025),
			("products", matrix::PRODUCTS, 0.025),
		] {
			let odds = three_of_five_miss(share, samples);
			assert!(odds < 1e-3, "{name}: {samples} samples, {odds:.1e}");
			// With half of the samples, the bound does not hold: the test can fail.
			assert!(three_of_five_miss(share, samples / 2) > 1e-3, "{name}");
		}
	}

	#[test]
	fn legs_that_are_gathered_in_few_lanes_escape_no_more_often() {
		// 5 % of all legs, all of them in some of 144 lanes. The drawn lane is seldom one of these.
		let odds = |samples: u32, lanes: u32| {
			let part = f64::from(lanes) / 144.0;
			let of_lane = 1.0 - part + part * (1.0 - 0.05 / part).powi(processor::OF_LANE as i32);
			majority_misses(0.95f64.powi(samples as i32) * of_lane)
		};
		let worst = |samples| {
			(8..=144)
				.map(|lanes| odds(samples, lanes))
				.fold(0.0, f64::max)
		};
		assert!(worst(processor::SAMPLES) < 1e-3);
		// With only 48 samples, as first specified, the bound does not hold.
		assert!(worst(48) > 4e-3);
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..Default::default() })]

		#[test]
		fn a_verdict_never_exceeds_the_sizes_and_times(
			claim in (any::<u16>(), any::<u32>(), any::<u32>(), 0u16..3, any::<u8>()),
			modest in any::<bool>(),
			sizes in (0u8..=20, 0u32..10_000, 0u16..=200, 0..=2 * MAX_PAGES, 0u32..20_000),
			ms in [0u64..30_000, 0u64..30_000, 0u64..30_000],
			proved in any::<[bool; 3]>(),
			full in any::<bool>(),
			rates in proptest::option::of((0u32..3_000, 0u32..3_000)),
			line in (0u32..3_000, 0u32..3_000),
		) {
			let mut job = gpu_job();
			let cut = |figure: u32, by: u32| if modest { figure % by } else { figure };
			job.spec = WorkerSpec {
				cpu_cores: cut(claim.0.into(), 200) as u16,
				memory_gb: cut(claim.1, 600),
				disk_gb: cut(claim.2, 12_000),
				gpu_class: claim.3,
				gpu_count: claim.4,
				download_mbps: line.0,
				upload_mbps: line.1,
				..job.spec
			};
			let sizes = Sizes { gpus: sizes.0, window: sizes.1, lanes: sizes.2, pages: sizes.3, groups: sizes.4 };
			let all = marks(&job, &sizes);
			let proved = Proved {
				gpus: proved[0].then_some(all),
				processor: proved[1],
				disk: proved[2],
			};
			let arrivals = arrivals(&job, &sizes, ms[0], ms[1], ms[2]);
			let rates = rates.map(|(down_mbps, up_mbps)| Rates { down_mbps, up_mbps });
			let (verdict, _) = judge(&job, &roots(sizes), &proved, &arrivals, rates, full);

			let secs = ms.map(|ms| ms as f64 / 1e3);
			let in_time = |within: bool, figure: f64| if within { figure } else { 0.0 };
			let cores = in_time(
				proved.processor && secs[0] <= 20.0,
				f64::from(sizes.lanes) * (10.0 / (secs[0] - 2.0)).clamp(0.0, 1.0).max(if secs[0] <= 12.0 { 1.0 } else { 0.0 }),
			);
			let gb = (sizes.pages * PAGE as u64) as f64 / 1e9;
			let memory = in_time(proved.processor && secs[0] <= 20.0 && gb > 0.0, gb + (gb / 7.0).max(2.0));
			let gb = f64::from(sizes.groups) * f64::from(1 << 30) / 1e9;
			let disk = in_time(full && proved.disk && secs[1] <= 12.0 && gb > 0.0, gb + (gb / 7.0).max(20.0));
			prop_assert!(verdict.cpu <= tiers::cpu((cores + 1e-6) as u32));
			prop_assert!(verdict.cpu <= tiers::cpu(job.spec.cpu_cores.into()));
			prop_assert!(verdict.memory <= tiers::memory((memory + 1e-6) as u32));
			prop_assert!(verdict.memory <= tiers::memory(job.spec.memory_gb));
			prop_assert!(verdict.disk <= tiers::disk((disk + 1e-6) as u32));
			prop_assert!(verdict.disk <= tiers::disk(job.spec.disk_gb));
			prop_assert!(verdict.gpu_count <= sizes.gpus.min(job.spec.gpu_count));
			prop_assert_eq!(verdict.gpu_count > 0, verdict.gpu_class > 0);
			if verdict.gpu_count > 0 {
				prop_assert_eq!(verdict.gpu_class, job.spec.gpu_class);
				let planned = 0.95 * 80e9 / f64::from(4_096 * 4_096) - 17.0;
				prop_assert!(f64::from(sizes.window) >= 0.85 * planned);
				prop_assert!(proved.gpus.is_some() && secs[2] <= 10.0 / 0.85 + 2.0);
			}
			match rates {
				Some(rates) if full => {
					let most = (rates.down_mbps * 10 / 9, rates.up_mbps * 10 / 9);
					prop_assert!(verdict.bandwidth <= tiers::bandwidth(most.0, most.1));
					prop_assert!(verdict.bandwidth <= tiers::bandwidth(line.0, line.1));
				},
				_ => prop_assert_eq!(verdict.bandwidth, if full { Verdict::NO_OPINION } else { 0 }),
			}
		}
	}
}
