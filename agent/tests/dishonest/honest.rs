//! Honest workers under bad conditions.

use crate::{
	floods::heard_before,
	model::reference,
	provers::{job, server},
	rules::production,
	world::{CHECKERS, WORKER, World, is_the_workers, until},
};
use chacha20::{
	ChaCha8Rng,
	rand_core::{Rng, SeedableRng},
};
use kaisar_agent::{
	Agent, Config, now_wall_ms,
	trial::{
		job::Job,
		part::{Part, Parts},
		proof::Roots,
		verdict::{Arrivals, Proved, judge},
	},
};
use kaisar_math::committee::reached;
use kaisar_primitives::{
	WorkerSpec,
	agent::{
		AddressBook, AddressesFound, PATH_ADDRESSES, PATH_PREPARE, PATH_ROUND, Prepared,
		RoundStart, SeatRequest,
	},
};
use std::{
	collections::BTreeMap,
	path::PathBuf,
	time::{Duration, Instant},
};

const A100: &str = "GPU_A100_80GB_PCIE";
/// Seats of a committee.
const SEATS: u32 = 5;

/// Draws of one trial.
struct Dice(ChaCha8Rng);

impl Dice {
	/// Draws evenly between two numbers.
	fn between(&mut self, least: f64, most: f64) -> f64 {
		least + (most - least) * f64::from(self.0.next_u32()) / f64::from(u32::MAX)
	}

	fn one_in(&mut self, count: u32) -> bool {
		self.0.next_u32().is_multiple_of(count)
	}
}

/// A worker with a GPU, cores, memory and disk. Cores and memory are claimed at the edge of their tiers.
fn claim() -> Job {
	let (machine, _) = server(32, 128, 6_000);
	let spec = WorkerSpec {
		gpu_class: crate::model::class(A100).id,
		gpu_count: 1,
		..machine
	};
	production(&job(1, (spec, Some(reference(A100)))))
}

/// Marks of a trial.
const MARKS: u8 = 16;

fn mark(number: u8) -> [u8; 32] {
	[10 + number; 32]
}

/// Returns the tiers of cores, memory and disk, and the number of GPUs, that a majority of the committee
/// finds.
fn trial(job: &Job, dice: &mut Dice) -> [u8; 4] {
	// Blocks reach a node within 2.5 s, the worker's as those of its checkers.
	let worker = dice.between(0.0, 2.5);
	// GPUs of a kind vary a little around the measured one. A busy machine lags behind.
	let busy = dice.one_in(4);
	let pace = dice.between(0.97, 1.05) * if busy { 0.92 } else { 1.0 };
	let leg = if busy {
		4.8e-6
	} else {
		dice.between(3.0e-6, 4.5e-6)
	};
	// One in four has a disk within 5 % of the minimum that counts.
	let rate = match dice.one_in(4) {
		true => dice.between(4_000.0, 4_200.0),
		false => dice.between(5_000.0, 100_000.0),
	};
	let known = |part: Part| match part {
		Part::Mark(mark) => 10.0 * f64::from(mark + 1) / f64::from(MARKS) / pace,
		Part::Processor => leg * 32.0 * f64::from(job.bench.stages),
		Part::Disk => 8.0 * f64::from(job.bench.reads) / rate,
	};
	let roots = Roots {
		sizes: job.plan(),
		gpus: vec![[1; 32]],
		processor: [2; 32],
		disk: [3; 32],
	};
	let proved = Proved {
		gpus: Some((0..MARKS).map(mark).collect()),
		processor: true,
		disk: true,
	};
	let verdicts: Vec<_> = (0..SEATS)
		.map(|_| {
			let start = 1_000_000.0 + 1e3 * dice.between(0.0, 2.5);
			// One checker in a hundred was not found in the prepare part: the search takes 3 s.
			let found = if dice.one_in(100) { 3.0 } else { 0.0 };
			let mut at = Parts::default();
			for part in Part::all() {
				let hash = match part {
					Part::Mark(number) => mark(number),
					Part::Processor => [2; 32],
					Part::Disk => [3; 32],
				};
				let sent = worker + known(part).max(found) + dice.between(0.02, 0.3);
				at.set(part, Some(((1_000_000.0 + 1e3 * sent) as u64, hash)));
			}
			let arrivals = Arrivals {
				start: Some(start as u64),
				at,
			};
			judge(job, &roots, &proved, &arrivals, None, true).0
		})
		.collect();
	let of = |figure: fn(&kaisar_primitives::Verdict) -> u8| {
		let votes: Vec<(u8, u32)> = verdicts
			.iter()
			.map(|verdict| (figure(verdict), 1))
			.collect();
		reached(&votes, SEATS)
	};
	[
		of(|verdict| verdict.cpu),
		of(|verdict| verdict.memory),
		of(|verdict| verdict.disk),
		of(|verdict| verdict.gpu_count),
	]
}

