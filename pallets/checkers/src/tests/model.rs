//! The activity of every license in every round equals that of a plain model, for all sequences of calls.

use crate::{mock::*, *};
use alloc::collections::BTreeMap;
use kaisar_primitives::{IsDelegated, SeatResult, Seats};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use sp_core::Pair;

/// The licenses of the test, in two pages.
const LICENSES: [LicenseId; 6] = [0, 1, 2, 255, 256, 300];
/// Accounts 1 … 4 register; 3 … 6 hold licenses.
const ACCOUNTS: core::ops::RangeInclusive<AccountId> = 1..=6;

#[derive(Clone, Debug)]
enum Op {
	Register(AccountId),
	Deregister(AccountId),
	Keys(AccountId, u8),
	AutoAccept(AccountId, bool),
	Offline(AccountId),
	Online(AccountId),
	/// Prunes a registration, by its number.
	Prune(usize),
	Delegate(usize, AccountId),
	Accept(usize),
	Reject(usize),
	Revoke(usize),
	Transfer(usize, AccountId),
	Missed(AccountId, RoundIndex),
	Revealed(AccountId),
	/// A lone vote on a worker, this many rounds ago.
	Lone(AccountId, WorkerId, RoundIndex),
	/// Annuls the first vote of a strike; strikes are counted from the last.
	Annul(AccountId, usize),
	/// Lets hours pass, with their blocks or while the chain stands still.
	Hours(u64, bool),
	/// Starts this many rounds of each lane; then rounds older than this many are over.
	Rounds(u32, u32),
	/// The last census ends, and the last started round becomes one.
	Census,
	/// An epoch ends, and the one before it expires.
	Epoch,
}

fn in_flight() -> Vec<RoundIndex> {
	MockChecks::in_flight()
}

/// Returns a worker about which only this account votes alone: each check has at most one lone vote.
fn worker(account: AccountId, number: u32) -> WorkerId {
	account as WorkerId * 10 + number
}

fn op() -> impl Strategy<Value = Op> {
	let operator = || 1..=4u64;
	let license = || 0..LICENSES.len();
	prop_oneof![
		3 => operator().prop_map(Op::Register),
		2 => operator().prop_map(Op::Deregister),
		2 => (operator(), 1..=8u8).prop_map(|(a, k)| Op::Keys(a, k)),
		2 => (operator(), any::<bool>()).prop_map(|(a, on)| Op::AutoAccept(a, on)),
		2 => operator().prop_map(Op::Offline),
		3 => operator().prop_map(Op::Online),
		8 => (license(), operator()).prop_map(|(l, a)| Op::Delegate(l, a)),
		5 => license().prop_map(Op::Accept),
		1 => license().prop_map(Op::Reject),
		4 => license().prop_map(Op::Revoke),
		2 => (license(), 3..=6u64).prop_map(|(l, a)| Op::Transfer(l, a)),
		3 => (operator(), 1..6u32).prop_map(|(a, r)| Op::Missed(a, r)),
		1 => operator().prop_map(Op::Revealed),
		5 => (operator(), 0..2u32, 1..4u32).prop_map(|(a, w, r)| Op::Lone(a, worker(a, w), r)),
		5 => (operator(), 0..3usize).prop_map(|(a, back)| Op::Annul(a, back)),
		3 => (prop_oneof![Just(6u64), Just(25), Just(24 * 6), Just(24 * 31)], any::<bool>())
			.prop_map(|(hours, blocks)| Op::Hours(hours, blocks)),
		5 => (1..3u32, 1..6u32).prop_map(|(n, lag)| Op::Rounds(n, lag)),
		1 => Just(Op::Census),
		2 => Just(Op::Epoch),
		5 => (0..6usize).prop_map(Op::Prune),
	]
}

/// Returns the end of the ban for strikes at these times; 0 for none.
pub(super) fn plain_ban(times: &[u64]) -> u64 {
	let mut until = 0;
	for n in 1..=times.len() {
		let now = times[n - 1];
		let last = |days: u64| {
			let earlier = times[..n].iter().rev();
			earlier.take_while(|at| now - **at < days * DAY).count()
		};
		let days = match (n, last(30), last(7)) {
			(11.., _, _) => return u64::MAX,
			(_, 5.., _) => 180,
			(_, _, 2..) => 30,
			_ => continue,
		};
		until = until.max(now + days * DAY);
	}
	until
}

