//! Tests of thousands of seats, and of their storage.

use super::{
	window::{Seat, expect_seats, give_window, in_production, settled},
	*,
};
use crate::ocw::round_work::{Batch, RoundWork, round_work_key};
use kaisar_primitives::{agent::MAX_SEATS, offchain::read};

/// The first of many workers like worker 1.
const CROWD: u32 = 10_000;
/// The number of those workers.
const COUNT: u32 = 4_000;

/// Has worker 1 attest in round 2, and a crowd of workers after it.
fn attest_crowd(world: &mut World, round: &Round) {
	world.ext.execute_with(|| attest_soon(1, 2));
	give_window(1, round, round.attest_ends() + 17);
	world.ext.execute_with(|| {
		let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(1) else {
			panic!()
		};
		let info = Registry::info(1, 2).unwrap();
		heard(|heard| heard.crowd = Some((CROWD, info)));
		let workers: Vec<u32> = (CROWD..CROWD + COUNT).collect();
		for (number, worker) in (1..).zip(&workers) {
			let mut check = check.clone();
			for seat in &mut check.committee {
				seat.number = number;
			}
			LastChecks::<Test>::insert(worker, LastCheck::Open(check));
		}
		let list: Vec<u32> = [1].into_iter().chain(workers).collect();
		for (page, workers) in (0..).zip(list.chunks(PAGE as usize)) {
			let workers = sp_runtime::BoundedVec::truncate_from(workers.to_vec());
			Attested::<Test>::insert(2, page, workers);
		}
		AttestedCount::<Test>::insert(2, list.len() as u32);
		run_to(round.attest_ends());
	});
}

/// Runs the off-chain worker, and returns the number of nodes of the state that it read.
fn nodes_read(world: &mut World) -> usize {
	world.expect_what_every_run_asks();
	for request in world.expected.take() {
		world.agent.write().expect_request(request);
	}
	world.ext.commit_all().unwrap();
	let (_, proof) = world.ext.execute_and_prove(|| {
		frame_support::hypothetically!({
			Popw::on_finalize(System::block_number());
			Popw::offchain_worker(System::block_number());
		})
	});
	proof.iter_nodes().count()
}

#[test]
fn a_node_with_thousands_of_seats_reads_those_that_it_asks_for() {
	let (mut world, round) = in_production(1);
	attest_crowd(&mut world, &round);
	let mut workers: Vec<u32> = [1].into_iter().chain(CROWD..CROWD + COUNT).collect();
	for run in 0..4 {
		let next = world.block() + 1;
		world.run_to(next);
		world.expect_starts();
		let seats: Vec<Seat> = workers[..MAX_SEATS]
			.iter()
			.map(|worker| (*worker, None, Progress::Working))
			.collect();
		expect_seats(&mut world, 1, 2, &seats);
		// A slow registry: a run has only a second for its agent.
		heard(|heard| heard.info_takes_ms = u64::from(run > 1));
		let nodes = nodes_read(&mut world);
		heard(|heard| heard.info_takes_ms = 0);
		// All seats are read when they are found, and once more: their block may have had a rival.
		assert!(run < 2 || nodes < 1_500, "{nodes}");
		workers.rotate_left(MAX_SEATS);
	}
}

#[test]
fn a_node_that_finds_its_seats_slowly_asks_for_those_that_it_found() {
	let (mut world, round) = in_production(1);
	attest_crowd(&mut world, &round);
	let next = world.block() + 1;
	world.run_to(next);
	world.expect_starts();
	let found = [1].into_iter().chain(CROWD..).take(MAX_SEATS);
	let seats: Vec<Seat> = found
		.map(|worker| (worker, None, Progress::Working))
		.collect();
	expect_seats(&mut world, 1, 2, &seats);
	world.expect_what_every_run_asks();
	heard(|heard| heard.info_takes_ms = 1);
	world.work_exactly();
}

#[test]
fn a_seat_that_was_only_on_another_chain_is_neither_waited_for_nor_voted_on() {
	for there in [checked(), Progress::Working] {
		let (mut world, round) = in_production(1);
		// Both chains have the trial's block.
		let next = world.block() + 2;
		world.run_to(next - 1);
		world.on_a_fork(|world| {
			world.run_to(next);
			world.ext.execute_with(|| attest_soon(1, 2));
			world.run_to(next + 2);
			expect_seats(world, 1, 2, &[(1, None, there)]);
			world.work();
		});
		world.run_to(next);
		world.ext.execute_with(|| attest_soon(2, 2));
		world.run_to(next + 2);
		expect_seats(&mut world, 1, 2, &[(2, None, checked())]);
		world.work();
		// It has the place from the other chain.
		world.run_to(round.attest_ends() + 10);
		world.expect_starts();
		world.work();
		assert_eq!(settled(&mut world, 2), [(0, vec![2])]);
	}
}

#[test]
fn what_an_earlier_version_stored_is_kept() {
	let (mut world, round) = in_production(1);
	let workers: Vec<u32> = (1..=70).collect();
	world.ext.execute_with(|| {
		for worker in &workers {
			add_marked(*worker, 2);
			attest_soon(*worker, 2);
		}
		run_to(System::block_number() + 2);
	});
	for worker in &workers {
		give_window(*worker, &round, round.attest_ends() + 17);
	}
	// Batch 0 has all verdicts, of the six seats after it three.
	let of = |worker: &u32| {
		let progress = match worker {
			1..=67 => checked(),
			_ => Progress::Working,
		};
		(*worker, None, progress)
	};
	let seats: Vec<Seat> = workers.iter().map(of).collect();
	expect_seats(&mut world, 1, 2, &seats);
	world.work();
	let waits: Vec<Seat> = seats[67..].to_vec();
	while settled(&mut world, 2).is_empty() {
		let next = world.block() + 1;
		world.run_to(next);
		world.expect_starts();
		expect_seats(&mut world, 1, 2, &waits);
		world.work();
		world.submitted();
	}
	let salts = |world: &mut World| -> Vec<[u8; 32]> {
		let work: RoundWork = world
			.ext
			.execute_with(|| read(&round_work_key(1, 2)).unwrap());
		work.batches
			.iter()
			.map(|Batch { salt, .. }| *salt)
			.collect()
	};
	let before = salts(&mut world);
	assert_eq!(before.len(), 1);
	world.ext.execute_with(|| {
		let work: RoundWork = read(&round_work_key(1, 2)).unwrap();
		assert_eq!(work.unsettled.len(), 6);
		// The earlier version had no unsettled seats.
		let old = (
			(work.seed, work.acknowledged, &work.marks, &work.pending),
			(&work.verdicts, &work.failed, &work.batches),
		);
		StorageValueRef::persistent(&round_work_key(1, 2)).set(&old);
	});
	// Other entropy than that of the first salt.
	world.agent.write().seed = [3; 32];
	assert_eq!(salts(&mut world), before);
	// The seats without a verdict are still requested, and all of them are voted on.
	let next = world.block() + 1;
	world.run_to(next);
	world.expect_starts();
	let done: Vec<Seat> = (68..=70).map(|worker| (worker, None, checked())).collect();
	expect_seats(&mut world, 1, 2, &done);
	world.work();
	assert_eq!(
		settled(&mut world, 2),
		[(0, (1..=64).collect()), (1, (65..=70).collect())]
	);
	assert_eq!(salts(&mut world), [before[0], [3; 32]]);
}
