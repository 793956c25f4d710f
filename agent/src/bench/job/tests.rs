use super::*;

/// Small enough for a test, and real.
pub(crate) const BENCH: BenchParams = BenchParams {
	n: 64,
	steps: 4,
	samples: 8,
	cpu_segments: 2,
	memory_mib: 2,
	disk_mib: 4,
	bandwidth_secs: 1,
};

pub(crate) fn spec() -> WorkerSpec {
	WorkerSpec {
		cpu_cores: 2,
		memory_gb: 8,
		disk_gb: 10,
		download_mbps: 100,
		upload_mbps: 100,
		region: *b"DE",
		..Default::default()
	}
}

pub(crate) fn job() -> Job {
	Job {
		genesis: H256::repeat_byte(1),
		round: 4,
		seed: H256::repeat_byte(2),
		worker: 7,
		agent: AgentKey::from_raw([3; 32]),
		spec: spec(),
		bench: BENCH,
		reference: None,
	}
}

#[test]
fn work_that_must_not_be_asked_for_is_refused() {
	assert_eq!(check_bench(&BENCH), Ok(()));
	assert_eq!(check_bench(&BenchParams::default()), Ok(()));
	for (bad, why) in [
		(BenchParams { n: 0, ..BENCH }, BadBench::N),
		(BenchParams { n: 65, ..BENCH }, BadBench::N),
		(
			BenchParams {
				n: u32::MAX - 63,
				..BENCH
			},
			BadBench::N,
		),
		(BenchParams { steps: 0, ..BENCH }, BadBench::Steps),
		(
			BenchParams {
				steps: u32::MAX,
				..BENCH
			},
			BadBench::Steps,
		),
		(
			BenchParams {
				samples: 0,
				..BENCH
			},
			BadBench::Samples,
		),
		(
			BenchParams {
				samples: u16::MAX,
				..BENCH
			},
			BadBench::Samples,
		),
		(
			BenchParams {
				cpu_segments: 0,
				..BENCH
			},
			BadBench::Segments,
		),
		(
			BenchParams {
				cpu_segments: u32::MAX,
				..BENCH
			},
			BadBench::Segments,
		),
		(
			BenchParams {
				bandwidth_secs: 61,
				..BENCH
			},
			BadBench::Bandwidth,
		),
	] {
		assert_eq!(check_bench(&bad), Err(why));
	}
}

#[test]
fn the_plan_follows_the_claim_and_stays_within_bounds() {
	let all = BenchParams {
		memory_mib: 0,
		disk_mib: 0,
		..BENCH
	};
	let huge = WorkerSpec {
		cpu_cores: u16::MAX,
		memory_gb: u32::MAX,
		disk_gb: u32::MAX,
		..spec()
	};
	let plan = Job {
		bench: all,
		spec: huge,
		..job()
	}
	.plan();
	assert_eq!(plan.lanes, MAX_LANES);
	assert_eq!(plan.memory_mib, MAX_MEMORY_MIB);
	assert_eq!(plan.disk_mib, MAX_DISK_MIB);
	let plan = Job {
		bench: all,
		..job()
	}
	.plan();
	assert_eq!(
		plan.memory_mib,
		(8_000_000_000u64 / (1 << 20) * 7 / 8) as u32
	);
	let none = WorkerSpec::default();
	assert_eq!(
		Job {
			spec: none,
			..job()
		}
		.plan(),
		Sizes {
			devices: 0,
			window: 0,
			lanes: 1,
			memory_mib: 1,
			disk_mib: 0
		}
	);
}

#[test]
fn boundary_a_committee_is_as_big_as_it_may_be() {
	let most = MAX_COMMITTEE as usize;
	assert_eq!(job().checked(most), Ok(job()));
	assert_eq!(job().checked(most + 1), Err(BadBench::Committee));
}
