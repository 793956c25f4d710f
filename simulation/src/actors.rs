//! Parties, and the minds that lead them.
//!
//! A party owns accounts, machines, workers and operators. Its [`Mind`] is asked wherever an honest node or
//! person would act by rule: whether a worker attests, for which identity a machine runs, whom a worker
//! serves, how an operator votes, whether it opens what it committed to, what becomes of an order. Every
//! method has the honest answer as its default. A mind sees what such a party sees: the chain's public
//! state, and what its own machines and seats were shown.

use crate::{
	chain::{Block, Sender},
	network,
	physics::{Entrant, Machine, MachineId},
	pool::Pool,
};
use kaisar_primitives::{
	Balance, BlockNumber, DeployFailure, KAI, OperatorId, OrderId, RoundIndex, Verdict, WorkerId,
	WorkerSpec,
};
use kaisar_runtime::{AccountId, Runtime, RuntimeCall};
use pallet_popw::Round;
use std::collections::{BTreeMap, VecDeque};

/// A party's number. The honest background is number 0.
pub type PartyId = usize;

/// A party.
#[derive(Clone, Default)]
pub struct Party {
	/// Its accounts. The first one is its main account.
	pub accounts: Vec<AccountId>,
	/// Its workers.
	pub workers: Vec<WorkerId>,
	/// Workers of any party on which its accounts have staked.
	pub pools: Vec<WorkerId>,
	/// Its operators, in the order of their accounts.
	pub operators: Vec<OperatorId>,
	/// The price of machines of others that it had the use of, in KAI units.
	pub used: Balance,
	/// Blocks for which a machine that it owns was free for something else, though its worker was paid.
	pub spared: u64,
	/// Blocks that it withheld as their author.
	pub withheld: u32,
}

/// The KAI and licenses that a party brings to the network, and its counterpart too.
#[derive(Clone, Debug, Default)]
pub struct Purse {
	/// KAI of each of its accounts that are no operators.
	pub accounts: Vec<Balance>,
	/// Licenses of each of its operators, which are accounts of their own.
	pub operators: Vec<u32>,
}

/// A worker as its owner knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
	/// The party that owns it.
	pub party: PartyId,
	/// Its claim.
	pub claim: WorkerSpec,
	/// The machine that it runs on.
	pub machine: MachineId,
	/// The machine whose GPUs it shows.
	pub gpus_of: MachineId,
}

/// An operator's node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operator {
	/// The party that owns it.
	pub party: PartyId,
	/// Its account.
	pub account: AccountId,
}

/// When an operator opens a commitment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
	/// In its part of the reveal phase, as nodes do.
	Usual,
	/// In the phase's last block, after all others.
	Last,
}

/// A provider's answer to an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deployment {
	/// Runs it.
	Run,
	/// Says that it cannot be deployed.
	Fail(DeployFailure),
	/// Nothing at all.
	Ignore,
}

/// A mind's desk: what it sees, and where it puts its transactions.
pub struct Desk<'a> {
	/// The block that just ended.
	pub block: &'a Block,
	/// The first block of the play.
	pub opening: BlockNumber,
	/// The party's number.
	pub id: PartyId,
	/// The party.
	pub me: &'a mut Party,
	/// All machines.
	pub machines: &'a mut Vec<Machine>,
	/// All workers, by number.
	pub workers: &'a [Identity],
	/// All operators, by number.
	pub operators: &'a [Operator],
	/// Registrations that were sent: machine and GPUs of the workers to come, by owner.
	pub coming: &'a mut BTreeMap<AccountId, VecDeque<Identity>>,
	/// Registrations ever sent, for their keys.
	pub keys: &'a mut u32,
	/// The party authors the next blocks, and so knows that a census starts within four of them.
	pub foresees: bool,
	/// The transactions that wait.
	pub pool: &'a mut Pool,
}

