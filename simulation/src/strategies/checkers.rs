//! Operators that do not check, that do not open, or that act together.

use super::{Limit, PURSE, Scenario, Sides, as_is, honest_operators, honest_owner};
use crate::{
	actors::{Desk, Honest, Mind, Opening, PartyId, Purse, open_check},
	network::{self, Network},
	physics,
};
use kaisar_math::committee::is_majority;
use kaisar_primitives::{
	Balance, Checks, KAI, OperatorId, RoundIndex, RoundKind, Verdict, WorkerId, WorkerSpec,
	WorkerState,
};
use kaisar_runtime::{Popw, Providers, Runtime, RuntimeEvent};
use pallet_providers::Call;

/// Returns the licenses of a party that holds this percentage of all active ones.
fn share(network: &Network, percent: u32) -> u32 {
	let others = network.operators * network.licenses;
	others * percent / (100 - percent)
}

/// Spreads licenses evenly over accounts.
fn over(licenses: u32, accounts: u32) -> Vec<u32> {
	(0..accounts)
		.map(|account| licenses / accounts + u32::from(account < licenses % accounts))
		.filter(|licenses| *licenses > 0)
		.collect()
}

/// Returns the licenses of a party that is not a coalition: two percent, in five accounts. With more, two
/// parties that vote unseen would in effect be one if they are played in the same network.
fn some(network: &Network) -> Vec<u32> {
	over(share(network, 2), 5)
}

/// An operator that votes that every worker is online and as it claims, without checking it. Its checks cost
/// it no bandwidth and no time. At a worker that nobody reaches it dissents, or gets a strike if it is
/// alone. Bounded by dissent and strikes (`docs/popw.md`, *What votes decide*; `docs/checkers.md`, *Strikes
/// and bans*).
struct Lazy {
	operators: Vec<u32>,
}

/// Returns the vote that a worker is online and as it claims.
fn unseen(desk: &Desk, worker: WorkerId) -> Verdict {
	if open_check(worker).is_some_and(|check| check.rented) {
		physics::presence(true)
	} else {
		desk.as_claimed(worker)
	}
}

impl Mind for Lazy {
	fn purse(&self) -> Purse {
		honest_operators(self.operators.clone()).purse()
	}

	fn votes(&mut self, desk: &mut Desk, _: OperatorId, worker: WorkerId, _: Verdict) -> Verdict {
		unseen(desk, worker)
	}
}

/// An operator that votes unseen as the lazy one does, opens in the phase's last block, and does not open a
/// batch that is alone or wrong more often than right by the votes revealed until then. Bounded by
/// commitments that bind and by the missed seats of unopened ones (`docs/popw.md`, *Commitments bind*,
/// withholding has a price).
struct LastMover {
	operators: Vec<u32>,
}

/// Returns whether the others' revealed votes contradict a vote: more differ than agree.
fn is_contradicted(worker: WorkerId, operator: OperatorId, vote: &Verdict) -> bool {
	let Some(check) = open_check(worker) else {
		return false;
	};
	let (mut same, mut other) = (0u32, 0u32);
	for seat in check
		.committee
		.iter()
		.filter(|seat| seat.operator != operator)
	{
		match seat.vote {
			Some(theirs) if theirs.online == vote.online => same += u32::from(seat.weight),
			Some(_) => other += u32::from(seat.weight),
			None => {}
		}
	}
	other > same
}

impl Mind for LastMover {
	fn purse(&self) -> Purse {
		honest_operators(self.operators.clone()).purse()
	}

	fn votes(&mut self, desk: &mut Desk, _: OperatorId, worker: WorkerId, _: Verdict) -> Verdict {
		unseen(desk, worker)
	}

	fn opening(&mut self, _: &mut Desk, _: OperatorId) -> Opening {
		Opening::Last
	}

	fn opens(
		&mut self,
		_: &mut Desk,
		operator: OperatorId,
		_: RoundIndex,
		votes: &[(WorkerId, Verdict)],
	) -> bool {
		let wrong = votes
			.iter()
			.filter(|(worker, vote)| is_contradicted(*worker, operator, vote))
			.count();
		wrong * 2 <= votes.len()
	}
}

/// An operator that checks honestly, commits, and opens only every second commitment, to choose when its
/// votes count. Bounded by 2ⁿ missed seats (`docs/popw.md`, *Commitments bind*).
struct Withholder {
	operators: Vec<u32>,
	commitments: u32,
}

impl Mind for Withholder {
	fn purse(&self) -> Purse {
		honest_operators(self.operators.clone()).purse()
	}

	fn opens(
		&mut self,
		_: &mut Desk,
		_: OperatorId,
		_: RoundIndex,
		_: &[(WorkerId, Verdict)],
	) -> bool {
		self.commitments += 1;
		!self.commitments.is_multiple_of(2)
	}
}

