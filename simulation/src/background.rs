//! The mind of the honest background of a network.

use crate::{
	actors::{Desk, Mind, Purse},
	network,
	world::draw,
};
use kaisar_primitives::{OperatorId, WorkerId};
use kaisar_runtime::{Runtime, RuntimeEvent};

/// Mind of the honest background: all of its machines run, except a few that are sometimes unreachable in a
/// census, and come back.
pub struct Background {
	/// Number of workers in a thousand that no checker reaches in a round.
	pub lost: u32,
	/// Number of operators in a thousand that are registered and do nothing.
	pub dead: u32,
	/// The seed of the play.
	pub seed: u64,
}

impl Mind for Background {
	fn purse(&self) -> Purse {
		Purse::default()
	}

	fn act(&mut self, desk: &mut Desk) {
		use pallet_providers::{Call, Event};
		let back: Vec<WorkerId> = desk
			.block
			.events
			.iter()
			.filter_map(|event| match event {
				RuntimeEvent::Providers(Event::FoundOffline { worker, .. }) => Some(*worker),
				_ => None,
			})
			.filter(|worker| desk.workers[*worker as usize].party == desk.id)
			.collect();
		for worker in back {
			let owner = network::background_owner(worker);
			desk.send(&owner, Call::<Runtime>::go_online { worker });
		}
	}

	fn serves(&mut self, desk: &mut Desk, worker: WorkerId, _: OperatorId) -> bool {
		// All votes on a worker are settled in one block, and so have the same finding.
		let when = desk.now() / 60;
		draw(1_000, self.seed, (b"lost", worker, when)) >= self.lost
	}

	fn commits(&mut self, _: &mut Desk, operator: OperatorId) -> bool {
		draw(1_000, self.seed, (b"dead", operator)) >= self.dead
	}
}
