//! Tests of abandoned chains: blocks are undone, local storage is not. The same holds for the trial, from
//! which agents work.

use super::*;

#[test]
fn the_start_is_told_again_when_the_chain_has_another_seed() {
	let mut world = before_round_2(1);
	let once = |world: &mut World| {
		world.run_to_trial(2);
		expect_round(world, 2);
		world.work();
		let next = world.block() + 1;
		world.run_to(next);
		world.work();
	};
	world.on_a_fork(once);
	once(&mut world);
}

#[test]
fn the_work_of_a_dead_seed_is_dropped() {
	let mut world = before_round_2(1);
	let receipts = |world: &mut World| {
		world.ext.execute_with(|| {
			let name = kaisar_primitives::agent::receipts_key(1, 2);
			StorageValueRef::persistent(&name)
				.get::<Vec<(u32, kaisar_primitives::AgentSignature)>>()
				.unwrap()
				.unwrap_or_default()
				.len()
		})
	};
	let attest_two = |world: &mut World| {
		world.run_to_trial(2);
		expect_round(world, 2);
		world.work();
		world.ext.execute_with(|| {
			attest_soon(1, 2);
			attest_soon(2, 2);
			run_to(System::block_number() + 2);
		});
	};
	world.on_a_fork(|world| {
		attest_two(world);
		world.expect_checks(1, 2, &[1, 2], checked());
		world.work();
		assert_eq!(receipts(world), 2);
	});
	attest_two(&mut world);
	assert_eq!(
		receipts(&mut world),
		0,
		"a dead seed's receipts show nothing"
	);
	// Both are requested again, under the seed of the remaining chain.
	world.expect_checks(1, 2, &[1, 2], checked());
	world.work();
	assert_eq!(receipts(&mut world), 2);
}

#[test]
fn attestations_that_another_chain_has_elsewhere_are_seen() {
	// The rival has other seeds; or the same ones, since one author made two blocks in its slot. This node
	// ran on the remaining block as well, or only on the one after it.
	for (branch, runs_on_both) in [(0, true), (0, false), (1, true), (1, false)] {
		let mut world = before_round_2(1);
		world.run_to_trial(2);
		expect_round(&mut world, 2);
		world.work();
		let block = world.block() + 1;
		world.run_to(block);
		world.on_a_fork(|world| {
			Branch::set(branch);
			world.ext.execute_with(|| attest(1, 2).unwrap());
			world.work();
		});
		// Here worker 2 is first, and worker 1 follows: the list has the same length, but other entries.
		world.ext.execute_with(|| attest(2, 2).unwrap());
		if runs_on_both {
			world.work();
		}
		world.run_to(block + 1);
		world.ext.execute_with(|| attest(1, 2).unwrap());
		world.expect_checks(1, 2, &[2], Progress::Working);
		world.work();
		world.run_to(block + 2);
		world.expect_checks(1, 2, &[1, 2], Progress::Working);
		world.work();
	}
}

#[test]
fn a_worker_attests_again_at_once_when_the_chain_has_another_seed() {
	let mut world = World::worker();
	let attests = |world: &mut World| {
		world.ext.execute_with(|| {
			heard(|heard| {
				let forced = Forced {
					round: 2,
					verify_only: true,
				};
				heard.workers.get_mut(&0).unwrap().forced = Some(forced);
			});
		});
		world.run_to_trial(2);
		let request = world.at_end(|| prove_request_of(2));
		world.expect(PATH_PROVE, &request, done([9; 32]));
		world.work();
		let calls = world.submitted();
		assert!(
			matches!(
				calls.as_slice(),
				[RuntimeCall::Popw(Call::attest { round: 2, .. })]
			),
			"{calls:?}"
		);
	};
	world.on_a_fork(attests);
	attests(&mut world);
}

#[test]
fn agents_start_at_the_trial_with_its_seed() {
	let mut world = before_round_2(1);
	TrialOffset::set(3);
	let trial = 14;
	let told = |world: &mut World| {
		world.run_to(trial);
		let round = world.at_end(|| Rounds::<Test>::get(2).unwrap());
		assert_eq!(round.trial, trial);
		let seed = round.trial_seed.unwrap();
		assert_ne!(seed, round.seed);
		expect_round(world, 2);
		world.work();
		(round.seed, seed)
	};
	for block in 11..trial {
		world.run_to(block);
		// The agent would panic at any request.
		world.work();
	}
	// A rival of the trial's block alone: the round is the same, its trial is not.
	let other = world.on_a_fork(told);
	let this = told(&mut world);
	assert_eq!(this.0, other.0);
	assert_ne!(this.1, other.1);

	let mut world = World::worker();
	TrialOffset::set(3);
	world.ext.execute_with(|| add_marked(0, 2));
	for block in 11..trial {
		world.run_to(block);
		world.work();
	}
	world.run_to(trial);
	let request = world.at_end(|| prove_request_of(2));
	let round = world.at_end(|| Rounds::<Test>::get(2).unwrap());
	assert_eq!(Some(request.trial_seed), round.trial_seed);
	world.expect(PATH_PROVE, &request, done([9; 32]));
	world.work();
	assert_eq!(world.submitted().len(), 1);
}