/// An operator in the model.
#[derive(Clone, Default)]
struct Plain {
	account: AccountId,
	gone: bool,
	/// The round and the epoch of its end.
	ended: (RoundIndex, EpochIndex),
	pruned: bool,
	online: bool,
	/// Whether it was banned and has not returned.
	banned: bool,
	auto: bool,
	keys: u8,
}

/// A strike in the model.
struct PlainStrike {
	operator: usize,
	round: RoundIndex,
	at: u64,
	block: u64,
	workers: Vec<WorkerId>,
}

/// The complete history: the state of each license and key in each round that started.
#[derive(Default)]
struct Model {
	operators: Vec<Plain>,
	holder: BTreeMap<LicenseId, AccountId>,
	/// The operator, and whether it accepted.
	delegated: BTreeMap<LicenseId, (usize, bool)>,
	strikes: BTreeMap<AccountId, Vec<PlainStrike>>,
	seats: BTreeMap<RoundIndex, BTreeMap<LicenseId, OperatorId>>,
	keys: BTreeMap<RoundIndex, Vec<u8>>,
}

impl Model {
	fn number(&self, account: AccountId) -> Option<usize> {
		self.operators
			.iter()
			.position(|operator| operator.account == account && !operator.gone)
	}

	/// Returns the seats of the next round to start.
	fn next(&self) -> BTreeMap<LicenseId, OperatorId> {
		self.delegated
			.iter()
			.filter(|(_, (operator, accepted))| {
				let operator = &self.operators[*operator];
				*accepted && operator.online && !operator.banned
			})
			.map(|(license, (operator, _))| (*license, *operator as OperatorId))
			.collect()
	}

	/// Returns the end of the ban that the account's strikes bring.
	fn banned_until(&self, account: AccountId) -> u64 {
		let times: Vec<u64> = self.strikes.get(&account).map_or(Vec::new(), |strikes| {
			strikes.iter().map(|strike| strike.at).collect()
		});
		plain_ban(&times)
	}

	fn lone(&mut self, account: AccountId, worker: WorkerId, round: RoundIndex) {
		let operator = self.number(account).expect("it is registered");
		let strikes = self.strikes.entry(account).or_default();
		let room = strikes.len() < 16;
		match strikes.iter_mut().find(|strike| strike.round == round) {
			Some(PlainStrike { workers, .. })
				if workers.len() < 4 && !workers.contains(&worker) =>
			{
				workers.push(worker);
			}
			Some(_) => (),
			None if room => strikes.push(PlainStrike {
				operator,
				round,
				at: Millis::get(),
				block: System::block_number(),
				workers: vec![worker],
			}),
			None => (),
		}
		let until = self.banned_until(account);
		let Some(number) = self.number(account).filter(|_| until > Millis::get()) else {
			return;
		};
		self.operators[number].banned = true;
		if until == u64::MAX {
			self.end(number);
		}
	}

	/// Ends a registration.
	fn end(&mut self, number: usize) {
		self.operators[number].gone = true;
		self.operators[number].ended = (NextRound::get(), Epoch::get());
		self.delegated
			.retain(|_, (operator, _)| *operator != number);
	}

	/// Returns the worker and the round of a strike's first vote; strikes are counted from the last.
	fn strike(&self, account: AccountId, back: usize) -> (WorkerId, RoundIndex) {
		let strike = self
			.strikes
			.get(&account)
			.and_then(|all| all.iter().rev().nth(back));
		strike.map_or((0, 0), |strike| (strike.workers[0], strike.round))
	}

	/// Returns whether nothing needs the record any more.
	fn may_prune(&self, number: usize) -> bool {
		let Some(operator) = self.operators.get(number) else {
			return false;
		};
		let (from, epoch) = operator.ended;
		let last = self
			.operators
			.iter()
			.rposition(|other| other.account == operator.account);
		let struck = self.strikes.get(&operator.account).is_some_and(|strikes| {
			strikes
				.iter()
				.any(|strike| strike.operator == number || last == Some(number))
		});
		operator.gone
			&& !operator.pruned
			&& epoch < OldestEpoch::get()
			&& in_flight().into_iter().all(|round| round >= from)
			&& !struck
	}

