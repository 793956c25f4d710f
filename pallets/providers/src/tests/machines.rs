//! One machine behind three workers: whatever its owner does, it never proves more time than a machine
//! has, and every worker that it cannot serve is slashed.
//!
//! The machine can run one benchmark at a time, and a census has all workers that are `Online` run theirs
//! at the same moment; the owner does not know when the next one comes.

use super::*;
use proptest::prelude::*;

const WORKERS: usize = 3;

/// What the owner does between two rounds.
#[derive(Clone, Copy, Debug)]
enum Move {
	/// Brings a worker online, or has it verified again.
	Bring(usize),
	/// Takes one away.
	Take(usize),
	/// Takes all away but one, and brings that one.
	Alone(usize),
	/// Nothing.
	Wait,
}

/// A round: what the owner does before it, whether it is a census (which the owner does not know), and
/// which worker the machine serves if it has to choose.
type Round = (Move, bool, usize);

fn round() -> impl Strategy<Value = Round> {
	let owner = prop_oneof![
		3 => (0..WORKERS).prop_map(Move::Bring),
		2 => (0..WORKERS).prop_map(Move::Take),
		2 => (0..WORKERS).prop_map(Move::Alone),
		3 => Just(Move::Wait),
	];
	(owner, prop::bool::weighted(0.3), 0..WORKERS)
}

fn bring(worker: WorkerId) {
	let _ = dispatch(
		RuntimeCall::Providers(Call::go_online { worker }),
		signed(ALICE),
	);
}

fn take(worker: WorkerId) {
	let _ = dispatch(
		RuntimeCall::Providers(Call::go_offline { worker }),
		signed(ALICE),
	);
}

/// Plays the rounds. Returns the blocks that were proved, those from the first round to the last, and
/// how often a worker was found.
fn play(workers: &[WorkerId], rounds: &[Round]) -> (BlockNumber, BlockNumber, u32) {
	let began = Providers::now();
	let (mut proved, mut found) = (0, 0);
	for (owner, census, served) in rounds {
		match *owner {
			Move::Bring(index) => bring(workers[index]),
			Move::Take(index) => take(workers[index]),
			Move::Alone(index) => {
				for (other, worker) in workers.iter().enumerate() {
					if other != index {
						take(*worker);
					}
				}
				bring(workers[index]);
			}
			Move::Wait => {}
		}
		let spot = Popw::start_round(*census);
		// The rounds of this block have one seed and one moment: the machine serves one worker.
		let due: Vec<(WorkerId, RoundIndex)> = workers
			.iter()
			.flat_map(|worker| {
				[spot, spot + 1]
					.into_iter()
					.filter(|round| {
						(*round == spot || *census) && Popw::due(*worker, *round).is_some()
					})
					.map(|round| (*worker, round))
					.next()
			})
			.collect();
		let chosen = due
			.iter()
			.find(|(worker, _)| *worker == workers[*served])
			.or(due.first())
			.copied();
		if let Some((worker, round)) = chosen {
			assert!(Popw::attest(worker, round));
			proved += Popw::close(worker, online(PROFILE)).idle;
		}
		// Everyone else who was due is reported, in the phase after.
		let missing: Vec<_> = due
			.into_iter()
			.filter(|pair| Some(*pair) != chosen)
			.collect();
		run_to(Providers::now() + PHASE - 1);
		for (worker, round) in missing {
			if Popw::absent(worker, round) {
				found += 1;
			}
		}
		Providers::do_try_state().unwrap();
	}
	(proved, Providers::now() - began, found)
}

fn three_workers() -> Vec<WorkerId> {
	(1..=WORKERS as u8)
		.map(|seed| register(ALICE, seed))
		.collect()
}

#[test]
fn three_identities_online_prove_less_than_one() {
	// What an honest machine proves.
	let rounds: Vec<Round> = (0..40).map(|i| (Move::Wait, i % 4 == 3, 0)).collect();
	let honest = ExtBuilder.build().execute_with(|| {
		let worker = register(ALICE, 1);
		let (proved, _, found) = play(&[worker], &rounds);
		assert_eq!((found, record(worker).queued), (0, Queued::default()));
		proved
	});
	assert!(honest > 0);
	// And one that claims to be three, and brings back whoever was found.
	ExtBuilder.build_and_execute(|| {
		let workers = three_workers();
		let rounds: Vec<Round> = rounds
			.iter()
			.enumerate()
			.map(|(i, (_, census, _))| (Move::Bring(i % WORKERS), *census, i % WORKERS))
			.collect();
		let (proved, _, found) = play(&workers, &rounds);
		assert!(proved < honest, "{proved} of {honest}");
		assert!(found > 0);
		let queued: Balance = workers.iter().map(|id| record(*id).queued.amount).sum();
		assert!(queued > 0);
	});
}

#[test]
fn identities_of_different_owners_fare_no_better() {
	ExtBuilder.build_and_execute(|| {
		let workers = [
			register_online(ALICE, 1),
			register_online(BOB, 2),
			register_online(CAROL, 3),
		];
		Popw::pass();
		let census: Vec<Round> = vec![(Move::Wait, true, 0)];
		let (_, _, found) = play(&workers, &census);
		assert_eq!(found, 2);
		assert_eq!(
			workers.map(state),
			[
				WorkerState::Online,
				WorkerState::Offline,
				WorkerState::Offline
			]
		);
		assert_eq!(record(workers[0]).queued.amount, 0);
		assert!(workers[1..].iter().all(|id| record(*id).queued.amount > 0));
	});
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(48),
		rng_seed: kaisar_test_support::property::seed(6),
		..ProptestConfig::default()
	})]

	#[test]
	fn no_strategy_proves_more_time_than_there_is(
		rounds in prop::collection::vec(round(), 1..80)
	) {
		ExtBuilder.build().execute_with(|| {
			let workers = three_workers();
			let (proved, passed, _) = play(&workers, &rounds);
			assert!(proved <= passed, "{proved} blocks proved in {passed}");
		});
	}
}
