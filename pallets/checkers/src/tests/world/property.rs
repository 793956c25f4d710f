//! Random sequences of all calls of both pallets, of transfers and burns, and of blocks and rounds:
//! holders, balances, statuses and the activity of every license equal those of a plain model.

use super::*;
use crate::tests::model::plain_ban;
use alloc::collections::BTreeSet;
use kaisar_primitives::Seats;
use pallet_licenses::{SaleRound, SaleRoundOf};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// All accounts may buy and hold; 1 … 3 may be operators.
const ACCOUNTS: core::ops::RangeInclusive<u8> = 1..=5;
/// Licenses that account 1 has from genesis.
const FIRST: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
	SetSale(bool, Balance, u32),
	EndSale,
	List(u8, bool),
	Buy(u8, u32, Option<u8>),
	Transfer(u32, u8),
	Burn(u32),
	Register(u8),
	Deregister(u8),
	/// Prunes a registration, by its number.
	Prune(usize),
	Keys(u8),
	Commission(u8),
	AutoAccept(u8, bool),
	Offline(u8),
	Online(u8),
	Delegate(u32, u8),
	Accept(u32),
	Reject(u32),
	Revoke(u32),
	Lone(u8, WorkerId),
	/// Annuls the first vote of the last strike.
	Annul(u8),
	Hours(u64),
	Blocks(u32),
}

fn op() -> impl Strategy<Value = Op> {
	let anyone = || ACCOUNTS;
	let operator = || 1..=3u8;
	let license = || 0..12u32;
	let price = prop_oneof![Just(100), Just(7_001), Just(60_000)];
	prop_oneof![
		2 => (any::<bool>(), price, 1..6u32).prop_map(|(p, price, n)| Op::SetSale(p, price, n)),
		1 => Just(Op::EndSale),
		2 => (anyone(), any::<bool>()).prop_map(|(n, on)| Op::List(n, on)),
		6 => (anyone(), 0..4u32, prop::option::of(anyone())).prop_map(|(n, c, r)| Op::Buy(n, c, r)),
		3 => (license(), anyone()).prop_map(|(l, n)| Op::Transfer(l, n)),
		1 => license().prop_map(Op::Burn),
		5 => operator().prop_map(Op::Register),
		2 => operator().prop_map(Op::Deregister),
		3 => (0..5usize).prop_map(Op::Prune),
		1 => operator().prop_map(Op::Keys),
		1 => operator().prop_map(Op::Commission),
		3 => (operator(), prop::bool::weighted(0.8)).prop_map(|(n, on)| Op::AutoAccept(n, on)),
		2 => operator().prop_map(Op::Offline),
		3 => operator().prop_map(Op::Online),
		9 => (license(), operator()).prop_map(|(l, n)| Op::Delegate(l, n)),
		4 => license().prop_map(Op::Accept),
		1 => license().prop_map(Op::Reject),
		4 => license().prop_map(Op::Revoke),
		6 => (operator(), 0..2u32).prop_map(|(n, w)| Op::Lone(n, u32::from(n) * 10 + w)),
		5 => operator().prop_map(Op::Annul),
		2 => prop_oneof![Just(6u64), Just(24 * 6), Just(24 * 31)].prop_map(Op::Hours),
		6 => prop_oneof![3 => 1..6u32, 1 => Just(LOCK / 2)].prop_map(Op::Blocks),
	]
}

/// An operator in the model.
#[derive(Clone, Debug)]
struct Plain {
	account: u8,
	gone: bool,
	/// The first round in which it was not registered.
	from: RoundIndex,
	pruned: bool,
	online: bool,
	banned: bool,
	auto: bool,
	/// Whether it announced a commission; no epoch ends in this test.
	announced: bool,
}

/// A license in the model; a burnt one's holder is `None`.
#[derive(Clone, Debug)]
struct Item {
	holder: Option<u8>,
	minted_at: BlockNumber,
	/// The operator, and whether it accepted.
	delegated: Option<(usize, bool)>,
}

/// A strike: round, time, workers, and the registration that voted.
type Struck = (RoundIndex, u64, Vec<WorkerId>, usize);

