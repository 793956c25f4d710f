//! A network in play: the chain, the machines, the parties, and the nodes that work for them.
//!
//! The work of nodes is in the module `nodes`. Where an honest node would act by rule, the [`Mind`] of its
//! party decides.

use crate::{
	actors::{Desk, Identity, Mind, Operator, Party, PartyId, Purse},
	books,
	chain::{Author, Block, Sender},
	network::{self, Checker, Network},
	physics::{Machine, MachineId},
	pool::Pool,
	store::Store,
};
use codec::Encode;
use kaisar_primitives::{
	Balance, BlockNumber, KAI, OperatorId, OrderId, PoolId, RoundIndex, RoundKind, WorkerId,
};
use kaisar_runtime::{AccountId, Rewards, Runtime, RuntimeEvent};
use nodes::RoundView;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Maximum number of storage entries of a network that is copied to play an author's foresight.
const MOST_FORESEEN: usize = 1_000_000;
/// Value of a party at three moments, in KAI units, and its use of machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
	/// Value before it entered.
	pub brought: Balance,
	/// Value at the opening.
	pub opened: Balance,
	/// Value at the end, with all claims paid.
	pub closed: Balance,
	/// Price of others' machines that it could use.
	pub used: Balance,
	/// Number of blocks for which its machines were free for another use.
	pub spared: u64,
	/// Number of blocks that it withheld as their author.
	pub withheld: u32,
}

/// Emission of a block for validators and nominators, in KAI units: the maximum loss of an author that
/// withholds one.
const BLOCK_REWARD: Balance = 15 * KAI * 3 / 10;

impl Account {
	/// Returns the earnings between opening and end, in KAI units: the gain in value and the price of used
	/// machines, less the rewards of withheld blocks.
	pub fn earned(&self) -> i128 {
		let withheld = BLOCK_REWARD * Balance::from(self.withheld);
		self.closed as i128 - self.opened as i128 + self.used as i128 - withheld as i128
	}

	/// Returns the cost of entering, in KAI units: fees of registrations, and of failed attempts.
	pub fn entry(&self) -> i128 {
		self.brought as i128 - self.opened as i128
	}
}

/// Counts of the results of all checks between opening and end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
	/// Number of blocks.
	pub blocks: u32,
	/// Number of censuses that began.
	pub censuses: u32,
	/// Number of closed checks.
	pub checks: u32,
	/// Number of checks that found the worker offline.
	pub offline: u32,
	/// Number of checks without a result: no consensus, or no decision on the hardware.
	pub undecided: u32,
}

/// A network in play.
pub struct World {
	network: Network,
	store: Store,
	author: Author,
	pool: Pool,
	machines: Vec<Machine>,
	workers: Vec<Identity>,
	/// Workers whose machine or GPUs another worker uses too.
	shared: BTreeSet<WorkerId>,
	users: BTreeMap<MachineId, Vec<WorkerId>>,
	operators: Vec<Operator>,
	parties: Vec<Party>,
	minds: Vec<Box<dyn Mind>>,
	party_of: HashMap<AccountId, PartyId>,
	coming: BTreeMap<AccountId, VecDeque<Identity>>,
	keys: u32,
	rounds: BTreeMap<RoundIndex, RoundView>,
	marked: BTreeMap<RoundIndex, BTreeSet<WorkerId>>,
	rented: BTreeSet<WorkerId>,
	/// Orders that wait for their container, by the block of the next look at it.
	deploying: BTreeMap<BlockNumber, Vec<(OrderId, WorkerId)>>,
	/// Orders that run.
	active: BTreeMap<OrderId, WorkerId>,
	/// Commitments to open, by the block in which they are sent.
	opening: BTreeMap<BlockNumber, Vec<(RoundIndex, OperatorId, u16)>>,
	block: Block,
	/// Whether the next four blocks start a census, which their author knows.
	census_comes: bool,
	/// Number of the block that opens the play.
	opens: BlockNumber,
	accounts: Vec<Account>,
	counts: Counts,
}

/// Makes a desk for a party from the fields of a world.
macro_rules! desk {
	($world:expr, $party:expr) => {
		Desk {
			block: &$world.block,
			opening: $world.opens,
			id: $party,
			me: &mut $world.parties[$party],
			machines: &mut $world.machines,
			workers: &$world.workers,
			operators: &$world.operators,
			coming: &mut $world.coming,
			keys: &mut $world.keys,
			foresees: $world.census_comes,
			pool: &mut $world.pool,
		}
	};
}

mod nodes;

