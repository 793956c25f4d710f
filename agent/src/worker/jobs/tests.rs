use super::*;
use crate::trial::{
	disk,
	job::tests::{SMALL, spec},
	run::Machine,
};
use kaisar_primitives::agent::ProveRequest;
use tempfile::TempDir;

fn agent() -> AgentKey {
	AgentKey::from_raw([1; 32])
}

fn prove_request(seed: u8, trial: u8) -> ProveRequest {
	ProveRequest {
		genesis: H256::zero(),
		round: 4,
		seed: H256::repeat_byte(seed),
		trial_seed: H256::repeat_byte(trial),
		worker: 7,
		spec: spec(),
		bench: SMALL,
		reference: None,
		order: None,
		committee: Vec::new(),
		keep_ms: 600_000,
	}
}

fn prepare_request(seed: u8, trial_ms: u64) -> PrepareRequest {
	let of = prove_request(seed, 0);
	PrepareRequest {
		genesis: of.genesis,
		round: of.round,
		seed: of.seed,
		worker: of.worker,
		spec: of.spec,
		bench: of.bench,
		reference: of.reference,
		trial_ms,
		committee: of.committee,
		runs: true,
		spread_ms: 0,
		keep_ms: of.keep_ms,
	}
}

fn jobs(dir: &TempDir) -> Jobs {
	Jobs::new(dir.path(), agent(), Arc::default()).unwrap()
}

/// Prepares a job without a plot.
fn prepared(job: &Job, sizes: Option<Sizes>) -> Arc<Prepared> {
	let machine = Machine {
		devices: Vec::new(),
		undisturbed: Box::new(()),
		memory: 1 << 30,
		memory_again: 1 << 30,
		groups: 0,
		plot: &|_: disk::Size| Ok(None),
	};
	Arc::new(Prepared::new(job, sizes, machine, None, &|| true).unwrap())
}

/// Does the next piece of work, a preparation.
fn prepare(jobs: &Jobs) -> (Hash, Arc<AtomicBool>, Option<Sizes>) {
	let Ok(Next::Prepare {
		id,
		job,
		sizes,
		stop,
		..
	}) = jobs.take_next()
	else {
		panic!("nothing is to be prepared");
	};
	jobs.prepared(&id, prepared(&job, sizes));
	(id, stop, sizes)
}

/// Starts the next piece of work, a trial.
fn begin(jobs: &Jobs) -> (Hash, Arc<Prepared>, H256, Option<Roots>, Arc<AtomicBool>) {
	let Ok(Next::Run {
		id,
		prepared,
		trial_seed,
		roots,
		stop,
		..
	}) = jobs.take_next()
	else {
		panic!("no trial is to be run");
	};
	(id, prepared, trial_seed, roots, stop)
}

/// Runs the next trial to its end.
fn run(jobs: &Jobs) -> Hash {
	let (id, prepared, seed, roots, _) = begin(jobs);
	let proof = prepared.run(seed, &|_, _| (), &|| true).unwrap();
	let proof = match roots {
		Some(roots) => proof.attested(roots),
		None => proof,
	};
	let root = proof.root();
	jobs.done(&id, Arc::new(proof));
	root
}

fn is_stopped(stop: &AtomicBool) -> bool {
	stop.load(Ordering::Relaxed)
}

fn working(jobs: &Jobs, seed: u8, trial: u8) {
	let progress = jobs.prove(&prove_request(seed, trial));
	assert_eq!(progress, Ok(Progress::Working));
}

fn done(jobs: &Jobs, seed: u8, trial: u8) -> Hash {
	match jobs.prove(&prove_request(seed, trial)) {
		Ok(Progress::Done(attestation)) => attestation.root,
		other => panic!("{other:?}"),
	}
}

#[test]
fn a_job_is_prepared_before_its_trial_and_run_at_its_seed() {
	let dir = tempfile::tempdir().unwrap();
	let jobs = jobs(&dir);
	assert!(jobs.take_next().is_err());
	jobs.prepare(&prepare_request(1, 60_000)).unwrap();
	prepare(&jobs);
	assert!(jobs.take_next().is_err(), "it waits for its trial");
	working(&jobs, 1, 9);
	let root = run(&jobs);
	assert_eq!(done(&jobs, 1, 9), root);
	assert!(jobs.take_next().is_err());
}

