//! All calls, rounds and checks in random order: the invariants hold after every step.

use super::{standings::Past, *};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
	Register {
		owner: AccountId,
		seed: u8,
		spec: u8,
		extra: u32,
	},
	Update {
		owner: AccountId,
		worker: u32,
		spec: u8,
	},
	SetKeys {
		owner: AccountId,
		worker: u32,
		seed: u8,
	},
	SetCommission {
		owner: AccountId,
		worker: u32,
		percent: u8,
	},
	SetFloor {
		owner: AccountId,
		worker: u32,
		price: u64,
	},
	SetCap {
		owner: AccountId,
		worker: u32,
		most: u32,
	},
	GoOffline {
		owner: AccountId,
		worker: u32,
	},
	GoOnline {
		owner: AccountId,
		worker: u32,
	},
	Deregister {
		owner: AccountId,
		worker: u32,
	},
	Stake {
		owner: AccountId,
		worker: u32,
		amount: u32,
	},
	Unstake {
		owner: AccountId,
		worker: u32,
		amount: u32,
	},
	Withdraw {
		owner: AccountId,
		worker: u32,
	},
	Approach {
		blocks: u8,
	},
	Round {
		census: bool,
	},
	Attest {
		worker: u32,
		back: u8,
	},
	Absent {
		worker: u32,
		back: u8,
	},
	Close {
		worker: u32,
		outcome: u8,
		false_proof: bool,
		/// By too few votes for a slash.
		weakly: bool,
	},
	Force {
		worker: u32,
	},
	Slash {
		worker: u32,
		level: u8,
	},
	CancelSlash {
		slash: u32,
	},
	ApplySlash {
		owner: AccountId,
		slash: u32,
	},
	Clear {
		owner: AccountId,
		worker: u32,
	},
	Rent {
		worker: u32,
	},
	Free {
		worker: u32,
		unproved: bool,
	},
	Deployed {
		worker: u32,
	},
	Review {
		worker: u32,
	},
	Price {
		price: Option<u64>,
	},
	Bar {
		worker: u32,
	},
	Fault {
		worker: u32,
	},
	Blocks(u16),
	Days(u8),
	Epoch,
}

fn spec(choice: u8) -> WorkerSpec {
	match choice % 4 {
		0 | 1 => SPEC,
		2 => WorkerSpec {
			gpu_class: 0,
			gpu_count: 0,
			..SPEC
		},
		_ => WorkerSpec {
			gpu_class: 1,
			gpu_count: choice % 16 + 1,
			..SPEC
		},
	}
}

fn outcome(choice: u8) -> Outcome {
	match choice % 8 {
		0 => Outcome::Offline,
		1 => Outcome::NoConsensus,
		2 => online(POOR),
		3 => Outcome::Online {
			profile: Some(PROFILE),
			service: false,
		},
		4 => UNDECIDED,
		_ => online(PROFILE),
	}
}

