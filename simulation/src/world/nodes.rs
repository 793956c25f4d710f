//! The nodes of all parties. They act like the off-chain workers of workers, checkers and providers.
//!
//! They learn from events which workers are marked and which are rented; attest when a trial is over, spread
//! over the phase; record the seats of committees; vote according to the shown hardware, commit and open;
//! report absent workers, and close checks that are over. Where an honest node would act by rule, the mind
//! of its party decides.

use super::{World, draw};
use crate::{
	actors::{Deployment, Desk, Identity, Opening, PartyId, open_check},
	chain::Sender,
	physics::{self, Entrant, MachineId},
};
use codec::Encode;
use kaisar_primitives::{
	Balance, BlockNumber, Checks, HOURS, MAX_BATCH, OperatorId, OrderId, Outcome, Profile,
	RoundIndex, RoundKind, Verdict, Votes, WorkerId, WorkerState, commitment,
};
use kaisar_runtime::{AccountId, Orders, Popw, Providers, Runtime, RuntimeEvent, System};
use pallet_orders::{Call as OrderCall, OrderState};
use pallet_popw::{Call as RoundCall, Round};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Part of a phase over which nodes spread their transactions: seven eighths.
const SPREAD: (u32, u32) = (7, 8);
/// Number of blocks from a match to the first in which a container can run.
const PULL: BlockNumber = 5;

/// A batch of votes with a commitment.
struct Batch {
	votes: Votes,
	salt: [u8; 32],
}

/// State of a round, as the nodes know it.
pub(super) struct RoundView {
	round: Round,
	/// Workers that are due and have not attested.
	due: BTreeSet<WorkerId>,
	/// Workers whose check of this round is open.
	open: BTreeSet<WorkerId>,
	/// Hardware that identities of shared machines show.
	shown: HashMap<WorkerId, Profile>,
	/// Workers on whose committees each operator has a seat, in the order of its seats.
	seats: BTreeMap<OperatorId, Vec<WorkerId>>,
	batches: HashMap<(OperatorId, u16), Batch>,
}

impl World {
	/// Reads the block's events.
	pub(super) fn read_events(&mut self) {
		let events = std::mem::take(&mut self.block.events);
		for event in &events {
			match event {
				RuntimeEvent::Popw(event) => self.on_round(event),
				RuntimeEvent::Providers(event) => self.on_worker(event),
				RuntimeEvent::Orders(event) => self.on_order(event),
				_ => {}
			}
		}
		self.block.events = events;
	}

	fn on_round(&mut self, event: &pallet_popw::Event<Runtime>) {
		use pallet_popw::Event;
		match event {
			Event::RoundStarted { round, kind, .. } => {
				let index = *round;
				let Some(round) = pallet_popw::Rounds::<Runtime>::get(index) else {
					return;
				};
				self.counts.censuses += u32::from(*kind == RoundKind::Census);
				let work = RoundView {
					round,
					due: BTreeSet::new(),
					open: BTreeSet::new(),
					shown: HashMap::new(),
					seats: BTreeMap::new(),
					batches: HashMap::new(),
				};
				self.rounds.insert(index, work);
			}
			Event::Attested {
				worker,
				round,
				committee,
				..
			} => {
				if let Some(work) = self.rounds.get_mut(round) {
					work.due.remove(worker);
					work.open.insert(*worker);
					for (operator, _) in committee {
						work.seats.entry(*operator).or_default().push(*worker);
					}
				}
			}
			Event::CheckClosed {
				worker,
				round,
				outcome,
				..
			} => {
				self.counts.checks += 1;
				match outcome {
					Outcome::Offline => self.counts.offline += 1,
					Outcome::NoConsensus => self.counts.undecided += 1,
					Outcome::Online { profile, .. } => {
						let decides = RoundKind::of(*round) == RoundKind::Census;
						self.counts.undecided += u32::from(decides && profile.is_none());
					}
				}
				if let Some(work) = self.rounds.get_mut(round) {
					work.open.remove(worker);
				}
			}
			_ => {}
		}
	}

