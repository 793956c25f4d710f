//! Owners that show one machine as several, show machines that they do not have, or serve only part of a
//! committee.

use super::{
	Limit, PURSE, Scenario, Sides, as_is, checkers::bring_back, honest_owner, one_at_home,
	orders::Customer,
};
use crate::{
	actors::{Desk, Honest, Mind, Purse, open_check},
	network,
	physics::{self, Entrant, MachineId},
};
use kaisar_primitives::{Balance, KAI, OperatorId, RoundKind, WorkerId, WorkerSpec, WorkerState};
use kaisar_runtime::{Providers, Runtime, RuntimeEvent};
use pallet_popw::{Phase, Round};
use pallet_providers::Call;

/// An owner that serves the agents of three operators of a committee, and saves the bandwidth for the
/// others. Bounded by the need for more than half of the size: a dead or dissenting seat leaves it without
/// consensus and unpaid (`docs/popw.md`, *What votes decide*).
struct Picky {
	machine: WorkerSpec,
}

impl Mind for Picky {
	fn purse(&self) -> Purse {
		one_at_home().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		honest_owner(vec![self.machine], 0).enter(desk);
	}

	fn serves(&mut self, _: &mut Desk, worker: WorkerId, operator: OperatorId) -> bool {
		let Some(check) = open_check(worker) else {
			return true;
		};
		let mut weight = 0;
		for seat in &check.committee {
			if weight >= 3 {
				break;
			}
			weight += seat.weight;
			if seat.operator == operator {
				return true;
			}
		}
		false
	}
}

/// An owner that splits one machine into equal parts, each an identity. Bounded by scores that count cores
/// and GPUs, by the line, on which all identities of an owner are measured together, and by a stake for each
/// (`docs/rewards.md`, *Idle and rented blocks*; *Attacks and what they cost*, a server in parts).
struct Split {
	machine: WorkerSpec,
	parts: u16,
	/// Whether each part is owned by an account of its own, and claims the whole line.
	owners: bool,
}

impl Mind for Split {
	fn purse(&self) -> Purse {
		let owners = if self.owners { self.parts } else { 1 };
		Purse {
			accounts: vec![60_000 * KAI; owners.into()],
			operators: Vec::new(),
		}
	}

	fn enter(&mut self, desk: &mut Desk) {
		let whole = WorkerSpec {
			region: desk.region(),
			..self.machine
		};
		let machine = desk.machine(whole);
		let claim = physics::part(whole, self.parts, self.owners);
		for part in 0..self.parts {
			let owner = desk.account(if self.owners { part.into() } else { 0 });
			desk.register(&owner, claim, (machine, machine), 0);
		}
	}
}

/// Returns both sides of a split. The honest owner stakes the same amount on the whole machine.
fn split(machine: WorkerSpec, parts: u16, owners: bool) -> Sides {
	let honest = Honest {
		parts: Some(physics::part(machine, parts, owners)),
		kai: 60_000 * KAI * Balance::from(if owners { parts } else { 1 }),
		..honest_owner(vec![machine], parts - 1)
	};
	Sides::of(
		Split {
			machine,
			parts,
			owners,
		},
		honest,
	)
}

/// Excuse of an identity in a census in which the GPU runs for another identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Excuse {
	/// It attests as a server without a GPU, which it is.
	ClassZero,
	/// It does not attest.
	Absent,
	/// It serves two seats and refuses the others.
	NoConsensus,
}

/// An owner of one GPU behind several identities, each on a server of its own. In the set-up each is
/// verified alone, in a spot round of its own. In a census the GPU runs for one of them, and the others have
/// an excuse. Bounded by censuses, which check all idle workers at the same moment, and which alone credit
/// idle time (`docs/providers.md`, *Checks*; *What an attack costs*, one GPU behind three workers).
pub struct SharedGpu {
	identities: u16,
	excuse: Excuse,
	/// Whether the party's own second account rents all but one of them.
	rented: bool,
	gpu: MachineId,
	registered: u16,
	/// Whether the owner authors the blocks before each start, and takes the other identities offline in
	/// them if a census comes.
	foresight: bool,
}

impl SharedGpu {
	fn new(identities: u16, excuse: Excuse) -> Self {
		Self {
			identities,
			excuse,
			rented: false,
			gpu: 0,
			registered: 0,
			foresight: false,
		}
	}

	/// Returns the rank of an entrant for the GPU: while no census runs, a `Pending` one goes before those
	/// that are verified, and the first identity goes before all others.
	fn rank(worker: WorkerId) -> (bool, WorkerId) {
		let pending =
			Providers::worker(worker).is_some_and(|view| view.state == WorkerState::Pending);
		(!pending, worker)
	}
}

impl Mind for SharedGpu {
	fn purse(&self) -> Purse {
		Purse {
			accounts: vec![60_000 * KAI, PURSE],
			operators: Vec::new(),
		}
	}

	fn enter(&mut self, desk: &mut Desk) {
		self.gpu = desk.machine(physics::home(desk.region()));
	}

