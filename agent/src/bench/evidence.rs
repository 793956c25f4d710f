//! From what was proved, and how long it took by the checker's clock, to the tiers that it supports.
//!
//! Evidence can only support a claim, never exceed it. What a scaled-down benchmark shows holds up
//! to its scale only (`docs/benchmark.md`).

use crate::bench::{
	classes::SHARE,
	cpu, disk,
	hash::Hash,
	job::{Job, Sizes},
	memory::{SEGMENT as READS, SEGMENTS},
	stage::{Stage, Stages},
};
use kaisar_math::tiers;
use kaisar_primitives::Verdict;
use std::time::Duration;

/// Hashes a second that one core of a slow server does in a chain.
pub const CPU_REFERENCE: u64 = 3_000_000;
/// Bytes a second that one core of a slow server fills with linked pages.
pub const FILL_REFERENCE: u64 = 150_000_000;
/// Nanoseconds of a dependent read in a slow server's memory.
pub const READ_REFERENCE_NS: u64 = 400;
/// Time of a dependent read on a slow SSD.
pub const DISK_READ_REFERENCE: Duration = Duration::from_millis(2);
/// What each stage is forgiven for scheduling and sending.
pub const GRACE: Duration = Duration::from_millis(500);
/// Most of a round trip that is forgiven.
pub const MAX_RTT: Duration = Duration::from_millis(300);

/// From what is measured to the line that it takes: up to a tenth of a line goes to headers, to
/// acknowledgements of the other direction, and to finding out how fast it is.
const LINE_OF_MEASURED: (u64, u64) = (10, 9);

/// The line on which `mbps` were measured, in Mb/s.
pub fn line_of_measured(mbps: u32) -> u32 {
	let line = u64::from(mbps) * LINE_OF_MEASURED.0 / LINE_OF_MEASURED.1;
	u32::try_from(line).unwrap_or(u32::MAX)
}

/// The longest that a worker's start may lag behind the trial's start as its checker saw it.
pub const START_GRACE: Duration = Duration::from_secs(3);
/// Products and sums a second that one core of a slow server does in the matrix chain.
pub const CHAIN_REFERENCE: u64 = 4_000_000_000;

/// Speed of a worker's line, all seats together, as one checker estimates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
	/// Towards the worker, in Mb/s.
	pub down_mbps: u32,
	/// From the worker, in Mb/s.
	pub up_mbps: u32,
}

/// When the checker's clock saw the round begin and the signed roots arrive, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
	/// The trial's block; `None` where the checker's agent was not told.
	pub start: Option<u64>,
	/// The stages' roots.
	pub at: Stages<u64>,
}

impl Clock {
	/// From what was heard: of each stage, when which root came. A root that was not heard, or not as it
	/// was proved, is taken to have come now: whoever sends another one early gains nothing.
	pub fn of_heard(
		start: Option<u64>,
		heard: &Stages<Option<(u64, Hash)>>,
		proved: &Stages<Hash>,
		now: u64,
	) -> Self {
		let at = Stages::from_fn(|stage| match heard[stage] {
			Some((at, root)) if root == proved[stage] => at,
			_ => now,
		});
		Self { start, at }
	}
}

/// How long the stages took. `None` where the checker did not see the round begin: what was proved
/// then stands, but not how fast.
pub type Times = Stages<Option<Duration>>;

