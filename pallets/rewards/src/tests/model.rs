//! The reference: the rewards of `docs/spec/05-rewards.md` in plain Rust, with exact fractions, and without
//! the pallet's code or techniques. It has no accumulators and no laziness: when an epoch ends, it visits
//! all pools and all members and computes the earnings of each.
//!
//! It rounds where that page rounds: the pots of an epoch, a worker's PoC of idle blocks, its PoC
//! and its PoD of rented ones and the limit of its fees, the score of a machine without GPUs, an operator's
//! reward and the members' part of a pool's reward are whole units. A member's earnings are an exact
//! fraction, until they are claimed.

use kaisar_primitives::{Balance, OperatorId, PoolId, Pot, Profile, WorkerId};
use num_bigint::BigInt;
use num_rational::BigRational;
use std::collections::{BTreeMap, BTreeSet};

pub type Q = BigRational;
pub type Who = u128;
type Epoch = u32;

pub fn q(n: impl Into<BigInt>) -> Q {
	Q::from_integer(n.into())
}

pub fn zero() -> Q {
	q(0)
}

/// Returns `⌊x⌋`.
pub fn floor(x: &Q) -> u128 {
	x.floor().to_integer().try_into().unwrap()
}

fn down(x: Q) -> Q {
	x.floor()
}

fn per(part: &Q, whole: &Q) -> Q {
	if *whole == zero() {
		zero()
	} else {
		part / whole
	}
}

fn kai(n: u128) -> Q {
	q(n) * q(10u128.pow(18))
}

fn percent(n: u32) -> Q {
	q(n) / q(100)
}

/// Returns the emission of blocks 1 … `n`.
fn emitted(n: u32) -> Q {
	let period = 10_512_000u32;
	let blocks = |from: u32| kai(u128::from(n.saturating_sub(from).min(period)));
	q(15) * blocks(0) + q(13) * blocks(period) + q(11) * blocks(2 * period)
}

fn tier(tier: u8) -> Q {
	q(tier) / q(5)
}

/// Returns the score of one GPU of a class that the networks here use.
fn class(class: u16) -> Q {
	match class {
		0 => zero(),
		1 => q(10),
		5 => q(1),
		11 => q(3) / q(4),
		30 => q(1) / q(4),
		_ => unreachable!("a class of these networks"),
	}
}

/// Returns `2·A + B + 3·C + D + E`.
fn hardware(profile: &Profile) -> Q {
	q(2) * tier(profile.bandwidth)
		+ tier(profile.cpu)
		+ q(3) * class(profile.gpu_class) * q(profile.gpu_count)
		+ tier(profile.disk)
		+ tier(profile.memory)
}

/// A pool as its registry stores it, with the minima since the epoch began.
#[derive(Clone, Default)]
pub struct Stakes {
	pub own: Balance,
	pub own_least: Balance,
	/// The value of all shares.
	pub value: Balance,
	pub shares: BTreeMap<Who, u128>,
	pub least: BTreeMap<Who, u128>,
	/// Commissions in per cent, by the first epoch in which they hold.
	pub commissions: BTreeMap<Epoch, u32>,
}

impl Stakes {
	fn total(&self) -> u128 {
		self.shares.values().sum()
	}
	fn begin(&mut self) {
		self.own_least = self.own;
		self.least = self.shares.clone();
	}
}

#[derive(Clone, Default)]
struct Work {
	idle: Q0,
	rented: Q0,
	pod: Q0,
	fees: Balance,
	correct: u32,
	seats: u32,
}

/// A fraction whose default is 0.
#[derive(Clone)]
struct Q0(Q);

impl Default for Q0 {
	fn default() -> Self {
		Self(zero())
	}
}

/// A pool's earnings in an epoch, and their division; nobody gets them before the pool is settled.
struct Earned {
	/// The part of the pool's owner or operator.
	owner: Q,
	members: BTreeMap<Who, Q>,
	carried: Q,
	/// The whole reward, and that of the published formula without rounding.
	reward: Q,
	exact: Q,
}