#[derive(Default)]
struct Model {
	sale: Option<SaleRoundOf<World>>,
	listed: BTreeSet<u8>,
	bought: BTreeMap<u8, (BlockNumber, u32)>,
	free: BTreeMap<u8, Balance>,
	items: Vec<Item>,
	operators: Vec<Plain>,
	strikes: BTreeMap<u8, Vec<Struck>>,
	/// The operator that sat for each license in each round that started.
	seats: BTreeMap<RoundIndex, Vec<Option<OperatorId>>>,
}

impl Model {
	fn new() -> Self {
		let item = Item {
			holder: Some(1),
			minted_at: 0,
			delegated: None,
		};
		Self {
			free: ACCOUNTS
				.map(|n| (n, FUNDS))
				.chain([(TREASURY, 0)])
				.collect(),
			items: vec![item; FIRST as usize],
			seats: [(0, vec![None; FIRST as usize])].into(),
			..Default::default()
		}
	}

	fn number(&self, account: u8) -> Option<usize> {
		let mut all = self.operators.iter();
		all.position(|operator| operator.account == account && !operator.gone)
	}

	fn registered(&self, account: u8) -> Option<&Plain> {
		self.number(account).map(|number| &self.operators[number])
	}

	fn operator(&mut self, account: u8) -> &mut Plain {
		let number = self.number(account).expect("it is registered");
		&mut self.operators[number]
	}

	fn item(&self, license: u32) -> Option<(&Item, u8)> {
		let item = self.items.get(license as usize)?;
		item.holder.map(|holder| (item, holder))
	}

	fn banned_until(&self, account: u8) -> u64 {
		let times: Vec<u64> = self.strikes.get(&account).map_or(Vec::new(), |all| {
			all.iter().map(|(_, at, ..)| *at).collect()
		});
		plain_ban(&times)
	}

	/// Returns the worker and the round of the last strike's first vote.
	fn last_strike(&self, account: u8) -> (WorkerId, RoundIndex) {
		let last = self.strikes.get(&account).and_then(|all| all.last());
		last.map_or((0, 0), |(round, _, workers, _)| (workers[0], *round))
	}

	fn next(&self) -> Vec<Option<OperatorId>> {
		let seat = |item: &Item| {
			let (number, accepted) = item.delegated?;
			let operator = &self.operators[number];
			(accepted && operator.online && !operator.banned).then_some(number as OperatorId)
		};
		self.items.iter().map(seat).collect()
	}

	/// Returns the price of a purchase, and the referrer's part.
	fn price(&self, buyer: u8, count: u32, referrer: Option<u8>) -> Option<(Balance, Balance)> {
		let now = System::block_number();
		let round = self
			.sale
			.filter(|round| round.starts <= now && now < round.ends)?;
		let listed = self.listed.contains(&buyer);
		let referrer_counts = referrer.is_none_or(|referrer| {
			referrer != buyer && self.items.iter().any(|item| item.holder == Some(referrer))
		});
		let so_far = self
			.bought
			.get(&buyer)
			.filter(|(starts, _)| *starts == round.starts)
			.map_or(0, |(_, count)| *count);
		let allowed = count > 0
			&& referrer_counts
			&& (round.public || listed || referrer.is_some())
			&& so_far + count <= round.per_account_limit;
		// 20 % off for accounts on the whitelist, 5 % for referred buyers, a tenth for the referrer.
		let off = match (listed, referrer.is_some()) {
			(true, _) => 20,
			(false, true) => 5,
			(false, false) => 0,
		};
		let full = round.price * Balance::from(count);
		let paid = full - full * off / 100;
		allowed.then_some((paid, if referrer.is_some() { paid / 10 } else { 0 }))
	}