	fn on_worker(&mut self, event: &pallet_providers::Event<Runtime>) {
		use pallet_providers::Event;
		match event {
			Event::WorkerForced { worker, round, .. } => {
				self.marked.entry(*round).or_default().insert(*worker);
			}
			Event::WorkerStateChanged { worker, new, .. } => {
				if *new == WorkerState::Rented {
					self.rented.insert(*worker);
				} else {
					self.rented.remove(worker);
				}
			}
			Event::WorkerRegistered { worker, owner, .. } => {
				let Some(identity) = self.coming.get_mut(owner).and_then(VecDeque::pop_front)
				else {
					return;
				};
				assert_eq!(*worker as usize, self.workers.len(), "ids are dense");
				self.workers.push(identity);
				self.parties[identity.party].workers.push(*worker);
				for machine in BTreeSet::from([identity.machine, identity.gpus_of]) {
					let users = self.users.entry(machine).or_default();
					users.push(*worker);
					if users.len() > 1 {
						self.shared.extend(users.iter());
					}
				}
				// An identity whose GPUs are on another machine shows the result of its own trial.
				if identity.machine != identity.gpus_of {
					self.shared.insert(*worker);
				}
			}
			Event::Staked { worker, who, .. } => {
				if let Some(party) = self.party_of.get(who) {
					let party = &mut self.parties[*party];
					if !party.workers.contains(worker) && !party.pools.contains(worker) {
						party.pools.push(*worker);
					}
				}
			}
			_ => {}
		}
	}

	fn on_order(&mut self, event: &pallet_orders::Event<Runtime>) {
		use pallet_orders::Event;
		match event {
			Event::OrderMatched { order, worker, .. } => {
				let at = self.now() + PULL;
				self.deploying
					.entry(at)
					.or_default()
					.push((*order, *worker));
			}
			Event::OrderDeployed { order, worker, .. } => {
				self.active.insert(*order, *worker);
			}
			Event::OrderClosing { order, .. } | Event::OrderClosed { order, .. } => {
				self.active.remove(order);
			}
			_ => {}
		}
	}

	/// Does the nodes' work at the end of a block.
	pub(super) fn work(&mut self) {
		let now = self.now();
		let rounds: Vec<RoundIndex> = self.rounds.keys().copied().collect();
		for index in &rounds {
			let round = self.rounds[index].round;
			if now == round.trial {
				self.start_trial(*index);
			}
			if now == round.attest_ends() {
				self.report_absent(*index);
				self.vote(*index);
			}
			if now == round.ends() {
				self.finalize(*index);
			}
			if now > round.ends() + round.phase_length {
				self.rounds.remove(index);
				self.marked.remove(index);
			}
		}
		for (round, operator, batch) in self.opening.remove(&now).unwrap_or_default() {
			self.reveal(round, operator, batch);
		}
		for (order, worker) in self.deploying.remove(&now).unwrap_or_default() {
			self.deploy(order, worker);
		}
		self.use_machines();
	}

	/// Returns the block at `part` of `of` in the part of a phase over which nodes spread. The phase begins
	/// with block `from`.
	fn spread(from: BlockNumber, length: BlockNumber, part: u32, of: u32) -> BlockNumber {
		let width = (length * SPREAD.0 / SPREAD.1).max(1);
		from + (u64::from(width) * u64::from(part) / u64::from(of.max(1))) as BlockNumber
	}

	/// Returns the workers that are due in a round.
	fn due_in(&self, round: &Round) -> BTreeSet<WorkerId> {
		let is_due = |worker: &WorkerId| Popw::is_due(*worker, round.index);
		match round.kind {
			RoundKind::Census => (0..self.workers.len() as WorkerId).filter(is_due).collect(),
			RoundKind::Spot => {
				let marked = self.marked.get(&round.index).into_iter().flatten();
				marked.chain(&self.rented).copied().filter(is_due).collect()
			}
		}
	}

	/// Runs the machines' trials, and sends attestations.
	fn start_trial(&mut self, index: RoundIndex) {
		let round = pallet_popw::Rounds::<Runtime>::get(index).expect("the round is in flight");
		let due = self.due_in(&round);
		let mut attesting = Vec::new();
		for worker in &due {
			let party = self.workers[*worker as usize].party;
			if self.minds[party].attests(&mut desk!(self, party), *worker, &round) {
				attesting.push(*worker);
			}
		}
		let shown = self.trial_of(&round, &attesting);
		let length = round.phase_length;
		for worker in attesting {
			let part = draw(1_000, self.seed(), (b"attest", worker, index));
			let at = Self::spread(round.trial + 1, length, part, 1_000);
			let call = RoundCall::<Runtime>::attest {
				worker,
				round: index,
				root: [1; 32],
				signature: None,
			};
			self.pool
				.send_at(at, Sender::Node, call, round.attest_ends());
		}
		let work = self.rounds.get_mut(&index).expect("it is known");
		work.round = round;
		work.due = due;
		work.shown = shown;
	}

