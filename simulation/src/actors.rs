//! Parties, and the minds that lead them.
//!
//! A party owns accounts, machines, workers and operators. Its [`Mind`] makes each decision that an honest
//! node or person would make by rule: whether a worker attests, for which identity a machine runs, which
//! operators a worker serves, how an operator votes, whether it opens a commitment, whether it deploys an
//! order. The default of every method is the honest decision. A mind sees what such a party sees: the
//! chain's public state, and the results that its own machines and seats get.

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

/// Number of a party. The honest background is number 0.
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
	/// Price of others' machines that it could use, in KAI units.
	pub used: Balance,
	/// Number of blocks for which its machine was free for another use, although its worker was paid.
	pub spared: u64,
	/// Number of blocks that it withheld as their author.
	pub withheld: u32,
}

/// KAI and licenses that a party brings to the network. Its counterpart brings the same.
#[derive(Clone, Debug, Default)]
pub struct Purse {
	/// KAI of each of its accounts that is not an operator.
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

/// Time at which an operator opens a commitment.
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
	/// Runs the order's container.
	Run,
	/// Reports that the order cannot be deployed.
	Fail(DeployFailure),
	/// Does nothing.
	Ignore,
}

/// A mind's desk: its view of the network, and the pool for its transactions.
pub struct Desk<'a> {
	/// Block that just ended.
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
	/// Registrations on their way: machine and GPUs of the future workers, by owner.
	pub coming: &'a mut BTreeMap<AccountId, VecDeque<Identity>>,
	/// Number of registrations sent so far, from which keys are derived.
	pub keys: &'a mut u32,
	/// Whether the party authors the next blocks, and so knows that a census starts within four of them.
	pub foresees: bool,
	/// Pool of pending transactions.
	pub pool: &'a mut Pool,
}

impl Desk<'_> {
	/// Returns the number of the block that just ended.
	pub fn now(&self) -> BlockNumber {
		self.block.number
	}

	/// Returns whether the play has begun.
	pub fn is_open(&self) -> bool {
		self.now() >= self.opening
	}

	/// Returns the party's account of this number.
	pub fn account(&self, number: usize) -> AccountId {
		self.me.accounts[number].clone()
	}

	/// Returns the region of the party's machines.
	pub fn region(&self) -> [u8; 2] {
		network::region(self.id)
	}

	/// Sends a call from one of the party's accounts.
	pub fn send(&mut self, who: &AccountId, call: impl Into<RuntimeCall>) {
		let until = self.now() + 50;
		self.pool.send(Sender::of(who), call, until);
	}

	/// Sends a fee-less call from one of the party's nodes.
	pub fn send_free(&mut self, call: impl Into<RuntimeCall>) {
		let until = self.now() + 50;
		self.pool.send(Sender::Node, call, until);
	}

	/// Adds a machine with this hardware, and returns its number.
	pub fn machine(&mut self, has: WorkerSpec) -> MachineId {
		self.machines.push(Machine { has, on: true });
		self.machines.len() - 1
	}

	/// Registers a worker that runs on one machine and shows the GPUs of another, with the minimum stake and
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

	/// Returns whether an operator is the party's own.
	pub fn is_mine(&self, operator: OperatorId) -> bool {
		self.operators[operator as usize].party == self.id
	}

	/// Returns the weight of the party's seats in an open check, and the weight of all seats.
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

	/// Returns whether the party holds more than half of an open check.
	pub fn has_majority(&self, worker: WorkerId) -> bool {
		self.seats(worker)
			.is_some_and(|(own, size)| kaisar_math::committee::is_majority(own, size))
	}

	/// Returns the verdict that confirms a worker's claim.
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

/// Decisions of a party. Every default is the honest decision.
pub trait Mind {
	/// Returns the KAI and licenses that the party brings.
	fn purse(&self) -> Purse;

	/// Enters the network, before its first block.
	fn enter(&mut self, _desk: &mut Desk) {}