/// Returns a number below `limit` that is derived from the seed and `about`.
pub fn draw(limit: u32, seed: u64, about: impl Encode) -> u32 {
	let hash = sp_io::hashing::blake2_128(&(seed, about).encode());
	(u128::from_le_bytes(hash) % u128::from(limit.max(1))) as u32
}

impl World {
	/// Creates a network with these parties and the honest background, whose mind is the first.
	pub fn new(network: Network, background: Box<dyn Mind>, parties: Vec<Box<dyn Mind>>) -> Self {
		let author = Author::new(network.seed);
		let minds: Vec<_> = std::iter::once(background).chain(parties).collect();
		let mut checkers = network::background_checkers(&network);
		let mut operators: Vec<_> = checkers
			.iter()
			.map(|it| Operator {
				party: 0,
				account: it.account.clone(),
			})
			.collect();
		let (mut purses, mut all) = (Vec::new(), vec![Party::default()]);
		for (id, mind) in minds.iter().enumerate().skip(1) {
			let Purse {
				accounts,
				operators: licenses,
			} = mind.purse();
			let mut party = Party::default();
			for (number, kai) in (0..).zip(accounts) {
				let who = network::account(id, number);
				purses.push((who.clone(), kai));
				party.accounts.push(who);
			}
			for (number, licenses) in (1_000..).zip(licenses) {
				let account = network::account(id, number);
				party.operators.push(operators.len() as OperatorId);
				party.accounts.push(account.clone());
				operators.push(Operator {
					party: id,
					account: account.clone(),
				});
				checkers.push(Checker { account, licenses });
			}
			all.push(party);
		}
		let party_of = all
			.iter()
			.enumerate()
			.flat_map(|(id, party)| party.accounts.iter().map(move |who| (who.clone(), id)))
			.collect();
		let mut store = Store::default();
		store.execute_with(|| network::build(&network, &author, &purses, &checkers));

		let (mut machines, mut workers) = (Vec::new(), Vec::new());
		for worker in 0..network.workers {
			let claim = network::background_claim(worker);
			workers.push(Identity {
				party: 0,
				claim,
				machine: machines.len(),
				gpus_of: machines.len(),
			});
			machines.push(Machine {
				has: claim,
				on: true,
			});
		}
		all[0].workers = (0..network.workers).collect();
		let opens = network.rules.setup + 1;
		let mut world = Self {
			accounts: vec![Account::default(); all.len()],
			network,
			store,
			author,
			pool: Pool::default(),
			machines,
			workers,
			shared: BTreeSet::new(),
			users: BTreeMap::new(),
			operators,
			parties: all,
			minds,
			party_of,
			coming: BTreeMap::new(),
			keys: 0,
			rounds: BTreeMap::new(),
			marked: BTreeMap::new(),
			rented: BTreeSet::new(),
			deploying: BTreeMap::new(),
			active: BTreeMap::new(),
			opening: BTreeMap::new(),
			block: Block::default(),
			census_comes: false,
			opens,
			counts: Counts::default(),
		};
		world.on_chain(|world| {
			for id in 1..world.parties.len() {
				world.accounts[id].brought = books::worth(&world.parties[id]);
				world.minds[id].enter(&mut desk!(world, id));
			}
		});
		world
	}

	/// Runs `with` on this world's storage.
	pub fn on_chain<R>(&mut self, with: impl FnOnce(&mut Self) -> R) -> R {
		let mut store = std::mem::take(&mut self.store);
		let result = store.execute_with(|| with(self));
		self.store = store;
		result
	}

	/// Plays from the founding to the end, and returns the account of each party, except the background.
	pub fn play(&mut self) -> Vec<Account> {
		self.play_with(|_| {});
		self.close()
	}

	/// Plays from the founding to the end, and calls `look` after each block from the opening on.
	pub fn play_with(&mut self, mut look: impl FnMut(&mut Self)) {
		while self.author.next() < self.opens {
			self.step();
		}
		self.open();
		let rules = &self.network.rules;
		let end = self.opens + rules.epoch_length * rules.epochs;
		// The first block after the last epoch ends that epoch.
		while self.author.next() <= end {
			self.step();
			look(self);
		}
	}

	/// Returns the last block.
	pub fn block(&self) -> &Block {
		&self.block
	}

	fn open(&mut self) {
		self.on_chain(|world| {
			network::open(&world.network.rules);
			for id in 1..world.parties.len() {
				world.accounts[id].opened = books::worth(&world.parties[id]);
				world.parties[id].used = 0;
			}
		});
		self.counts = Counts::default();
	}

