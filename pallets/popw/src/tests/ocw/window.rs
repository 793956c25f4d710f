//! Tests of the windows in which all seats measure the bandwidth of all workers of an owner.

use super::*;
use kaisar_primitives::{BenchParams, agent::WINDOW_MISSED};
use proptest::prelude::*;
use sp_core::offchain::Timestamp;

const OWNER: u64 = 77;

/// Has `count` workers of [`OWNER`] attest in round 0. Returns the round.
fn attested(world: &mut World, count: u32) -> Round {
	world.ext.execute_with(|| {
		for worker in 0..count {
			if worker > 0 {
				add_marked(worker, 0);
			}
			attest_soon(worker, 0);
			heard(|heard| heard.workers.get_mut(&worker).unwrap().owner = OWNER);
		}
		run_to(System::block_number() + 2);
		Rounds::<Test>::get(0).unwrap()
	})
}

/// Returns the block that fixes the window, by *Bandwidth window* in `docs/spec/04-popw.md`.
fn window_block(round: &Round, owner: u64) -> u32 {
	let hash = (b"kaisar/window", round.seed, owner).using_encoded(sp_io::hashing::blake2_256);
	let drawn = u128::from_le_bytes(hash[..16].try_into().unwrap());
	round.attest_ends() + 1 + (drawn % u128::from(round.phase_length - 8)) as u32
}

/// Runs the node on each block up to `to`. The agent gets requests for all of `workers`, with this window.
fn poll(
	world: &mut World,
	operator: u32,
	workers: &[u32],
	to: u32,
	window: impl Fn(u32) -> Option<u64>,
) {
	while world.block() < to {
		let block = world.block() + 1;
		world.run_to(block);
		world.expect_starts();
		let seats: Vec<Seat> = workers
			.iter()
			.map(|worker| (*worker, window(block), Progress::Working))
			.collect();
		expect_seats(world, operator, 0, &seats);
		world.work();
	}
}

/// A worker, the known time of its window, and the agent's answer.
pub(super) type Seat = (u32, Option<u64>, Progress<Checked>);

/// Expects requests to the agent for these seats.
pub(super) fn expect_seats(world: &mut World, operator: u32, index: u32, seats: &[Seat]) {
	let requests: Vec<SeatRequest> = world.at_end(|| {
		let of = |(worker, window, _): &Seat| SeatRequest {
			window: *window,
			..seat_request_of(operator, index, *worker)
		};
		seats.iter().map(of).collect()
	});
	let reply = |(worker, _, progress): &Seat| SeatReply {
		worker: *worker,
		progress: progress.clone(),
	};
	let replies: Vec<SeatReply> = seats.iter().map(reply).collect();
	world.expect(PATH_CHECK, requests, replies.encode());
}

/// Returns the beginning of the window that a block of this chain fixes.
pub(super) fn begins(block: u32) -> u64 {
	GenesisMs::get() + u64::from(block) * 12_000 + 36_000
}

fn short() -> BenchParams {
	BenchParams {
		n: 1_024,
		turns: 4,
		bandwidth_secs: 1,
		..BenchParams::FULL
	}
}

#[test]
fn all_seats_have_one_window_for_all_workers_of_an_owner() {
	let mut windows = std::collections::BTreeSet::new();
	for operator in 0..3 {
		let mut world = World::checker(operator);
		expect_round(&mut world, 0);
		world.work();
		let round = attested(&mut world, 3);
		let block = window_block(&round, OWNER);
		assert_eq!(round.phase(block), Phase::Commit);
		let window = begins(block);
		let told = |now| (now >= block).then_some(window);
		// Between blocks everything that the node knows is in local storage, as after a restart.
		poll(&mut world, operator, &[0, 1, 2], block + 3, told);
		// The wall clock did not move meanwhile: the chain's time counts.
		windows.insert(window);
	}
	assert_eq!(windows.len(), 1);
}

#[test]
fn a_node_that_missed_the_block_says_so() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	let round = attested(&mut world, 1);
	let block = window_block(&round, OWNER);
	poll(&mut world, 1, &[0], block - 1, |_| None);
	world.run_to(block);
	poll(&mut world, 1, &[0], block + 2, |_| Some(WINDOW_MISSED));
}