	/// Returns whether the call must succeed, unless a running round prevents it.
	fn allows(&self, op: &Op) -> bool {
		let now = ChainTime::now();
		let free = |item: &Item| {
			item.delegated.is_none() && System::block_number() >= item.minted_at + LOCK
		};
		match *op {
			Op::Buy(buyer, count, referrer) => self
				.price(buyer, count, referrer)
				.is_some_and(|(paid, _)| self.free[&buyer] > paid),
			Op::Transfer(license, _) | Op::Burn(license) => {
				self.item(license).is_some_and(|(item, _)| free(item))
			}
			Op::Register(n) => {
				self.registered(n).is_none()
					&& self.banned_until(n) <= now
					&& self.free[&n] > DEPOSIT
			}
			Op::Deregister(n) | Op::Keys(n) | Op::AutoAccept(n, _) => self.registered(n).is_some(),
			Op::Commission(n) => self.registered(n).is_some_and(|o| !o.announced),
			Op::Prune(number) => self.may_prune(number),
			Op::Offline(n) => self.registered(n).is_some_and(|o| o.online && !o.banned),
			Op::Online(n) => {
				self.registered(n).is_some_and(|o| !o.online || o.banned)
					&& self.banned_until(n) <= now
			}
			Op::Delegate(license, n) => {
				self.registered(n).is_some()
					&& self
						.item(license)
						.is_some_and(|(item, _)| item.delegated.is_none())
			}
			Op::Accept(license) | Op::Reject(license) => self
				.item(license)
				.is_some_and(|(item, _)| matches!(item.delegated, Some((_, false)))),
			Op::Revoke(license) => self
				.item(license)
				.is_some_and(|(item, _)| item.delegated.is_some()),
			Op::Annul(n) => {
				let last = self.strikes.get(&n).and_then(|all| all.last());
				// No sequence is long enough for a strike to become final by blocks.
				last.is_some()
			}
			_ => true,
		}
	}

	/// Returns whether nothing needs the record any more. Epochs expire at once here.
	fn may_prune(&self, number: usize) -> bool {
		let Some(operator) = self.operators.get(number) else {
			return false;
		};
		let mut all = self.operators.iter();
		let last = all.rposition(|other| other.account == operator.account);
		let strikes = self.strikes.get(&operator.account);
		let struck = strikes.is_some_and(|all| {
			all.iter()
				.any(|(.., voted)| *voted == number || last == Some(number))
		});
		let mut running = <Popw as Checks>::in_flight().into_iter();
		operator.gone && !operator.pruned && !struck && running.all(|round| round >= operator.from)
	}

	/// Makes the call.
	fn call(&self, op: &Op) -> DispatchResult {
		let holder = |license| signed(self.item(license).map_or(9, |(_, holder)| holder));
		let operator = |license| {
			let delegated = self.item(license).and_then(|(item, _)| item.delegated);
			signed(delegated.map_or(9, |(number, _)| self.operators[number].account))
		};
		match *op {
			Op::SetSale(..) | Op::EndSale => {
				let mut model = Self::default();
				model.apply(op);
				Licenses::set_sale(RuntimeOrigin::root(), model.sale)
			}
			Op::List(n, listed) => Licenses::set_whitelist(
				RuntimeOrigin::root(),
				BoundedVec::truncate_from(vec![account(n)]),
				listed,
			),
			Op::Buy(n, count, referrer) => {
				let referrer = referrer.map(account);
				Licenses::purchase(signed(n), count, referrer)
			}
			Op::Transfer(license, to) => transfer(
				self.item(license).map_or(9, |(_, holder)| holder),
				license,
				to,
			),
			Op::Burn(license) => burn(self.item(license).map_or(9, |(_, holder)| holder), license),
			Op::Register(n) => {
				let (key, agent, proof) = keys(n, n);
				Checkers::register_checker(signed(n), key, agent, Perbill::zero(), proof)
			}
			Op::Deregister(n) => Checkers::deregister_checker(signed(n)),
			Op::Prune(number) => Checkers::prune_checker(signed(9), number as OperatorId)
				.map(|_| ())
				.map_err(|error| error.error),
			Op::Keys(n) => {
				let (key, agent, proof) = keys(n, n + 100);
				Checkers::set_checker_keys(signed(n), key, agent, proof)
			}
			Op::Commission(n) => {
				Checkers::set_commission(signed(n), Perbill::from_percent(n.into()))
			}
			Op::AutoAccept(n, on) => Checkers::set_auto_accept(signed(n), on),
			Op::Offline(n) => Checkers::go_offline(signed(n)),
			Op::Online(n) => Checkers::go_online(signed(n)),
			Op::Delegate(license, n) => {
				Checkers::delegate_license(holder(license), license, account(n))
			}
			Op::Accept(license) => Checkers::accept_delegation(operator(license), license),
			Op::Reject(license) => Checkers::reject_delegation(operator(license), license),
			Op::Revoke(license) => Checkers::revoke_delegation(holder(license), license),
			Op::Annul(n) => {
				let kept = Checkers::strikes_of(account(n));
				let (worker, round) = self.last_strike(n);
				let strike = kept.iter().find(|strike| strike.round == round);
				let receipt = strike.map_or(AgentSignature::from_raw([0; 64]), |strike| {
					agent_of(worker).sign(&strike.receipt_payload(System::block_hash(0), worker))
				});
				Checkers::annul_strike(signed(n), worker, round, receipt)
					.map(|_| ())
					.map_err(|error| error.error)
			}
			Op::Lone(..) | Op::Hours(_) | Op::Blocks(_) => Ok(()),
		}
	}