impl Desk<'_> {
	/// The block that just ended.
	pub fn now(&self) -> BlockNumber {
		self.block.number
	}

	/// Whether the play has begun.
	pub fn is_open(&self) -> bool {
		self.now() >= self.opening
	}

	/// The party's account of this number.
	pub fn account(&self, number: usize) -> AccountId {
		self.me.accounts[number].clone()
	}

	/// The region of the party's machines.
	pub fn region(&self) -> [u8; 2] {
		network::region(self.id)
	}

	/// Sends a call of one of the party's accounts.
	pub fn send(&mut self, who: &AccountId, call: impl Into<RuntimeCall>) {
		let until = self.now() + 50;
		self.pool.send(Sender::of(who), call, until);
	}

	/// Sends a fee-less call of one of the party's nodes.
	pub fn send_free(&mut self, call: impl Into<RuntimeCall>) {
		let until = self.now() + 50;
		self.pool.send(Sender::Node, call, until);
	}

	/// Buys a machine.
	pub fn machine(&mut self, has: WorkerSpec) -> MachineId {
		self.machines.push(Machine { has, on: true });
		self.machines.len() - 1
	}

	/// Registers a worker that runs on a machine and shows the GPUs of one, with the least stake and
	/// `more`.
	pub fn register(
		&mut self,
		owner: &AccountId,
		claim: WorkerSpec,
		(machine, gpus_of): (MachineId, MachineId),
		more: Balance,
	) {
		*self.keys += 1;
		let (worker_key, agent_key, proof) = network::worker_keys(owner, u32::MAX - *self.keys);
		let call = pallet_providers::Call::<Runtime>::register_worker {
			spec: claim,
			worker_key,
			agent_key,
			stake: network::minimum(&claim) + more,
			proof,
		};
		self.coming
			.entry(owner.clone())
			.or_default()
			.push_back(Identity {
				party: self.id,
				claim,
				machine,
				gpus_of,
			});
		self.send(owner, call);
	}

	/// Whether an operator is the party's own.
	pub fn is_mine(&self, operator: OperatorId) -> bool {
		self.operators[operator as usize].party == self.id
	}

	/// Returns the weight of the party's seats in an open check, and the check's size.
	pub fn seats(&self, worker: WorkerId) -> Option<(u32, u32)> {
		let check = open_check(worker)?;
		let own = check
			.committee
			.iter()
			.filter(|seat| self.is_mine(seat.operator))
			.map(|seat| u32::from(seat.weight))
			.sum();
		Some((own, check.size.into()))
	}

	/// Whether the party holds more than half of an open check.
	pub fn has_majority(&self, worker: WorkerId) -> bool {
		self.seats(worker)
			.is_some_and(|(own, size)| kaisar_math::committee::is_majority(own, size))
	}

	/// Returns the verdict that a worker's claim asks for.
	pub fn as_claimed(&self, worker: WorkerId) -> Verdict {
		crate::physics::verdict(&self.workers[worker as usize].claim.bound())
	}
}

/// Returns the open check of a worker.
pub fn open_check(worker: WorkerId) -> Option<pallet_popw::Check> {
	match pallet_popw::LastChecks::<Runtime>::get(worker)? {
		pallet_popw::LastCheck::Open(check) => Some(check),
		pallet_popw::LastCheck::Closed { .. } => None,
	}
}

/// The mind of a party. Every default is what an honest one does.
pub trait Mind {
	/// Returns what the party brings.
	fn purse(&self) -> Purse;

	/// Enters the network, before its first block.
	fn enter(&mut self, _desk: &mut Desk) {}

	/// Whether the party authors the blocks before each start of a round, whose outputs say if it is a
	/// census.
	fn foresees(&self) -> bool {
		false
	}

	/// Whether the party authors the first block of each round, and may withhold it.
	fn withholds(&self) -> bool {
		false
	}

	/// Whether the party likes the draws of the rounds that a block of its own would start. `desk` is of
	/// the chain with that block.
	fn likes(&mut self, _desk: &mut Desk) -> bool {
		true
	}

	/// Acts after each block.
	fn act(&mut self, _desk: &mut Desk) {}

