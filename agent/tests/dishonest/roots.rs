//! Roots that come early, late, or from another trial, and refused draws.

use crate::{
	lanes,
	model::{Card, Gpu, secs},
	plots,
	provers::{Work, gpus, job, on_gpus, server},
	rules::Off,
	wire::{Found, Lab, Shown},
};
use kaisar_agent::{
	peer::wire::Refusal,
	trial::{job::Job, part::Part},
};
use sp_core::H256;
use std::sync::{
	Arc,
	atomic::{AtomicUsize, Ordering::Relaxed},
};

const A100: &str = "GPU_A100_80GB_PCIE";

/// A claim of everything.
fn everything() -> Job {
	let (gpu, reference) = gpus(A100, 1);
	let (machine, _) = server(4, 8, 6_000);
	let spec = kaisar_primitives::WorkerSpec {
		gpu_class: gpu.gpu_class,
		gpu_count: gpu.gpu_count,
		..machine
	};
	job(1, (spec, reference))
}

/// Returns a worker's whole trial, whose lanes and disk are known after these seconds.
fn whole(job: &Job, processor: f64, disk: f64) -> Work {
	let plan = job.plan();
	let gpu = Gpu::new(Card::of(A100), Vec::new());
	on_gpus(job, plan, &[(gpu, 0)])
		.with_processor(lanes::honest(job, &plan), processor)
		.with_disk(plots::honest(job), disk)
}

async fn check(off: Off, shown: Shown) -> Found {
	Lab::new(off).await.check(shown).await
}

fn shown(found: &Found) -> (bool, bool, bool) {
	let verdict = &found.verdict;
	assert!(verdict.proof && verdict.timed, "{found:?}");
	(
		verdict.gpu_count > 0,
		verdict.cpu > 0 && verdict.memory > 0,
		verdict.disk > 0,
	)
}

/// Delays parts until the last part is known.
fn held_back(mut work: Work, which: [bool; 3]) -> Work {
	let last = work.parts.iter().map(|(at, ..)| *at).max().unwrap();
	for (at, part, _) in &mut work.parts {
		let of = match part {
			Part::Mark(_) => 0,
			Part::Processor => 1,
			Part::Disk => 2,
		};
		if which[of] {
			*at = last;
		}
	}
	work
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_that_are_held_back_gain_nothing_in_any_combination() {
	let job = everything();
	// The plot is made while it is read, which takes 19 s. Parts held back until then are late themselves.
	for combination in 0..8u8 {
		let which = [0, 1, 2].map(|bit| combination >> bit & 1 == 1);
		let work = held_back(whole(&job, 7.0, 19.0), which);
		let found = check(Off::None, work.show()).await;
		let (gpus, _, disk) = shown(&found);
		assert!(!disk, "{which:?}: {found:?}");
		assert_eq!(gpus, !which[0], "{which:?}: {found:?}");
		// Lanes that come after 19 s show less.
		let cores = if which[1] { 0 } else { 1 };
		assert_eq!(found.verdict.cpu, cores, "{which:?}: {found:?}");
		// 19 s is late for cores, but in time for memory.
		assert_eq!(found.verdict.memory, 1, "{which:?}: {found:?}");
	}
	// Judged from the root before it, the disk takes no time at all.
	let work = || held_back(whole(&job, 7.0, 19.0), [false, true, false]);
	let found = check(Off::OneStart, work().show()).await;
	assert!(shown(&found).2, "{found:?}");
	let honest = check(Off::None, whole(&job, 7.0, 9.0).show()).await;
	assert_eq!(shown(&honest), (true, true, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_is_sent_before_it_is_known_does_not_count() {
	let job = job(1, server(4, 8, 0));
	// A guess after 9 s, and the root after 40.
	let work = || {
		let plan = job.plan();
		let mut work = Work::new(&job).with_processor(lanes::honest(&job, &plan), 40.0);
		work.parts.insert(0, (secs(9.0), Part::Processor, [9; 32]));
		work
	};
	let found = check(Off::None, work().show()).await;
	assert_eq!(shown(&found), (false, false, false));
	let found = check(Off::FirstHash, work().show()).await;
	assert_eq!(shown(&found), (false, true, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_under_a_guessed_seed_contradicts_its_root() {
	// It ran for an hour before the trial's block, and its parts are sent at once.
	let guess = H256::repeat_byte(9);
	let honest = job(1, server(4, 8, 0));
	let plan = honest.plan();
	let early = |seed: H256| {
		let ran = lanes::honest_under(&honest, &plan, seed);
		Work::new(&honest).with_processor(ran, 0.5)
	};
	let found = check(Off::None, early(guess).show()).await;
	assert!(!found.verdict.proof, "{found:?}");
	let found = check(Off::Seed(guess), early(guess).show_under(guess)).await;
	assert_eq!(shown(&found), (false, true, false));
	let found = check(Off::None, early(Lab::trial_seed()).show()).await;
	assert_eq!(shown(&found), (false, true, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_that_is_refused_does_not_change() {
	let job = job(1, server(4, 8, 0));
	let plan = job.plan();
	let whole = || Work::new(&job).with_processor(lanes::honest(&job, &plan), 7.0);
	// It accepts one draw of eight, the third one after the first, and answers the others that it is not
	// ready.
	let picky = || {
		let mut shown = whole().show();
		let root = shown.roots.root(&job);
		let liked = Lab::challenge(&root).nonce[0].wrapping_add(3) % 8;
		let refused = Arc::new(AtomicUsize::new(0));
		let (opens, count) = (shown.opens, refused.clone());
		shown.opens = Box::new(move |resource, challenge| {
			if challenge.nonce[0] % 8 == liked {
				return opens(resource, challenge);
			}
			count.fetch_add(1, Relaxed);
			Err(Refusal::NotReady)
		});
		(shown, refused)
	};
	let (work, refused) = picky();
	let found = check(Off::None, work).await;
	assert_eq!(shown(&found), (false, false, false));
	assert_eq!(found.verified, []);
	assert!(refused.load(Relaxed) > 8, "{refused:?}");
	let (work, refused) = picky();
	let found = check(Off::OneDraw, work).await;
	assert_eq!(shown(&found), (false, true, false));
	assert_eq!(refused.load(Relaxed), 3);
	let honest = check(Off::None, whole().show()).await;
	assert_eq!(shown(&honest), (false, true, false));
}
