//! Floods of signed calls: the attestations that they keep out of blocks, and their costs.
//!
//! A party fills the blocks of a census' attest phase with its own calls, signed and tipped. Blocks are
//! built as on nodes, by the runtime's own priorities, weights and fees. So the figures show how many
//! workers could not attest, and how fast the flood raises its own price.

use crate::{
	actors::{Desk, Honest, Mind, Purse},
	chain::Sender,
	network::Network,
	play,
	strategies::Sides,
	world::{World, kai},
};
use kaisar_primitives::{Balance, KAI, RoundKind, Verdict};
use kaisar_runtime::{Runtime, RuntimeCall, TransactionPayment};
use pallet_popw::Phase;
use serde::Serialize;

/// Number of sending accounts: enough for nonces not to limit the flood.
const ACCOUNTS: u32 = 8;
/// Number of calls sent for each block: more than a block can carry.
const CALLS: u32 = 64;

/// Kind of call in a flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Flood {
	/// A reveal of 64 votes without a commitment: it is operational, and the most expensive call of rounds.
	Reveals,
	/// A remark of 64 KB, which is an ordinary call.
	Remarks,
}

impl Flood {
	/// Both kinds.
	pub const ALL: [Self; 2] = [Self::Reveals, Self::Remarks];

	/// Returns the name in the table.
	pub fn name(self) -> &'static str {
		match self {
			Self::Reveals => "reveals of 64 votes",
			Self::Remarks => "remarks of 64 KB",
		}
	}

	fn call(self) -> RuntimeCall {
		match self {
			Self::Reveals => pallet_popw::Call::<Runtime>::reveal {
				operator: 0,
				round: 0,
				batch: 0,
				votes: vec![(0, Verdict::OFFLINE); 64]
					.try_into()
					.expect("64 votes are a batch"),
				salt: [0; 32],
				signature: None,
			}
			.into(),
			Self::Remarks => frame_system::Call::<Runtime>::remark {
				remark: vec![0; 64 << 10],
			}
			.into(),
		}
	}
}

/// A party that floods the attest phases of censuses.
struct Flooder {
	flood: Flood,
	tip: Balance,
}

impl Mind for Flooder {
	fn purse(&self) -> Purse {
		Purse {
			accounts: vec![1_000_000 * KAI; ACCOUNTS as usize],
			operators: Vec::new(),
		}
	}

	fn act(&mut self, desk: &mut Desk) {
		let next = desk.now() + 1;
		let attests = kaisar_runtime::Popw::rounds()
			.iter()
			.any(|round| round.kind == RoundKind::Census && round.phase(next) == Phase::Attest);
		if !attests || !desk.is_open() {
			return;
		}
		for number in 0..CALLS {
			let who = desk.account((number % ACCOUNTS) as usize);
			let sender = Sender::Account(who, self.tip);
			// A call that is not carried at once is sent anew.
			desk.pool.send(sender, self.flood.call(), next);
		}
	}
}

/// The result of a flood.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Flooded {
	/// Kind of the calls.
	pub flood: Flood,
	/// Tip of each call, in KAI.
	pub tip: f64,
	/// Number of flooded blocks.
	pub blocks: u32,
	/// Mean part of their weight that was used.
	pub fullness: f64,
	/// Mean cost of a flooded block, in KAI.
	pub cost: f64,
	/// Mean part by which a flooded block raises the fees of the next one.
	pub dearer: f64,
	/// Number of attestations in the flooded blocks.
	pub attested: u32,
	/// Number of attestations in the same blocks without a flood.
	pub without: u32,
	/// Number of workers found absent, beyond those without a flood.
	pub absent: i64,
}

/// Counts of one side.
struct Counted {
	blocks: u32,
	used: f64,
	attested: u32,
	absent: i64,
	/// Sum of the flooded blocks' additions to the logarithm of the fee multiplier.
	growth: f64,
	cost: f64,
}

fn count(world: &mut World, party: usize) -> Counted {
	use kaisar_runtime::RuntimeEvent;
	let before = world.worth(party);
	let mut counted = Counted {
		blocks: 0,
		used: 0.0,
		attested: 0,
		absent: 0,
		growth: 0.0,
		cost: 0.0,
	};
	let most = kaisar_runtime::constants::RuntimeBlockWeights::get()
		.max_block
		.ref_time() as f64;
	let mut last = f64::NAN;
	world.play_with(|world| {
		let (census, multiplier) = world.on_chain(|world| {
			let now = world.block().number;
			let census = kaisar_runtime::Popw::rounds()
				.iter()
				.any(|round| round.kind == RoundKind::Census && round.phase(now) == Phase::Attest);
			let multiplier = TransactionPayment::next_fee_multiplier();
			(census, multiplier.into_inner() as f64)
		});
		let block = world.block();
		for event in &block.events {
			match event {
				RuntimeEvent::Popw(pallet_popw::Event::Attested { .. }) if census => {
					counted.attested += 1;
				}
				RuntimeEvent::Popw(pallet_popw::Event::AbsentReported { .. }) => {
					counted.absent += 1;
				}
				_ => {}
			}
		}
		if census {
			counted.blocks += 1;
			counted.used += block.used.ref_time() as f64 / most;
			counted.growth += (multiplier / last).ln();
		}
		last = multiplier;
	});
	counted.cost = kai(before as i128 - world.worth(party) as i128);
	counted
}

/// Plays a flood, and the same network without it.
pub fn measure(flood: Flood, tip: Balance, network: &Network) -> Flooded {
	let quiet = Honest {
		kai: 1_000_000 * KAI,
		..Default::default()
	};
	let sides = Sides::beside(Flooder { flood, tip }, quiet);
	let with = count(&mut play::new_world(network, sides.strategic), 1);
	let without = count(&mut play::new_world(network, sides.honest), 1);
	let blocks = f64::from(with.blocks.max(1));
	Flooded {
		flood,
		tip: kai(tip as i128),
		blocks: with.blocks,
		fullness: with.used / blocks,
		cost: with.cost / blocks,
		dearer: (with.growth / blocks).exp() - 1.0,
		attested: with.attested,
		without: without.attested,
		absent: with.absent - without.absent,
	}
}