/// How long each stage may take on a slow server with all that is claimed.
fn allowed(job: &Job, sizes: &Sizes) -> Stages<Duration> {
	let lanes = u64::from(job.plan().lanes);
	let (chain, walked) = match job.gpu_plan().filter(|_| sizes.devices > 0) {
		// All GPUs run at the same time, so it takes as long as one.
		Some(plan) => (plan.chain_secs(), plan.walk_secs()),
		None => {
			let (n, steps) = (u64::from(job.bench.n), u64::from(job.bench.steps));
			let products = (n * n * n * steps) as f64;
			(products / (CHAIN_REFERENCE * lanes) as f64, 0.0)
		}
	};
	let hashes = u64::from(job.bench.cpu_segments) * cpu::SEGMENT as u64;
	let cpu = hashes as f64 / CPU_REFERENCE as f64;
	let fill = (u64::from(sizes.memory_mib) << 20) as f64 / (FILL_REFERENCE * lanes) as f64;
	let walk = (READS * SEGMENTS) as f64 * READ_REFERENCE_NS as f64 / 1e9;
	Stages::from_fn(|stage| match stage {
		Stage::Chain => Duration::from_secs_f64(chain),
		Stage::Walk => Duration::from_secs_f64(walked),
		Stage::Cpu => Duration::from_secs_f64(cpu),
		Stage::Memory => Duration::from_secs_f64(fill + walk),
		Stage::Disk => DISK_READ_REFERENCE * disk::READS as u32,
	})
}

/// The time of each stage: since the root before it came, and no less than the time since the round
/// began beyond what the stages before may take. So a root that is held back, to make the next stage
/// look quick, gains no more than the slack that an honest worker has.
pub fn times(job: &Job, sizes: &Sizes, clock: &Clock) -> Times {
	let Some(start) = clock.start else {
		return Times::default();
	};
	let allowed = allowed(job, sizes);
	let mut out = Times::default();
	let mut budget = START_GRACE;
	let mut before = start;
	for stage in Stage::ALL {
		let alone = Duration::from_millis(clock.at[stage].saturating_sub(before));
		let since_start = Duration::from_millis(clock.at[stage].saturating_sub(start));
		out[stage] = Some(alone.max(since_start.saturating_sub(budget)));
		budget += allowed[stage] + GRACE;
		before = clock.at[stage];
	}
	out
}

/// Lists, in words and with figures, how the evidence falls short of the claim: less work than planned, and
/// stages above their time limit. No proof fails for that; the worker is paid for less.
pub fn shortfalls(job: &Job, sizes: &Sizes, times: &Times, rtt: Duration) -> Vec<String> {
	let plan = job.plan();
	let parts = [
		("GPUs", u64::from(sizes.devices), u64::from(plan.devices)),
		("CPU lanes", u64::from(sizes.lanes), u64::from(plan.lanes)),
		(
			"MiB of memory",
			sizes.memory_mib.into(),
			plan.memory_mib.into(),
		),
		(
			"MiB of the plot",
			sizes.disk_mib.into(),
			plan.disk_mib.into(),
		),
	];
	let mut all: Vec<String> = parts
		.into_iter()
		.filter(|(_, ran, planned)| ran < planned)
		.map(|(what, ran, planned)| format!("{ran} of {planned} {what} were used"))
		.collect();
	if sizes.devices > 0 && sizes.window < plan.window {
		all.push(format!(
			"a GPU had memory for {} of {} steps",
			sizes.window, plan.window
		));
	}
	let allowed = allowed(job, sizes);
	for (stage, took) in times.iter() {
		let Some(took) = took else { continue };
		// A class is held to a share of its reference, all else to the whole.
		let share = match stage {
			Stage::Chain | Stage::Walk if sizes.devices > 0 => f64::from(SHARE) / 100.0,
			// Its time only counts as part of what comes after.
			Stage::Chain | Stage::Walk => continue,
			_ => 1.0,
		};
		let limit = allowed[stage].div_f64(share) + GRACE + rtt.min(MAX_RTT);
		if *took > limit {
			all.push(format!(
				"{stage} took {:.1} s; the claim's limit is {:.1} s",
				took.as_secs_f64(),
				limit.as_secs_f64()
			));
		}
	}
	all
}

/// The share of a claim that a stage supports which should have taken `allowed` at most.
fn share(took: Option<Duration>, allowed: Duration, rtt: Duration) -> Option<f64> {
	let took = took?.saturating_sub(GRACE + rtt.min(MAX_RTT));
	Some(if took <= allowed {
		1.0
	} else {
		allowed.as_secs_f64() / took.as_secs_f64()
	})
}