	fn act(&mut self, desk: &mut Desk) {
		let starts = desk.block.events.iter().any(|event| {
			matches!(
				event,
				RuntimeEvent::Popw(pallet_popw::Event::RoundStarted {
					kind: RoundKind::Spot,
					..
				})
			)
		});
		// One identity is registered in each spot round, so that each is verified alone.
		if starts && self.registered < self.identities {
			self.registered += 1;
			let owner = desk.account(0);
			let claim = physics::home(desk.region());
			let hut = desk.machine(physics::hut(claim));
			desk.register(&owner, claim, (hut, self.gpu), 0);
		}
		if self.rented && desk.is_open() {
			rent_own(desk, usize::from(self.identities) - 1);
		}
		if desk.foresees && desk.is_open() {
			let owner = desk.account(0);
			let others: Vec<WorkerId> = desk.me.workers.iter().skip(1).copied().collect();
			for worker in others {
				let state = Providers::worker(worker).map(|view| view.state);
				if state == Some(WorkerState::Online) {
					desk.send(&owner, Call::<Runtime>::go_offline { worker });
				}
			}
			return;
		}
		// Later, an identity that waits for a verification costs fees and earns nothing.
		if !desk.is_open() || self.foresight {
			bring_back(desk);
		}
	}

	fn foresees(&self) -> bool {
		self.foresight
	}

	fn attests(&mut self, desk: &mut Desk, worker: WorkerId, round: &Round) -> bool {
		let first = desk.me.workers.first() == Some(&worker);
		first || round.kind == RoundKind::Spot || self.excuse != Excuse::Absent
	}

	fn prefers(&mut self, desk: &mut Desk, round: &Round, entrants: &mut Vec<Entrant>) {
		entrants.sort_by_key(|it| Self::rank(it.worker));
		// A census that starts in the same block has its trial at the same moment, and pays.
		let census = pallet_popw::Rounds::<Runtime>::get(round.index + 1);
		if round.kind == RoundKind::Spot && census.is_some() {
			for it in entrants.iter_mut() {
				it.claim.gpu_count = 0;
			}
		}
		debug_assert_eq!(desk.now(), round.trial);
	}

	fn serves(&mut self, desk: &mut Desk, worker: WorkerId, operator: OperatorId) -> bool {
		if self.excuse != Excuse::NoConsensus || desk.me.workers.first() == Some(&worker) {
			return true;
		}
		let Some(check) = open_check(worker) else {
			return true;
		};
		let is_census = RoundKind::of(check.round) == RoundKind::Census;
		let place = check
			.committee
			.iter()
			.position(|seat| seat.operator == operator);
		!is_census || place.is_some_and(|place| place < 2)
	}
}

/// Keeps up to `most` orders of the party's second account for its own workers.
fn rent_own(desk: &mut Desk, most: usize) {
	let customer = desk.account(1);
	Customer::keep(
		desk,
		&customer,
		most,
		physics::HOME_CLASS,
		network::region(desk.id),
	);
}

/// An owner that rents its own machine. Bounded by the cap on the reward for rented blocks: half of the fees
/// that they paid (`docs/rewards.md`, *Idle and rented blocks*).
struct SelfRenter;

impl Mind for SelfRenter {
	fn purse(&self) -> Purse {
		Purse {
			accounts: vec![60_000 * KAI, PURSE],
			operators: Vec::new(),
		}
	}

	fn enter(&mut self, desk: &mut Desk) {
		one_at_home().enter(desk);
	}

	fn act(&mut self, desk: &mut Desk) {
		if desk.is_open() {
			rent_own(desk, 1);
		}
	}
}

/// An owner whose machine is present in a census, from the round's start until its proof is over, and
/// elsewhere otherwise. It is paid as if the machine stayed. Bounded by orders, for which the machine has to
/// come back, and by starts that nobody knows in advance (`docs/popw.md`, *Attacks and what they cost*, a
/// GPU that is fetched for a census).
struct Fetched;

impl Fetched {
	/// Returns whether a round needs the machine now: it has begun, and its openings are not over.
	fn is_needed(now: u32) -> bool {
		pallet_popw::Pallet::<Runtime>::rounds()
			.iter()
			.any(|round| {
				let of_interest = round.kind == RoundKind::Census;
				of_interest
					&& matches!(
						round.phase(now),
						Phase::Prepare | Phase::Attest | Phase::Commit
					)
			})
	}
}

impl Mind for Fetched {
	fn purse(&self) -> Purse {
		one_at_home().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		one_at_home().enter(desk);
	}

	fn act(&mut self, desk: &mut Desk) {
		let Some(worker) = desk.me.workers.first().copied() else {
			return;
		};
		let machine = desk.workers[worker as usize].machine;
		let needed = !desk.is_open() || Self::is_needed(desk.now());
		desk.machines[machine].on = needed;
		if !needed {
			desk.me.spared += 1;
		}
	}
}

/// Heading about parts of machines with GPUs.
const PARTS: &str =
	"docs/rewards.md, What these rules do not exclude: parts of a machine with GPUs";