/// A coalition that owns operators, and identities without a GPU. If it has more than half of a committee of
/// its own worker, it votes as the worker claims; otherwise it votes its finding. Bounded by the binomial
/// odds of more than half in active licenses, by the claim and by its stake (`docs/popw.md`, *Committees*).
///
/// With `withholds` it also authors the first block of each round, and withholds a block that draws no
/// majority for any of its workers: it gets one other draw, for the block's reward (*What a round's start
/// fixes, and when*).
struct Pass {
	operators: Vec<u32>,
	fakes: u32,
	/// Function that returns the claim of each identity in a region.
	claim: fn([u8; 2]) -> WorkerSpec,
	withholds: bool,
}

/// Returns the KAI that an identity of the coalition needs: its stake, its fee, its deposit, and fees of
/// verifications.
fn identity(claim: fn([u8; 2]) -> WorkerSpec) -> Balance {
	let claim = claim(network::REGION);
	let score = network::class_score(claim.gpu_class);
	let least = kaisar_math::stake::minimum(500 * KAI, 200 * KAI, score, claim.gpu_count);
	least.unwrap_or(0) + 150 * KAI
}

impl Mind for Pass {
	fn purse(&self) -> Purse {
		Purse {
			accounts: vec![PURSE + Balance::from(self.fakes) * identity(self.claim)],
			operators: self.operators.clone(),
		}
	}

	fn enter(&mut self, desk: &mut Desk) {
		let owner = desk.account(0);
		let claim = (self.claim)(desk.region());
		for _ in 0..self.fakes {
			let hut = desk.machine(physics::hut(claim));
			desk.register(&owner, claim, (hut, hut), 0);
		}
	}

	fn act(&mut self, desk: &mut Desk) {
		bring_back(desk);
	}

	fn withholds(&self) -> bool {
		self.withholds
	}

	fn likes(&mut self, desk: &mut Desk) -> bool {
		let started: Vec<RoundIndex> = desk
			.block
			.events
			.iter()
			.filter_map(|event| match event {
				RuntimeEvent::Popw(pallet_popw::Event::RoundStarted { round, .. }) => Some(*round),
				_ => None,
			})
			.collect();
		let mut due = 0;
		for round in started {
			for worker in desk.me.workers.iter().copied() {
				if !Popw::is_due(worker, round) {
					continue;
				}
				due += 1;
				let committee = Popw::committee(worker, round);
				let size: u32 = committee.iter().map(|(_, weight)| weight).sum();
				let own = committee
					.iter()
					.filter(|(operator, _)| desk.is_mine(*operator))
					.map(|(_, weight)| weight)
					.sum();
				if is_majority(own, size) {
					return true;
				}
			}
		}
		due == 0
	}

	fn votes(
		&mut self,
		desk: &mut Desk,
		_: OperatorId,
		worker: WorkerId,
		seen: Verdict,
	) -> Verdict {
		let own = desk.workers[worker as usize].party == desk.id;
		if own && desk.has_majority(worker) {
			desk.as_claimed(worker)
		} else {
			seen
		}
	}
}

/// Requests a verification of each own worker that waits for one, in each spot round in which that is
/// possible.
pub fn bring_back(desk: &mut Desk) {
	let starts = desk.block.events.iter().any(|event| {
		use pallet_popw::Event;
		let RuntimeEvent::Popw(Event::RoundStarted { kind, .. }) = event else {
			return false;
		};
		*kind == RoundKind::Spot
	});
	if !starts {
		return;
	}
	for worker in desk.me.workers.clone() {
		let waits = Providers::worker(worker).filter(|view| {
			let away = matches!(view.state, WorkerState::Pending | WorkerState::Offline);
			away && view.forced.is_none() && !<Popw as Checks>::is_held(worker)
		});
		if let Some(view) = waits {
			desk.send(&view.owner, Call::<Runtime>::go_online { worker });
		}
	}
}

/// A coalition that votes a victim's workers offline if it has more than half of their committees. It gains
/// only the bounty of a slash, which needs more than three quarters. Bounded by the binomial odds
/// (`docs/popw.md`, *Committees*).
struct Fail {
	operators: Vec<u32>,
	victim: PartyId,
}

impl Mind for Fail {
	fn purse(&self) -> Purse {
		honest_operators(self.operators.clone()).purse()
	}

	fn votes(
		&mut self,
		desk: &mut Desk,
		_: OperatorId,
		worker: WorkerId,
		seen: Verdict,
	) -> Verdict {
		let theirs = desk.workers[worker as usize].party == self.victim;
		if theirs && desk.has_majority(worker) {
			Verdict::OFFLINE
		} else {
			seen
		}
	}
}

/// A coalition that votes that a victim's machines have no GPU, so that no hardware is decided if another
/// seat is dead. Bounded by dissent otherwise, and by the damage it can do: an interval's pay
/// (`docs/popw.md`, *Attacks and what they cost*, two hostile seats beside a dead one).
struct Undecide {
	operators: Vec<u32>,
	victim: PartyId,
}

impl Mind for Undecide {
	fn purse(&self) -> Purse {
		honest_operators(self.operators.clone()).purse()
	}

	fn votes(
		&mut self,
		desk: &mut Desk,
		_: OperatorId,
		worker: WorkerId,
		seen: Verdict,
	) -> Verdict {
		let theirs = desk.workers[worker as usize].party == self.victim;
		// A single seat decides nothing, and only dissents.
		if theirs && desk.seats(worker).is_some_and(|(own, _)| own >= 2) {
			Verdict {
				gpu_class: 0,
				gpu_count: 0,
				..seen
			}
		} else {
			seen
		}
	}
}