fn op() -> impl Strategy<Value = Op> {
	let owner = || prop_oneof![8 => Just(ALICE), 3 => Just(BOB), 1 => Just(7u64)];
	let anyone =
		|| prop_oneof![2 => Just(ALICE), 2 => Just(BOB), 3 => Just(CAROL), 3 => Just(DAVE)];
	let worker = || 0u32..5;
	prop_oneof![
		3 => (owner(), 1u8..9, any::<u8>(), any::<u32>())
			.prop_map(|(owner, seed, spec, extra)| Op::Register { owner, seed, spec, extra }),
		2 => (owner(), worker(), any::<u8>())
			.prop_map(|(owner, worker, spec)| Op::Update { owner, worker, spec }),
		2 => (owner(), worker(), 1u8..9)
			.prop_map(|(owner, worker, seed)| Op::SetKeys { owner, worker, seed }),
		1 => (owner(), worker(), 0u8..101)
			.prop_map(|(owner, worker, percent)| Op::SetCommission { owner, worker, percent }),
		1 => (owner(), worker(), any::<u64>())
			.prop_map(|(owner, worker, price)| Op::SetFloor { owner, worker, price }),
		1 => (owner(), worker(), any::<u32>())
			.prop_map(|(owner, worker, most)| Op::SetCap { owner, worker, most }),
		2 => (owner(), worker()).prop_map(|(owner, worker)| Op::GoOffline { owner, worker }),
		3 => (owner(), worker()).prop_map(|(owner, worker)| Op::GoOnline { owner, worker }),
		1 => (owner(), worker()).prop_map(|(owner, worker)| Op::Deregister { owner, worker }),
		4 => (anyone(), worker(), any::<u32>())
			.prop_map(|(owner, worker, amount)| Op::Stake { owner, worker, amount }),
		4 => (anyone(), worker(), any::<u32>())
			.prop_map(|(owner, worker, amount)| Op::Unstake { owner, worker, amount }),
		4 => (anyone(), worker()).prop_map(|(owner, worker)| Op::Withdraw { owner, worker }),
		2 => (1u8..6).prop_map(|blocks| Op::Approach { blocks }),
		6 => any::<bool>().prop_map(|census| Op::Round { census }),
		6 => (worker(), 0u8..6).prop_map(|(worker, back)| Op::Attest { worker, back }),
		2 => (worker(), 0u8..6).prop_map(|(worker, back)| Op::Absent { worker, back }),
		6 => (worker(), any::<u8>(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
			|(worker, outcome, false_proof, weakly)| {
				Op::Close { worker, outcome, false_proof, weakly }
			}
		),
		1 => worker().prop_map(|worker| Op::Force { worker }),
		4 => (worker(), any::<u8>()).prop_map(|(worker, level)| Op::Slash { worker, level }),
		1 => any::<u32>().prop_map(|slash| Op::CancelSlash { slash }),
		6 => (anyone(), any::<u32>()).prop_map(|(owner, slash)| Op::ApplySlash { owner, slash }),
		3 => (anyone(), worker()).prop_map(|(owner, worker)| Op::Clear { owner, worker }),
		2 => worker().prop_map(|worker| Op::Rent { worker }),
		2 => (worker(), any::<bool>()).prop_map(|(worker, unproved)| Op::Free { worker, unproved }),
		1 => worker().prop_map(|worker| Op::Deployed { worker }),
		1 => worker().prop_map(|worker| Op::Review { worker }),
		1 => any::<Option<u64>>().prop_map(|price| Op::Price { price }),
		1 => worker().prop_map(|worker| Op::Bar { worker }),
		1 => worker().prop_map(|worker| Op::Fault { worker }),
		2 => (0u16..200).prop_map(Op::Blocks),
		3 => (1u8..9).prop_map(Op::Days),
		1 => Just(Op::Epoch),
	]
}

/// Returns the round `back` before the next one, census or spot.
fn round(back: u8) -> Option<RoundIndex> {
	Popw::next_round().checked_sub(u32::from(back) + 1)
}

/// Returns one of the queued slashes, or a number that is not queued if there is none.
fn queued(choice: u32) -> SlashId {
	let mut ids: Vec<SlashId> = Slashes::<Test>::iter_keys().collect();
	ids.sort_unstable();
	let index = choice as usize % ids.len().max(1);
	ids.get(index).copied().unwrap_or(choice)
}

/// Reports an event of another pallet about a worker.
fn tell(what: impl FnOnce() -> sp_runtime::DispatchResult) {
	let done = frame_support::storage::with_storage_layer(what);
	assert_ne!(done, Err(Error::<Test>::Defensive.into()));
}

fn root(call: Call<Test>) {
	let done = dispatch(RuntimeCall::Providers(call), RuntimeOrigin::root());
	assert_ne!(done, Err(Error::<Test>::Defensive.into()));
}

/// Asserts that a worker due in a round is found by the keys that count in it, deregistered or not.
/// (Replaced keys may belong to another worker.)
fn due_workers_have_their_keys() {
	for (worker, record) in Workers::<Test>::iter() {
		for round in Popw::running() {
			if record.keys.now.since <= round && Popw::due(worker, round).is_some() {
				let WorkerKeys { worker: key, agent } = record.keys.now.value.clone();
				assert_eq!(WorkerByKey::<Test>::get(key), Some(worker));
				assert_eq!(WorkerByAgent::<Test>::get(agent), Some(worker));
			}
		}
	}
}

/// Runs the operation; a call may fail, and then changes nothing.
fn run(op: Op) {
	let call = match op {
		Op::Register {
			owner,
			seed,
			spec: choice,
			extra,
		} => {
			let spec = spec(choice);
			let minimum = Providers::minimum_stake(spec.gpu_class, spec.gpu_count).unwrap();
			let WorkerKeys {
				worker: worker_key,
				agent: agent_key,
			} = keys(seed);
			let stake = minimum + u128::from(extra) * (KAI / 1_000_000);
			let proof = proof(seed, owner);
			(
				owner,
				Call::register_worker {
					spec,
					worker_key,
					agent_key,
					stake,
					proof,
				},
			)
		}
		Op::Update {
			owner,
			worker,
			spec: choice,
		} => (
			owner,
			Call::update_worker {
				worker,
				spec: spec(choice),
			},
		),
		Op::SetKeys {
			owner,
			worker,
			seed,
		} => {
			let WorkerKeys {
				worker: worker_key,
				agent: agent_key,
			} = keys(seed);
			let proof = proof(seed, owner);
			(
				owner,
				Call::set_worker_keys {
					worker,
					worker_key,
					agent_key,
					proof,
				},
			)
		}
		Op::SetCommission {
			owner,
			worker,
			percent,
		} => {
			let commission = Perbill::from_percent(percent.into());
			(owner, Call::set_commission { worker, commission })
		}
		Op::SetFloor {
			owner,
			worker,
			price,
		} => (
			owner,
			Call::set_price_floor {
				worker,
				price_per_gpu_hour: price.into(),
			},
		),
		Op::SetCap {
			owner,
			worker,
			most,
		} => (
			owner,
			Call::set_delegation_cap {
				worker,
				most: u128::from(most) * (KAI / 1_000_000),
			},
		),
		Op::GoOffline { owner, worker } => (owner, Call::go_offline { worker }),
		Op::GoOnline { owner, worker } => (owner, Call::go_online { worker }),
		Op::Deregister { owner, worker } => (owner, Call::deregister_worker { worker }),
		Op::Stake {
			owner,
			worker,
			amount,
		} => (
			owner,
			Call::stake {
				worker,
				amount: u128::from(amount) * (KAI / 1_000_000) + 1,
			},
		),
		Op::Unstake {
			owner,
			worker,
			amount,
		} => (
			owner,
			Call::unstake {
				worker,
				amount: u128::from(amount) * (KAI / 1_000_000) + 1,
			},
		),
		Op::Withdraw { owner, worker } => (owner, Call::withdraw_unbonded { worker }),
		Op::Approach { blocks } => {
			Popw::approach(blocks.into());
			return;
		}
		Op::Round { .. } => unreachable!("a round is started with the workers' past"),
		Op::Attest { worker, back } => {
			if let Some(round) = round(back) {
				Popw::attest(worker, round);
			}
			return;
		}
		Op::Absent { worker, back } => {
			if let Some(round) = round(back) {
				Popw::absent(worker, round);
			}
			return;
		}
		Op::Close {
			worker,
			outcome: choice,
			false_proof,
			weakly,
		} => {
			if Popw::is_open(worker) {
				let before = Providers::pending_time(worker).unwrap();
				let (known, queued) = (
					record(worker).profile.unwrap_or_default(),
					record(worker).queued,
				);
				let proved = if weakly {
					Popw::close_weakly(worker, outcome(choice), false_proof)
				} else {
					Popw::close_with(worker, outcome(choice), false_proof)
				};
				let after = record(worker);
				assert!(
					!weakly || after.queued == queued,
					"too few votes for a slash"
				);
				assert!(proved.rented <= before && proved.rented <= MAX_GAP);
				assert!([0, INTERVAL].contains(&proved.idle));
				assert!(proved.idle == 0 || proved.rented == 0);
				assert_eq!(
					proved.profile,
					known.lesser(&after.profile.unwrap_or_default())
				);
			}
			return;
		}
		Op::Force { worker } => {
			let _ = <Popw as Checks>::force(worker);
			return;
		}
		Op::Slash { worker, level } => {
			// Whole slashes are rarer than the others.
			let level = match level % 8 {
				0..=3 => SlashLevel::One,
				4..=6 => SlashLevel::Two,
				_ => SlashLevel::Three,
			};
			return root(Call::slash { worker, level });
		}
		Op::CancelSlash { slash } => return root(Call::cancel_slash { id: queued(slash) }),
		Op::ApplySlash { owner, slash } => {
			let id = queued(slash);
			(owner, Call::apply_slash { id })
		}
		Op::Clear { owner, worker } => (BOB, Call::clear_worthless { worker, who: owner }),
		Op::Rent { worker } => return tell(|| <Providers as Market>::rent(worker, 1)),
		Op::Free { worker, unproved } => {
			return tell(|| <Providers as Market>::free(worker, unproved));
		}
		Op::Deployed { worker } => return tell(|| <Providers as Market>::deployed(worker)),
		Op::Review { worker } => return tell(|| <Providers as Market>::review(worker)),
		Op::Price { price } => {
			HighestPrice::set(&price.map(Balance::from));
			return TodaysPrice::set(&price.map(|price| Balance::from(price) / 2));
		}

		Op::Bar { worker } => {
			let until = Providers::now() + 300;
			return tell(|| <Providers as Market>::bar(worker, until));
		}
		Op::Fault { worker } => {
			return tell(|| <Providers as Market>::fault(worker));
		}
		Op::Blocks(blocks) => return run_to(Providers::now() + u32::from(blocks)),
		Op::Days(days) => return run_to(Providers::now() + u32::from(days) * DAYS),
		Op::Epoch => return Epoch::set(&(Epoch::get() + 1)),
	};
	let (owner, call) = call;
	if let Err(error) = dispatch(RuntimeCall::Providers(call), signed(owner)) {
		assert_ne!(error, Error::<Test>::Defensive.into());
	}
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(96),
		rng_seed: kaisar_test_support::property::seed(1),
		..ProptestConfig::default()
	})]

	#[test]
	fn invariants_hold_after_every_step(ops in prop::collection::vec(op(), 1..300)) {
		ExtBuilder.build().execute_with(|| {
			let issuance = pallet_balances::TotalIssuance::<Test>::get();
			let mut past = Past::default();
			for op in ops {
				match op {
					Op::Round { census } => past.start(census),
					_ => run(op),
				}
				past.follow();
				Providers::do_try_state().unwrap_or_else(|broken| panic!("{op:?}: {broken:?}"));
				due_workers_have_their_keys();
				assert_eq!(pallet_balances::TotalIssuance::<Test>::get(), issuance);
				// The pot holds exactly the sum of the pools.
				let records: Vec<_> = Workers::<Test>::iter().collect();
				let pools: Balance =
					records.iter().map(|(_, record)| record.pool.total().unwrap()).sum();
				assert_eq!(pot(), pools);
				// Rewards knows exactly the existing shares.
				let shares: std::collections::BTreeMap<_, _> = Delegations::<Test>::iter()
					.map(|(worker, who, shares)| ((PoolId::Worker(worker), who), shares))
					.collect();
				assert_eq!(Popw::known_shares(), shares);
				// All stakes together are never worth more than the pools.
				let mut worth: Balance = records.iter().map(|(_, record)| record.pool.own).sum();
				for (worker, who, _) in Delegations::<Test>::iter() {
					worth += Providers::delegation(worker, who).value;
				}
				for (worker, who) in Unbondings::<Test>::iter_keys() {
					let pieces = Providers::unbonding(worker, who);
					worth += pieces.iter().map(|piece| piece.value).sum::<Balance>();
				}
				assert!(worth <= pools);
			}
			// In the end every account has its stake back, and nothing remains.
			finish();
			assert_eq!(Workers::<Test>::iter().count(), 0);
			assert_eq!(pot(), 0);
			Providers::do_try_state().expect("all invariants hold");
		});
	}
}

