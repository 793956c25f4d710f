//! Dishonest GPU work: chains that are cut, windows that are not kept, rows that are made up.

use crate::{
	model::{Card, Clock, MATRIX, secs},
	provers::{LATEST, Work, gpus, job, job_of, run_gpus},
	rules::{Off, SMALL, production, scaled},
	windows::{Manner, Plain},
	wire::{Found, Lab},
};
use kaisar_agent::trial::{
	device::Window,
	job::Job,
	matrix::{READS, STEPS, Seeds},
	part::{Part, Resource},
	sample::{Kind, Reject},
};
use kaisar_primitives::BenchParams;
use std::sync::Arc;

const A100: &str = "GPU_A100_80GB_PCIE";

/// The job of one A100, with two turns a span, so that a span can be cut.
fn two_turns_a_span() -> Job {
	let bench = BenchParams {
		turns: 128,
		..SMALL
	};
	job_of(1, gpus(A100, 1), bench)
}

fn window(manner: Manner, job: &Job) -> Arc<Plain> {
	window_of(manner, job, 0)
}

fn window_of(manner: Manner, job: &Job, number: u8) -> Arc<Plain> {
	let seed = Seeds::new(&job.base(), &[0; 32], number).fill;
	let (n, window) = (job.bench.n, job.plan().window);
	Arc::new(Plain::fill(manner, seed, n, window))
}

/// Runs the trial over a window, at this time per turn of production.
fn run_over(window: Arc<Plain>, job: &Job, turn: f64) -> Work {
	run_windows(vec![window], job, turn)
}

/// Does the same over several windows.
fn run_windows(windows: Vec<Arc<Plain>>, job: &Job, turn: f64) -> Work {
	let windows = windows.into_iter().map(|window| window as Arc<dyn Window>);
	let mut work = run_gpus(job, job.plan(), windows.collect(), &Clock::default());
	// Marks come evenly: no other work uses the GPU.
	let turns = f64::from(production(job).turns());
	let marks = work.parts.len() as f64;
	for (number, part) in (1..).zip(&mut work.parts) {
		part.0 = secs((turn * turns * f64::from(number) / marks).min(LATEST));
	}
	work
}

/// Runs the trial in a given manner.
fn run(manner: Manner, job: &Job, turn: f64) -> Work {
	run_over(window(manner, job), job, turn)
}

