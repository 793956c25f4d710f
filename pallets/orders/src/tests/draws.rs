//! Tests of draws from large indices, and of providers' attacks on them.

use super::*;
use crate::matching::{MAX_REVIEWED, TRIES, draw_until};
use frame_support::{traits::Hooks, weights::Weight};
use sp_core::H256;
use sp_io::hashing::blake2_256;

fn seed(number: u64) -> H256 {
	H256(blake2_256(&number.to_le_bytes()))
}

/// Draws for 4,000 orders from a bucket of `idle` workers, `fitting` per cent of which fit. Returns the part
/// of the orders that find a worker, and the mean number of draws.
fn served(idle: u32, fitting: u32) -> (f64, f64) {
	const ORDERS: u32 = 4_000;
	let (mut found, mut draws) = (0, 0);
	for order in 0..ORDERS {
		let mut seen = Vec::new();
		draws += draw_until(seed(1), order, idle, 8, |position, _| {
			// The fitting ones are scattered.
			let fits = u64::from(position) * 7_919 % 100 < u64::from(fitting);
			fits && !seen.contains(&position) && {
				seen.push(position);
				true
			}
		});
		found += u32::from(!seen.is_empty());
	}
	(
		f64::from(found) / f64::from(ORDERS),
		f64::from(draws) / f64::from(ORDERS),
	)
}

#[test]
fn of_a_million_workers_a_tenth_that_fits_serves_97_orders_of_100() {
	// 0.9³² = 3.4 % find none; with 8 draws it would be 43 %.
	let (part, _) = served(1_000_000, 10);
	assert!((part - 0.966).abs() < 0.01, "{part}");
	// Fitting draws end the loop early.
	let (part, draws) = served(1_000_000, 100);
	assert!(part == 1.0 && draws < 8.01, "{part}, {draws}");
	let (part, draws) = served(1_000_000, 50);
	assert!(
		part > 0.999 && (draws - 16.0).abs() < 0.5,
		"{part}, {draws}"
	);
}

#[test]
fn boundary_of_a_bucket_that_is_looked_at_whole() {
	for idle in [0u32, 1, 8] {
		let mut seen = Vec::new();
		let draws = draw_until(seed(2), 7, idle, 8, |position, _| {
			seen.push(position);
			false
		});
		assert_eq!((draws, seen), (idle, (0..idle).collect()));
	}
	assert_eq!(draw_until(seed(2), 7, 9, 8, |_, _| false), 8 * TRIES);
	assert_eq!(draw_until(seed(2), 7, u32::MAX, 8, |_, _| true), 8);
}

/// Adds a machine without a GPU.
fn server(cpu: u8, floor: Balance) -> u32 {
	let worker = add_machine(PETRA);
	with_machine(worker, |machine| {
		machine.profile = kaisar_primitives::Profile {
			bandwidth: 4,
			cpu,
			memory: 4,
			disk: 4,
			gpu_class: 0,
			gpu_count: 0,
		};
		machine.floor = floor;
	});
	worker
}

fn cores(tier: u8) -> Requirement {
	Requirement {
		min_cpu: tier,
		..Default::default()
	}
}

/// The on-demand price of a core and hour while nothing is rented.
const CORE: Balance = KAI / 10 * 75 / 100;

#[test]
fn a_whole_server_never_costs_as_much_as_a_few_cores() {
	ExtBuilder.build_and_execute(|| {
		// The best machine, 256 cores, at the market's price.
		let large = server(4, CORE);
		let order = |tier| try_place(CARLA, cores(tier), 1, Plan::OnDemand, 0);
		for tier in 1..4 {
			let id = order(tier).unwrap();
			run_to(now() + 2);
			assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
		}
		assert_noop!(order(0), Error::<Test>::InvalidRequirement);
		assert_eq!(machine(large).order, None);
		// An order of four cores never gets it, however bad the machine of four cores is.
		let small = server(1, 0);
		with_machine(small, |machine| machine.reliability = Perbill::zero());
		let id = order(1).unwrap();
		matched(id);
		assert_eq!(crate::Orders::<Test>::get(id).unwrap().worker, Some(small));
		// It is rented for the price of its own tier.
		let id = try_place(DAN, cores(4), 1, Plan::OnDemand, 0).unwrap();
		let (_, worker) = matched(id);
		let record = crate::Orders::<Test>::get(id).unwrap();
		assert_eq!((worker, record.units()), (large, 129));
		assert!(record.ledger.charged >= 129 * CORE);
	});
}