#[test]
fn a_node_that_waits_for_its_lock_misses_no_block() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	let round = attested(&mut world, 1);
	let block = window_block(&round, OWNER);
	poll(&mut world, 1, &[0], block - 1, |_| None);
	world.run_to(block);
	world.at_end(|| {
		let mut lock = sp_runtime::offchain::storage_lock::StorageLock::<
			sp_runtime::offchain::storage_lock::Time,
		>::new(kaisar_primitives::offchain::POPW_LOCK);
		let _guard = lock.try_lock().unwrap();
		Popw::offchain_worker(System::block_number());
	});
	let window = begins(block);
	poll(&mut world, 1, &[0], block + 1, |_| Some(window));
}

#[test]
fn a_rival_of_the_block_has_a_window_of_its_own() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	let round = attested(&mut world, 1);
	let block = window_block(&round, OWNER);
	poll(&mut world, 1, &[0], block - 1, |_| None);
	let genesis = GenesisMs::get();
	let window = begins(block);
	let on_the_rival = |world: &mut World| {
		GenesisMs::set(genesis + 6_000);
		poll(world, 1, &[0], block, |_| Some(window + 6_000));
		GenesisMs::set(genesis);
	};
	world.on_a_fork(on_the_rival);
	// The rival's time does not apply to this chain's block, on which the node did not run.
	world.run_to(block);
	world.on_a_fork(|world| poll(world, 1, &[0], block + 1, |_| Some(WINDOW_MISSED)));
	// Once it has run on it, it knows both.
	world.expect_starts();
	expect_seats(&mut world, 1, 0, &[(0, Some(window), Progress::Working)]);
	world.work();
	poll(&mut world, 1, &[0], block + 1, |_| Some(window));
}

#[test]
fn a_development_chain_counts_seconds_from_the_import() {
	Bench::set(short());
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	let round = attested(&mut world, 1);
	let block = window_block(&round, OWNER);
	poll(&mut world, 1, &[0], block - 1, |_| None);
	let day = 1_800_000_000_000;
	let at = |world: &World, ms| world.agent.write().timestamp = Timestamp::from_unix_millis(ms);
	at(&world, day);
	poll(&mut world, 1, &[0], block, |_| Some(day + 3_000));
	// A later run, on the same block or another, changes nothing.
	at(&world, day + 500);
	let seat = (0, Some(day + 3_000), Progress::Working);
	expect_seats(&mut world, 1, 0, &[seat]);
	world.work();
	at(&world, day + 1_000);
	poll(&mut world, 1, &[0], block + 1, |_| Some(day + 3_000));
}

#[test]
fn bandwidth_that_is_not_measured_has_no_window() {
	for (full, rented, secs) in [
		(false, false, 10),
		(false, true, 10),
		(true, true, 10),
		(true, false, 0),
	] {
		Bench::set(BenchParams {
			bandwidth_secs: secs,
			..BenchParams::FULL
		});
		let mut world = World::checker(1);
		expect_round(&mut world, 0);
		world.work();
		let round = attested(&mut world, 1);
		world.ext.execute_with(|| {
			LastChecks::<Test>::mutate(0, |last| {
				let Some(LastCheck::Open(check)) = last else {
					panic!()
				};
				(check.full, check.rented) = (full, rented);
			});
		});
		let block = window_block(&round, OWNER);
		world.run_to(block);
		world.expect_starts();
		let request = world.at_end(|| SeatRequest {
			full,
			rented,
			window: None,
			..seat_request_of(1, 0, 0)
		});
		world.expect(PATH_CHECK, vec![request], reply(Progress::Working));
		world.work();
	}
}

/// Returns a checker's node at the trial of round 2, which has phases of 25 blocks, and the round.
pub(super) fn in_production(operator: u32) -> (World, Round) {
	let mut world = before_round_2(operator);
	PhaseLength::set(25);
	world.run_to_trial(2);
	expect_round(&mut world, 2);
	world.work();
	// Worker 0 is absent in round 0.
	world.submitted();
	let round = world.at_end(|| Rounds::<Test>::get(2).unwrap());
	assert_eq!(round.phase_length, 25);
	(world, round)
}

/// Gives an attested worker an owner whose window is fixed by `block`.
pub(super) fn give_window(worker: u32, round: &Round, block: u32) {
	let owner = (0..)
		.find(|owner| window_block(round, *owner) == block)
		.unwrap();
	heard(|heard| heard.workers.get_mut(&worker).unwrap().owner = owner);
}

/// Takes the calls that were submitted, and returns the number of commitments among them.
fn commits(world: &mut World) -> usize {
	let calls = world.submitted();
	let commits = calls
		.into_iter()
		.filter(|call| matches!(call, RuntimeCall::Popw(Call::commit { .. })));
	commits.count()
}