/// `claimed` bounded by the evidence; at least 1, since something was proved. Without a time only
/// that much is known.
fn supported(claimed: u32, shares: &[Option<f64>]) -> u32 {
	if claimed == 0 {
		return 0;
	}
	let share = shares
		.iter()
		.try_fold(1.0f64, |least, share| share.map(|share| least.min(share)));
	share.map_or(1, |share| {
		((f64::from(claimed) * share) as u32).clamp(1, claimed)
	})
}

/// The verdict on a worker that answered and whose openings fit.
pub fn judge(
	job: &Job,
	sizes: &Sizes,
	times: &Times,
	rtt: Duration,
	rates: Option<Rates>,
	full: bool,
) -> Verdict {
	let (spec, plan) = (&job.spec, job.plan());
	let ratio = |ran: u32, planned: u32| {
		if planned == 0 {
			0.0
		} else {
			(f64::from(ran) / f64::from(planned)).min(1.0)
		}
	};

	let allowed = allowed(job, sizes);
	let cpu_share = share(times[Stage::Cpu], allowed[Stage::Cpu], rtt);
	let lanes_share = ratio(u32::from(sizes.lanes), u32::from(plan.lanes));
	let cores = supported(u32::from(spec.cpu_cores), &[cpu_share, Some(lanes_share)]);

	let memory_share = share(times[Stage::Memory], allowed[Stage::Memory], rtt);
	let memory_ratio = ratio(sizes.memory_mib, plan.memory_mib);
	let memory = supported(spec.memory_gb, &[memory_share, Some(memory_ratio)]);

	let disk = if full && sizes.disk_mib > 0 {
		let disk_ratio = ratio(sizes.disk_mib, plan.disk_mib);
		// Slow reads mean that what is read is computed: the plot is not there.
		let disk_share = share(times[Stage::Disk], allowed[Stage::Disk], rtt);
		supported(spec.disk_gb, &[disk_share, Some(disk_ratio)])
	} else {
		0
	};

	let bandwidth = rates.filter(|_| full).map_or(0, |rates| {
		let line = |measured: u32, claimed: u32| line_of_measured(measured).min(claimed);
		tiers::bandwidth(
			line(rates.down_mbps, spec.download_mbps),
			line(rates.up_mbps, spec.upload_mbps),
		)
	});

	let gpus = gpus(job, sizes, times, &allowed, rtt);
	Verdict {
		online: true,
		// It is not rented: there is no customer whom it fails to serve.
		service: true,
		timed: true,
		proof: true,
		bandwidth,
		cpu: tiers::cpu(cores),
		memory: tiers::memory(memory),
		disk: tiers::disk(disk),
		gpu_class: if gpus > 0 { spec.gpu_class } else { 0 },
		gpu_count: gpus,
	}
}