/// A year of the network.
pub struct Model {
	pub epoch: Epoch,
	/// The last block of the previous epoch.
	before: u32,
	depth: u32,
	reserve: Q,
	/// `None` is automatic; otherwise in per cent.
	pub ratio: Option<u32>,
	/// The cap, in per cent of the fees.
	pub cap: u32,
	carry: BTreeMap<bool, Q>,
	pub pools: BTreeMap<PoolId, Stakes>,
	work: BTreeMap<PoolId, Work>,
	pending: BTreeMap<PoolId, (Epoch, Earned)>,
	/// The unsettled rest of each stored epoch, by pot.
	left: BTreeMap<(Epoch, bool), Q>,
	/// Settled and not claimed, by worker.
	owners: BTreeMap<WorkerId, Q>,
	/// Settled and not claimed, by the operator's account.
	operators: BTreeMap<Who, Q>,
	/// Earned and not claimed, by member.
	members: BTreeMap<(PoolId, Who), Q>,
	/// The unclaimed earnings of all members together, by pool.
	unclaimed: BTreeMap<PoolId, Q>,
	pub vkai: BTreeMap<Who, Balance>,
	pub accounts: BTreeMap<OperatorId, Who>,
	/// The largest difference between a pool's reward and the published formula's.
	pub furthest: Q,
}

fn is_checker(pot: Pot) -> bool {
	pot == Pot::Checkers
}

fn pot_of(pool: &PoolId) -> bool {
	matches!(pool, PoolId::Checker(_))
}

impl Model {
	pub fn new(depth: u32, reserve: Balance, accounts: BTreeMap<OperatorId, Who>) -> Self {
		Self {
			epoch: 0,
			before: 0,
			depth,
			reserve: q(reserve),
			ratio: None,
			cap: 50,
			carry: [(false, zero()), (true, zero())].into(),
			pools: BTreeMap::new(),
			work: BTreeMap::new(),
			pending: BTreeMap::new(),
			left: BTreeMap::new(),
			owners: BTreeMap::new(),
			operators: BTreeMap::new(),
			members: BTreeMap::new(),
			unclaimed: BTreeMap::new(),
			vkai: BTreeMap::new(),
			accounts,
			furthest: zero(),
		}
	}

	pub fn pool(&mut self, pool: PoolId) -> &mut Stakes {
		self.pools.entry(pool).or_insert_with(|| Stakes {
			commissions: [(0, 10)].into(),
			..Default::default()
		})
	}

	pub fn carry(&mut self, pot: Pot) -> &mut Q {
		self.carry.get_mut(&is_checker(pot)).unwrap()
	}

	/// Records the time that a check proved for a worker.
	pub fn prove(
		&mut self,
		worker: WorkerId,
		idle: u32,
		rented: u32,
		stake: Balance,
		profile: &Profile,
	) {
		self.settle(PoolId::Worker(worker));
		let most = kai(50_000);
		// The chain stores a boost in steps of 10⁻⁹.
		let part = q(stake).min(most.clone()) / most;
		let boost = q(1) + down(part * q(1_000_000_000)) / q(1_000_000_000);
		let score = boost * hardware(profile);
		// Only without GPUs a score has a fraction of a unit.
		let weighed = |time: Q| {
			if profile.gpu_class != 0 {
				return time * &score;
			}
			let cores = [0, 4, 32, 64, 129][usize::from(profile.cpu)];
			let unit = q(10u128.pow(11));
			down(time * &score * percent(10) * q(cores) / q(129) * &unit) / unit
		};
		let work = self.work.entry(PoolId::Worker(worker)).or_default();
		work.idle.0 += weighed(q(idle));
		work.rented.0 += weighed(q(rented));
		work.pod.0 += weighed(q(rented) * q(3));
	}

