//! Restarts between attestation and openings, and forks at the trial's block: workers that are honest, and
//! workers that would gain by them.

use crate::{
	provers::{job_of, server},
	rules::{Off, SMALL},
	wire::{Found, Lab, Shown},
};
use kaisar_agent::{
	peer::wire::Refusal,
	trial::{
		hash::Hash,
		job::{Job, Sizes},
		part::Part,
		proof::Roots,
		run::{Machine, NotOpened, Prepared, Proof},
	},
};
use kaisar_primitives::BenchParams;
use sp_core::H256;
use std::{
	sync::{Arc, Mutex},
	time::Duration,
};

const MIB: u64 = 1 << 20;

/// A worker of four cores and a little memory.
fn worker() -> Job {
	let bench = BenchParams {
		memory_mib: 8,
		..SMALL
	};
	job_of(1, server(4, 8, 0), bench)
}

/// A machine with this free memory, for a plan and for fixed sizes.
fn prepare(job: &Job, sizes: Option<Sizes>, free: u64) -> Arc<Prepared> {
	let machine = Machine {
		devices: Vec::new(),
		memory: free,
		memory_again: free,
		groups: 0,
		undisturbed: Box::new(()),
		plot: &|_| Ok(None),
	};
	Arc::new(Prepared::new(job, sizes, machine, None, &|| true).unwrap())
}

fn run(prepared: &Arc<Prepared>, seed: H256) -> Proof {
	prepared.run(seed, &|_, _| (), &|| true).unwrap()
}

/// Returns the trial of an agent that attested these roots and has this proof. Its root came after 7 s.
fn shown(job: &Job, roots: Roots, proof: Proof) -> Shown {
	Shown {
		job: job.clone(),
		parts: vec![(Duration::from_secs(7), Part::Processor, roots.processor)],
		roots,
		opens: Box::new(move |resource, challenge| {
			proof
				.open(resource, challenge)
				.map_err(|error| match error {
					NotOpened::Busy => Refusal::NotReady,
					NotOpened::Gone => Refusal::Gone,
				})
		}),
	}
}

async fn check(off: Off, shown: Shown) -> Found {
	Lab::new(off).await.check(shown).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_less_free_memory_is_no_false_proof() {
	let job = worker();
	let before = run(&prepare(&job, None, 64 * MIB), Lab::trial_seed());
	let roots = before.roots().clone();
	let again = |free| {
		let prepared = prepare(&job, Some(roots.sizes), free);
		run(&prepared, Lab::trial_seed()).attested(roots.clone())
	};
	// It computes the same work again, or has lost it and says so.
	let found = check(Off::None, shown(&job, roots.clone(), again(64 * MIB)))
		.await
		.verdict;
	assert_eq!((found.cpu, found.memory, found.proof), (1, 1, true));
	let found = check(Off::None, shown(&job, roots.clone(), again(4 * MIB)))
		.await
		.verdict;
	assert_eq!((found.cpu, found.memory, found.proof), (0, 0, true));
	assert!(found.online && found.timed);
	// A new plan after the restart would give another root than the attested one.
	let other = run(&prepare(&job, None, 4 * MIB), Lab::trial_seed());
	assert_ne!(other.roots().processor, roots.processor);
	let found = check(Off::None, shown(&job, roots, other)).await.verdict;
	assert!(!found.proof, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_at_the_trials_block_costs_an_honest_worker_nothing_and_a_dishonest_one_the_check() {
	let job = worker();
	let forked = H256::repeat_byte(9);
	// The trial of the dropped block is abandoned, and the other one runs over the filled memory.
	let prepared = prepare(&job, None, 64 * MIB);
	let calls = Mutex::new(0);
	let gives_up = || {
		let mut calls = calls.lock().unwrap();
		*calls += 1;
		*calls < 3
	};
	assert!(prepared.run(forked, &|_, _| (), &gives_up).is_none());
	let filled = std::time::Instant::now();
	let proof = run(&prepared, Lab::trial_seed());
	assert!(prepared.is_whole(), "{:?}", filled.elapsed());
	let roots = proof.roots().clone();
	let found = check(Off::None, shown(&job, roots, proof)).await.verdict;
	assert_eq!((found.cpu, found.memory, found.proof), (1, 1, true));
	// A worker that keeps to the dropped block, whose trial started earlier.
	let early = || {
		let proof = run(&prepared, forked);
		shown(&job, proof.roots().clone(), proof)
	};
	let found = check(Off::None, early()).await.verdict;
	assert!(!found.proof, "{found:?}");
	let mut under: Shown = early();
	let (root, opens): (Hash, _) = (under.roots.root(&job), run(&prepared, forked));
	under.opens = Box::new(move |resource, challenge| {
		assert_eq!(opens.root(), root);
		opens.open(resource, challenge).map_err(|_| Refusal::Gone)
	});
	let found = check(Off::Seed(forked), under).await.verdict;
	assert_eq!((found.cpu, found.memory, found.proof), (1, 1, true));
}
