//! One GPU behind three identities, each on its own small server: whatever its owner does, the GPU earns
//! idle time for one of them, and rent for the rented ones.
//!
//! The GPU can run one trial at a time, and all rounds of a block have theirs at the same moment; the owner
//! does not know when the next census comes. The identities are always online, can attest as servers
//! without a GPU, which they are, can bring a committee to no consensus, and can be rented: by the owner's
//! other account, or by a customer who does not notice that the GPU is shared.
//!
//! **The bound.** A check of a rented worker covers its service, but not its GPU. So while `k` identities
//! are rented the GPU earns for `k + 1`: for each of them the rent that is paid, and idle time for one more
//! that shows the GPU in the censuses. Rewards limits the first to half of the fees (`PodFeeCap`), and the
//! second is at most the earnings of one idle machine.

use super::*;
use proptest::prelude::*;

const WORKERS: usize = 3;

/// The owner's action between two rounds.
#[derive(Clone, Copy, Debug)]
enum Move {
	/// Brings a worker online, or has it verified again.
	Bring(usize),
	/// Takes a worker offline.
	Take(usize),
	/// Takes all workers offline but one, and brings that one online.
	Alone(usize),
	/// Rents a worker, if it can be rented.
	Rent(usize),
	/// Ends a worker's order.
	End(usize),
	/// Does nothing.
	Wait,
}

/// The action of a worker that is due while the GPU serves another.
#[derive(Clone, Copy, Debug)]
enum Excuse {
	/// It does not attest, and is reported.
	Absent,
	/// It attests as a server without a GPU.
	ClassZero,
	/// It serves two seats besides an unresponsive one, and refuses the others.
	NoConsensus,
	/// It has two seats vote for a GPU, which is not a majority.
	Undecided,
}

/// A round: the owner's action before it, whether it starts a census (which the owner does not know), the
/// worker that the GPU serves if it has to choose, and the action of the others.
#[derive(Clone, Copy, Debug)]
struct Round {
	owner: Move,
	census: bool,
	served: usize,
	excuse: Excuse,
}

/// The result of a strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Gain {
	/// Idle blocks that were proved with a GPU.
	with_gpu: BlockNumber,
	/// Rented blocks that were proved with a GPU.
	let_with_gpu: BlockNumber,
	/// Blocks of rent that customers paid for a GPU: those of each identity rented as one with it.
	rent: BlockNumber,
	/// The number of times that a worker was rented as one with a GPU.
	rented: u32,
	/// The number of checks in which the GPU ran.
	shown: u32,
	/// The number of censuses.
	censuses: u32,
	/// The number of times that a worker was found offline.
	found: u32,
}