	/// Returns the profiles that identities of shared machines show in a trial. All rounds of a block have
	/// their trials at the same moment, so a machine that ran for a worker of one round cannot run for a
	/// worker of another.
	fn trial_of(&mut self, round: &Round, attesting: &[WorkerId]) -> HashMap<WorkerId, Profile> {
		let sharing: Vec<WorkerId> = attesting
			.iter()
			.copied()
			.filter(|worker| self.shared.contains(worker))
			.filter(|worker| {
				let state = Providers::worker(*worker).map(|view| view.state);
				state != Some(WorkerState::Rented)
			})
			.collect();
		if sharing.is_empty() {
			return HashMap::new();
		}
		let taken: BTreeSet<MachineId> = self
			.rounds
			.values()
			.filter(|other| other.round.trial == round.trial && other.round.index != round.index)
			.flat_map(|other| other.shown.iter())
			.filter(|(_, shown)| shown.gpu_count > 0)
			.map(|(worker, _)| self.workers[*worker as usize].gpus_of)
			.collect();
		let mut by_party: BTreeMap<PartyId, Vec<Entrant>> = BTreeMap::new();
		for worker in sharing {
			let Identity {
				party,
				claim,
				machine,
				gpus_of,
			} = self.workers[worker as usize];
			let owner = pallet_providers::Workers::<Runtime>::get(worker)
				.map(|record| record.owner)
				.expect("it is due");
			by_party.entry(party).or_default().push(Entrant {
				worker,
				claim,
				window: round.window_block(&owner),
				gpus_of,
				machine,
			});
		}
		let mut shown = HashMap::new();
		for (party, mut entrants) in by_party {
			let mind = &mut self.minds[party];
			mind.prefers(&mut desk!(self, party), round, &mut entrants);
			for (worker, mut profile) in physics::trial(&self.machines, &entrants) {
				if taken.contains(&self.workers[worker as usize].gpus_of) {
					profile.gpu_class = 0;
					profile.gpu_count = 0;
				}
				shown.insert(worker, profile);
			}
		}
		shown
	}

	/// Lets checkers' nodes report absent workers.
	fn report_absent(&mut self, index: RoundIndex) {
		let RoundView { round, due, .. } = &self.rounds[&index];
		let (first, ends) = (round.attest_ends() + 1, round.ends());
		for worker in due.iter().copied() {
			let part = draw(1_000, self.network.seed, (b"absent", worker));
			let at = Self::spread(first, round.phase_length, part, 1_000);
			let call = RoundCall::<Runtime>::report_absent {
				worker,
				round: index,
			};
			self.pool.send_at(at, Sender::Node, call, ends);
		}
	}

	/// Lets operators' nodes settle their votes, and commit to them.
	fn vote(&mut self, index: RoundIndex) {
		let work = self.rounds.get_mut(&index).expect("it is known");
		let round = work.round;
		let all = std::mem::take(&mut work.seats);
		let genesis = System::block_hash(0);
		for (operator, seats) in all {
			let party = self.operators[operator as usize].party;
			let batches = seats.len().div_ceil(MAX_BATCH as usize);
			let opening = self.minds[party].opening(&mut desk!(self, party), operator);
			for (batch, seats) in seats.chunks(MAX_BATCH as usize).enumerate() {
				if !self.minds[party].commits(&mut desk!(self, party), operator) {
					continue;
				}
				let votes: Vec<_> = seats
					.iter()
					.map(|worker| {
						let seen = self.see(&round, operator, *worker);
						let mind = &mut self.minds[party];
						let vote = mind.votes(&mut desk!(self, party), operator, *worker, seen);
						(*worker, vote)
					})
					.collect();
				let votes = Votes::truncate_from(votes);
				let salt = sp_io::hashing::blake2_256(
					&(self.seed(), operator, index, batch as u16).encode(),
				);
				let hash = commitment(genesis, index, operator, batch as u16, &votes, &salt);
				let (part, of) = (batch as u32, batches as u32);
				let length = round.phase_length;
				let at = Self::spread(round.attest_ends() + 1, length, part, of);
				let call = RoundCall::<Runtime>::commit {
					operator,
					round: index,
					batch: batch as u16,
					hash,
					signature: None,
				};
				self.pool
					.send_at(at, Sender::Node, call, round.commit_ends());
				// It is sent after the previous block, whose state decides.
				let reveal = match opening {
					Opening::Usual => Self::spread(round.commit_ends(), length, part, of),
					Opening::Last => round.ends() - 1,
				};
				self.opening
					.entry(reveal)
					.or_default()
					.push((index, operator, batch as u16));
				let work = self.rounds.get_mut(&index).expect("it is known");
				work.batches
					.insert((operator, batch as u16), Batch { votes, salt });
			}
		}
	}