	/// Returns whether the vote can be annulled.
	fn may_annul(&self, account: AccountId, (worker, round): (WorkerId, RoundIndex)) -> bool {
		self.strikes.get(&account).is_some_and(|strikes| {
			strikes.iter().any(|strike| {
				strike.round == round
					&& strike.workers.contains(&worker)
					&& (Millis::get() - strike.at <= DAY
						|| System::block_number() - strike.block <= 7_200)
			})
		})
	}

	fn annul(&mut self, account: AccountId, (worker, round): (WorkerId, RoundIndex)) {
		let before = self.banned_until(account);
		let strikes = self.strikes.get_mut(&account).expect("it has strikes");
		for strike in strikes.iter_mut() {
			if strike.round == round {
				strike.workers.retain(|other| *other != worker);
			}
		}
		strikes.retain(|strike| !strike.workers.is_empty());
		let until = self.banned_until(account);
		let free = until < before && until <= Millis::get();
		if let Some(number) = self.number(account).filter(|_| free) {
			self.operators[number].banned = false;
		}
	}

	/// Applies a call that succeeded.
	fn apply(&mut self, op: &Op) {
		match *op {
			Op::Register(account) => self.operators.push(Plain {
				account,
				online: true,
				keys: account as u8,
				..Plain::default()
			}),
			Op::Prune(number) => self.operators[number].pruned = true,
			Op::Deregister(account) => {
				let number = self.number(account).expect("it was registered");
				self.end(number);
			}
			Op::Keys(account, keys) => {
				let number = self.number(account).expect("it was registered");
				self.operators[number].keys = keys;
			}
			Op::AutoAccept(account, on) => {
				let number = self.number(account).expect("it was registered");
				self.operators[number].auto = on;
			}
			Op::Offline(account) | Op::Online(account) => {
				let number = self.number(account).expect("it was registered");
				self.operators[number].online = matches!(op, Op::Online(_));
				self.operators[number].banned = false;
			}
			Op::Delegate(license, account) => {
				let license = LICENSES[license];
				let number = self.number(account).expect("it was registered");
				let accepted = self.operators[number].auto || self.holder[&license] == account;
				assert!(self.delegated.insert(license, (number, accepted)).is_none());
			}
			Op::Accept(license) => {
				self.delegated
					.get_mut(&LICENSES[license])
					.expect("it was delegated")
					.1 = true;
			}
			Op::Annul(account, back) => self.annul(account, self.strike(account, back)),
			Op::Reject(license) | Op::Revoke(license) => {
				self.delegated
					.remove(&LICENSES[license])
					.expect("it was delegated");
			}
			_ => (),
		}
	}

	/// Returns whether the call must succeed, unless a running round or a key in use prevents it.
	fn allows(&self, op: &Op) -> bool {
		let registered = |account| self.number(account).map(|number| &self.operators[number]);
		match *op {
			Op::Register(account) => {
				registered(account).is_none() && self.banned_until(account) <= Millis::get()
			}
			Op::Deregister(account) | Op::Keys(account, _) | Op::AutoAccept(account, _) => {
				registered(account).is_some()
			}
			Op::Offline(account) => {
				registered(account).is_some_and(|operator| operator.online && !operator.banned)
			}
			Op::Online(account) => {
				registered(account).is_some_and(|operator| !operator.online || operator.banned)
					&& self.banned_until(account) <= Millis::get()
			}
			Op::Annul(account, back) => self.may_annul(account, self.strike(account, back)),
			Op::Prune(number) => self.may_prune(number),
			Op::Delegate(license, account) => {
				!self.delegated.contains_key(&LICENSES[license]) && registered(account).is_some()
			}
			Op::Accept(license) | Op::Reject(license) => self
				.delegated
				.get(&LICENSES[license])
				.is_some_and(|(_, accepted)| !accepted),
			Op::Revoke(license) => self.delegated.contains_key(&LICENSES[license]),
			_ => true,
		}
	}

