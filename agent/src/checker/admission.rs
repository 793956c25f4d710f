//! Admission of workers' agents that push roots: agents that the node confirmed, and claims that wait for
//! it.
//!
//! An agent does not follow the chain. A worker's agent names its worker and a round, and the claim waits
//! here until the node, which polls at every block, says whether the operator sits for that worker. The
//! chain confirmed all admitted agents, so the number of workers with a stake bounds them; waiting claims
//! can be anyone's, so they are bounded here. None of this is stored: after a restart, workers introduce
//! themselves again.

use crate::{host::store::now_ms, peer::wire::Introduced, worker::serve::Origin};
use kaisar_primitives::{
	AgentKey, RoundIndex, WorkerId,
	agent::{MAX_CLAIM_ROUNDS, MAX_CLAIMS, SeatAnswers, SeatClaim},
};
use kaisar_tunnel::places::{Door, Origin as Range};
use parking_lot::Mutex;
use sp_core::H256;
use std::{
	collections::{BTreeMap, HashMap, HashSet, VecDeque},
	time::Duration,
};

/// Maximum number of waiting claims, about 200 bytes each.
const MAX_WAITING: usize = 16_384;
/// Maximum number of remembered denials, about 100 bytes each.
const MAX_DENIED: usize = 16_384;
/// Maximum number of admissions in all rounds, about 150 bytes each.
const MAX_ADMITTED: usize = 1 << 20;
/// Maximum time for which a round is kept, whatever the node asks: a week, in milliseconds.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Time for which the door remembers the address of an admitted agent: a few censuses.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// Largest distance of the node's requests at one block, in milliseconds.
const ONE_BLOCK_MS: u64 = 300;
/// Time for the node to look up the claims that it took, in milliseconds.
const LOOK_UP_MS: u64 = 300;
/// Default time after which an agent should come back, in milliseconds.
const COME_BACK_MS: u64 = 1_000;
/// Maximum of that time, in milliseconds: a block is missed now and then.
const COME_BACK_MOST_MS: u64 = 15_000;

/// The claims and the admissions, under one lock.
pub struct Admissions {
	state: Mutex<State>,
	/// The door at which addresses of admitted agents are remembered.
	door: Door,
}

#[derive(Default)]
struct State {
	/// The node's chain. State of other chains is not kept.
	genesis: H256,
	rounds: BTreeMap<RoundIndex, Round>,
	/// Number of admissions of each agent.
	agents: HashMap<AgentKey, u32>,
	admitted: usize,
	waiting: Waiting,
	/// Claims that the chain confirmed under another seed of their round and that the node must confirm
	/// again. Confirmed claims cannot be a flood, so they do not count as waiting.
	again: VecDeque<SeatClaim>,
	/// Claims that the node took and has not answered yet, with their origins; claims to confirm again have
	/// none.
	handed: HashMap<SeatClaim, Option<Origin>>,
	denied: HashSet<SeatClaim>,
	/// The denied claims, the oldest first.
	denials: VecDeque<SeatClaim>,
	polls: Polls,
}

/// A round that the node named.
struct Round {
	seed: H256,
	expires: u64,
	admitted: HashSet<(WorkerId, AgentKey)>,
	/// Agents that were admitted under another seed but are denied under this one.
	refused: HashSet<(WorkerId, AgentKey)>,
}

impl Round {
	fn holds(&self, claim: &SeatClaim) -> bool {
		self.expires > now_ms() && self.admitted.contains(&(claim.worker, claim.agent))
	}
}

impl Admissions {
	/// Creates an empty state. Addresses of admitted agents are remembered at `door`.
	pub fn new(door: Door) -> Self {
		Self {
			state: Mutex::default(),
			door,
		}
	}

