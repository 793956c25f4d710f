//! The activity of every licence in every round equals that of a plain model, whatever the calls.

use crate::{mock::*, *};
use alloc::collections::BTreeMap;
use kaisar_primitives::{IsDelegated, SeatResult, Seats};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// Licences of the test; two pages.
const LICENCES: [LicenceId; 6] = [0, 1, 2, 255, 256, 300];
/// Accounts 1 … 4 register; 3 … 6 hold licences.
const ACCOUNTS: core::ops::RangeInclusive<AccountId> = 1..=6;

#[derive(Clone, Debug)]
enum Op {
	Register(AccountId),
	Deregister(AccountId),
	Keys(AccountId, u8),
	AutoAccept(AccountId, bool),
	Offline(AccountId),
	Online(AccountId),
	Delegate(usize, AccountId),
	Accept(usize),
	Reject(usize),
	Revoke(usize),
	Transfer(usize, AccountId),
	Missed(AccountId, RoundIndex),
	Revealed(AccountId),
	Lone(AccountId),
	/// Starts this many rounds; then those that are older than this many run no more.
	Rounds(u32, u32),
}

fn op() -> impl Strategy<Value = Op> {
	let operator = || 1..=4u64;
	let licence = || 0..LICENCES.len();
	prop_oneof![
		3 => operator().prop_map(Op::Register),
		1 => operator().prop_map(Op::Deregister),
		2 => (operator(), 1..=8u8).prop_map(|(a, k)| Op::Keys(a, k)),
		1 => (operator(), any::<bool>()).prop_map(|(a, on)| Op::AutoAccept(a, on)),
		2 => operator().prop_map(Op::Offline),
		3 => operator().prop_map(Op::Online),
		8 => (licence(), operator()).prop_map(|(l, a)| Op::Delegate(l, a)),
		5 => licence().prop_map(Op::Accept),
		1 => licence().prop_map(Op::Reject),
		4 => licence().prop_map(Op::Revoke),
		2 => (licence(), 3..=6u64).prop_map(|(l, a)| Op::Transfer(l, a)),
		3 => (operator(), 1..6u32).prop_map(|(a, r)| Op::Missed(a, r)),
		1 => operator().prop_map(Op::Revealed),
		1 => operator().prop_map(Op::Lone),
		5 => (1..3u32, 1..8u32).prop_map(|(n, lag)| Op::Rounds(n, lag)),
	]
}

/// An operator as the model sees it.
#[derive(Clone, Default)]
struct Plain {
	account: AccountId,
	gone: bool,
	online: bool,
	auto: bool,
	keys: u8,
}

/// Everything written down: how each licence and key stood in each round that started.
#[derive(Default)]
struct Model {
	operators: Vec<Plain>,
	holder: BTreeMap<LicenceId, AccountId>,
	/// Operator, accepted.
	delegated: BTreeMap<LicenceId, (usize, bool)>,
	seats: BTreeMap<RoundIndex, BTreeMap<LicenceId, OperatorId>>,
	keys: BTreeMap<RoundIndex, Vec<u8>>,
}

impl Model {
	fn number(&self, account: AccountId) -> Option<usize> {
		self.operators
			.iter()
			.position(|operator| operator.account == account && !operator.gone)
	}

	/// The seats of the round that is next to start.
	fn next(&self) -> BTreeMap<LicenceId, OperatorId> {
		self.delegated
			.iter()
			.filter(|(_, (operator, accepted))| *accepted && self.operators[*operator].online)
			.map(|(licence, (operator, _))| (*licence, *operator as OperatorId))
			.collect()
	}

	/// Does what a call does that went through.
	fn apply(&mut self, op: &Op) {
		match *op {
			Op::Register(account) => self.operators.push(Plain {
				account,
				gone: false,
				online: true,
				auto: false,
				keys: account as u8,
			}),
			Op::Deregister(account) => {
				let number = self.number(account).expect("it was registered");
				self.operators[number].gone = true;
				self.delegated
					.retain(|_, (operator, _)| *operator != number);
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
			}
			Op::Delegate(licence, account) => {
				let licence = LICENCES[licence];
				let number = self.number(account).expect("it was registered");
				let accepted = self.operators[number].auto || self.holder[&licence] == account;
				assert!(self.delegated.insert(licence, (number, accepted)).is_none());
			}
			Op::Accept(licence) => {
				self.delegated
					.get_mut(&LICENCES[licence])
					.expect("it was delegated")
					.1 = true;
			}
			Op::Reject(licence) | Op::Revoke(licence) => {
				self.delegated
					.remove(&LICENCES[licence])
					.expect("it was delegated");
			}
			_ => (),
		}
	}