	/// Makes the call to the pallet.
	fn call(&self, op: &Op) -> DispatchResult {
		let holder = |license: usize| signed(self.holder[&LICENSES[license]]);
		let operator = |license: usize| {
			let number = self
				.delegated
				.get(&LICENSES[license])
				.map_or(0, |(number, _)| *number);
			signed(
				self.operators
					.get(number)
					.map_or(1, |operator| operator.account),
			)
		};
		match *op {
			Op::Register(account) => {
				let ring = ring(account as u8);
				let (key, agent, proof) = (ring.checker(), ring.agent(), ring.prove(account));
				Checkers::register_checker(signed(account), key, agent, Perbill::zero(), proof)
			}
			Op::Deregister(account) => Checkers::deregister_checker(signed(account)),
			Op::Keys(account, keys) => {
				let ring = ring(keys);
				let (key, agent, proof) = (ring.checker(), ring.agent(), ring.prove(account));
				Checkers::set_checker_keys(signed(account), key, agent, proof)
			}
			Op::AutoAccept(account, on) => Checkers::set_auto_accept(signed(account), on),
			Op::Prune(number) => Checkers::prune_checker(signed(6), number as OperatorId)
				.map(|_| ())
				.map_err(|error| error.error),
			Op::Offline(account) => Checkers::go_offline(signed(account)),
			Op::Online(account) => Checkers::go_online(signed(account)),
			Op::Delegate(license, account) => {
				Checkers::delegate_license(holder(license), LICENSES[license], account)
			}
			Op::Accept(license) => {
				Checkers::accept_delegation(operator(license), LICENSES[license])
			}
			Op::Reject(license) => {
				Checkers::reject_delegation(operator(license), LICENSES[license])
			}
			Op::Revoke(license) => Checkers::revoke_delegation(holder(license), LICENSES[license]),
			Op::Annul(account, back) => {
				let (worker, round) = self.strike(account, back);
				// The receipt for the keys with which it voted.
				let strikes = Checkers::strikes_of(account);
				let receipt = strikes.iter().find(|strike| strike.round == round).map_or(
					AgentSignature::from_raw([0; 64]),
					|strike| {
						worker_agent(worker)
							.sign(&strike.receipt_payload(System::block_hash(0), worker))
					},
				);
				Checkers::annul_strike(signed(account), worker, round, receipt)
					.map(|_| ())
					.map_err(|error| error.error)
			}
			_ => Ok(()),
		}
	}

	fn step(&mut self, op: &Op) {
		match *op {
			Op::Transfer(license, to) => {
				// As the locker allows.
				let license = LICENSES[license];
				assert_eq!(
					Checkers::is_delegated(license),
					self.delegated.contains_key(&license)
				);
				if !Checkers::is_delegated(license) {
					give(license, to);
					self.holder.insert(license, to);
				}
			}
			Op::Missed(account, ago) => {
				let Some(number) = self.number(account) else {
					return;
				};
				let round = NextRound::get().saturating_sub(ago);
				Checkers::credit(number as u32, 0, round, 1, SeatResult::Missed, false);
				// Other tests cover when that puts it offline; this one covers the consequences.
				let went = self.operators[number].online && !record(number as u32).online;
				self.operators[number].online &= !went;
			}
			Op::Revealed(account) => {
				let Some(number) = self.number(account) else {
					return;
				};
				Checkers::revealed(number as u32, NextRound::get() - 1);
			}
			Op::Lone(account, worker, ago) => {
				let Some(number) = self.number(account) else {
					return;
				};
				let round = NextRound::get().saturating_sub(ago);
				Checkers::credit(
					number as u32,
					worker,
					round,
					1,
					SeatResult::Dissenting,
					true,
				);
				self.lone(account, worker, round);
			}
			Op::Hours(hours, blocks) => {
				Millis::set(&(Millis::get() + hours * 3_600_000));
				if blocks {
					System::set_block_number(System::block_number() + hours * 300);
				}
			}
			Op::Census => Census::set(&NextRound::get().checked_sub(1).into_iter().collect()),
			Op::Epoch => {
				Epoch::set(&(Epoch::get() + 1));
				OldestEpoch::set(&(OldestEpoch::get() + 1));
			}
			Op::Rounds(count, lag) => {
				let first = NextRound::get();
				for round in first..first + 2 * count {
					self.seats.insert(round, self.next());
					self.keys
						.insert(round, self.operators.iter().map(|o| o.keys).collect());
				}
				let next = first + 2 * count;
				rounds(OldestRound::get().max(next.saturating_sub(2 * lag)), next);
			}
			_ => {
				let allowed = self.allows(op);
				match frame_support::storage::with_storage_layer(|| self.call(op)) {
					Ok(()) => {
						assert!(allowed, "{op:?} went through");
						self.apply(op);
					}
					Err(error) => {
						// A license that was moved twice waits for a running round; nothing else does.
						let may_be = match op {
							Op::Delegate(..) | Op::Accept(_) => Error::<Test>::TooManyChanges,
							Op::Register(_) | Op::Keys(..) => Error::<Test>::KeyInUse,
							_ => Error::<Test>::Inconsistent,
						};
						assert!(!allowed || error == may_be.into(), "{op:?}: {error:?}");
					}
				}
			}
		}
	}