	pub fn seats(&mut self, operator: OperatorId, correct: u32, wrong: u32) {
		self.settle(PoolId::Checker(operator));
		let work = self.work.entry(PoolId::Checker(operator)).or_default();
		work.correct += correct;
		work.seats += correct + wrong;
	}

	pub fn fee(&mut self, worker: WorkerId, amount: Balance) {
		self.settle(PoolId::Worker(worker));
		self.work.entry(PoolId::Worker(worker)).or_default().fees += amount;
	}

	/// Records a change of a member's shares, or of none.
	pub fn shares(&mut self, pool: PoolId, who: Who, new: u128, value: Balance) {
		self.settle(pool);
		let stakes = self.pool(pool);
		// Worthless shares are only cleared: the member does not lose its eligible ones.
		if stakes.value > 0 || stakes.total() == 0 {
			let least = stakes.least.get(&who).copied().unwrap_or(0).min(new);
			stakes.least.insert(who, least);
		}
		stakes.value = value;
		stakes.shares.insert(who, new);
	}

	pub fn own(&mut self, worker: WorkerId, new: Balance) {
		self.settle(PoolId::Worker(worker));
		let stakes = self.pool(PoolId::Worker(worker));
		stakes.own = new;
		stakes.own_least = stakes.own_least.min(new);
	}

	/// Slashes every part of a pool alike.
	pub fn slash(&mut self, worker: WorkerId, part: u32) {
		self.settle(PoolId::Worker(worker));
		let stakes = self.pool(PoolId::Worker(worker));
		stakes.own -= floor(&(q(stakes.own) * percent(part)));
		stakes.own_least = stakes.own_least.min(stakes.own);
		stakes.value -= floor(&(q(stakes.value) * percent(part)));
	}

	pub fn announce(&mut self, pool: PoolId, commission: u32) {
		self.settle(pool);
		let from = self.epoch + 2;
		self.pool(pool).commissions.insert(from, commission);
	}

	/// Credits a pool's earnings of a past epoch, if that is still stored.
	pub fn settle(&mut self, pool: PoolId) {
		let Some((epoch, earned)) = self.pending.remove(&pool) else {
			return;
		};
		let pot = pot_of(&pool);
		*self.left.get_mut(&(epoch, pot)).unwrap() -= &earned.reward + &earned.carried;
		*self.carry.get_mut(&pot).unwrap() += &earned.carried;
		let owner = match pool {
			PoolId::Worker(worker) => self.owners.entry(worker).or_insert_with(zero),
			PoolId::Checker(operator) => self
				.operators
				.entry(self.accounts[&operator])
				.or_insert_with(zero),
		};
		*owner += &earned.owner;
		*self.unclaimed.entry(pool).or_insert_with(zero) += &earned.reward - &earned.owner;
		for (who, amount) in earned.members {
			*self.members.entry((pool, who)).or_insert_with(zero) += amount;
		}
		let off = (earned.exact - earned.reward).max(zero());
		if off > self.furthest {
			self.furthest = off;
		}
	}