	/// Returns whether the party authors the blocks before each start of a round. Their outputs decide
	/// whether the round is a census.
	fn foresees(&self) -> bool {
		false
	}

	/// Returns whether the party authors the first block of each round, and may withhold it.
	fn withholds(&self) -> bool {
		false
	}

	/// Returns whether the party accepts the draws of the rounds that its own block would start. `desk`
	/// shows the chain with that block.
	fn likes(&mut self, _desk: &mut Desk) -> bool {
		true
	}

	/// Acts after each block.
	fn act(&mut self, _desk: &mut Desk) {}

	/// Returns whether a due worker attests. Called at the end of the trial's block.
	fn attests(&mut self, desk: &mut Desk, worker: WorkerId, _round: &Round) -> bool {
		let machine = desk.workers[worker as usize].machine;
		desk.machines[machine].on
	}

	/// Sorts the identities in a round's trial into the order in which shared machines serve them. It may
	/// let an identity show less than it claims.
	fn prefers(&mut self, _desk: &mut Desk, _round: &Round, _entrants: &mut Vec<Entrant>) {}

	/// Returns whether a worker serves an operator's agent.
	fn serves(&mut self, _desk: &mut Desk, _worker: WorkerId, _operator: OperatorId) -> bool {
		true
	}

	/// Returns whether a worker's openings agree with the root that it attested.
	fn proves(&mut self, _desk: &mut Desk, _worker: WorkerId) -> bool {
		true
	}

	/// Returns the vote of a seat, given its agent's finding.
	fn votes(
		&mut self,
		_desk: &mut Desk,
		_operator: OperatorId,
		_worker: WorkerId,
		seen: Verdict,
	) -> Verdict {
		seen
	}

	/// Returns whether an operator commits to its votes at all.
	fn commits(&mut self, _desk: &mut Desk, _operator: OperatorId) -> bool {
		true
	}

	/// Returns the time at which an operator opens its commitments of a round.
	fn opening(&mut self, _desk: &mut Desk, _operator: OperatorId) -> Opening {
		Opening::Usual
	}

	/// Returns whether an operator opens a commitment to these votes. Called in the block before it would
	/// open it.
	fn opens(
		&mut self,
		_desk: &mut Desk,
		_operator: OperatorId,
		_round: RoundIndex,
		_votes: &[(WorkerId, Verdict)],
	) -> bool {
		true
	}

	/// Returns the answer to an order that the party's worker got.
	fn deploys(&mut self, _desk: &mut Desk, _order: OrderId, _worker: WorkerId) -> Deployment {
		Deployment::Run
	}

	/// Returns whether a container of the party's order answers, as far as its tenant decides that.
	fn answers(&mut self, _desk: &mut Desk, _order: OrderId) -> bool {
		true
	}

	/// Returns whether a container of the party's order ends by itself now.
	fn ends(&mut self, _desk: &mut Desk, _order: OrderId) -> bool {
		false
	}

	/// Returns whether a container on the party's worker runs, as far as its provider decides that.
	fn keeps(&mut self, desk: &mut Desk, _order: OrderId, worker: WorkerId) -> bool {
		let machine = desk.workers[worker as usize].machine;
		desk.machines[machine].on
	}
}

/// An honest party, with a worker on each of its machines, and with its operators.
#[derive(Clone, Debug, Default)]
pub struct Honest {
	/// Its machines. Workers are owned by its first account.
	pub machines: Vec<WorkerSpec>,
	/// Number of further identities for whose minimum stake it stakes more on each worker, to match a
	/// strategy that registers these identities.
	pub more: u16,
	/// Claim of such an identity, if it is not the machine's.
	pub parts: Option<WorkerSpec>,
	/// Number of licenses of each operator.
	pub operators: Vec<u32>,
	/// KAI of its first account.
	pub kai: Balance,
	/// KAI of a second account that does nothing, if the strategy uses one.
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