	fn check(&self) {
		let next = NextRound::get();
		let in_next = self.next();
		assert_eq!(Checkers::active() as usize, in_next.len());
		for license in LICENSES {
			for round in in_flight() {
				let expected = self
					.seats
					.get(&round)
					.and_then(|seats| seats.get(&license))
					.copied();
				assert_eq!(
					Checkers::seat(license, round),
					expected,
					"{license} in {round}"
				);
			}
			for round in [next, next + 1, next + 100] {
				assert_eq!(
					Checkers::seat(license, round),
					in_next.get(&license).copied()
				);
			}
		}
		for (number, operator) in (0u32..).zip(&self.operators) {
			for round in in_flight().into_iter().chain([next]) {
				let info = <Checkers as Seats<_>>::operator(number, round);
				assert_eq!(info.is_none(), operator.pruned);
				let Some(info) = info else {
					continue;
				};
				let before = self
					.keys
					.get(&round)
					.and_then(|keys| keys.get(number as usize));
				let keys = if round == next {
					Some(&operator.keys)
				} else {
					before
				};
				if let Some(keys) = keys {
					assert_eq!(info.key, ring(*keys).checker());
					assert_eq!(info.agent, ring(*keys).agent());
				}
				let seats = if round == next {
					Some(&in_next)
				} else {
					self.seats.get(&round)
				};
				let sits = seats.map_or(0, |s| s.values().filter(|o| **o == number).count());
				assert!(info.licenses as usize >= sits, "fewer licenses than seats");
				if round == next && operator.online && !operator.gone {
					assert_eq!(info.licenses as usize, sits);
				}
			}
		}
		for account in 1..=4 {
			let kept: Vec<_> = Checkers::strikes_of(account)
				.into_iter()
				.map(|strike| {
					let workers: Vec<_> = strike.votes.iter().map(|vote| vote.worker).collect();
					(strike.round, strike.at, workers)
				})
				.collect();
			let expected: Vec<_> = self
				.strikes
				.get(&account)
				.into_iter()
				.flatten()
				.map(|strike| (strike.round, strike.at, strike.workers.clone()))
				.collect();
			assert_eq!(kept, expected);
			let until = self.banned_until(account);
			let expected = match self.number(account).map(|number| &self.operators[number]) {
				_ if until > Millis::get() => Some(CheckerStatus::Banned { until }),
				None => None,
				Some(operator) if !operator.online || operator.banned => {
					Some(CheckerStatus::Offline)
				}
				Some(_) => Some(if self.works(account) {
					CheckerStatus::Ready
				} else {
					CheckerStatus::Pending
				}),
			};
			assert_eq!(Checkers::status(account), expected);
		}
		Checkers::do_try_state().expect("the invariants hold");
		shares_are_known();
	}

	/// Returns whether the operator accepted any license.
	fn works(&self, account: AccountId) -> bool {
		let number = self.number(account);
		self.delegated
			.values()
			.any(|(operator, accepted)| *accepted && Some(*operator) == number)
	}
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(48),
		max_shrink_iters: 2_000,
		rng_seed: kaisar_test_support::property::seed(2_026),
		failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
		..ProptestConfig::default()
	})]

	#[test]
	fn activity_equals_that_of_a_plain_model(ops in prop::collection::vec(op(), 1..120)) {
		ExtBuilder::build().execute_with(|| {
			let mut model = Model::default();
			for (license, holder) in LICENSES.into_iter().zip(ACCOUNTS.cycle().skip(2)) {
				give(license, holder);
				model.holder.insert(license, holder);
			}
			for op in ops {
				model.step(&op);
				model.check();
			}
		});
	}
}