	/// Ends the epoch with block `end`.
	pub fn end_epoch(&mut self, end: u32) {
		let emission = emitted(end) - emitted(self.before);
		let out = |n| down(&self.reserve * emitted(n) / emitted(u32::MAX));
		let release = out(end) - out(self.before);
		let providers = down(&emission * percent(50)) + self.carry[&false].clone();
		let checkers = down(&emission * percent(20)) + release + self.carry[&true].clone();

		let work = std::mem::take(&mut self.work);
		let sum = |of: fn(&Work) -> Q| work.values().map(of).fold(zero(), |a, b| a + b);
		let (idle, rented, pod, fees) = (
			sum(|work| work.idle.0.clone()),
			sum(|work| work.rented.0.clone()),
			sum(|work| work.pod.0.clone()),
			sum(|work| q(work.fees)),
		);
		let poc = &idle + &rented;
		let (poc_pot, pod_pot) = match self.ratio {
			None => {
				let all = &poc + &pod;
				(
					down(per(&(&providers * &poc), &all)),
					down(per(&(&providers * &pod), &all)),
				)
			}
			Some(ratio) => {
				let pod_part = down(&providers * percent(ratio));
				let poc_part = if poc == zero() {
					zero()
				} else {
					&providers - &pod_part
				};
				// A unit of PoD never pays more than a unit of PoC.
				let limit = down(per(&(&poc_part * &pod), &poc));
				(poc_part, pod_part.min(limit))
			}
		};
		let cap = percent(self.cap.min(100));
		let (all_rent, all_fees) = (
			down(per(&(&rented * &poc_pot), &poc)) + &pod_pot,
			down(&fees * &cap),
		);
		let for_rent = all_rent.clone().min(all_fees.clone());
		let idle_pot = if idle == zero() {
			zero()
		} else {
			&poc_pot + &pod_pot - &for_rent
		};
		let score = |work: &Work| match work.seats {
			0 => zero(),
			// In steps of 10⁻⁹ of a seat.
			seats => down(q(work.correct) * q(work.correct) * q(1_000_000_000) / q(seats)),
		};
		let all_checkers = work.values().map(score).fold(zero(), |a, b| a + b);
		let checker_pot = if all_checkers == zero() {
			zero()
		} else {
			checkers.clone()
		};

		for (pool, work) in &work {
			let (reward, carried, exact) = match pool {
				PoolId::Worker(_) => {
					let of_idle = per(&(&work.idle.0 * &idle_pot), &idle);
					let capacity = per(&(&work.rented.0 * &poc_pot), &poc);
					let demand = per(&(&work.pod.0 * &pod_pot), &pod);
					let limit = q(work.fees) * &cap;
					let exact = &of_idle + (&capacity + &demand).min(limit.clone());
					let (rent, limit) = (down(capacity) + down(demand), down(limit));
					let paid = rent.clone().min(limit.clone());
					// Its part of the amount for rent, less its payment.
					let carried = if all_fees <= all_rent { limit } else { rent } - &paid;
					(down(of_idle) + paid, carried, exact)
				}
				PoolId::Checker(_) => {
					let exact = per(&(score(work) * &checker_pot), &all_checkers);
					(down(exact.clone()), zero(), exact)
				}
			};
			let earned = self.divide(*pool, reward, carried, exact);
			if let Some(earned) = earned {
				self.pending.insert(*pool, (self.epoch, earned));
			}
		}
		let shared = for_rent + idle_pot;
		self.left.insert((self.epoch, false), shared.clone());
		self.left.insert((self.epoch, true), checker_pot.clone());
		self.carry.insert(false, providers - shared);
		self.carry.insert(true, checkers - checker_pot);

		self.epoch += 1;
		self.before = end;
		// Expired earnings carry over.
		let kept = self.epoch.saturating_sub(self.depth);
		self.pending.retain(|_, (epoch, _)| *epoch >= kept);
		let old: BTreeSet<_> = self
			.left
			.keys()
			.filter(|(epoch, _)| *epoch < kept)
			.copied()
			.collect();
		for (epoch, pot) in old {
			let left = self.left.remove(&(epoch, pot)).unwrap();
			*self.carry.get_mut(&pot).unwrap() += left;
		}
		self.pools.values_mut().for_each(Stakes::begin);
	}