	fn pay(&mut self, from: u8, to: u8, amount: Balance) {
		*self.free.get_mut(&from).expect("it is known") -= amount;
		*self.free.get_mut(&to).expect("it is known") += amount;
	}

	fn end(&mut self, number: usize) {
		self.operators[number].gone = true;
		self.operators[number].from = <Popw as Checks>::next_round();
		for item in &mut self.items {
			item.delegated = item.delegated.filter(|(other, _)| *other != number);
		}
		let account = self.operators[number].account;
		*self.free.get_mut(&account).expect("it is known") += DEPOSIT - KEPT;
	}

	/// Applies a call that succeeded.
	fn apply(&mut self, op: &Op) {
		match *op {
			Op::SetSale(public, price, per_account_limit) => {
				let percent = Perbill::from_percent;
				self.sale = Some(SaleRound {
					price,
					public,
					whitelist_discount: percent(20),
					referral_discount: percent(5),
					referral_commission: percent(10),
					per_account_limit,
					// Some are the same round with other terms.
					starts: System::block_number() / 16 * 16,
					ends: System::block_number() + 40,
				});
			}
			Op::EndSale => self.sale = None,
			Op::List(n, true) => {
				self.listed.insert(n);
			}
			Op::List(n, false) => {
				self.listed.remove(&n);
			}
			Op::Buy(n, count, referrer) => {
				let (paid, commission) = self.price(n, count, referrer).expect("it was allowed");
				self.pay(n, TREASURY, paid - commission);
				if let Some(referrer) = referrer {
					self.pay(n, referrer, commission);
				}
				let starts = self.sale.expect("there is one").starts;
				let entry = self.bought.entry(n).or_default();
				let so_far = if entry.0 == starts { entry.1 } else { 0 };
				*entry = (starts, so_far + count);
				for _ in 0..count {
					self.items.push(Item {
						holder: Some(n),
						minted_at: System::block_number(),
						delegated: None,
					});
				}
			}
			Op::Transfer(license, to) => self.items[license as usize].holder = Some(to),
			Op::Burn(license) => self.items[license as usize].holder = None,
			Op::Register(account) => {
				*self.free.get_mut(&account).expect("it is known") -= DEPOSIT;
				self.operators.push(Plain {
					account,
					gone: false,
					from: 0,
					pruned: false,
					online: true,
					banned: false,
					auto: false,
					announced: false,
				});
			}
			Op::Deregister(n) => self.end(self.number(n).expect("it is registered")),
			Op::Prune(number) => {
				self.operators[number].pruned = true;
				let account = self.operators[number].account;
				*self.free.get_mut(&account).expect("it is known") += KEPT;
			}
			Op::AutoAccept(n, on) => self.operator(n).auto = on,
			Op::Offline(n) => self.operator(n).online = false,
			Op::Online(n) => {
				self.operator(n).online = true;
				self.operator(n).banned = false;
			}
			Op::Delegate(license, n) => {
				let number = self.number(n).expect("it is registered");
				let item = &mut self.items[license as usize];
				let accepted = self.operators[number].auto || item.holder == Some(n);
				item.delegated = Some((number, accepted));
			}
			Op::Accept(license) => {
				let item = &mut self.items[license as usize];
				item.delegated = item.delegated.map(|(number, _)| (number, true));
			}
			Op::Reject(license) | Op::Revoke(license) => {
				self.items[license as usize].delegated = None;
			}
			Op::Annul(n) => {
				let before = self.banned_until(n);
				let strikes = self.strikes.get_mut(&n).expect("it has strikes");
				strikes.last_mut().expect("there is a last").2.remove(0);
				strikes.retain(|(_, _, workers, _)| !workers.is_empty());
				let until = self.banned_until(n);
				if until < before && until <= ChainTime::now() && self.number(n).is_some() {
					self.operator(n).banned = false;
				}
			}
			Op::Commission(n) => self.operator(n).announced = true,
			Op::Keys(_) => (),
			Op::Lone(..) | Op::Hours(_) | Op::Blocks(_) => (),
		}
	}