/// Returns the number of trials, out of this number, that keep their claim.
fn keep(trials: u32, seed: u8) -> u32 {
	let job = claim();
	let mut dice = Dice(ChaCha8Rng::from_seed([seed; 32]));
	let kept = (0..trials).filter(|_| trial(&job, &mut dice) == [2, 3, 3, 1]);
	u32::try_from(kept.count()).unwrap()
}

#[test]
fn of_1000_honest_trials_at_least_999_keep_their_claim() {
	// A hundred thousand, so that the share decides and not the draw.
	let kept = keep(100_000, 1);
	println!("{kept} of 100,000 keep their claim");
	assert!(kept >= 99_900, "{kept} of 100,000");
	assert!(keep(1_000, 2) >= 999);
}

/// The folder of an agent's machine.
fn folder(world: &World, name: u8) -> PathBuf {
	world.path().join(format!("machine {name}"))
}

/// Starts an agent on its own machine: it shares no folder of addresses with others.
async fn apart(world: &World, name: u8) -> Agent {
	let folder = folder(world, name);
	let config = Config {
		peers_dir: folder.join("peers"),
		data_dir: folder.join("data"),
		..world.config(name, Duration::from_secs(30))
	};
	Agent::start(config).await.unwrap()
}

/// A DHT in which each search takes 3 s.
#[derive(Default)]
struct Dht {
	records: BTreeMap<[u8; 32], Vec<u8>>,
	asked: BTreeMap<([u8; 32], [u8; 32]), Instant>,
	found: BTreeMap<[u8; 32], Vec<Vec<u8>>>,
}

impl Dht {
	/// The agents' nodes at a tick: each publishes its agent's record, and delivers the found ones.
	async fn tick(&mut self, world: &World, agents: &[&Agent]) {
		for &agent in agents {
			let own = agent.key().0;
			let found = AddressesFound {
				records: self.found.remove(&own).unwrap_or_default(),
				..Default::default()
			};
			let book: AddressBook = world.ask(agent, PATH_ADDRESSES, found).await;
			self.records.insert(own, book.record);
			for wanted in book.wanted {
				let asked = self
					.asked
					.entry((own, wanted.0))
					.or_insert_with(Instant::now);
				if asked.elapsed() >= Duration::from_secs(3)
					&& let Some(record) = self.records.get(&wanted.0)
				{
					self.found.entry(own).or_default().push(record.clone());
				}
			}
		}
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committee_that_was_never_met_gets_all_parts_in_time_after_lookups_of_3_s() {
	let world = World::new();
	let worker = apart(&world, WORKER).await;
	let mut checkers = Vec::new();
	for name in CHECKERS {
		checkers.push(apart(&world, name).await);
	}
	let mut all: Vec<&Agent> = checkers.iter().collect();
	all.push(&worker);
	let mut dht = Dht::default();
	let request = world.prepare_request();
	until(Duration::from_secs(40), async || {
		dht.tick(&world, &all).await;
		for checker in &checkers {
			world.answer_claims(checker, is_the_workers).await;
		}
		let prepared: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
		(prepared.connected as usize == checkers.len()).then_some(())
	})
	.await;
	let start = RoundStart {
		genesis: world.genesis,
		round: 4,
		seed: world.round_seed,
		trial_seed: world.seed,
		late: false,
		keep_ms: 600_000,
	};
	for checker in &checkers {
		world.ask::<()>(checker, PATH_ROUND, &start).await;
	}
	let root = world.prove(&worker).await;
	tokio::time::sleep(Duration::from_secs(1)).await;
	let asked = now_wall_ms();
	let checks = async {
		for (checker, name) in checkers.iter().zip(CHECKERS) {
			let seat = SeatRequest {
				full: false,
				..world.seat(name, root)
			};
			let verdict = world.check(checker, seat).await.verdict;
			assert!(verdict.timed && verdict.proof, "{verdict:?}");
			// Lanes and disk, pushed and not fetched.
			let data = folder(&world, name).join("data");
			assert_eq!(heard_before(&data, &worker.key(), asked), 2);
		}
	};
	// Checkers look for the worker when they visit it.
	let ticks = async {
		loop {
			dht.tick(&world, &all).await;
			tokio::time::sleep(Duration::from_millis(200)).await;
		}
	};
	tokio::select! {
		() = checks => (),
		() = ticks => unreachable!(),
	}
}