#[test]
fn workers_that_no_price_can_rent_leave_the_index_when_they_are_drawn() {
	ExtBuilder.build_and_execute(|| {
		// Listed while the reference was higher: 36 of 40 have a floor above the highest price.
		let highest = REFERENCE * 95 / 100;
		let workers: Vec<_> = (0..40).map(|_| add_machine(PETRA)).collect();
		for worker in &workers[..36] {
			with_machine(*worker, |machine| machine.floor = highest + 1);
		}
		let listed = || {
			let idle = |worker: &&u32| machine(**worker).is_listed();
			workers[..36].iter().filter(idle).count()
		};
		let (mut blocks, mut before) = (0, 36);
		while listed() > 0 {
			let id = place(CARLA, 1);
			run_to(now() + 2);
			if order(id).worker.is_some() {
				assert_ok!(Rentals::cancel_order(signed(CARLA), id));
			}
			assert!(before - listed() <= MAX_REVIEWED as usize);
			before = listed();
			blocks += 1;
			assert!(blocks <= 12, "{before} are listed still");
		}
		// Workers whose floor is only above today's price stay, and no other was reviewed.
		assert!(
			workers[36..]
				.iter()
				.all(|worker| machine(*worker).reviews == 0)
		);
		with_machine(workers[39], |machine| machine.floor = PRICE + 1);
		for _ in 0..5 {
			let id = place(CARLA, 1);
			matched(id);
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		}
		assert!(machine(workers[39]).is_listed());
		assert_eq!(machine(workers[39]).reviews, 0);
	});
}

#[test]
fn who_moves_workers_after_the_block_before_wins_nothing_in_what_the_block_left() {
	ExtBuilder.build_and_execute(|| {
		MatchDraws::set(&1);
		for _ in 0..40 {
			add_machine(PETRA);
		}
		// `on_initialize` has no room, so orders are matched after the block's extrinsics.
		HookWeight::set(&Weight::from_parts(1, 1));
		let mut hits = 0;
		for _ in 0..200 {
			let id = place(CARLA, 1);
			next_block();
			next_block();
			// Public before the block's extrinsics: the worker at the position that the previous block's
			// seed draws.
			let public = <Vrf as kaisar_primitives::BlockSeed>::seed_of(now() - 1).unwrap();
			let mut position = None;
			draw_until(public, id, 40, 1, |at, _| {
				position = Some(at);
				true
			});
			Rentals::on_idle(now(), Weight::MAX);
			hits += u32::from(order(id).worker == position);
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		}
		assert!(hits < 20, "{hits} of 200 by chance of one in 40");
	});
}

#[test]
fn whoever_fills_the_queue_pays_for_the_matches() {
	use frame_support::dispatch::GetDispatchInfo;
	ExtBuilder.build_and_execute(|| {
		let call = RuntimeCall::Rentals(Call::place_order {
			requirement: ONE,
			workload: workload(),
			hours: 1,
			plan: Plan::OnDemand,
			max_price: Balance::MAX,
			credits: 0,
			client_key: client_key(),
		});
		let charged = call.get_dispatch_info().call_weight;
		// A worst-case bucket: floors that are too high, four times as many draws, and two checks to close.
		for number in 0..12 {
			let worker = add_machine(PETRA);
			with_machine(worker, |machine| match number {
				0 | 1 => machine.open = Some((1, Some(Verdict::Offline))),
				_ => machine.floor = Balance::MAX,
			});
		}
		let mut used = Weight::zero();
		for _ in 0..20 {
			let id = place(CARLA, 1);
			next_block();
			used = used.saturating_add(next_block());
			assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
		}
		let charged = charged.saturating_mul(20);
		assert!(used.all_lt(charged), "{used:?} of {charged:?}");
		// An order for a bucket with one worker needs no room for the maximum number of draws.
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.profile.gpu_count = 2);
		let two = Requirement {
			gpu_count: 2,
			..ONE
		};
		let id = try_place(CARLA, two, 1, Plan::OnDemand, 0).unwrap();
		run_to(now() + 1);
		System::set_block_number(now() + 1);
		let looked =
			<() as WeightInfo>::match_orders().saturating_add(<() as WeightInfo>::match_look());
		let room = Rentals::heaviest_match(1).saturating_add(looked);
		assert!(Rentals::heaviest_match(32).any_gt(room));
		Rentals::match_orders(now(), Some(seed(0)), room);
		assert_eq!(order(id).worker, Some(worker));
	});
}