/// Returns the victim of a coalition: an owner of twenty machines at home.
fn victim() -> Honest {
	honest_owner(vec![physics::home(*b"DE"); 20], 0)
}

/// Heading about the power of a committee's majority.
const MOST: &str = "docs/popw.md, Committees: a party with more than half of a committee";

/// Returns both sides of a coalition that passes identities.
fn pass(strategic: Pass) -> Sides {
	let honest = Honest {
		operators: strategic.operators.clone(),
		kai: PURSE + Balance::from(strategic.fakes) * identity(strategic.claim),
		..Default::default()
	};
	Sides::of(strategic, honest)
}

/// Returns a coalition with a percentage of all licenses in this number of accounts, and with ten identities
/// that claim a machine at home.
fn passing(network: &Network, percent: u32, accounts: u32) -> Pass {
	Pass {
		operators: over(share(network, percent), accounts),
		fakes: 10,
		claim: physics::home,
		withholds: false,
	}
}

/// Returns the strategies of operators.
pub fn all() -> Vec<Scenario> {
	vec![
		Scenario {
			name: "lazy-checker",
			about: "Votes that every worker is as it claims, unseen. Dissents, or gets a strike, if one is not.",
			limit: Limit::Honest,
			sides: |network, _| {
				let operators = some(network);
				Sides::of(
					Lazy {
						operators: operators.clone(),
					},
					honest_operators(operators),
				)
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "last-mover",
			about: "Votes unseen, reveals last, and does not open votes that others contradict. Pays in missed seats.",
			limit: Limit::Honest,
			sides: |network, _| {
				let operators = some(network);
				Sides::of(
					LastMover {
						operators: operators.clone(),
					},
					honest_operators(operators),
				)
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "withheld",
			about: "Checks, commits, and opens only every second commitment. Pays in missed seats.",
			limit: Limit::Honest,
			sides: |network, _| {
				let operators = some(network);
				Sides::of(
					Withholder {
						operators: operators.clone(),
						commitments: 0,
					},
					honest_operators(operators),
				)
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "pass-few",
			about: "A tenth of all licenses in two accounts passes ten identities without a GPU if it can.",
			limit: Limit::Documented {
				most: 1.10,
				heading: MOST,
			},
			sides: |network, _| pass(passing(network, 10, 2)),
			alone: true,
			rules: as_is,
		},
		Scenario {
			name: "pass-many",
			about: "The same with each license in an account of its own.",
			limit: Limit::Documented {
				most: 1.10,
				heading: MOST,
			},
			sides: |network, _| pass(passing(network, 10, share(network, 10))),
			alone: true,
			rules: as_is,
		},
		Scenario {
			name: "pass-third",
			about: "A third of all licenses in thirty accounts passes ten identities without a GPU.",
			limit: Limit::Documented {
				most: 1.25,
				heading: MOST,
			},
			sides: |network, _| pass(passing(network, 33, 30)),
			alone: true,
			rules: as_is,
		},
		Scenario {
			name: "pass-racks",
			about: "A third of all licenses passes five identities that claim eight H100 each.",
			limit: Limit::Documented {
				most: 1.5,
				heading: MOST,
			},
			alone: true,
			sides: |network, _| {
				pass(Pass {
					fakes: 5,
					claim: physics::rack,
					..passing(network, 33, 30)
				})
			},
			rules: as_is,
		},
		Scenario {
			name: "pass-withhold",
			about: "As pass-many, by the author of the first block of every round, which withholds one that draws it no \
				majority.",
			limit: Limit::Documented {
				most: 1.10,
				heading: "docs/popw.md, What a round's start fixes, and when: what an author can still do",
			},
			alone: true,
			sides: |network, _| {
				pass(Pass {
					withholds: true,
					..passing(network, 10, share(network, 10))
				})
			},
			rules: as_is,
		},
		Scenario {
			name: "fail",
			about: "A fifth of all licenses votes a victim's twenty machines offline if it has the majority.",
			limit: Limit::Documented {
				most: 1.05,
				heading: MOST,
			},
			sides: |network, first| {
				let operators = over(share(network, 20), 20);
				Sides::of(
					Fail {
						operators: operators.clone(),
						victim: first + 1,
					},
					honest_operators(operators),
				)
				.with(victim)
			},
			alone: true,
			rules: as_is,
		},
		Scenario {
			name: "undecide",
			about: "A tenth of all licenses votes that a victim has no GPUs if it has two seats.",
			limit: Limit::Harm {
				heading: "docs/popw.md, Attacks and what they cost: two hostile seats beside a dead one",
			},
			sides: |network, first| {
				let operators = over(share(network, 10), 20);
				Sides::of(
					Undecide {
						operators: operators.clone(),
						victim: first + 1,
					},
					honest_operators(operators),
				)
				.with(victim)
			},
			alone: true,
			rules: as_is,
		},
	]
}