async fn check(off: Off, work: Work) -> Found {
	Lab::new(off).await.check(work.show()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_is_cut_into_pieces_side_by_side_contradicts_its_roots() {
	let job = two_turns_a_span();
	// Two GPUs of half the pace, which would pass if their halves fitted.
	let turn = Card::of(A100).alone();
	let found = check(Off::None, run(Manner::Cut, &job, turn)).await;
	assert!(!found.verdict.proof, "{found:?}");
	let reject = found.rejected(Resource::Gpus).unwrap();
	assert!(is_of_chain(reject), "{reject:?}");
	let off = Off::Rejections(Resource::Gpus, is_of_chain);
	let found = check(off, run(Manner::Cut, &job, turn)).await;
	assert_eq!(found.verdict.gpu_count, 1, "{found:?}");
	// The chain of one such GPU is late, and that of an A100 passes.
	let found = check(Off::None, run(Manner::Honest, &job, 2.0 * turn)).await;
	assert_eq!((found.verdict.gpu_count, found.verdict.proof), (0, true));
	let found = check(Off::None, run(Manner::Honest, &job, turn)).await;
	assert_eq!(found.verdict.gpu_count, 1, "{found:?}");
}

fn is_of_chain(reject: Reject) -> bool {
	matches!(reject, Reject::Wrong(Kind::Products | Kind::Walk))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_made_up_and_steps_that_are_skipped_are_found() {
	let job = job(1, gpus(A100, 1));
	// A GPU that is late by 3 %, and in time with 5 % fewer products.
	let slow = 1.42 * Card::of(A100).alone();
	let turn = 0.95 * slow;
	let late = run(Manner::Honest, &job, slow);
	assert_eq!(check(Off::None, late).await.verdict.gpu_count, 0);
	for manner in [Manner::RowsMadeUp, Manner::StepsSkipped] {
		let found = check(Off::None, run(manner, &job, turn)).await;
		assert!(!found.verdict.proof, "{found:?}");
		assert_eq!(
			found.rejected(Resource::Gpus),
			Some(Reject::Wrong(Kind::Products))
		);
		let off = Off::Rejections(Resource::Gpus, is_of_chain);
		let found = check(off, run(manner, &job, turn)).await;
		assert_eq!(found.verdict.gpu_count, 1);
	}
	let honest = run(Manner::Honest, &job, turn);
	assert_eq!(check(Off::None, honest).await.verdict.gpu_count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_chain_for_two_gpus_is_the_chain_of_one() {
	// The window and the chain of the first GPU are shown as the second's too.
	let job = job(1, gpus(A100, 2));
	let turn = Card::of(A100).alone();
	let work = || {
		let twice = (0..2).map(|_| window(Manner::Honest, &job));
		run_windows(twice.collect(), &job, turn)
	};
	let found = check(Off::None, work()).await;
	assert!(!found.verdict.proof, "{found:?}");
	let is_of_fill = |reject| {
		matches!(
			reject,
			Reject::Place(Kind::Fill) | Reject::Wrong(Kind::Fill)
		)
	};
	assert!(
		is_of_fill(found.rejected(Resource::Gpus).unwrap()),
		"{found:?}"
	);
	let off = Off::Rejections(Resource::Gpus, |reject| {
		matches!(
			reject,
			Reject::Place(Kind::Fill) | Reject::Wrong(Kind::Fill)
		)
	});
	assert_eq!(check(off, work()).await.verdict.gpu_count, 2);
	// Two separate windows pass.
	let own = (0..2).map(|number| window_of(Manner::Honest, &job, number));
	let found = check(Off::None, run_windows(own.collect(), &job, turn)).await;
	assert_eq!(found.verdict.gpu_count, 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_window_that_is_computed_when_it_is_read_is_too_slow() {
	let job = job(1, gpus(A100, 1));
	let card = Card::of(A100);
	let whole = || run(Manner::Honest, &job, card.alone());
	let half = window(Manner::HalfKept, &job);
	let work = run_over(half.clone(), &job, card.alone());
	// It computes the same: only its time differs from a prover that keeps all.
	assert_eq!(work.roots(), whole().roots());
	// A read of all lanes hits this number of missing matrices: 4 lanes at small sizes, 16,384 in
	// production.
	let met = |lanes: f64, window: f64| window / 2.0 * (1.0 - (1.0 - 1.0 / window).powf(lanes));
	let reads = f64::from(job.bench.turns * STEPS / 2) * READS as f64;
	let counted = half.met() as f64 / reads;
	let small = met(4.0, f64::from(job.plan().window));
	assert!((counted / small - 1.0).abs() < 0.1, "{counted} of {small}");
	// Each is computed by eight products.
	let full = f64::from(scaled(&job, &job.plan()).window);
	let (products, walks) = card.turn();
	let computed = 8.0 * READS as f64 * met(MATRIX / 1_024.0, full) * products;
	let turn = products + walks + computed;
	assert!(turn > 1_000.0 * card.alone());
	let late = || run(Manner::HalfKept, &job, turn);
	let found = check(Off::None, late()).await;
	assert_eq!((found.verdict.gpu_count, found.verdict.proof), (0, true));
	let off = Off::Lateness(|part| matches!(part, Part::Mark(_)));
	assert_eq!(check(off, late()).await.verdict.gpu_count, 1);
	assert_eq!(check(Off::None, whole()).await.verdict.gpu_count, 1);
}