	/// Whether the call goes through, but for a round that still runs or a key in use.
	fn allows(&self, op: &Op) -> bool {
		let registered = |account| self.number(account).map(|number| &self.operators[number]);
		match *op {
			Op::Register(account) => registered(account).is_none(),
			Op::Deregister(account) | Op::Keys(account, _) | Op::AutoAccept(account, _) => {
				registered(account).is_some()
			}
			Op::Offline(account) => registered(account).is_some_and(|operator| operator.online),
			Op::Online(account) => registered(account).is_some_and(|operator| !operator.online),
			Op::Delegate(licence, account) => {
				!self.delegated.contains_key(&LICENCES[licence]) && registered(account).is_some()
			}
			Op::Accept(licence) | Op::Reject(licence) => self
				.delegated
				.get(&LICENCES[licence])
				.is_some_and(|(_, accepted)| !accepted),
			Op::Revoke(licence) => self.delegated.contains_key(&LICENCES[licence]),
			_ => true,
		}
	}

	/// Tries the call on the pallet.
	fn call(&self, op: &Op) -> DispatchResult {
		let holder = |licence: usize| signed(self.holder[&LICENCES[licence]]);
		let operator = |licence: usize| {
			let number = self
				.delegated
				.get(&LICENCES[licence])
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
			Op::Offline(account) => Checkers::go_offline(signed(account)),
			Op::Online(account) => Checkers::go_online(signed(account)),
			Op::Delegate(licence, account) => {
				Checkers::delegate_license(holder(licence), LICENCES[licence], account)
			}
			Op::Accept(licence) => {
				Checkers::accept_delegation(operator(licence), LICENCES[licence])
			}
			Op::Reject(licence) => {
				Checkers::reject_delegation(operator(licence), LICENCES[licence])
			}
			Op::Revoke(licence) => Checkers::revoke_delegation(holder(licence), LICENCES[licence]),
			_ => Ok(()),
		}
	}

	fn step(&mut self, op: &Op) {
		match *op {
			Op::Transfer(licence, to) => {
				// As the locker lets through.
				let licence = LICENCES[licence];
				assert_eq!(
					Checkers::is_delegated(licence),
					self.delegated.contains_key(&licence)
				);
				if !Checkers::is_delegated(licence) {
					give(licence, to);
					self.holder.insert(licence, to);
				}
			}
			Op::Missed(account, ago) => {
				let Some(number) = self.number(account) else {
					return;
				};
				let round = NextRound::get().saturating_sub(ago);
				Checkers::credit(number as u32, 0, round, SeatResult::Missed, false);
				// When that puts it offline is tested elsewhere; here, what follows from it.
				let went = self.operators[number].online && !record(number as u32).online.now;
				self.operators[number].online &= !went;
			}
			Op::Revealed(account) => {
				let Some(number) = self.number(account) else {
					return;
				};
				Checkers::revealed(number as u32, NextRound::get() - 1);
			}
			Op::Lone(account) => {
				let Some(number) = self.number(account) else {
					return;
				};
				let round = NextRound::get() - 2;
				Checkers::credit(number as u32, 0, round, SeatResult::Dissenting, true);
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
						let may_be = [Error::<Test>::TooManyChanges, Error::<Test>::KeyInUse];
						assert!(
							!allowed || may_be.into_iter().any(|other| error == other.into()),
							"{op:?}: {error:?}"
						);
					}
				}
			}
		}
	}

	fn check(&self) {
		let next = NextRound::get();
		let in_next = self.next();
		assert_eq!(Checkers::active() as usize, in_next.len());
		for licence in LICENCES {
			for round in OldestRound::get()..next {
				let expected = self
					.seats
					.get(&round)
					.and_then(|seats| seats.get(&licence))
					.copied();
				assert_eq!(
					Checkers::seat(licence, round),
					expected,
					"{licence} in {round}"
				);
			}
			for round in [next, next + 1, next + 100] {
				assert_eq!(
					Checkers::seat(licence, round),
					in_next.get(&licence).copied()
				);
			}
		}
		for (number, operator) in (0u32..).zip(&self.operators) {
			for round in OldestRound::get()..=next {
				let info = <Checkers as Seats<_>>::operator(number, round).expect("it stays");
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
				assert!(info.licences as usize >= sits, "fewer licences than seats");
				if round == next && operator.online && !operator.gone {
					assert_eq!(info.licences as usize, sits);
				}
			}
		}
		Checkers::do_try_state().expect("the invariants hold");
	}
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: 48,
		max_shrink_iters: 2_000,
		rng_seed: proptest::test_runner::RngSeed::Fixed(2_026),
		failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
		..ProptestConfig::default()
	})]

	#[test]
	fn activity_equals_that_of_a_plain_model(ops in prop::collection::vec(op(), 1..80)) {
		ExtBuilder::build().execute_with(|| {
			let mut model = Model::default();
			for (licence, holder) in LICENCES.into_iter().zip(ACCOUNTS.cycle().skip(2)) {
				give(licence, holder);
				model.holder.insert(licence, holder);
			}
			for op in ops {
				model.step(&op);
				model.check();
			}
		});
	}
}