	/// Divides a pool's reward of the ending epoch between its owner and the members with shares held all
	/// the time.
	fn divide(&mut self, pool: PoolId, reward: Q, carried: Q, exact: Q) -> Option<Earned> {
		if reward == zero() && carried == zero() && exact == zero() {
			return None;
		}
		let epoch = self.epoch;
		let stakes = self.pool(pool);
		let commission = *stakes.commissions.range(..=epoch).next_back().unwrap().1;
		let eligible: u128 = stakes.least.values().sum();
		let (total, worth) = (q(stakes.total()), q(stakes.value));
		let owner = match pool {
			PoolId::Worker(_) => q(stakes.own_least),
			PoolId::Checker(_) => zero(),
		};
		let there = per(&(&worth * q(eligible)), &total);
		let part = match eligible {
			0 => zero(),
			_ if &owner + &there == zero() => q(1),
			_ => &there / (&owner + &there),
		};
		let part = down(&reward * percent(commission) * part);
		let members = stakes
			.least
			.iter()
			.filter(|(_, shares)| **shares > 0)
			.map(|(who, shares)| (*who, &part * q(*shares) / q(eligible)))
			.collect();
		Some(Earned {
			owner: &reward - &part,
			members,
			carried,
			reward,
			exact,
		})
	}

	/// Returns an owner's unclaimed earnings.
	pub fn owner_due(&self, worker: WorkerId) -> Q {
		let settled = self.owners.get(&worker).cloned().unwrap_or_else(zero);
		settled + self.unsettled(PoolId::Worker(worker), |earned| Some(&earned.owner))
	}

	/// Returns the unclaimed earnings of an operator's account, as far as they are settled or of its present
	/// number.
	pub fn operator_due(&self, operator: OperatorId) -> Q {
		let account = self.accounts[&operator];
		let settled = self.operators.get(&account).cloned().unwrap_or_else(zero);
		settled + self.unsettled(PoolId::Checker(operator), |earned| Some(&earned.owner))
	}

	/// Returns a member's unclaimed earnings.
	pub fn member_due(&self, pool: PoolId, who: Who) -> Q {
		let settled = self.members.get(&(pool, who)).cloned().unwrap_or_else(zero);
		settled + self.unsettled(pool, |earned| earned.members.get(&who))
	}

	fn unsettled(&self, pool: PoolId, of: impl FnOnce(&Earned) -> Option<&Q>) -> Q {
		self.pending
			.get(&pool)
			.and_then(|(_, earned)| of(earned).cloned())
			.unwrap_or_else(zero)
	}

	pub fn owner_claimed(&mut self, worker: WorkerId, amount: Balance) {
		self.settle(PoolId::Worker(worker));
		*self.owners.get_mut(&worker).unwrap() -= q(amount);
	}

	pub fn operator_claimed(&mut self, operator: OperatorId, amount: Balance) {
		self.settle(PoolId::Checker(operator));
		let account = self.accounts[&operator];
		*self.operators.get_mut(&account).unwrap() -= q(amount);
		*self.vkai.entry(account).or_default() += amount;
	}

	pub fn member_claimed(&mut self, pool: PoolId, who: Who, amount: Balance) {
		self.settle(pool);
		*self.members.get_mut(&(pool, who)).unwrap() -= q(amount);
		*self.unclaimed.get_mut(&pool).unwrap() -= q(amount);
		if pot_of(&pool) {
			*self.vkai.entry(who).or_default() += amount;
		}
	}

	/// Removes a member without shares, whose claim is only a fraction.
	pub fn forget(&mut self, pool: PoolId, who: Who) {
		let owed = self.members.remove(&(pool, who)).unwrap_or_else(zero);
		assert!(owed <= q(1), "{who} had {owed} to claim");
	}

	/// Removes the last member of a pool: the rest of the members' parts carries over.
	pub fn forget_pool(&mut self, pool: PoolId) {
		let left = self.unclaimed.remove(&pool).unwrap_or_else(zero);
		assert!(left <= q(8), "{left} is more than fractions of members");
		*self.carry.get_mut(&pot_of(&pool)).unwrap() += left;
	}

	/// Redeems vKAI: a part of it becomes KAI, the rest goes to the checker pot. Returns the part.
	pub fn redeem(&mut self, who: Who, amount: Balance, pays_percent: u32) -> Balance {
		*self.vkai.get_mut(&who).unwrap() -= amount;
		let pays = floor(&(q(amount) * percent(pays_percent)));
		*self.carry(Pot::Checkers) += q(amount - pays);
		pays
	}
}