	/// Takes the introduction of the agent `claim.agent`, which has proved its key.
	pub fn introduce(&self, genesis: H256, claim: SeatClaim, from: Origin) -> Introduced {
		let mut state = self.state.lock();
		let state = &mut *state;
		match state.rounds.get(&claim.round) {
			Some(round) if state.genesis == genesis => {
				if round.holds(&claim) {
					return Introduced::Admitted;
				}
			}
			// The node may be a block behind, or has not polled since this agent started.
			_ => return state.polls.come_back(),
		}
		if state.denied.contains(&claim) {
			return Introduced::Denied;
		}
		if !state.handed.contains_key(&claim) {
			state.waiting.push(claim, from);
		}
		state.polls.come_back()
	}

	/// Takes the node's answers, and returns waiting claims: one of each origin in turn, so that a flood
	/// from one range of addresses does not delay the others.
	///
	/// The node polls once for each of its checker keys, and names the rounds that the key sits in: after a
	/// rotation, the old key has the old rounds. Claims of other rounds wait for the key that names them.
	pub fn answer(&self, answers: SeatAnswers) -> Vec<SeatClaim> {
		let mut state = self.state.lock();
		let state = &mut *state;
		if state.genesis != answers.genesis {
			*state = State {
				genesis: answers.genesis,
				..State::default()
			};
		}
		state.polls.note();
		let mut named = HashSet::new();
		for round in answers.rounds.into_iter().take(MAX_CLAIM_ROUNDS) {
			named.insert(round.round);
			state.name(round.round, round.seed, round.keep_ms);
		}
		// Only a claim that was handed out is answered, so answers cannot outgrow the claims.
		let mut handed = std::mem::take(&mut state.handed);
		for (claim, sits) in answers.answers {
			if !named.contains(&claim.round) {
				continue;
			}
			let Some(from) = handed.remove(&claim) else {
				continue;
			};
			if !sits {
				state.deny(claim, from.is_none());
			} else if state.admit(&claim)
				&& let Some(ip) = from.and_then(|from| from.ip)
			{
				self.door.remember(ip, REMEMBERED);
			}
		}
		for (claim, from) in handed {
			state.put_back(claim, from);
		}
		state.hand_out(&named);
		state.handed.keys().copied().collect()
	}

	/// Returns whether an agent is admitted for a worker in a round.
	pub fn admits(&self, genesis: H256, claim: &SeatClaim) -> bool {
		let state = self.state.lock();
		let round = state.rounds.get(&claim.round);
		state.genesis == genesis && round.is_some_and(|round| round.holds(claim))
	}

	/// Returns whether an agent is admitted in any round.
	pub fn knows(&self, agent: &AgentKey) -> bool {
		self.state.lock().agents.contains_key(agent)
	}

	/// Drops the state of rounds that are over.
	pub fn sweep(&self) {
		let now = now_ms();
		let mut state = self.state.lock();
		let rounds = state.rounds.iter();
		let over: Vec<_> = rounds
			.filter(|(_, round)| round.expires <= now)
			.map(|(index, _)| *index)
			.collect();
		for index in over {
			state.drop_round(index);
		}
	}
}

impl State {
	/// Records a round. A new seed means a fork with other committees. The workers' agents do not see the
	/// fork and would only come back with their first roots, too late. So the node must confirm all admitted
	/// agents again, without a new introduction.
	fn name(&mut self, index: RoundIndex, seed: H256, keep_ms: u64) {
		let expires = now_ms() + keep_ms.min(MAX_KEEP_MS);
		if let Some(round) = self.rounds.get_mut(&index)
			&& round.seed == seed
		{
			// The first key that named the round may have had an earlier end.
			round.expires = round.expires.max(expires);
			return;
		}
		if let Some(dropped) = self.drop_round(index) {
			let again = dropped.admitted.into_iter().chain(dropped.refused);
			let again = again.map(|(worker, agent)| SeatClaim {
				round: index,
				worker,
				agent,
			});
			let room = MAX_ADMITTED.saturating_sub(self.again.len());
			self.again.extend(again.take(room));
		}
		let round = Round {
			seed,
			expires,
			admitted: HashSet::new(),
			refused: HashSet::new(),
		};
		self.rounds.insert(index, round);
	}

