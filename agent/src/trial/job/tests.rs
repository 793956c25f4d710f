use super::*;
use crate::trial::ram::CELLS;
use kaisar_math::classes;
use proptest::prelude::*;

/// A claim of a machine without a GPU.
pub fn spec() -> WorkerSpec {
	WorkerSpec {
		cpu_cores: 2,
		memory_gb: 8,
		disk_gb: 100,
		download_mbps: 90,
		upload_mbps: 90,
		region: *b"DE",
		..Default::default()
	}
}

/// A job of production's size.
pub fn job() -> Job {
	Job {
		genesis: H256::repeat_byte(1),
		round: 4,
		seed: H256::repeat_byte(2),
		worker: 7,
		agent: AgentKey::from_raw([3; 32]),
		spec: spec(),
		bench: BenchParams::FULL,
		reference: None,
	}
}

/// Work that takes a moment.
pub const SMALL: BenchParams = BenchParams {
	n: 64,
	turns: 2,
	window_mib: 1,
	stages: 3,
	memory_mib: 1,
	disk_mib: 1,
	reads: 4,
	bandwidth_secs: 1,
};

/// A small job.
pub fn small() -> Job {
	Job {
		bench: SMALL,
		..job()
	}
}

#[test]
fn no_work_serves_two_jobs() {
	let job = job();
	let others = [
		Job {
			genesis: H256::zero(),
			..job.clone()
		},
		Job {
			round: 5,
			..job.clone()
		},
		Job {
			seed: H256::zero(),
			..job.clone()
		},
		Job {
			worker: 8,
			..job.clone()
		},
		Job {
			agent: AgentKey::from_raw([4; 32]),
			..job.clone()
		},
		Job {
			bench: SMALL,
			..job.clone()
		},
	];
	for other in &others {
		assert_ne!(other.base(), job.base());
		assert_ne!(other.rented_root(), job.rented_root());
	}
	assert_ne!(job.start(&H256::zero()), job.start(&H256::repeat_byte(1)));
	assert_ne!(job.base(), job.rented_root());
	// A claim or a class's reference may change within a round; the prepared work stays.
	let other = Job {
		spec: WorkerSpec {
			cpu_cores: 3,
			..spec()
		},
		..job.clone()
	};
	assert_eq!(other.base(), job.base());
}

#[test]
fn plans_end_at_the_top_tier() {
	let most = Job {
		spec: WorkerSpec {
			cpu_cores: u16::MAX,
			memory_gb: u32::MAX,
			disk_gb: u32::MAX,
			gpu_class: 33,
			gpu_count: u8::MAX,
			..spec()
		},
		reference: classes::get(33).map(|class| class.floor()),
		..job()
	};
	let plan = most.plan();
	assert_eq!((plan.lanes, plan.gpus), (144, 16));
	assert!(
		plan.pages <= judge::MAX_PAGES && plan.groups <= 8_346,
		"{plan:?}"
	);
	assert_eq!(plan.window, 7_968, "141 GB in matrices of 16 MiB");
	most.gpu(&plan).check().unwrap();
	most.processor(&plan).check().unwrap();
	most.disk(&plan).check().unwrap();
}

#[test]
fn a_small_plan_is_as_small_as_the_round_says() {
	let plan = small().plan();
	let cells = plan.pages * CELLS as u64;
	assert_eq!(
		(plan.lanes, cells * 64, plan.groups, plan.gpus),
		(2, 1 << 20, 1, 0)
	);
	assert_eq!(small().recipe().group_bytes(), 1 << 20);
	let none = Job {
		spec: WorkerSpec {
			disk_gb: 0,
			..spec()
		},
		..small()
	};
	assert_eq!(none.plan().groups, 0);
	let gpu = Job {
		spec: WorkerSpec {
			gpu_class: 11,
			gpu_count: 2,
			..spec()
		},
		..small()
	};
	let plan = gpu.plan();
	assert_eq!((plan.gpus, plan.window, gpu.turns()), (2, 256, 2));
}

#[test]
fn boundary_work_outside_its_limits_is_refused() {
	let refused = |bench| {
		assert_eq!(
			Job { bench, ..job() }.checked(3),
			Err(BadWork::Bench(bench))
		);
	};
	refused(BenchParams { n: 1_000, ..SMALL });
	refused(BenchParams {
		n: u32::MAX,
		..SMALL
	});
	refused(BenchParams { stages: 0, ..SMALL });
	refused(BenchParams {
		reads: u32::MAX,
		..SMALL
	});
	refused(BenchParams {
		turns: u32::MAX,
		..SMALL
	});
	let seats = MAX_COMMITTEE as usize;
	assert!(job().checked(seats).is_ok());
	assert_eq!(job().checked(seats + 1), Err(BadWork::Committee));
	let reference = Some(ClassReference {
		trial_turns: 0,
		..ClassReference::LEAST
	});
	assert_eq!(
		Job { reference, ..job() }.checked(3),
		Err(BadWork::Reference)
	);
}

proptest! {
	#![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

	#[test]
	fn every_plan_can_be_run_and_verified(
		cores: u16, memory_gb: u32, disk_gb: u32, class in 0u16..40, count: u8,
		n in 0u32..20_000, turns in 0u32..2_000_000, window_mib: u32, stages: u32, mib: u32, reads: u32,
		reference_turns in 1u32..=1 << 20, reference_gb in 1u32..=4_096,
	) {
		let bench = BenchParams { n, turns, window_mib, stages, memory_mib: mib, disk_mib: mib, reads, bandwidth_secs: 1 };
		let job = Job {
			spec: WorkerSpec { cpu_cores: cores, memory_gb, disk_gb, gpu_class: class, gpu_count: count, ..spec() },
			bench: bench.held(),
			reference: Some(ClassReference { trial_turns: reference_turns, memory_gb: reference_gb, calibrated: true }),
			..job()
		};
		let job = job.checked(3).unwrap();
		let plan = job.plan();
		prop_assert_eq!(job.processor(&plan).check(), Ok(()));
		if plan.groups > 0 {
			prop_assert_eq!(job.disk(&plan).check(), Ok(()));
		}
		if plan.gpus > 0 {
			prop_assert_eq!(job.gpu(&plan).check(), Ok(()), "{:?}", job.gpu(&plan));
		}
	}
}