/// Ends everything: checks, orders, slashes, workers and stakes.
fn finish() {
	Popw::pass();
	let workers: Vec<WorkerId> = Workers::<Test>::iter_keys().collect();
	for worker in &workers {
		<Popw as Checks>::touch(*worker);
		tell(|| <Providers as Market>::free(*worker, true));
	}
	// Marks that this left are over, too.
	Popw::pass();
	for worker in &workers {
		<Popw as Checks>::touch(*worker);
		if let Some(record) = Workers::<Test>::get(worker)
			&& !record.is_gone()
		{
			assert_ok!(Providers::deregister_worker(signed(record.owner), *worker));
		}
	}
	Popw::pass();
	run_to(Providers::now() + 30 * DAYS);
	for id in 0..NextSlashId::<Test>::get() {
		if Slashes::<Test>::contains_key(id) {
			assert_ok!(Providers::apply_slash(signed(BOB), id));
		}
	}
	for worker in workers {
		let delegators: Vec<AccountId> = Delegations::<Test>::iter_key_prefix(worker).collect();
		let unbonding: Vec<AccountId> = Unbondings::<Test>::iter_key_prefix(worker).collect();
		let all: std::collections::BTreeSet<_> = delegators.into_iter().chain(unbonding).collect();
		for who in all {
			assert_ok!(Providers::withdraw_unbonded(signed(who), worker));
		}
		if Workers::<Test>::contains_key(worker) {
			assert_ok!(Providers::clear_worthless(signed(BOB), worker, ALICE));
		}
	}
}