	/// Closes the books. Claimable rewards count as if they had been claimed: claiming an epoch costs one
	/// fee in two weeks, whatever the strategy.
	fn close(&mut self) -> Vec<Account> {
		self.on_chain(|world| {
			for (account, party) in world.accounts.iter_mut().zip(&world.parties).skip(1) {
				account.closed = books::worth(party);
				account.used = party.used;
				account.spared = party.spared;
				account.withheld = party.withheld;
			}
		});
		self.accounts[1..].to_vec()
	}

	/// Lets a party claim everything that it can in the next block.
	pub fn claim(&mut self, id: PartyId) {
		self.on_chain(|world| {
			let until = world.author.next() + 10;
			let mut claim = |who: &AccountId, call: pallet_rewards::Call<Runtime>| {
				world.pool.send(Sender::of(who), call, until);
			};
			let party = &world.parties[id];
			for worker in party.workers.iter().copied() {
				let owned = pallet_providers::Workers::<Runtime>::get(worker);
				let from = PoolId::Worker(worker);
				if let Some(record) = owned.filter(|_| Rewards::claimable_from(from) > 0) {
					claim(&record.owner, pallet_rewards::Call::claim_worker { worker });
				}
			}
			for who in &party.accounts {
				if Rewards::claimable(who.clone()) > 0 {
					claim(who, pallet_rewards::Call::claim_checker {});
				}
			}
		});
		self.step();
	}

	/// Returns the value of a party now, in KAI units.
	pub fn worth(&mut self, id: PartyId) -> Balance {
		self.on_chain(|world| books::worth(&world.parties[id]))
	}

	/// Returns the counts of the checks' results.
	pub fn counts(&self) -> Counts {
		self.counts
	}

	/// Returns the number of storage entries, and their total length in bytes.
	pub fn size(&self) -> (usize, usize) {
		(self.store.entries(), self.store.bytes())
	}

	/// Returns the counts of transactions.
	pub fn carried(&self) -> crate::pool::Carried {
		self.pool.carried
	}

	/// Makes the next block, and lets nodes and minds act on it.
	pub fn step(&mut self) {
		self.census_comes = self.foresee();
		self.withhold();
		self.on_chain(|world| {
			world.author.begin();
			let now = world.author.next();
			world.pool.fill(now);
			world.block = world.author.end();
			world.counts.blocks += 1;
			world.read_events();
			world.work();
			for id in 0..world.parties.len() {
				world.minds[id].act(&mut desk!(world, id));
			}
		});
	}

	/// Returns the number of blocks before the one that starts the next round.
	fn blocks_to_start(&mut self) -> Option<BlockNumber> {
		self.on_chain(|world| {
			let start = pallet_popw::NextStart::<Runtime>::get();
			start.checked_sub(world.author.next())
		})
	}

	/// Returns whether the next four blocks start a census. Their author knows its own outputs, and
	/// transactions do not change them, so empty blocks on a copy of the state give the answer.
	fn foresee(&mut self) -> bool {
		use pallet_popw::Event::RoundStarted;
		let asked = self.minds.iter().any(|mind| mind.foresees());
		if !asked || self.store.entries() > MOST_FORESEEN {
			return false;
		}
		let Some(blocks @ 1..=4) = self.blocks_to_start() else {
			return false;
		};
		let (mut store, mut author) = (self.store.clone(), self.author.clone());
		store.execute_with(|| {
			(0..=blocks).any(|_| {
				author.begin();
				author.end().events.iter().any(|event| {
					let RuntimeEvent::Popw(RoundStarted { kind, .. }) = event else {
						return false;
					};
					*kind == RoundKind::Census
				})
			})
		})
	}

	/// Lets a party that authors the first block of a round withhold it if it does not accept the draw: the
	/// block of the next slot has another draw. The party decides once a round.
	fn withhold(&mut self) {
		let Some(id) = self.minds.iter().position(|mind| mind.withholds()) else {
			return;
		};
		if self.author.next() < self.opens || self.store.entries() > MOST_FORESEEN {
			return;
		}
		if self.blocks_to_start() != Some(0) {
			return;
		}
		let (mut store, mut author) = (self.store.clone(), self.author.clone());
		let likes = store.execute_with(|| {
			author.begin();
			let block = author.end();
			let mut desk = Desk {
				block: &block,
				..desk!(self, id)
			};
			self.minds[id].likes(&mut desk)
		});
		if !likes {
			self.author.skip();
			self.parties[id].withheld += 1;
		}
	}

	fn now(&self) -> BlockNumber {
		self.block.number
	}

	fn seed(&self) -> u64 {
		self.network.seed
	}
}

/// Returns an amount in KAI as a decimal number, for tables.
pub fn kai(units: i128) -> f64 {
	units as f64 / KAI as f64
}