	/// Puts back a claim that was handed out or examined, but not answered.
	fn put_back(&mut self, claim: SeatClaim, from: Option<Origin>) {
		match from {
			Some(from) => self.waiting.push(claim, from),
			None => self.again.push_back(claim),
		}
	}

	/// Hands out claims of the rounds `named`, alternately a waiting one and one to confirm again.
	fn hand_out(&mut self, named: &HashSet<RoundIndex>) {
		let mut others = Vec::new();
		let mut turn = false;
		while self.handed.len() < MAX_CLAIMS {
			turn = !turn;
			let waits = |state: &mut Self| {
				let (claim, from) = state.waiting.pop()?;
				Some((claim, Some(from)))
			};
			let again = |state: &mut Self| Some((state.again.pop_front()?, None));
			let next = match turn {
				true => waits(self).or_else(|| again(self)),
				false => again(self).or_else(|| waits(self)),
			};
			let Some((claim, from)) = next else {
				break;
			};
			if named.contains(&claim.round) {
				self.handed.insert(claim, from);
			} else if self.rounds.contains_key(&claim.round) {
				others.push((claim, from));
			}
		}
		for (claim, from) in others {
			self.put_back(claim, from);
		}
	}

	fn admit(&mut self, claim: &SeatClaim) -> bool {
		let Some(round) = self.rounds.get_mut(&claim.round) else {
			return false;
		};
		if self.admitted >= MAX_ADMITTED {
			tracing::warn!(
				"{MAX_ADMITTED} workers are admitted, the maximum; roots of further workers will be late"
			);
			return false;
		}
		if round.admitted.insert((claim.worker, claim.agent)) {
			self.admitted += 1;
			*self.agents.entry(claim.agent).or_default() += 1;
		}
		true
	}

	/// Records that an operator does not sit for a worker. An agent that was admitted `before`, under
	/// another seed, is confirmed again if the seed changes once more, since it may still be connected.
	fn deny(&mut self, claim: SeatClaim, before: bool) {
		if before && let Some(round) = self.rounds.get_mut(&claim.round) {
			round.refused.insert((claim.worker, claim.agent));
		}
		if self.denials.len() >= MAX_DENIED
			&& let Some(oldest) = self.denials.pop_front()
		{
			self.denied.remove(&oldest);
		}
		if self.denied.insert(claim) {
			self.denials.push_back(claim);
		}
	}

	fn drop_round(&mut self, index: RoundIndex) -> Option<Round> {
		let round = self.rounds.remove(&index)?;
		self.admitted -= round.admitted.len();
		for (_, agent) in &round.admitted {
			if let Some(count) = self.agents.get_mut(agent) {
				*count -= 1;
				if *count == 0 {
					self.agents.remove(agent);
				}
			}
		}
		self.denials.retain(|claim| claim.round != index);
		self.denied.retain(|claim| claim.round != index);
		Some(round)
	}
}

/// Waiting claims by their origins.
#[derive(Default)]
struct Waiting {
	queues: BTreeMap<Range, VecDeque<(SeatClaim, Origin)>>,
	claims: HashSet<SeatClaim>,
	/// Origin of the last taken claim.
	last: Option<Range>,
}

impl Waiting {
	/// Adds a claim. If there is no room, the newest claim of the origin with the most claims is dropped,
	/// which may be this one.
	fn push(&mut self, claim: SeatClaim, from: Origin) {
		if self.claims.contains(&claim) {
			return;
		}
		if self.claims.len() >= MAX_WAITING {
			let mine = self.queues.get(&from.range).map_or(0, VecDeque::len);
			let most = self.queues.iter().max_by_key(|(_, queue)| queue.len());
			let Some(origin) = most
				.filter(|(_, queue)| queue.len() > mine + 1)
				.map(|(origin, _)| *origin)
			else {
				return;
			};
			let newest = self.queues.get_mut(&origin).and_then(VecDeque::pop_back);
			if let Some((newest, _)) = newest {
				self.claims.remove(&newest);
			}
		}
		self.claims.insert(claim);
		let queue = self.queues.entry(from.range).or_default();
		queue.push_back((claim, from));
	}