	/// Whether a due worker attests. Asked at the end of the trial's block.
	fn attests(&mut self, desk: &mut Desk, worker: WorkerId, _round: &Round) -> bool {
		let machine = desk.workers[worker as usize].machine;
		desk.machines[machine].on
	}

	/// Puts the identities that take part in a round's trial into the order in which shared machines serve
	/// them. It may have one show less than it claims.
	fn prefers(&mut self, _desk: &mut Desk, _round: &Round, _entrants: &mut Vec<Entrant>) {}

	/// Whether a worker serves an operator's agent.
	fn serves(&mut self, _desk: &mut Desk, _worker: WorkerId, _operator: OperatorId) -> bool {
		true
	}

	/// Whether what a worker opens agrees with the root that it attested.
	fn proves(&mut self, _desk: &mut Desk, _worker: WorkerId) -> bool {
		true
	}

	/// Returns the vote of a seat, by what its agent saw.
	fn votes(
		&mut self,
		_desk: &mut Desk,
		_operator: OperatorId,
		_worker: WorkerId,
		seen: Verdict,
	) -> Verdict {
		seen
	}

	/// Whether an operator commits to its votes at all.
	fn commits(&mut self, _desk: &mut Desk, _operator: OperatorId) -> bool {
		true
	}

	/// Returns when an operator opens its commitments of a round.
	fn opening(&mut self, _desk: &mut Desk, _operator: OperatorId) -> Opening {
		Opening::Usual
	}

	/// Whether an operator opens a commitment to these votes. Asked in the block before it would.
	fn opens(
		&mut self,
		_desk: &mut Desk,
		_operator: OperatorId,
		_round: RoundIndex,
		_votes: &[(WorkerId, Verdict)],
	) -> bool {
		true
	}

	/// Returns what becomes of an order that the party's worker got.
	fn deploys(&mut self, _desk: &mut Desk, _order: OrderId, _worker: WorkerId) -> Deployment {
		Deployment::Run
	}

	/// Whether a container of the party's order answers, as far as it is its tenant's doing.
	fn answers(&mut self, _desk: &mut Desk, _order: OrderId) -> bool {
		true
	}

	/// Whether a container of the party's order ends by itself now.
	fn ends(&mut self, _desk: &mut Desk, _order: OrderId) -> bool {
		false
	}

	/// Whether a container on the party's worker runs, as far as it is its provider's doing.
	fn keeps(&mut self, desk: &mut Desk, _order: OrderId, worker: WorkerId) -> bool {
		let machine = desk.workers[worker as usize].machine;
		desk.machines[machine].on
	}
}

/// An honest party: its machines with a worker on each, its operators.
#[derive(Clone, Debug, Default)]
pub struct Honest {
	/// Its machines. Workers are owned by its first account.
	pub machines: Vec<WorkerSpec>,
	/// It stakes on each worker the least of so many more identities, as a strategy does that registers
	/// them.
	pub more: u16,
	/// The claim of such an identity, where it is not the machine's.
	pub parts: Option<WorkerSpec>,
	/// Its licenses, an entry for each operator.
	pub operators: Vec<u32>,
	/// KAI of its first account.
	pub kai: Balance,
	/// KAI of a second account that does nothing, where the strategy's does something.
	pub idle: Option<Balance>,
}

impl Mind for Honest {
	fn purse(&self) -> Purse {
		Purse {
			accounts: std::iter::once(self.kai.max(KAI))
				.chain(self.idle)
				.collect(),
			operators: self.operators.clone(),
		}
	}

	fn enter(&mut self, desk: &mut Desk) {
		let owner = desk.account(0);
		for claim in self.machines.clone() {
			let claim = WorkerSpec {
				region: desk.region(),
				..claim
			};
			let machine = desk.machine(claim);
			let least = network::minimum(&claim);
			let each = network::minimum(&self.parts.unwrap_or(claim));
			// All identities of the strategy have the same stake.
			let all = each * (Balance::from(self.more) + 1);
			desk.register(&owner, claim, (machine, machine), all.saturating_sub(least));
		}
	}
}
