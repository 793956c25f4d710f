//! One GPU in place of several, and other hardware in place of a GPU.

use crate::{
	model::{Card, Gpu, PCIE_4, SPANS, in_turns, reference},
	provers::{Work, census, gpus, job, on_gpus, smallest, window_bytes},
	rules::{Off, production},
	wire::{Lab, Shown},
};
use kaisar_agent::trial::part::Part;
use std::sync::Arc;

const A40: &str = "GPU_A40";
const A100: &str = "GPU_A100_80GB_PCIE";
const H100: &str = "GPU_H100_80GB_SXM";
const H200: &str = "GPU_H200_141GB_SXM";
const A5000: &str = "GPU_RTX_A5000";
const RTX_4080: &str = "GPU_RTX_4080";
const V100: &str = "GPU_NVIDIA_TESLA_V100";
const RTX_3070: &str = "GPU_RTX_3070";
const RTX_3090: &str = "GPU_RTX_3090";
const RTX_4090: &str = "GPU_RTX_4090";
const T4: &str = "GPU_NVIDIA_TESLA_T4";

/// All marks.
fn mark(part: Part) -> bool {
	matches!(part, Part::Mark(_))
}

/// All marks except the last.
fn earlier_mark(part: Part) -> bool {
	matches!(part, Part::Mark(0..15))
}

/// Returns the GPUs of the claimed class that the checker finds for each worker. No proof is false.
async fn counts(off: Off, shown: Vec<Shown>) -> Vec<u8> {
	let found = Lab::new(off).await.check_all(shown).await;
	for found in &found {
		assert!(found.verdict.proof && found.verdict.timed, "{found:?}");
	}
	found
		.into_iter()
		.map(|found| found.verdict.gpu_count)
		.collect()
}

async fn count(off: Off, work: Work) -> u8 {
	counts(off, vec![work.show()]).await[0]
}

/// Returns a claim of one GPU of a class, and its trial at this time per turn.
fn at_pace(class: &str, card: Card, turn: f64) -> Work {
	let job = job(1, gpus(class, 1));
	let gpu = Gpu::at(card, turn, Vec::new());
	on_gpus(&job, smallest(&job), &[(gpu, 0)])
}

/// The trial of a GPU of its class.
fn honest(class: &str) -> Work {
	let job = job(1, gpus(class, 1));
	let gpu = Gpu::new(Card::of(class), Vec::new());
	on_gpus(&job, job.plan(), &[(gpu, 0)])
}

/// Asserts that a GPU of the class passes, that other hardware does not, and that it would if marks were not
/// late.
async fn is_too_slow(class: &str, card: Card, turn: f64) {
	assert_eq!(count(Off::None, honest(class)).await, 1);
	assert_eq!(count(Off::None, at_pace(class, card, turn)).await, 0);
	let off = Off::Lateness(mark);
	assert_eq!(count(off, at_pace(class, card, turn)).await, 1);
}

/// Runs workers that claim one GPU of a class each, on one card, in this order.
fn on_one(class: &str, card: Card, workers: usize, sweeps: u32) -> (Vec<Shown>, Arc<Gpu>) {
	on_one_at(class, card, card.alone(), workers, sweeps)
}

/// Does the same at this time per turn.
fn on_one_at(
	class: &str,
	card: Card,
	turn: f64,
	workers: usize,
	sweeps: u32,
) -> (Vec<Shown>, Arc<Gpu>) {
	let gpu = Gpu::at(card, turn, in_turns(workers, SPANS, sweeps));
	let workers: Vec<_> = (0..workers)
		.map(|identity| {
			let job = job(1 + identity as u32, gpus(class, 1));
			let sizes = smallest(&job);
			(job, sizes, gpu.clone(), identity)
		})
		.collect();
	(census(&workers), gpu)
}

/// Workers that have a GPU of their class each.
fn on_their_own(class: &str, workers: usize) -> Vec<Shown> {
	let workers: Vec<_> = (0..workers)
		.map(|identity| {
			let job = job(1 + identity as u32, gpus(class, 1));
			let sizes = job.plan();
			(job, sizes, Gpu::new(Card::of(class), Vec::new()), identity)
		})
		.collect();
	census(&workers)
}

