//! Workers' agents over QUIC with a test's trials, and the checker's agent that checks them.

use crate::{
	rules::{Off, Rules},
	world::{CHECKERS, World, bind_endpoint, checker_key, own_addr, pair},
};
use iroh::{
	Endpoint,
	endpoint::{Connection, SendStream},
};
use kaisar_agent::{
	Agent, Bounds, Config, Time,
	peer::{
		endpoint::Peers,
		wire::{
			self, ALPN, Introduced, Introduction, MAX_REPLY, MAX_REQUEST, Push, Refusal, Request,
			RootsReply, Trial,
		},
	},
	trial::{
		hash::Hash,
		job::Job,
		part::{Part, Resource},
		proof::{Challenge, Roots},
		sample::Reject,
	},
};
use kaisar_primitives::{Verdict, WorkerId, agent::SeatRequest};
use sp_core::{H256, Pair, ed25519};
use std::{
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering::Relaxed},
	},
	time::Duration,
};
use tokio::task::JoinSet;

/// Randomness of the block after the attestation.
pub const OPEN_SEED: H256 = H256::repeat_byte(3);
/// Timeout of a test for the checker's agent.
const WAIT: Duration = Duration::from_secs(60);

/// Answers of a worker's agent to a challenge.
pub type Opens = Box<dyn Fn(Resource, &Challenge) -> Result<Vec<u8>, Refusal> + Send + Sync>;

/// A worker's trial, shown by its agent.
pub struct Shown {
	/// Its job.
	pub job: Job,
	/// The roots under the attested one.
	pub roots: Roots,
	/// Its parts, with their arrivals after the trial's start.
	pub parts: Vec<(Duration, Part, Hash)>,
	/// Its answers to challenges.
	pub opens: Opens,
}

/// A check's result.
#[derive(Debug)]
pub struct Found {
	/// The verdict.
	pub verdict: Verdict,
	/// The results of verifying openings.
	pub verified: Vec<(Resource, Result<(), Reject>)>,
}

impl Found {
	/// Returns the reason why openings of a resource were rejected.
	pub fn rejected(&self, resource: Resource) -> Option<Reject> {
		let of = |(which, result): &(Resource, Result<(), Reject>)| {
			result.err().filter(|_| *which == resource)
		};
		self.verified.iter().find_map(of)
	}
}

/// The agent key of a worker.
pub fn key_of(worker: WorkerId) -> ed25519::Pair {
	let mut seed = [77; 32];
	seed[..4].copy_from_slice(&worker.to_le_bytes());
	ed25519::Pair::from_seed(&seed)
}

/// A checker's agent whose clock advances only for the trial's parts.
pub struct Lab {
	world: World,
	time: Time,
	checker: Agent,
	rules: Arc<Rules>,
	/// True once a worker has refused to open: the checker tries again, by the clock.
	refused: Arc<AtomicBool>,
}

impl Lab {
	/// Starts it with one rule off, or none.
	pub async fn new(off: Off) -> Self {
		let world = World::new();
		let time = Time::driven();
		let rules = Arc::new(Rules::new(off));
		let config = Config {
			time: time.clone(),
			..world.config(CHECKERS[0], Duration::from_secs(60))
		};
		let bounds = Bounds {
			rules: rules.clone(),
			..Bounds::default()
		};
		let checker = Agent::start_within(config, bounds, |containers| Arc::new(containers));
		let checker = checker.await.unwrap();
		Self {
			world,
			time,
			checker,
			rules,
			refused: Arc::default(),
		}
	}

	/// The seed of the trial.
	pub fn trial_seed() -> H256 {
		World::new().seed
	}

	/// Checks one worker.
	pub async fn check(&self, shown: Shown) -> Found {
		let mut found = self.check_all(vec![shown]).await;
		found.remove(0)
	}

	/// Checks workers of the same trial: all are admitted, then the clock starts, and each part comes at its
	/// time.
	pub async fn check_all(&self, all: Vec<Shown>) -> Vec<Found> {
		let mut agents = Vec::new();
		let mut serving = JoinSet::new();
		let mut parts = Vec::new();
		for (number, shown) in all.into_iter().enumerate() {
			let agent = Prover::start(&self.world, &shown.job).await;
			agent.introduce(&self.world, &self.checker).await;
			for (at, part, hash) in &shown.parts {
				parts.push((*at, number, *part, *hash));
			}
			agents.push((agent, Arc::new(shown)));
		}
		parts.sort_by_key(|(at, ..)| *at);
		let mut lines = Vec::new();
		for (agent, _) in &agents {
			lines.push(agent.connect(&self.world, &self.checker).await);
		}
		self.world
			.start_round(std::slice::from_ref(&self.checker))
			.await;
		let mut now = Duration::ZERO;
		for (at, number, part, hash) in parts {
			self.time.advance(at - now);
			now = at;
			let (agent, shown) = &agents[number];
			let push = Push::signed(&agent.pair, agent.trial(&shown.job), part, hash);
			let taken: Result<(), Refusal> = ask(&lines[number], &Request::Push(push)).await;
			assert_eq!(taken, Ok(()), "{part}");
		}
		let mut found = Vec::new();
		for (agent, shown) in agents {
			let job = shown.job.clone();
			let root = shown.roots.root(&job);
			serving.spawn(agent.serve(shown, self.refused.clone()));
			self.rules.forget();
			let request = self.request(&job, root);
			let checked = self.checked(request).await;
			found.push(Found {
				verdict: checked.verdict,
				verified: self.rules.verified(),
			});
		}
		found
	}