/// Returns the batches that operator 1 has settled, with their workers.
pub(super) fn settled(world: &mut World, index: u32) -> Vec<(u16, Vec<u32>)> {
	world.ext.execute_with(|| {
		let work: crate::ocw::round_work::RoundWork =
			kaisar_primitives::offchain::read(&crate::ocw::round_work::round_work_key(1, index))
				.unwrap();
		let workers = |votes: &kaisar_primitives::Votes| {
			let mut workers: Vec<u32> = votes.iter().map(|(worker, _)| *worker).collect();
			workers.sort_unstable();
			workers
		};
		let batches = work.batches.iter();
		batches
			.map(|batch| (batch.number, workers(&batch.votes)))
			.collect()
	})
}

#[test]
fn votes_wait_for_the_last_window_and_leave_time_to_commit() {
	for answers in [true, false] {
		let (mut world, round) = in_production(1);
		let last = round.attest_ends() + 17;
		world.ext.execute_with(|| {
			for worker in [1, 2] {
				attest_soon(worker, 2);
			}
			run_to(System::block_number() + 2);
		});
		give_window(1, &round, last);
		// For worker 2 everything is known.
		let seats = [(1, None, Progress::Working), (2, None, checked())];
		expect_seats(&mut world, 1, 2, &seats);
		world.work();
		// The window is over 36 s and 10 s after its block; a block later the agent has answered.
		let answered = last + 4 + 1;
		while world.block() < answered {
			let block = world.block() + 1;
			world.run_to(block);
			world.expect_starts();
			let window = (block >= last).then(|| begins(last));
			let progress = if block == answered && answers {
				checked()
			} else {
				Progress::Working
			};
			expect_seats(&mut world, 1, 2, &[(1, window, progress)]);
			world.work();
			assert_eq!(
				commits(&mut world),
				usize::from(block == answered),
				"{block}"
			);
		}
		assert_eq!(answered + 3, round.commit_ends());
		let voted = if answers { vec![1, 2] } else { vec![2] };
		assert_eq!(settled(&mut world, 2), [(0, voted)]);
	}
}

#[test]
fn a_batch_is_committed_before_the_windows_of_others() {
	let (mut world, round) = in_production(1);
	let last = round.attest_ends() + 17;
	// Batches of 64, in the order of attestations: the last of 70 is in the second one.
	let workers: Vec<u32> = (1..=70).collect();
	world.ext.execute_with(|| {
		for worker in &workers {
			add_marked(*worker, 2);
			attest_soon(*worker, 2);
		}
		run_to(System::block_number() + 2);
	});
	give_window(70, &round, last);
	let seats: Vec<Seat> = workers
		.iter()
		.map(|worker| {
			let done = *worker < 70;
			(
				*worker,
				None,
				if done { checked() } else { Progress::Working },
			)
		})
		.collect();
	expect_seats(&mut world, 1, 2, &seats);
	world.work();
	let mut committed = Vec::new();
	while world.block() <= last + 5 {
		let block = world.block() + 1;
		world.run_to(block);
		world.expect_starts();
		let window = (block >= last).then(|| begins(last));
		let progress = if block == last + 5 {
			checked()
		} else {
			Progress::Working
		};
		if block <= last + 5 {
			expect_seats(&mut world, 1, 2, &[(70, window, progress)]);
		}
		world.work();
		let calls = world.submitted();
		for call in calls {
			if let RuntimeCall::Popw(Call::commit { batch, .. }) = call {
				committed.push((batch, block));
			}
		}
		if let Some((0, first)) = committed.first()
			&& *first == block
		{
			// Commitments are spread over a third of the part.
			assert!(block <= round.attest_ends() + 9, "{block}");
		}
	}
	let last_of = |batch| committed.iter().rfind(|(other, _)| *other == batch);
	assert_eq!(committed.first().map(|(batch, _)| *batch), Some(0));
	assert_eq!(last_of(1), Some(&(1, last + 5)));
	assert_eq!(
		settled(&mut world, 2),
		[(0, (1..=64).collect()), (1, (65..=70).collect())]
	);
}