/// Three of forty workers on one H200. All take its time, and these are computed and checked.
async fn of_forty(off: Off) -> Vec<u8> {
	let card = Card::of(H200);
	let gpu = Gpu::at(card, card.together(), in_turns(40, SPANS, 4));
	let job_of = |identity: usize| job(1 + identity as u32, gpus(RTX_3070, 1));
	let sizes = smallest(&job_of(0));
	let window = window_bytes(&job_of(0), &sizes);
	let turns = f64::from(production(&job_of(0)).turns());
	let checked = [0, 19, 39];
	let shown = std::thread::scope(|scope| {
		for identity in (0..40).filter(|identity| !checked.contains(identity)) {
			let gpu = &gpu;
			scope.spawn(move || gpu.occupy(identity, window, SPANS, turns));
		}
		census(&checked.map(|identity| (job_of(identity), sizes, gpu.clone(), identity)))
	});
	counts(off, shown).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gpu_for_two_of_a_worker_changes_windows_in_every_span() {
	// An H100 is 2.7 times as fast as an A100, and holds the windows of one and a fifth.
	let job = job(1, gpus(A100, 2));
	let sizes = smallest(&job);
	let one = || {
		let gpu = Gpu::new(Card::of(H100), in_turns(2, SPANS, SPANS));
		let work = on_gpus(&job, sizes, &[(gpu.clone(), 0), (gpu.clone(), 1)]);
		// One change a span, and the part of a window that does not fit.
		let least = 2.0 * window_bytes(&job, &sizes) - Card::of(H100).memory;
		assert!(gpu.loaded() > 60.0 * least, "{:.1e}", gpu.loaded());
		work
	};
	assert_eq!(count(Off::None, one()).await, 0);
	assert_eq!(count(Off::Lateness(mark), one()).await, 2);
	// The honest twin has two.
	let gpus = [0, 1].map(|number| (Gpu::new(Card::of(A100), Vec::new()), number));
	let two = on_gpus(&job, job.plan(), &gpus);
	assert_eq!(count(Off::None, two).await, 2);
	// As two workers, which are not bound to each other, it returns to each five times and passes as both.
	let (apart, _) = on_one(A100, Card::of(H100), 2, 5);
	assert_eq!(counts(Off::None, apart).await, [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gpu_for_two_workers_one_after_the_other_misses_the_second_ones_marks() {
	let one = || on_one(A100, Card::of(H100), 2, 1).0;
	assert_eq!(counts(Off::None, one()).await, [1, 0]);
	// Both end within the time of one: by the last mark alone, both pass.
	let off = Off::Lateness(earlier_mark);
	assert_eq!(counts(off, one()).await, [1, 1]);
	assert_eq!(counts(Off::None, on_their_own(A100, 2)).await, [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gpu_for_three_workers_is_late_in_every_order() {
	// By its pace alone, it has time for three in 13.8 s. Windows are swapped out and in between them.
	let pace = f64::from(reference(H100).trial_turns) / f64::from(reference(A100).trial_turns);
	assert!(pace * 1.38 > 3.0);
	let card = Card::of(H100);
	for sweeps in [1, 3, 5, 8] {
		let (three, gpu) = on_one_at(A100, card, card.together(), 3, sweeps);
		let found = counts(Off::None, three).await;
		assert!(found.contains(&0), "{sweeps} sweeps: {found:?}");
		assert!(
			gpu.loaded() > f64::from(sweeps) * 40e9,
			"{:.1e}",
			gpu.loaded()
		);
	}
	let (three, _) = on_one_at(A100, card, card.together(), 3, 3);
	assert_eq!(counts(Off::Lateness(mark), three).await, [1; 3]);
	assert_eq!(counts(Off::None, on_their_own(A100, 3)).await, [1; 3]);
}

/// Not excluded: `docs/classes.md` has the number for each pair of classes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strong_gpu_shows_as_many_weaker_ones_as_it_comes_back_to_in_time() {
	let (two, gpu) = on_one(A100, Card::of(H100), 2, 5);
	assert_eq!(counts(Off::None, two).await, [1, 1]);
	assert!(
		gpu.loaded() > 100e9,
		"windows are swapped: {:.1e}",
		gpu.loaded()
	);
	// Three on an H200, since chains that share it take less than one after the other.
	let card = Card::of(H200);
	let (three, _) = on_one(A100, card, 3, 4);
	assert!(counts(Off::None, three).await.contains(&0));
	let (three, _) = on_one_at(A100, card, card.together(), 3, 4);
	assert_eq!(counts(Off::None, three).await, [1; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gpu_for_forty_workers_of_a_census() {
	// Twenty windows of an RTX 3070 fit into an H200.
	assert_eq!(of_forty(Off::None).await, [0; 3]);
	assert_eq!(of_forty(Off::Lateness(mark)).await, [1; 3]);
	assert_eq!(counts(Off::None, on_their_own(RTX_3070, 3)).await, [1; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_memory_in_place_of_the_window_is_too_slow() {
	// An RTX 4090 has the pace of an A100, and memory for a third of the window.
	let card = Card::of(RTX_4090);
	let job = job(1, gpus(A100, 1));
	let window = window_bytes(&job, &smallest(&job));
	let part = 1.0 - card.memory / window;
	is_too_slow(A100, card, card.with_host(part)).await;
	// Half of an H100's, with the fastest link.
	let card = Card::of(H100);
	is_too_slow(H100, card, card.with_host(0.5)).await;
}

/// Not excluded: a fast GPU with memory for most of the window. The chain pays it as the class, and a
/// customer gets less memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_gpu_shows_a_slower_class_with_a_sixth_of_the_window_in_host_memory() {
	let card = Card {
		link: PCIE_4,
		..Card::of(RTX_4080)
	};
	let job = job(1, gpus(A5000, 1));
	let part = 1.0 - 0.95 * card.memory / window_bytes(&job, &smallest(&job));
	assert!((0.15..0.25).contains(&part), "{part}");
	let turn = card.with_host(part);
	assert_eq!(count(Off::None, at_pace(A5000, card, turn)).await, 1);
	// It does not pass for a GPU as fast as the RTX 4090.
	assert_eq!(count(Off::None, at_pace(RTX_4090, card, turn)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processors_that_walk_in_the_hosts_memory_are_too_slow_behind_pcie_4() {
	// Matrices come from the GPU that multiplies and go back; twelve channels of DDR5 give 300 GB/s of such
	// reads.
	let card = Card {
		link: PCIE_4,
		..Card::of(RTX_4090)
	};
	is_too_slow(A100, card, card.with_host_that_walks(300e9)).await;
}

/// Not excluded: classes whose pace such a server reaches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processors_that_walk_beside_a_fast_gpu_show_slow_classes_of_more_memory() {
	let card = Card::of(RTX_4090);
	let turn = card.with_host_that_walks(300e9);
	assert_eq!(count(Off::None, at_pace(A40, card, turn)).await, 1);
	assert_eq!(count(Off::None, at_pace(H100, card, turn)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gpu_that_multiplies_is_too_slow() {
	// An A40 of twice the memory walks, and an RTX 4090 multiplies for it.
	let multiplies = Card {
		link: PCIE_4,
		..Card::of(RTX_4090)
	};
	let walks = Card {
		memory: 96e9,
		..Card::of(A40)
	};
	is_too_slow(A100, walks, walks.with_products_of(&multiplies)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_small_gpus_are_not_one_large_over_pcie() {
	let card = Card {
		link: PCIE_4,
		..Card::of(RTX_3090)
	};
	is_too_slow(A100, card, card.shared_by(4.0)).await;
	// By their own work alone they would be fast enough.
	let linked = Card {
		link: f64::INFINITY,
		..card
	};
	assert_eq!(
		count(Off::None, at_pace(A100, linked, linked.shared_by(4.0))).await,
		1
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_is_not_a_gpu() {
	// 64 cores with VNNI at 2.5 GHz, 256 operations a cycle, and twelve channels of memory.
	let card = Card {
		memory: 512e9,
		int8: 64.0 * 256.0 * 2.5e9,
		reads: 300e9,
		link: f64::INFINITY,
	};
	is_too_slow(T4, card, card.alone()).await;
	// Not excluded: it has the pace of a V100, whose products have no matrix units, and 96 cores that of a
	// T4.
	assert_eq!(count(Off::None, at_pace(V100, card, card.alone())).await, 1);
	let more = Card {
		int8: 96.0 * 256.0 * 3e9,
		..card
	};
	assert_eq!(count(Off::None, at_pace(T4, more, more.alone())).await, 1);
}
