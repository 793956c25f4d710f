//! Delegators that swell pools, and owners that burn others' stake.

use super::{Limit, PURSE, Scenario, Sides, as_is, honest_owner};
use crate::{
	actors::{Desk, Honest, Mind, PartyId, Purse},
	network::Rules,
	physics,
};
use kaisar_primitives::{Balance, KAI, WorkerId};
use kaisar_runtime::{
	Runtime, RuntimeEvent, RuntimeParameters, configs::params::dynamic_params::providers,
};
use pallet_providers::{Call, Event};

/// A party that delegates to another party's worker, invited or not.
struct Delegator {
	party: PartyId,
	amount: Balance,
	sent: bool,
}

impl Mind for Delegator {
	fn purse(&self) -> Purse {
		Purse {
			accounts: vec![self.amount + PURSE],
			operators: Vec::new(),
		}
	}

	fn act(&mut self, desk: &mut Desk) {
		if self.sent || self.amount == 0 {
			return;
		}
		let theirs = (0..)
			.zip(desk.workers)
			.find(|(_, it)| it.party == self.party);
		if let Some((worker, _)) = theirs {
			self.sent = true;
			let who = desk.account(0);
			desk.send(
				&who,
				Call::<Runtime>::stake {
					worker,
					amount: self.amount,
				},
			);
		}
	}
}

/// An owner whose machine has an outage in the middle of the play.
struct Outage;

impl Mind for Outage {
	fn purse(&self) -> Purse {
		owner().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		owner().enter(desk);
	}

	fn act(&mut self, desk: &mut Desk) {
		let Some(worker) = desk.me.workers.first().copied() else {
			return;
		};
		let machine = desk.workers[worker as usize].machine;
		desk.machines[machine].on = desk.now() < desk.opening + 150;
	}
}

fn owner() -> Honest {
	honest_owner(vec![physics::home(*b"DE")], 0)
}

/// Returns an owner with the lowest minimum stake.
fn server() -> Honest {
	honest_owner(vec![physics::server(*b"DE")], 0)
}

/// An owner that gives false proofs in two checks in a row, and applies the slash that follows, to get a
/// part of the stake of others on its worker. Bounded by the bounty of one percent, which just covers the
/// owner's own loss in a full pool (`docs/providers.md`, *What an attack costs*, burn what others
/// delegated).
struct Burner;

impl Mind for Burner {
	fn purse(&self) -> Purse {
		server().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		server().enter(desk);
	}

	fn act(&mut self, desk: &mut Desk) {
		let queued: Vec<_> = desk
			.block
			.events
			.iter()
			.filter_map(|event| match event {
				RuntimeEvent::Providers(Event::SlashQueued {
					slash, worker, due, ..
				}) => Some((*slash, *worker, *due)),
				_ => None,
			})
			.collect();
		let who = desk.account(0);
		for (id, worker, due) in queued {
			if desk.workers[worker as usize].party == desk.id {
				desk.pool.send_at(
					due,
					crate::chain::Sender::of(&who),
					Call::<Runtime>::apply_slash { id },
					due + 100,
				);
			}
		}
	}

	fn proves(&mut self, desk: &mut Desk, _: WorkerId) -> bool {
		!desk.is_open()
	}
}

/// Returns the rules with a deferral of slashes by forty blocks instead of two days, so that a slash is
/// applied within the play.
fn soon(rules: Rules) -> Rules {
	rules.with(RuntimeParameters::Providers(
		providers::Parameters::SlashDeferral(providers::SlashDeferral, Some(40)),
	))
}

/// Returns the strategies of delegators and of owners of pools.
pub fn all() -> Vec<Scenario> {
	vec![
		Scenario {
			name: "swell",
			about: "Delegates 40,000 KAI unasked to a machine that has an outage. Its owner loses its own rate and no \
				more; the delegator loses the same rate.",
			limit: Limit::Harm {
				heading: "docs/providers.md, What an attack costs: delegate to a rival unasked, and have it slashed",
			},
			sides: |_, first| {
				let delegator = Delegator {
					party: first + 1,
					amount: 40_000 * KAI,
					sent: false,
				};
				let honest = Honest {
					kai: 42_000 * KAI,
					..Default::default()
				};
				Sides::of(delegator, honest).with(|| Outage)
			},
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "burn",
			about: "An owner with 500 KAI gives two false proofs, and burns half of 49,500 KAI that another delegated.",
			limit: Limit::Harm {
				heading: "docs/providers.md, What an attack costs: burn what others delegated",
			},
			sides: |_, first| {
				Sides::of(Burner, server()).with(|| Delegator {
					party: first,
					amount: 49_500 * KAI,
					sent: false,
				})
			},
			alone: true,
			rules: soon,
		},
	]
}