/// Returns the hardware of a machine at home with two 4090.
fn two_at_home() -> WorkerSpec {
	WorkerSpec {
		gpu_count: 2,
		cpu_cores: 32,
		memory_gb: 128,
		disk_gb: 2_000,
		..physics::home(*b"DE")
	}
}

/// Returns the hardware of a machine with 28 cores, of which its tier counts four.
fn between_tiers() -> WorkerSpec {
	WorkerSpec {
		cpu_cores: 28,
		memory_gb: 448,
		disk_gb: 11_200,
		..physics::server(*b"DE")
	}
}

/// Returns both sides of a shared GPU. The honest owner has one machine, and stakes the same amount on it.
fn shared(identities: u16, excuse: Excuse) -> Sides {
	let honest = Honest {
		idle: Some(PURSE),
		..honest_owner(vec![physics::home(*b"DE")], identities - 1)
	};
	Sides::of(SharedGpu::new(identities, excuse), honest)
}

/// Returns the strategies of owners.
pub fn all() -> Vec<Scenario> {
	vec![
		Scenario {
			name: "picky-worker",
			about: "Serves three weights of five, and saves the bandwidth for the others.",
			limit: Limit::Honest,
			sides: |_, _| {
				Sides::of(
					Picky {
						machine: physics::home(*b"DE"),
					},
					one_at_home(),
				)
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "split-server",
			about: "A server of 64 cores as 16 identities of one owner.",
			limit: Limit::Honest,
			sides: |_, _| split(physics::server(*b"DE"), 16, false),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "split-owners",
			about: "A server of 64 cores as 16 identities of 16 owners, each of whom claims the whole line.",
			limit: Limit::Honest,
			sides: |_, _| split(physics::server(*b"DE"), 16, true),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "split-tiers",
			about: "A server of 28 cores, which count as 4, as seven identities of seven owners.",
			limit: Limit::Documented {
				most: 7.0,
				heading: "docs/rewards.md, What these rules do not exclude: a split between two tiers",
			},
			sides: |_, _| split(between_tiers(), 7, true),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "split-gpus",
			about: "A machine with two 4090 as two identities of one owner.",
			limit: Limit::Documented {
				most: 1.20,
				heading: PARTS,
			},
			sides: |_, _| split(two_at_home(), 2, false),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "shared-gpu",
			about: "One GPU behind four identities. In a census it shows one; the others show none.",
			limit: Limit::Honest,
			sides: |_, _| shared(4, Excuse::ClassZero),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "shared-gpu-absent",
			about: "One GPU behind four identities. In a census it shows one; the others do not attest.",
			limit: Limit::Honest,
			sides: |_, _| shared(4, Excuse::Absent),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "shared-gpu-undecided",
			about: "One GPU behind four identities. In a census the others serve two seats, so they get no consensus.",
			limit: Limit::Honest,
			sides: |_, _| shared(4, Excuse::NoConsensus),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "shared-gpu-self-rented",
			about: "One GPU behind three identities; the owner's second account rents two of them.",
			limit: Limit::Honest,
			sides: |_, _| {
				let mut sides = shared(3, Excuse::ClassZero);
				sides.strategic = vec![Box::new(SharedGpu {
					rented: true,
					..SharedGpu::new(3, Excuse::ClassZero)
				})];
				sides
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "shared-gpu-let",
			about: "One GPU behind three identities, two of which customers rent and one waits; beside one machine \
				that waits.",
			limit: Limit::Documented {
				most: 2.0,
				heading: "docs/providers.md, What is not excluded: one GPU behind identities that are rented",
			},
			alone: false,
			sides: |_, first| {
				let mut sides = shared(3, Excuse::ClassZero);
				sides.strategic.push(Box::new(Customer::of(first, 2)));
				// Both sides need the same number of parties.
				sides.honest.push(Box::new(Honest::default()));
				Sides {
					alike: None,
					..sides
				}
			},
			rules: as_is,
		},
		Scenario {
			name: "foresight",
			about: "One GPU behind two identities; the owner authors the blocks before each start, and takes one away \
				in them when a census comes.",
			limit: Limit::Honest,
			sides: |_, _| {
				let mut sides = shared(2, Excuse::ClassZero);
				sides.strategic = vec![Box::new(SharedGpu {
					foresight: true,
					..SharedGpu::new(2, Excuse::ClassZero)
				})];
				sides
			},
			alone: true,
			rules: as_is,
		},
		Scenario {
			name: "self-rent",
			about: "Rents its own machine, all the time.",
			limit: Limit::Honest,
			sides: |_, _| {
				let honest = Honest {
					idle: Some(PURSE),
					..one_at_home()
				};
				Sides::of(SelfRenter, honest)
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "fetched-gpu",
			about: "Brings its machine only for censuses, and is paid as if it stayed.",
			limit: Limit::Documented {
				most: 1.01,
				heading: "docs/popw.md, Attacks and what they cost: a GPU that is fetched for a census",
			},
			sides: |_, _| Sides::of(Fetched, one_at_home()),
			alone: false,
			rules: as_is,
		},
	]
}