#[test]
fn a_batch_waits_for_seats_that_were_not_found_yet() {
	let (mut world, round) = in_production(1);
	let last = round.attest_ends() + 17;
	world.ext.execute_with(|| {
		attest_soon(1, 2);
		attest_soon(2, 2);
		// Between the two are more workers than a node scans in a block.
		let others = std::iter::repeat_n(1_000, 12_288);
		let list: Vec<u32> = [1].into_iter().chain(others).chain([2]).collect();
		for (page, workers) in (0..).zip(list.chunks(PAGE as usize)) {
			let workers = sp_runtime::BoundedVec::truncate_from(workers.to_vec());
			Attested::<Test>::insert(2, page, workers);
		}
		AttestedCount::<Test>::insert(2, list.len() as u32);
		// Commitments are spread over a third of the part, which is over.
		run_to(round.attest_ends() + 8);
	});
	give_window(1, &round, last);
	give_window(2, &round, last);
	let first = world.block() + 1;
	let found = first + 2;
	for block in first..first + 5 {
		world.run_to(block);
		world.expect_starts();
		if block == first {
			expect_seats(&mut world, 1, 2, &[(1, None, checked())]);
		} else if block >= found {
			expect_seats(&mut world, 1, 2, &[(2, None, Progress::Working)]);
		}
		world.work();
		assert_eq!(commits(&mut world), 0, "{block}");
	}
	world.run_to(first + 5);
	expect_seats(&mut world, 1, 2, &[(2, None, checked())]);
	world.work();
	assert_eq!(commits(&mut world), 1);
	assert_eq!(settled(&mut world, 2), [(0, vec![1, 2])]);
}

#[test]
fn seats_that_are_measured_now_come_first() {
	let (mut world, round) = in_production(1);
	let workers: Vec<u32> = (1..=300).collect();
	world.ext.execute_with(|| {
		for worker in &workers {
			add_marked(*worker, 2);
			attest_soon(*worker, 2);
		}
		run_to(round.attest_ends() + 1);
	});
	let block = world.block();
	for worker in &workers {
		let at = if *worker > 290 { block } else { block + 9 };
		give_window(*worker, &round, at);
	}
	world.expect_starts();
	let measured = (291..=300).map(|worker| (worker, Some(begins(block))));
	let others = (1..=246).map(|worker| (worker, None));
	let seats: Vec<Seat> = measured
		.chain(others)
		.map(|(worker, window)| (worker, window, Progress::Working))
		.collect();
	assert_eq!(seats.len(), kaisar_primitives::agent::MAX_SEATS);
	expect_seats(&mut world, 1, 2, &seats);
	world.work();
}

#[test]
fn windows_of_owners_are_spread_over_the_part() {
	let round = round_of(25, [1; 32], true, 10);
	let mut blocks: Vec<u32> = (0..1_000u64)
		.map(|owner| round.window_block(&owner))
		.collect();
	blocks.sort_unstable();
	blocks.dedup();
	let first = round.attest_ends() + 1;
	assert_eq!(blocks, (first..first + 17).collect::<Vec<_>>());
	// Another round has others.
	let other = round_of(25, [2; 32], true, 10);
	assert!((0..100u64).any(|owner| round.window_block(&owner) != other.window_block(&owner)));
}

/// Returns a round with phases of `length` blocks.
fn round_of(length: u32, seed: [u8; 32], full: bool, bandwidth_secs: u8) -> Round {
	Round {
		index: 0,
		kind: RoundKind::Spot,
		start: 1,
		trial: 21,
		phase_length: length,
		committee_size: 5,
		min_operators: 3,
		max_due: 40_000,
		credit: 0,
		bench: BenchParams {
			bandwidth_secs,
			..if full { BenchParams::FULL } else { short() }
		},
		seed: seed.into(),
		trial_seed: None,
		minted: 1,
		active: 1,
		online: 1,
		rented: 0,
	}
}

proptest! {
	#![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

	#[test]
	fn a_window_and_its_votes_fit_into_the_commit_part(
		length in 1..=MAX_CENSUS_PHASE,
		secs in 0..=24u8,
		seed in any::<[u8; 32]>(),
		owner in any::<u64>(),
		full in any::<bool>(),
	) {
		let round = round_of(length, seed, full, secs);
		let block = round.window_block(&owner);
		prop_assert_eq!(round.phase(block), Phase::Commit);
		if length >= 10 {
			prop_assert_eq!(block, window_block(&round, owner));
			// A development chain's windows are planned with blocks of a second.
			let over = round.window_over(block);
			let fits = if full {
				over + 3 <= round.commit_ends()
			} else {
				over == block + 3 + u32::from(secs)
			};
			prop_assert!(fits);
		}
	}
}