	fn lone(&mut self, n: u8, worker: WorkerId) {
		// Votes are impossible before a trial.
		let now = ChainTime::now();
		let (Some(number), Some(round)) = (self.number(n), last_trial()) else {
			return;
		};
		Checkers::strike(number as OperatorId, worker, round);
		let strikes = self.strikes.entry(n).or_default();
		match strikes.iter().position(|(other, ..)| *other == round) {
			Some(index) => {
				if !strikes[index].2.contains(&worker) {
					strikes[index].2.push(worker);
				}
			}
			None => strikes.push((round, now, vec![worker], number)),
		}
		let until = self.banned_until(n);
		if until > now {
			self.operators[number].banned = true;
			if until == u64::MAX {
				self.end(number);
			}
		}
	}

	fn step(&mut self, op: &Op) {
		match *op {
			Op::Lone(n, worker) => self.lone(n, worker),
			Op::Hours(hours) => Ahead::set(&(Ahead::get() + hours * 3_600_000)),
			Op::Blocks(count) => {
				for _ in 0..count {
					let round = <Popw as Checks>::next_round();
					next_block();
					if <Popw as Checks>::next_round() != round {
						// The state before the block's transactions.
						self.seats.insert(round, self.next());
					}
				}
			}
			_ => {
				let allowed = self.allows(op);
				if let Op::Buy(n, count, referrer) = *op {
					let quote = Licenses::quote(account(n), count, referrer.map(account));
					assert_eq!(
						quote.ok().map(|quote| (quote.paid, quote.commission)),
						self.price(n, count, referrer)
					);
				}
				match frame_support::storage::with_storage_layer(|| self.call(op)) {
					Ok(()) => {
						assert!(allowed, "{op:?} went through");
						self.apply(op);
					}
					// A license that was moved twice waits for a running round; nothing else does.
					Err(error) => assert!(
						!allowed
							|| matches!(op, Op::Delegate(..) | Op::Accept(_))
								&& error == Error::<World>::TooManyChanges.into(),
						"{op:?}: {error:?}"
					),
				}
			}
		}
	}

	fn check(&self) {
		assert_eq!(Licenses::minted() as usize, self.items.len());
		for (license, item) in (0u32..).zip(&self.items) {
			assert_eq!(Licenses::holder_of(license), item.holder.map(account));
		}
		for (n, free) in &self.free {
			assert_eq!(Balances::free_balance(account(*n)), *free, "account {n}");
		}
		let next = <Popw as Checks>::next_round();
		let in_next = self.next();
		assert_eq!(
			Checkers::active() as usize,
			in_next.iter().flatten().count()
		);
		for license in 0..self.items.len() as u32 + 2 {
			let of = |seats: &Vec<_>| seats.get(license as usize).copied().flatten();
			for round in <Popw as Checks>::in_flight() {
				let expected = self.seats.get(&(round / 2 * 2)).and_then(of);
				assert_eq!(
					Checkers::seat(license, round),
					expected,
					"{license} in {round}"
				);
			}
			for round in [next, next + 1, next + 50] {
				assert_eq!(
					Checkers::seat(license, round),
					of(&in_next),
					"{license} in {round}"
				);
			}
		}
		for n in 1..=3 {
			let until = self.banned_until(n);
			let status = Checkers::status(account(n));
			match self.registered(n) {
				_ if until > ChainTime::now() => {
					assert_eq!(status, Some(CheckerStatus::Banned { until }));
				}
				None => assert_eq!(status, None),
				Some(operator) if operator.banned || !operator.online => {
					assert_eq!(status, Some(CheckerStatus::Offline));
				}
				Some(_) => assert!(matches!(
					status,
					Some(CheckerStatus::Ready | CheckerStatus::Pending)
				)),
			}
		}
		invariants();
	}
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(44),
		max_shrink_iters: 2_000,
		rng_seed: kaisar_test_support::property::seed(29_998),
		failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
		..ProptestConfig::default()
	})]

	#[test]
	fn licenses_and_checkers_are_those_of_a_plain_model(ops in prop::collection::vec(op(), 20..160)) {
		world(&[(1, FIRST)], || {
			let mut model = Model::new();
			for op in ops {
				model.step(&op);
				model.check();
			}
		});
	}
}