	/// Takes the oldest claim of the next origin.
	fn pop(&mut self) -> Option<(SeatClaim, Origin)> {
		use std::ops::Bound::{Excluded, Unbounded};
		let after = self.last.and_then(|last| {
			let mut later = self.queues.range((Excluded(last), Unbounded));
			later.next().map(|(origin, _)| *origin)
		});
		let origin = match after {
			Some(origin) => origin,
			None => *self.queues.first_key_value()?.0,
		};
		self.last = Some(origin);
		let queue = self.queues.get_mut(&origin)?;
		let taken = queue.pop_front();
		if queue.is_empty() {
			self.queues.remove(&origin);
		}
		if let Some((claim, _)) = &taken {
			self.claims.remove(claim);
		}
		taken
	}
}

/// Times of the node's requests, which predict the time of its next answer.
#[derive(Default)]
struct Polls {
	/// The first request at the last block, by [`now_ms`]; 0 for none.
	last: u64,
	/// Milliseconds between the last two blocks.
	interval: Option<u64>,
}

impl Polls {
	fn note(&mut self) {
		let now = now_ms();
		let since = now.saturating_sub(self.last);
		if since >= ONE_BLOCK_MS {
			self.interval = (self.last > 0).then_some(since);
			self.last = now;
		}
	}