/// GPUs of the claimed class that the evidence supports: as many as ran together, if throughput,
/// capacity and bandwidth each reach the class's share of its reference.
fn gpus(job: &Job, sizes: &Sizes, times: &Times, allowed: &Stages<Duration>, rtt: Duration) -> u8 {
	let Some(plan) = job.gpu_plan().filter(|_| sizes.devices > 0) else {
		return 0;
	};
	let least = f64::from(SHARE) / 100.0;
	let capacity = f64::from(sizes.window) / plan.walk.window as f64;
	let bandwidth = if plan.reference.walk_mb_s == 0 {
		// Nothing is known of its memory but how much it is.
		Some(1.0)
	} else {
		share(times[Stage::Walk], allowed[Stage::Walk], rtt)
	};
	let throughput = share(times[Stage::Chain], allowed[Stage::Chain], rtt);
	let reached = [throughput, bandwidth, Some(capacity)]
		.into_iter()
		.all(|share| share.is_some_and(|share| share >= least));
	if reached { sizes.devices } else { 0 }
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::bench::job::tests::{self as any, BENCH, spec};
	use kaisar_math::classes;
	use kaisar_primitives::{BenchParams, WorkerSpec};

	fn job(spec: WorkerSpec) -> Job {
		Job {
			spec,
			bench: BenchParams {
				cpu_segments: 512,
				..BENCH
			},
			reference: classes::get(spec.gpu_class).map(|class| class.floor()),
			..any::job()
		}
	}

	fn big() -> WorkerSpec {
		WorkerSpec {
			cpu_cores: 64,
			memory_gb: 128,
			disk_gb: 6_000,
			download_mbps: 900,
			upload_mbps: 700,
			..spec()
		}
	}

	const QUICK: Times = Stages([Some(Duration::from_millis(400)); Stage::COUNT]);
	const FAST: Option<Rates> = Some(Rates {
		down_mbps: 10_000,
		up_mbps: 10_000,
	});

	#[test]
	fn evidence_supports_the_claim_and_nothing_beyond() {
		let job = job(big());
		let verdict = judge(&job, &job.plan(), &QUICK, Duration::ZERO, FAST, true);
		assert_eq!(
			(verdict.cpu, verdict.memory, verdict.disk, verdict.bandwidth),
			(3, 3, 3, 3),
			"as claimed"
		);
		assert!(verdict.online && verdict.proof);
		assert_eq!((verdict.gpu_class, verdict.gpu_count), (0, 0));
	}

	#[test]
	fn boundary_shortfalls_have_figures_and_an_honest_quick_worker_has_none() {
		let (job, allowed) = gpu_job();
		let plan = job.plan();
		let rtt = Duration::from_millis(100);
		let at_limit = Stages::from_fn(|stage| {
			let share = match stage {
				Stage::Chain | Stage::Walk => f64::from(SHARE) / 100.0,
				_ => 1.0,
			};
			// A millisecond less: shares are rounded.
			let limit = super::allowed(&job, &plan)[stage].div_f64(share) + GRACE + rtt;
			Some(limit.saturating_sub(Duration::from_millis(1)))
		});
		assert!(allowed[Stage::Chain] > Duration::ZERO);
		assert_eq!(shortfalls(&job, &plan, &at_limit, rtt), [""; 0]);
		assert_eq!(shortfalls(&job, &plan, &Times::default(), rtt), [""; 0]);
		// What is said is what the verdict is lowered by.
		let judged = judge(&job, &plan, &at_limit, rtt, FAST, true);
		assert_eq!((judged.gpu_class, judged.gpu_count), (1, 8));
		let over = at_limit.map(|took| took.map(|took| took + Duration::from_millis(200)));
		let said = shortfalls(&job, &plan, &over, rtt);
		assert_eq!(said.len(), Stage::COUNT, "{said:?}");
		assert!(said[0].starts_with("the matrix chain took") && said[0].contains("limit is"));
		assert_eq!(judge(&job, &plan, &over, rtt, FAST, true).gpu_count, 0);
		let less = Sizes {
			devices: 7,
			window: plan.window - 1,
			memory_mib: plan.memory_mib - 1,
			disk_mib: 0,
			..plan
		};
		let said = shortfalls(&job, &less, &QUICK, rtt);
		assert_eq!(said.len(), 4, "{said:?}");
		assert!(said[0].contains("7 of 8 GPUs"));
	}

	#[test]
	fn holding_a_root_back_gains_nothing_but_slack() {
		let job = job(big());
		let sizes = job.plan();
		let Stages([chain, _, cpu, ..]) = allowed(&job, &sizes).map(|time| time.as_millis() as u64);
		// The CPU part took 20 s; the chain's root is held back until it is done.
		let at = chain + cpu + 20_000;
		let clock = Clock {
			start: Some(0),
			at: Stages([at - 2, at - 1, at, at + 100, at + 200]),
		};
		let times = times(&job, &sizes, &clock);
		assert!(
			times[Stage::Cpu].unwrap() >= Duration::from_secs(15),
			"{times:?}"
		);
		let verdict = judge(&job, &sizes, &times, Duration::ZERO, FAST, true);
		assert!(verdict.cpu < 3);
		// Told as it came, a stage's time is its own.
		let clock = Clock {
			start: Some(0),
			at: Stages([chain, chain, chain + 50, chain + 90, chain + 100]),
		};
		let honest = super::times(&job, &sizes, &clock);
		assert_eq!(honest[Stage::Cpu], Some(Duration::from_millis(50)));
		assert_eq!(honest[Stage::Disk], Some(Duration::from_millis(10)));
		// A checker that does not know when it began knows no times.
		assert_eq!(
			super::times(
				&job,
				&sizes,
				&Clock {
					start: None,
					..clock
				}
			),
			Times::default()
		);
	}

	/// Eight H100 of the full benchmark, and what it takes them at the reference's pace.
	fn gpu_job() -> (Job, Stages<Duration>) {
		let mut job = job(WorkerSpec {
			gpu_class: 1,
			gpu_count: 8,
			..big()
		});
		(job.bench.memory_mib, job.bench.disk_mib) = (0, 0);
		let allowed = allowed(&job, &job.plan());
		(job, allowed)
	}

	fn judged(job: &Job, sizes: &Sizes, times: &Times) -> (u16, u8) {
		let verdict = judge(job, sizes, times, Duration::ZERO, FAST, true);
		(verdict.gpu_class, verdict.gpu_count)
	}

	#[test]
	fn a_gpu_that_is_only_claimed_is_class_0() {
		let (job, _) = gpu_job();
		let sizes = Sizes {
			devices: 0,
			window: 0,
			..job.plan()
		};
		assert_eq!(judged(&job, &sizes, &QUICK), (0, 0));
		// What no class claims supports none, whatever ran.
		let none = super::tests::job(big());
		assert_eq!(judged(&none, &job.plan(), &QUICK), (0, 0));
	}

	#[test]
	fn a_class_needs_throughput_bandwidth_and_capacity() {
		let (job, allowed) = gpu_job();
		let plan = job.plan();
		let at_pace = allowed.map(Some);
		assert_eq!(judged(&job, &plan, &at_pace), (1, 8));
		let stage = |stage: Stage, factor: f64| {
			let mut times = at_pace;
			times[stage] = Some(allowed[stage].mul_f64(factor) + GRACE);
			judged(&job, &plan, &times)
		};
		for (slow, what) in [(Stage::Chain, "throughput"), (Stage::Walk, "bandwidth")] {
			assert_eq!(stage(slow, 1.0 / 0.86), (1, 8), "{what}");
			assert_eq!(stage(slow, 1.0 / 0.84), (0, 0), "{what}");
		}
		let window = |share: f64| {
			let window = (f64::from(plan.window) * share) as u32;
			judged(&job, &Sizes { window, ..plan }, &at_pace)
		};
		assert_eq!(window(0.86), (1, 8));
		assert_eq!(window(0.84), (0, 0), "capacity");
		// Not timed: not supported.
		assert_eq!(judged(&job, &plan, &Times::default()), (0, 0));
		// Fewer ran than are claimed.
		assert_eq!(
			judged(&job, &Sizes { devices: 3, ..plan }, &at_pace),
			(1, 3)
		);
	}

	#[test]
	fn one_gpu_behind_two_workers_takes_twice_as_long() {
		// Both are due at the same moment: each has half of the GPU.
		let (job, allowed) = gpu_job();
		let times = allowed.map(|time| Some(time * 2));
		assert_eq!(judged(&job, &job.plan(), &times), (0, 0));
	}

	#[test]
	fn host_memory_in_place_of_the_gpus_is_too_slow() {
		// Eight channels of DDR5, 300 GB/s, where an H100 is claimed: a third of the floor.
		let (job, mut allowed) = gpu_job();
		let walk = job.gpu_plan().unwrap().walk;
		allowed[Stage::Walk] = Duration::from_secs_f64(walk.volume() as f64 / 300e9);
		assert_eq!(judged(&job, &job.plan(), &allowed.map(Some)), (0, 0));
	}

	#[test]
	fn a_root_of_a_chain_that_is_held_back_does_not_hide_a_slow_walk() {
		let (job, allowed) = gpu_job();
		let millis = |stage| allowed[stage].as_millis() as u64;
		let (chain, walk) = (millis(Stage::Chain), millis(Stage::Walk));
		// The walk takes four times as long; the chain's root is held back until just before it ends.
		let end = chain + 4 * walk;
		let clock = Clock {
			start: Some(0),
			at: Stages([end - walk, end, end + 100, end + 200, end + 300]),
		};
		let times = times(&job, &job.plan(), &clock);
		assert_eq!(judged(&job, &job.plan(), &times), (0, 0));
	}

	#[test]
	fn a_root_that_is_sent_before_it_is_known_counts_as_late() {
		let proved = Stages::from_fn(|stage| [stage.number(); 32]);
		let mut heard = Stages::from_fn(|stage| Some((10, proved[stage])));
		let clock = |heard: &Stages<_>| Clock::of_heard(Some(0), heard, &proved, 99);
		assert_eq!(clock(&heard).at, Stages([10; Stage::COUNT]));
		heard[Stage::Chain] = Some((10, [9; 32]));
		heard[Stage::Memory] = None;
		assert_eq!(clock(&heard).at, Stages([99, 10, 10, 99, 10]));
	}

	#[test]
	fn what_is_slow_supports_less() {
		let job = job(big());
		// 512 segments in 3 s and more each: as many lanes on half of the cores take twice as long.
		let slow: Times = Stages([Some(Duration::from_secs(12)); Stage::COUNT]);
		let verdict = judge(&job, &job.plan(), &slow, Duration::ZERO, FAST, true);
		assert!(verdict.cpu < 3 && verdict.cpu > 0);
		assert!(verdict.memory < 3);
		assert!(verdict.disk < 3 && verdict.disk > 0);
		// A long round trip forgives no more than its cap.
		let far = judge(
			&job,
			&job.plan(),
			&slow,
			Duration::from_secs(60),
			FAST,
			true,
		);
		assert!(far.cpu < 3);
	}

	#[test]
	fn what_is_smaller_supports_less() {
		let job = job(big());
		let plan = job.plan();
		let sizes = Sizes {
			devices: 0,
			window: 0,
			lanes: 32,
			memory_mib: 1,
			disk_mib: 0,
		};
		let verdict = judge(&job, &sizes, &QUICK, Duration::ZERO, FAST, true);
		assert_eq!(verdict.cpu, 2);
		assert_eq!(verdict.memory, 2, "half of {} MiB", plan.memory_mib);
		assert_eq!(verdict.disk, 0, "no plot");
	}

	#[test]
	fn what_was_not_timed_supports_the_least() {
		let job = job(big());
		let verdict = judge(
			&job,
			&job.plan(),
			&Times::default(),
			Duration::ZERO,
			None,
			true,
		);
		assert_eq!(
			(verdict.cpu, verdict.memory, verdict.disk, verdict.bandwidth),
			(0, 0, 0, 0)
		);
		let verdict = judge(&job, &job.plan(), &QUICK, Duration::ZERO, FAST, false);
		assert_eq!((verdict.disk, verdict.bandwidth), (0, 0), "not measured");
	}

	#[test]
	fn a_line_is_what_is_measured_and_a_tenth() {
		let job = job(WorkerSpec {
			download_mbps: 2_000,
			upload_mbps: 2_000,
			..big()
		});
		let tier = |down_mbps, up_mbps| {
			let rates = Some(Rates { down_mbps, up_mbps });
			judge(&job, &job.plan(), &QUICK, Duration::ZERO, rates, true).bandwidth
		};
		for (down, up, expected) in [
			(67, 68, 0),
			(68, 68, 1),
			(359, 270, 1),
			(360, 269, 1),
			(360, 270, 2),
			(720, 540, 3),
			(1_440, 1_080, 4),
			(u32::MAX, u32::MAX, 4),
		] {
			assert_eq!(tier(down, up), expected, "{down}/{up}");
		}
	}

	#[test]
	fn what_is_not_claimed_is_tier_0() {
		let job = job(WorkerSpec::default());
		let verdict = judge(&job, &job.plan(), &QUICK, Duration::ZERO, FAST, true);
		assert_eq!(
			(verdict.cpu, verdict.memory, verdict.disk, verdict.bandwidth),
			(0, 0, 0, 0)
		);
	}
}