#[test]
fn of_a_rounds_seeds_only_the_last_one_asked_for_is_computed() {
	let dir = tempfile::tempdir().unwrap();
	let jobs = jobs(&dir);
	jobs.prepare(&prepare_request(1, 60_000)).unwrap();
	let (first, ..) = prepare(&jobs);
	working(&jobs, 1, 9);
	let (.., running) = begin(&jobs);
	assert!(!is_stopped(&running));
	// A fork has another seed: the running work is dropped.
	working(&jobs, 2, 9);
	assert!(is_stopped(&running));
	let (second, ..) = prepare(&jobs);
	assert_ne!(first, second);
	// The first seed's fork returns before the second one's trial.
	working(&jobs, 1, 9);
	let (again, stop, _) = prepare(&jobs);
	assert_eq!(again, first);
	assert!(!is_stopped(&stop));
	run(&jobs);
	done(&jobs, 1, 9);
	// Another round is not affected.
	let other = PrepareRequest {
		round: 6,
		..prepare_request(3, 60_000)
	};
	jobs.prepare(&other).unwrap();
	done(&jobs, 1, 9);
}

#[test]
fn a_fork_of_the_trial_alone_starts_over_from_what_was_filled() {
	let dir = tempfile::tempdir().unwrap();
	let jobs = jobs(&dir);
	working(&jobs, 1, 8);
	prepare(&jobs);
	let (.., running) = begin(&jobs);
	working(&jobs, 1, 9);
	assert!(is_stopped(&running), "the stale trial is canceled");
	let other = run(&jobs);
	assert_eq!(done(&jobs, 1, 9), other);
	// And back again after the trial: no root of the other trial is named.
	working(&jobs, 1, 8);
	let first = run(&jobs);
	assert_ne!(first, other);
	assert_eq!(done(&jobs, 1, 8), first);
}

#[test]
fn after_a_restart_the_same_sizes_are_proved_and_the_same_root_is_named() {
	let dir = tempfile::tempdir().unwrap();
	let before = jobs(&dir);
	before.prepare(&prepare_request(1, 60_000)).unwrap();
	let Ok(Next::Prepare { id, job, .. }) = before.take_next() else {
		panic!("nothing to prepare");
	};
	// The machine had less than it claims.
	let less = Sizes {
		pages: 3,
		..job.plan()
	};
	before.prepared(&id, prepared(&job, Some(less)));
	drop(before);
	let again = jobs(&dir);
	working(&again, 1, 9);
	let (_, _, sizes) = prepare(&again);
	assert_eq!(sizes, Some(less));
	let root = run(&again);
	drop(again);
	let last = jobs(&dir);
	let which = ProofRequest {
		genesis: H256::zero(),
		round: 4,
		seed: H256::repeat_byte(9),
		worker: 7,
		checker: sp_core::sr25519::Public::from_raw([0; 32]).into(),
	};
	assert_eq!(
		last.roots(&agent(), &which),
		Err(Refusal::NotServed),
		"no committee"
	);
	// The root may be attested at once: only openings need the proof. A restored job computes the same
	// proof.
	assert_eq!(done(&last, 1, 9), root);
	prepare(&last);
	let (_, prepared, seed, roots, _) = begin(&last);
	assert_eq!(roots.map(|roots| roots.root(prepared.job())), Some(root));
	let again = prepared.run(seed, &|_, _| (), &|| true).unwrap();
	assert_eq!(again.root(), root);
}

#[test]
fn a_claim_that_changes_meanwhile_changes_nothing() {
	let dir = tempfile::tempdir().unwrap();
	let jobs = jobs(&dir);
	working(&jobs, 1, 9);
	prepare(&jobs);
	let root = run(&jobs);
	let mut request = prove_request(1, 9);
	request.spec.cpu_cores += 5;
	let progress = jobs.prove(&request);
	let attestation = Attestation { root };
	assert_eq!(progress, Ok(Progress::Done(attestation.clone())));
	request.order = Some(3);
	assert_eq!(jobs.prove(&request), Ok(Progress::Done(attestation)));
}

#[test]
fn a_trial_comes_before_what_is_only_prepared() {
	let dir = tempfile::tempdir().unwrap();
	let jobs = jobs(&dir);
	jobs.prepare(&prepare_request(1, 60_000)).unwrap();
	let other = ProveRequest {
		worker: 8,
		..prove_request(1, 9)
	};
	assert_eq!(jobs.prove(&other), Ok(Progress::Working));
	let Ok(Next::Prepare { job, .. }) = jobs.take_next() else {
		panic!("nothing to prepare");
	};
	assert_eq!(job.worker, 8);
}

#[test]
fn boundary_of_jobs_that_are_kept() {
	let dir = tempfile::tempdir().unwrap();
	let jobs = jobs(&dir);
	let request = |worker| ProveRequest {
		worker,
		..prove_request(1, 9)
	};
	for worker in 0..MAX_JOBS as u32 {
		assert_eq!(jobs.prove(&request(worker)), Ok(Progress::Working));
	}
	assert!(jobs.prove(&request(99)).is_err());
	// Kept jobs are requested as before.
	assert_eq!(jobs.prove(&request(5)), Ok(Progress::Working));
}