	/// Returns the time after which the node will have answered a claim that it takes at its next request.
	fn come_back(&self) -> Introduced {
		let next = self
			.interval
			.and_then(|interval| (self.last + interval + LOOK_UP_MS).checked_sub(now_ms()));
		let ms = next.map_or(COME_BACK_MS, |next| {
			next.clamp(LOOK_UP_MS, COME_BACK_MOST_MS)
		});
		Introduced::ComeBack { ms: ms as u32 }
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use kaisar_primitives::agent::SeatRound;
	use kaisar_tunnel::places;
	use std::net::IpAddr;

	const GENESIS: H256 = H256::repeat_byte(1);

	fn admissions() -> Admissions {
		Admissions::new(Door::new(places::Limits::default()))
	}

	fn claim(worker: WorkerId) -> SeatClaim {
		let mut agent = [0; 32];
		agent[..4].copy_from_slice(&worker.to_le_bytes());
		SeatClaim {
			round: 4,
			worker,
			agent: AgentKey::from_raw(agent),
		}
	}

	fn from(range: u16) -> Origin {
		let [a, b] = range.to_be_bytes();
		let ip = IpAddr::from([10, a, b, 1]);
		Origin {
			range: Range::of_ip(ip),
			ip: Some(ip),
		}
	}

	fn answers(answers: Vec<(SeatClaim, bool)>) -> SeatAnswers {
		SeatAnswers {
			genesis: GENESIS,
			rounds: vec![SeatRound {
				round: 4,
				seed: H256::repeat_byte(2),
				keep_ms: 600_000,
			}],
			answers,
		}
	}

	fn waits(introduced: Introduced) -> bool {
		matches!(introduced, Introduced::ComeBack { .. })
	}

	#[test]
	fn a_claim_waits_for_the_node_and_holds_for_its_round() {
		let all = admissions();
		let introduce = |claim| all.introduce(GENESIS, claim, from(0));
		assert!(waits(introduce(claim(7))), "the node has not asked yet");
		assert_eq!(
			all.answer(answers(Vec::new())),
			[],
			"so the claim was not kept"
		);
		assert!(waits(introduce(claim(7))) && waits(introduce(claim(8))));
		assert!(waits(introduce(claim(7))), "once is enough");
		let mut handed = all.answer(answers(Vec::new()));
		handed.sort();
		assert_eq!(handed, [claim(7), claim(8)]);
		assert!(waits(introduce(claim(7))), "the node has it");
		assert!(!all.knows(&claim(7).agent));
		let nothing = all.answer(answers(vec![(claim(7), true), (claim(8), false)]));
		assert_eq!(nothing, []);
		assert_eq!(introduce(claim(7)), Introduced::Admitted);
		assert_eq!(introduce(claim(8)), Introduced::Denied);
		assert!(all.admits(GENESIS, &claim(7)) && !all.admits(GENESIS, &claim(8)));
		assert!(all.knows(&claim(7).agent) && !all.knows(&claim(8).agent));
		// The admission is not valid for another chain, round or worker.
		assert!(!all.admits(H256::zero(), &claim(7)));
		for other in [
			SeatClaim {
				round: 6,
				..claim(7)
			},
			SeatClaim {
				worker: 9,
				..claim(7)
			},
		] {
			assert!(!all.admits(GENESIS, &other));
		}
		// With another seed of the round, the committees differ.
		let mut fork = answers(Vec::new());
		fork.rounds[0].seed = H256::zero();
		all.answer(fork);
		assert!(!all.admits(GENESIS, &claim(7)) && !all.knows(&claim(7).agent));
		assert!(waits(introduce(claim(7))) && waits(introduce(claim(8))));
	}

	#[test]
	fn a_key_that_does_not_name_a_round_neither_gets_nor_denies_its_claims() {
		let all = admissions();
		let of_round = |round, answers| SeatAnswers {
			rounds: vec![SeatRound {
				round,
				seed: H256::repeat_byte(2),
				keep_ms: 600_000,
			}],
			..self::answers(answers)
		};
		let old = SeatClaim {
			round: 3,
			..claim(8)
		};
		all.answer(of_round(3, Vec::new()));
		all.answer(of_round(4, Vec::new()));
		for claim in [claim(7), old] {
			assert!(waits(all.introduce(GENESIS, claim, from(0))));
		}
		// The old key, which sits in round 3 alone, asks first.
		assert_eq!(all.answer(of_round(3, Vec::new())), [old]);
		let denies_both = vec![(old, true), (claim(7), false)];
		assert_eq!(all.answer(of_round(3, denies_both)), []);
		assert_eq!(all.answer(of_round(4, Vec::new())), [claim(7)]);
		// It cannot deny a claim that another key took.
		assert_eq!(all.answer(of_round(3, vec![(claim(7), false)])), []);
		assert_eq!(all.answer(of_round(4, Vec::new())), [claim(7)]);
		assert_eq!(all.answer(of_round(4, vec![(claim(7), true)])), []);
		assert!(all.admits(GENESIS, &claim(7)) && all.admits(GENESIS, &old));
	}

	#[test]
	fn after_a_reorganization_the_node_is_asked_about_all_that_were_admitted() {
		let all = admissions();
		let with_seed = |seed, answers| {
			let mut request = self::answers(answers);
			request.rounds[0].seed = H256::repeat_byte(seed);
			let mut claims = all.answer(request);
			claims.sort();
			claims
		};
		with_seed(1, Vec::new());
		// More than may wait, and a flood that waits at the same time.
		let workers = 0..MAX_WAITING as u32 + 1_000;
		let admit = |claims: Vec<SeatClaim>| -> Vec<_> {
			let is_known = |claim: &SeatClaim| workers.contains(&claim.worker);
			claims
				.into_iter()
				.map(|claim| (claim, is_known(&claim)))
				.collect()
		};
		let settle = |seed| {
			let mut claims = with_seed(seed, Vec::new());
			while !claims.is_empty() {
				claims = with_seed(seed, admit(claims));
			}
		};
		for worker in workers.clone() {
			all.introduce(GENESIS, claim(worker), from(0));
			if worker % 1_000 == 0 {
				settle(1);
			}
		}
		settle(1);
		for worker in 0..20_000 {
			all.introduce(GENESIS, claim(1_000_000 + worker), from(1));
		}
		// None of them introduces itself again.
		settle(2);
		let missing = |worker: &u32| !all.admits(GENESIS, &claim(*worker));
		assert_eq!(workers.clone().filter(missing).count(), 0);

		// On a fork this operator does not sit for one of them. When the first chain is back, it does.
		let claims = loop {
			let claims = with_seed(3, Vec::new());
			if claims.contains(&claim(5)) {
				break claims;
			}
			with_seed(3, admit(claims));
		};
		with_seed(
			3,
			admit(claims)
				.into_iter()
				.map(|(of, sits)| (of, sits && of != claim(5)))
				.collect(),
		);
		settle(3);
		let introduced = all.introduce(GENESIS, claim(5), from(0));
		assert_eq!(introduced, Introduced::Denied);
		settle(2);
		assert!(all.admits(GENESIS, &claim(5)));
	}

	#[test]
	fn a_round_is_kept_as_long_as_the_last_that_named_it_asks() {
		let all = admissions();
		let mut short = answers(Vec::new());
		short.rounds[0].keep_ms = 0;
		all.answer(short);
		all.answer(answers(Vec::new()));
		all.introduce(GENESIS, claim(7), from(0));
		all.answer(answers(Vec::new()));
		all.answer(answers(vec![(claim(7), true)]));
		all.sweep();
		assert!(all.admits(GENESIS, &claim(7)));
	}

	#[test]
	fn the_node_cannot_admit_a_claim_that_it_did_not_take() {
		let all = admissions();
		all.answer(answers(vec![(claim(7), true)]));
		assert!(!all.admits(GENESIS, &claim(7)));
	}

	#[test]
	fn a_claim_whose_answer_is_lost_is_handed_out_again() {
		let all = admissions();
		all.answer(answers(Vec::new()));
		all.introduce(GENESIS, claim(7), from(0));
		for _ in 0..3 {
			assert_eq!(all.answer(answers(Vec::new())), [claim(7)]);
		}
	}

	#[test]
	fn an_admission_ends_with_its_round() {
		let all = admissions();
		let mut over = answers(Vec::new());
		over.rounds[0].keep_ms = 0;
		all.answer(over.clone());
		all.introduce(GENESIS, claim(7), from(0));
		all.answer(over.clone());
		over.answers = vec![(claim(7), true)];
		all.answer(over);
		assert!(!all.admits(GENESIS, &claim(7)));
		assert!(all.knows(&claim(7).agent));
		all.sweep();
		assert!(!all.knows(&claim(7).agent));
		assert_eq!(all.state.lock().admitted, 0);
	}

	#[test]
	fn a_flood_from_one_range_does_not_delay_others() {
		let all = admissions();
		all.answer(answers(Vec::new()));
		for worker in 0..20_000 {
			all.introduce(GENESIS, claim(worker), from(0));
		}
		assert_eq!(
			all.state.lock().waiting.claims.len(),
			MAX_WAITING,
			"and no more"
		);
		for range in 1..=1_000 {
			all.introduce(GENESIS, claim(100_000 + u32::from(range)), from(range));
		}
		let handed = all.answer(answers(Vec::new()));
		assert_eq!(handed.len(), MAX_CLAIMS);
		let others = handed.iter().filter(|claim| claim.worker >= 100_000);
		assert_eq!(others.count(), 1_000);
	}

	#[test]
	fn boundary_denials_are_bounded() {
		let all = admissions();
		let count = MAX_DENIED as u32 + 100;
		all.answer(answers(Vec::new()));
		for worker in 0..count {
			all.introduce(GENESIS, claim(worker), from(0));
			let handed = all.answer(answers(Vec::new()));
			all.answer(answers(
				handed.into_iter().map(|claim| (claim, false)).collect(),
			));
		}
		let state = all.state.lock();
		assert_eq!(
			(state.denied.len(), state.denials.len()),
			(MAX_DENIED, MAX_DENIED)
		);
		assert!(state.denied.contains(&claim(count - 1)));
	}
}