	async fn checked(&self, request: SeatRequest) -> kaisar_primitives::agent::Checked {
		use kaisar_primitives::agent::{PATH_CHECK, Progress, SeatReply};
		// A check that tries again waits by the clock.
		let pass = async {
			loop {
				tokio::time::sleep(Duration::from_millis(5)).await;
				if self.refused.load(Relaxed) {
					self.time.advance(Duration::from_millis(200));
				}
			}
		};
		let check = crate::world::until(WAIT, async || {
			let replies: Vec<SeatReply> = self
				.world
				.ask(&self.checker, PATH_CHECK, vec![request.clone()])
				.await;
			match replies.into_iter().next()?.progress {
				Progress::Working => None,
				Progress::Done(checked) => Some(checked),
				Progress::Failed(error) => panic!("{error}"),
			}
		});
		tokio::select! {
			checked = check => checked,
			() = pass => unreachable!(),
		}
	}

	fn request(&self, job: &Job, root: Hash) -> SeatRequest {
		SeatRequest {
			worker: job.worker,
			agent: job.agent,
			spec: job.spec,
			bench: job.bench,
			reference: job.reference,
			open_seed: OPEN_SEED,
			window: None,
			..self.world.seat(CHECKERS[0], root)
		}
	}

	/// Returns the challenge that this checker draws: a prover that knows its secret knows it in advance.
	pub fn challenge(root: &Hash) -> Challenge {
		let secret = kaisar_agent::rules::secret_of(&pair(CHECKERS[0]));
		Challenge::new(&secret, root, OPEN_SEED)
	}
}

/// A worker's agent of a test.
struct Prover {
	pair: ed25519::Pair,
	endpoint: Endpoint,
}

impl Prover {
	async fn start(world: &World, job: &Job) -> Self {
		let pair = key_of(job.worker);
		assert_eq!(pair.public(), job.agent);
		let bind = Some("127.0.0.1:0".parse().unwrap());
		let endpoint = bind_endpoint(&pair.seed(), bind, None, &[ALPN])
			.await
			.unwrap();
		let peers = Peers::new(&world.path().join("peers")).unwrap();
		peers.publish(&pair, &own_addr(&endpoint), 1).unwrap();
		Self { pair, endpoint }
	}

	fn trial(&self, job: &Job) -> Trial {
		Trial {
			genesis: job.genesis,
			round: job.round,
			seed: Lab::trial_seed(),
			worker: job.worker,
		}
	}

	async fn connect(&self, world: &World, checker: &Agent) -> Connection {
		let peers = Peers::new(&world.path().join("peers")).unwrap();
		let addr = peers.lookup(&checker.key()).unwrap();
		self.endpoint.connect(addr, ALPN).await.unwrap()
	}

	/// Introduces itself until the checker's node has admitted it.
	async fn introduce(&self, world: &World, checker: &Agent) {
		let worker = worker_of(&self.pair);
		let introduction = Request::Introduce(Introduction {
			genesis: world.genesis,
			round: 4,
			worker,
		});
		loop {
			let line = self.connect(world, checker).await;
			if ask::<Introduced>(&line, &introduction).await == Ok(Introduced::Admitted) {
				return;
			}
			let own = self.pair.public();
			world
				.answer_claims(checker, |claim| {
					(claim.worker, claim.agent) == (worker, own)
				})
				.await;
		}
	}

	/// Answers its committee.
	async fn serve(self, shown: Arc<Shown>, refused: Arc<AtomicBool>) {
		let mut lines = JoinSet::new();
		while let Some(incoming) = self.endpoint.accept().await {
			let Ok(line) = incoming.accept().unwrap().await else {
				continue;
			};
			let (shown, pair) = (shown.clone(), self.pair);
			let refused = refused.clone();
			lines.spawn(async move {
				while let Ok((mut send, mut recv)) = line.accept_bi().await {
					let Ok(request) = wire::read(&mut recv, MAX_REQUEST).await else {
						continue;
					};
					answer(&pair, &shown, &refused, &mut send, request).await;
					let _ = send.finish();
				}
			});
		}
	}
}

fn worker_of(pair: &ed25519::Pair) -> WorkerId {
	let seed = pair.seed();
	WorkerId::from_le_bytes([seed[0], seed[1], seed[2], seed[3]])
}

async fn answer(
	pair: &ed25519::Pair,
	shown: &Shown,
	refused: &AtomicBool,
	send: &mut SendStream,
	request: Request,
) {
	let _ = match request {
		Request::Hello(which) => {
			assert_eq!(which.checker, checker_key(CHECKERS[0]));
			let receipt = pair.sign(&which.receipt_payload());
			wire::write(send, &Ok::<_, Refusal>(receipt)).await
		}
		Request::Roots(_) => wire::write(send, &RootsReply::Ok(shown.roots.clone())).await,
		Request::Open(_, resource, challenge) => {
			let opened = tokio::task::block_in_place(|| (shown.opens)(resource, &challenge));
			refused.fetch_or(opened.is_err(), Relaxed);
			wire::write_openings(send, &opened).await
		}
		_ => wire::write(send, &Err::<(), _>(Refusal::Bad)).await,
	};
}

async fn ask<T: codec::DecodeWithMemTracking>(
	line: &Connection,
	request: &Request,
) -> Result<T, Refusal> {
	let (mut send, mut recv) = line.open_bi().await.unwrap();
	wire::write(&mut send, request).await.unwrap();
	wire::read(&mut recv, MAX_REPLY).await.unwrap()
}