fn round() -> impl Strategy<Value = Round> {
	let owner = prop_oneof![
		3 => (0..WORKERS).prop_map(Move::Bring),
		1 => (0..WORKERS).prop_map(Move::Take),
		1 => (0..WORKERS).prop_map(Move::Alone),
		3 => (0..WORKERS).prop_map(Move::Rent),
		3 => (0..WORKERS).prop_map(Move::End),
		2 => Just(Move::Wait),
	];
	let excuse = prop_oneof![
		1 => Just(Excuse::Absent),
		3 => Just(Excuse::ClassZero),
		3 => Just(Excuse::NoConsensus),
		1 => Just(Excuse::Undecided),
	];
	(owner, prop::bool::weighted(0.4), 0..WORKERS, excuse).prop_map(
		|(owner, census, served, excuse)| Round {
			owner,
			census,
			served,
			excuse,
		},
	)
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

/// Returns whether the worker counts as one with a GPU.
fn has_gpu(worker: WorkerId) -> bool {
	record(worker).gpus() == (11, 1)
}

fn act(workers: &[WorkerId], owner: Move, gain: &mut Gain) {
	match owner {
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
		Move::Rent(index) => {
			let worker = workers[index];
			let rented = <Providers as Market>::candidate(worker).is_some()
				&& <Providers as Market>::rent(worker, 1).is_ok();
			if rented && has_gpu(worker) {
				gain.rented += 1;
			}
		}
		Move::End(index) => {
			let _ = frame_support::storage::with_storage_layer(|| {
				<Providers as Market>::free(workers[index], true)
			});
		}
		Move::Wait => {}
	}
}

/// Plays the rounds.
fn play(workers: &[WorkerId], rounds: &[Round]) -> Gain {
	let mut gain = Gain::default();
	for round in rounds {
		act(workers, round.owner, &mut gain);
		// Each rented worker is drawn in each round, the maximum.
		let before = Providers::now();
		let is_let = |worker: &&WorkerId| state(**worker) == WorkerState::Rented;
		for worker in workers.iter().filter(is_let) {
			assert_ok!(<Popw as Checks>::force(*worker));
		}
		let spot = Popw::start_round(round.census);
		let let_out = workers
			.iter()
			.filter(is_let)
			.filter(|id| has_gpu(**id))
			.count();
		gain.rent += (Providers::now() - before) * let_out as u32;
		gain.censuses += u32::from(round.census);
		let due: Vec<(WorkerId, RoundIndex)> = workers
			.iter()
			.filter_map(|worker| {
				[spot, spot + 1]
					.into_iter()
					.filter(|index| *index == spot || round.census)
					.find(|index| Popw::due(*worker, *index).is_some())
					.map(|index| (*worker, index))
			})
			.collect();
		let was_rented =
			|worker: WorkerId| record(worker).standings.at(spot) == Some(&WorkerState::Rented);
		let on_gpu = |pair: &&(WorkerId, RoundIndex)| !was_rented(pair.0);
		let chosen = due
			.iter()
			.filter(on_gpu)
			.find(|(worker, _)| Some(worker) == workers.get(round.served))
			.or(due.iter().find(on_gpu))
			.copied();
		let mut missing = Vec::new();
		for pair @ (worker, index) in due {
			let outcome = if was_rented(worker) {
				// Any server can keep a container running.
				UNDECIDED
			} else if Some(pair) == chosen {
				gain.shown += 1;
				online(PROFILE)
			} else {
				match round.excuse {
					Excuse::Absent => {
						missing.push(pair);
						continue;
					}
					Excuse::ClassZero => online(POOR),
					Excuse::NoConsensus => Outcome::NoConsensus,
					Excuse::Undecided => UNDECIDED,
				}
			};
			assert!(Popw::attest(worker, index));
			let proved = Popw::close(worker, outcome);
			if proved.profile.gpu_count > 0 {
				gain.with_gpu += proved.idle;
				gain.let_with_gpu += proved.rented;
			}
		}
		// Every worker that did not attest is reported, in the next phase.
		let let_out = workers
			.iter()
			.filter(is_let)
			.filter(|id| has_gpu(**id))
			.count();
		run_to(Providers::now() + PHASE - 1);
		gain.rent += (PHASE - 1) * let_out as u32;
		for (worker, index) in missing {
			gain.found += u32::from(Popw::absent(worker, index));
		}
		Providers::do_try_state().unwrap();
	}
	gain
}

fn three_workers() -> Vec<WorkerId> {
	(1..=WORKERS as u8)
		.map(|seed| register(ALICE, seed))
		.collect()
}

fn rounds(
	number: usize,
	owner: impl Fn(usize) -> Move,
	excuse: Excuse,
) -> impl Iterator<Item = Round> {
	(0..number).map(move |i| Round {
		owner: owner(i),
		census: i % 4 == 3,
		served: i % WORKERS,
		excuse,
	})
}

#[test]
fn three_identities_earn_no_more_than_one() {
	let wait: Vec<Round> = rounds(40, |_| Move::Wait, Excuse::Absent).collect();
	let honest = ExtBuilder.build().execute_with(|| {
		let gain = play(&[register(ALICE, 1)], &wait);
		assert_eq!(
			(gain.found, record(0).queued),
			(0, QueuedSlashes::default())
		);
		gain
	});
	assert_eq!(honest.with_gpu, honest.censuses * INTERVAL);
	for excuse in [
		Excuse::Absent,
		Excuse::ClassZero,
		Excuse::NoConsensus,
		Excuse::Undecided,
	] {
		ExtBuilder.build_and_execute(|| {
			let workers = three_workers();
			let turns: Vec<Round> = rounds(40, |i| Move::Bring(i % WORKERS), excuse).collect();
			let gain = play(&workers, &turns);
			assert!(gain.with_gpu <= honest.with_gpu, "{excuse:?}: {gain:?}");
			if let Excuse::Absent = excuse {
				assert!(gain.found > 0);
				assert!(workers.iter().any(|id| record(*id).queued.is_pending()));
			}
		});
	}
}

/// Not excluded: customers who rent some of the identities cannot see that the GPU is shared, or that it
/// runs the trials of another identity. It earns the rent that they pay, and the idle time of one machine.
#[test]
fn a_gpu_earns_for_each_identity_that_is_rented_and_for_one_that_waits() {
	for rented in 0..=WORKERS {
		ExtBuilder.build_and_execute(|| {
			let workers = three_workers();
			// The GPU is shown for one worker after another, until all of them are verified.
			let verified: Vec<Round> =
				rounds(WORKERS, |_| Move::Wait, Excuse::NoConsensus).collect();
			play(&workers, &verified);
			assert!(workers.iter().all(|id| has_gpu(*id)));
			let start = Providers::now();
			let last = WORKERS - 1;
			let hire: Vec<Round> = (0..24)
				.map(|i| Round {
					owner: if i < rented {
						Move::Rent(i)
					} else {
						Move::Wait
					},
					census: i % 4 == 3,
					served: last,
					excuse: Excuse::NoConsensus,
				})
				.collect();
			let gain = play(&workers, &hire);
			assert_eq!(gain.rented, rented as u32);
			let idle = if rented < WORKERS {
				gain.censuses * INTERVAL
			} else {
				0
			};
			assert_eq!((gain.with_gpu, gain.found), (idle, 0));
			// All rent except that since the last round, and that of the rounds before the last worker was
			// rented.
			let blocks = Providers::now() - start;
			let most = blocks * rented as u32;
			assert!(gain.let_with_gpu <= gain.rent && gain.rent <= most);
			assert!(
				gain.let_with_gpu >= (blocks - 6 * PHASE) * rented as u32,
				"{gain:?}"
			);
		});
	}
}

#[test]
fn no_consensus_buys_no_checks_that_pay() {
	ExtBuilder.build_and_execute(|| {
		// Ten identities on one GPU. In a census it serves one; each of the others has an unresponsive
		// seat.
		let workers: Vec<WorkerId> = (1..=10).map(|seed| register_online(ALICE, seed)).collect();
		Popw::pass();
		let census = Popw::start_round(true) + 1;
		let mut proved = 0;
		for worker in &workers {
			assert!(Popw::attest(*worker, census));
			let outcome = if *worker == 0 {
				online(PROFILE)
			} else {
				Outcome::NoConsensus
			};
			proved += Popw::close(*worker, outcome).idle;
		}
		// Now each of them would have the GPU to itself, in turn.
		for _ in 0..30 {
			let round = Popw::start_round(false);
			for worker in &workers {
				if Popw::attest(*worker, round) {
					proved += Popw::close(*worker, online(PROFILE)).idle;
				}
			}
		}
		assert_eq!(proved, INTERVAL);
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
		let census = Round {
			owner: Move::Wait,
			census: true,
			served: 0,
			excuse: Excuse::Absent,
		};
		let gain = play(&workers, &[census]);
		assert_eq!(gain.found, 2);
		assert_eq!(
			workers.map(state),
			[
				WorkerState::Online,
				WorkerState::Offline,
				WorkerState::Offline
			]
		);
		assert!(!record(workers[0]).queued.is_pending());
		assert!(
			workers[1..]
				.iter()
				.all(|id| record(*id).queued.is_pending())
		);
	});
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(48),
		rng_seed: kaisar_test_support::property::seed(6),
		..ProptestConfig::default()
	})]

	#[test]
	fn no_strategy_earns_more_than_one_machine_and_the_rents(
		rounds in prop::collection::vec(round(), 1..80)
	) {
		ExtBuilder.build().execute_with(|| {
			let workers = three_workers();
			let gain = play(&workers, &rounds);
			// The idle time of one honest machine, and nothing between two censuses; in addition only rent
			// that customers pay.
			assert!(gain.with_gpu <= gain.censuses * INTERVAL, "{gain:?}");
			assert!(gain.let_with_gpu <= gain.rent, "{gain:?}");
			// Before each rental the GPU was shown for that identity.
			assert!(gain.rented <= gain.shown, "{gain:?}");
		});
	}
}