	/// Returns the finding of an operator's agent on a worker, which an honest operator votes.
	fn see(&mut self, round: &Round, operator: OperatorId, worker: WorkerId) -> Verdict {
		let Identity {
			party,
			claim,
			machine,
			..
		} = self.workers[worker as usize];
		let serves = self.minds[party].serves(&mut desk!(self, party), worker, operator);
		if !self.machines[machine].on || !serves {
			return Verdict::OFFLINE;
		}
		let rented =
			round.kind == RoundKind::Spot && open_check(worker).is_some_and(|check| check.rented);
		if rented {
			return physics::presence(self.service_answers(worker));
		}
		let shown = match self.rounds[&round.index].shown.get(&worker) {
			Some(shown) => *shown,
			None => claim.bound().lesser(&self.machines[machine].has.bound()),
		};
		let proof = self.minds[party].proves(&mut desk!(self, party), worker);
		Verdict {
			proof,
			..physics::verdict(&shown)
		}
	}

	/// Returns whether the container on a rented worker answers.
	fn service_answers(&mut self, worker: WorkerId) -> bool {
		let Some(view) = Orders::order_of(worker) else {
			return true;
		};
		let (id, order) = (view.id, view.order);
		if !order.is_served() {
			return true;
		}
		self.runs(id, worker, &order.customer)
	}

	fn runs(&mut self, id: OrderId, worker: WorkerId, customer: &AccountId) -> bool {
		let provider = self.workers[worker as usize].party;
		let tenant = self.party_of.get(customer).copied().unwrap_or(0);
		self.minds[provider].keeps(&mut desk!(self, provider), id, worker)
			&& self.minds[tenant].answers(&mut desk!(self, tenant), id)
	}

	/// Lets an operator's node open a commitment.
	fn reveal(&mut self, index: RoundIndex, operator: OperatorId, number: u16) {
		let party = self.operators[operator as usize].party;
		let Some(batch) = self
			.rounds
			.get_mut(&index)
			.and_then(|work| work.batches.remove(&(operator, number)))
		else {
			return;
		};
		let mind = &mut self.minds[party];
		if !mind.opens(&mut desk!(self, party), operator, index, &batch.votes) {
			return;
		}
		let call = RoundCall::<Runtime>::reveal {
			operator,
			round: index,
			batch: number,
			votes: batch.votes,
			salt: batch.salt,
			signature: None,
		};
		let until = self.rounds[&index].round.ends();
		self.pool.send(Sender::Node, call, until);
	}

	/// Lets nodes close the checks of a round that is over.
	fn finalize(&mut self, index: RoundIndex) {
		let work = &self.rounds[&index];
		let open: Vec<WorkerId> = work.open.iter().copied().collect();
		let (at, until) = (work.round.ends() + 1, work.round.ends() + 200);
		for workers in open.chunks(MAX_BATCH as usize) {
			let call = RoundCall::<Runtime>::finalize {
				workers: workers.to_vec().try_into().expect("64 at most"),
			};
			self.pool.send_at(at, Sender::Node, call, until);
		}
	}

	/// Lets a provider's node deploy an order, once no proof runs on the machine.
	fn deploy(&mut self, order: OrderId, worker: WorkerId) {
		let state = pallet_orders::Orders::<Runtime>::get(order).map(|order| order.state);
		if state != Some(OrderState::Deploying) {
			return;
		}
		let now = self.now();
		if <Popw as Checks>::proves_until(worker).is_some_and(|until| now <= until) {
			self.deploying
				.entry(now + 1)
				.or_default()
				.push((order, worker));
			return;
		}
		let party = self.workers[worker as usize].party;
		let signature = None;
		let call = match self.minds[party].deploys(&mut desk!(self, party), order, worker) {
			Deployment::Run => OrderCall::<Runtime>::confirm_deployment { order, signature },
			Deployment::Fail(reason) => OrderCall::<Runtime>::fail_deployment {
				order,
				reason,
				signature,
			},
			Deployment::Ignore => return,
		};
		self.pool.send(Sender::Node, call, now + 600);
	}

	/// Records tenants' use of others' machines, at the price at which they ordered.
	fn use_machines(&mut self) {
		let active: Vec<_> = self.active.iter().map(|(id, it)| (*id, *it)).collect();
		for (id, worker) in active {
			let Some(order) = pallet_orders::Orders::<Runtime>::get(id) else {
				continue;
			};
			let provider = self.workers[worker as usize].party;
			let tenant = self.party_of.get(&order.customer).copied().unwrap_or(0);
			if self.minds[tenant].ends(&mut desk!(self, tenant), id) {
				let call = OrderCall::<Runtime>::report_exit {
					order: id,
					code: 0,
					signature: None,
				};
				let until = self.now() + 50;
				self.pool.send(Sender::Node, call, until);
				self.active.remove(&id);
				continue;
			}
			if provider != tenant && self.runs(id, worker, &order.customer) {
				let hour = order.unit_price() * Balance::from(order.units());
				self.parties[tenant].used += hour / Balance::from(HOURS);
			}
		}
	}
}
