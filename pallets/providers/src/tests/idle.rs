//! The indices of idle workers, compared with a plain list.

use super::*;
use frame_support::traits::fungible::Mutate;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const REGIONS: [[u8; 2]; 2] = [*b"DE", *b"CH"];

fn listed(class: GpuClass, count: u8, region: Option<[u8; 2]>) -> BTreeSet<WorkerId> {
	let len = Providers::idle_workers(class, count, region);
	let at = |position| <Providers as Market>::idle_at(class, count, region, position);
	assert_eq!(at(len), None, "nobody is behind the last");
	let all: BTreeSet<WorkerId> = (0..len).map(|position| at(position).unwrap()).collect();
	assert_eq!(all.len(), len as usize, "no worker is listed twice");
	all
}

/// Adds a worker to the registry directly, without the time that calls take.
fn add(number: u32, region: [u8; 2]) -> WorkerId {
	let mut key = [0u8; 32];
	key[..4].copy_from_slice(&number.to_le_bytes());
	let keys = WorkerKeys {
		worker: sp_core::sr25519::Public::from_raw(key).into(),
		agent: AgentKey::from_raw(key),
	};
	let spec = WorkerSpec { region, ..SPEC };
	Balances::mint_into(&Providers::pot(), MINIMUM).unwrap();
	Providers::insert(&ALICE, spec, keys, MINIMUM).unwrap()
}

/// Makes a worker idle with a profile, as a check does.
fn make_idle(worker: WorkerId, profile: Profile) {
	Providers::mutate(worker, |record| {
		Providers::set_profile(record, profile);
		Ok(())
	})
	.unwrap();
	put_into(worker, WorkerState::Online);
}

#[test]
fn are_entered_and_left_with_the_state() {
	ExtBuilder.build_and_execute(|| {
		let (a, b) = (register_online(ALICE, 1), register_online(ALICE, 2));
		assert_eq!(listed(11, 1, None), [a, b].into());
		assert_eq!(listed(11, 1, Some(*b"DE")), [a, b].into());
		assert!(listed(11, 1, Some(*b"CH")).is_empty());
		assert!(listed(11, 2, None).is_empty());
		assert!(listed(0, 0, None).is_empty());
		// The first leaves, and the last takes its position.
		Popw::pass();
		assert_ok!(Providers::go_offline(signed(ALICE), a));
		assert_eq!(listed(11, 1, None), [b].into());
		assert_eq!(
			(record(a).place, record(b).place),
			(
				None,
				Some(IndexPosition {
					by_class: 0,
					by_region: 0
				})
			)
		);
		assert_ok!(Providers::update_worker(
			signed(ALICE),
			b,
			WorkerSpec {
				region: *b"CH",
				..SPEC
			}
		));
		assert!(listed(11, 1, None).is_empty());
		Popw::spot_check(b, online(PROFILE));
		assert_eq!(listed(11, 1, Some(*b"CH")), [b].into());
	});
}

#[test]
fn a_worker_that_is_verified_otherwise_moves() {
	ExtBuilder.build_and_execute(|| {
		let (a, b) = (register_online(ALICE, 1), register_online(ALICE, 2));
		Popw::census(a, online(POOR));
		assert_eq!(listed(11, 1, None), [b].into());
		// Without a GPU it is listed by its processors.
		assert_eq!(listed(0, 1, Some(*b"DE")), [a].into());
		assert!(listed(0, 0, None).is_empty());
		assert_eq!(<Providers as Market>::use_of(0), (1, 0));
		assert_eq!(Providers::network().hardware.gpus, 1);
		Popw::census(a, online(PROFILE));
		assert_eq!(listed(11, 1, None), [a, b].into());
	});
}

#[test]
fn servers_are_listed_by_their_processors() {
	ExtBuilder.build_and_execute(|| {
		for (number, cores) in [(1, 3), (2, 4), (3, 63), (4, 128), (5, 129)] {
			let tier = kaisar_math::tiers::cpu(cores.into());
			let spec = WorkerSpec {
				gpu_class: 0,
				gpu_count: 0,
				cpu_cores: cores,
				..SPEC
			};
			let worker = NextWorkerId::<Test>::get();
			assert_ok!(try_register(ALICE, number, spec, BASE));
			Popw::spot_check(worker, online(Profile { cpu: tier, ..POOR }));
			assert_eq!(state(worker), WorkerState::Online);
			assert_eq!(listed(0, tier, None).contains(&worker), tier > 0);
			assert_eq!(listed(0, tier, Some(*b"DE")).contains(&worker), tier > 0);
		}
		// A machine with fewer cores than any order pays for cannot be rented.
		make_idle(4, Profile { cpu: 0, ..POOR });
		assert!(listed(0, 0, None).is_empty() && listed(0, 4, None).is_empty());
		assert_eq!(<Providers as Market>::use_of(0), (5, 0));
	});
}

#[test]
fn a_floor_that_no_price_reaches_is_not_listed() {
	ExtBuilder.build_and_execute(|| {
		let (stuffed, honest) = (register_online(ALICE, 1), register_online(BOB, 2));
		let floor = |price| Providers::set_price_floor(signed(ALICE), stuffed, price);
		// While there is no price, any floor is accepted.
		assert_ok!(floor(u128::MAX));
		assert_eq!(listed(11, 1, None), [stuffed, honest].into());
		// When it is drawn, its floor is judged again.
		HighestPrice::set(&Some(KAI));
		assert_eq!(<Providers as Market>::candidate(stuffed), None);
		assert_ok!(<Providers as Market>::review(stuffed));
		assert_eq!(listed(11, 1, None), [honest].into());
		// Also when its record changes.
		assert_ok!(floor(KAI));
		assert_eq!(listed(11, 1, None), [stuffed, honest].into());
		assert!(<Providers as Market>::candidate(stuffed).is_some());
		assert_ok!(floor(KAI + 1));
		assert_eq!(listed(11, 1, None), [honest].into());
		// A rising price lists it at its next check.
		HighestPrice::set(&Some(2 * KAI));
		Popw::census(stuffed, online(PROFILE));
		assert_eq!(listed(11, 1, None), [stuffed, honest].into());
		assert_noop!(
			<Providers as Market>::review(9),
			Error::<Test>::UnknownWorker
		);
	});
}

#[test]
fn a_review_after_a_bar_lists_a_worker_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let until = Providers::now() + 300;
		assert_ok!(<Providers as Market>::bar(worker, until));
		assert!(listed(11, 1, None).is_empty());
		run_to(until - 1);
		assert_ok!(<Providers as Market>::review(worker));
		assert!(listed(11, 1, None).is_empty());
		run_to(until);
		assert_ok!(<Providers as Market>::review(worker));
		assert_eq!(listed(11, 1, None), [worker].into());
	});
}

#[test]
fn boundary_of_a_page() {
	ExtBuilder.build_and_execute(|| {
		let workers: Vec<WorkerId> = (0..2 * INDEX_PAGE + 1).map(|i| add(i, *b"DE")).collect();
		for worker in &workers {
			make_idle(*worker, POOR);
		}
		assert_eq!(Providers::idle_workers(0, 1, None), 2 * INDEX_PAGE + 1);
		let bucket = Bucket {
			gpu_class: 0,
			gpu_count: 1,
			region: None,
		};
		assert_eq!(
			BucketPages::<Test>::get((bucket, 2)).into_inner(),
			vec![workers[2 * INDEX_PAGE as usize]]
		);
		Providers::do_try_state().unwrap();
		// The last of the last page, then one of the first page, which the last of the second replaces.
		put_into(workers[2 * INDEX_PAGE as usize], WorkerState::Offline);
		assert!(!BucketPages::<Test>::contains_key((bucket, 2)));
		put_into(workers[3], WorkerState::Offline);
		assert_eq!(
			<Providers as Market>::idle_at(0, 1, None, 3),
			Some(workers[2 * INDEX_PAGE as usize - 1])
		);
		Providers::do_try_state().unwrap();
		for worker in &workers {
			put_into(*worker, WorkerState::Offline);
		}
		assert_eq!(BucketHeads::<Test>::iter().count(), 0);
		assert_eq!(BucketPages::<Test>::iter().count(), 0);
	});
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(12),
		rng_seed: kaisar_test_support::property::seed(4),
		..ProptestConfig::default()
	})]

	/// Workers in four buckets of class and count and two regions come and go, and their verified hardware
	/// changes.
	#[test]
	fn hold_exactly_the_idle_ones(
		ops in prop::collection::vec((0usize..150, any::<u8>()), 1..500)
	) {
		ExtBuilder.build().execute_with(|| {
			let workers: Vec<WorkerId> =
				(0..150).map(|i| add(i, REGIONS[i as usize % 2])).collect();
			let profile = |choice: u8| Profile {
				cpu: choice / 2 % 2,
				..[POOR, PROFILE][usize::from(choice % 2)]
			};
			let mut model = BTreeMap::<WorkerId, (WorkerState, Profile)>::new();
			// Most are idle at first, so the buckets have more than one page.
			for worker in &workers {
				make_idle(*worker, profile(1));
				model.insert(*worker, (WorkerState::Online, profile(1)));
			}
			for (index, choice) in ops {
				let worker = workers[index];
				let entry = model.get_mut(&worker).unwrap();
				match choice % 6 {
					0 => entry.0 = WorkerState::Rented,
					1 => entry.0 = WorkerState::Offline,
					2 => entry.1 = profile(choice / 6),
					_ => entry.0 = WorkerState::Online,
				}
				let (state, profile) = *entry;
				Providers::mutate(worker, |record| {
					Providers::set_profile(record, profile);
					Ok(())
				}).unwrap();
				put_into(worker, state);
			}
			Providers::do_try_state().expect("all invariants hold");
			for class in [0, 11] {
				for count in [0, 1] {
					for region in [None, Some(REGIONS[0]), Some(REGIONS[1])] {
						let expected: BTreeSet<WorkerId> = model
							.iter()
							.filter(|(worker, (state, profile))| {
								*state == WorkerState::Online
									&& profile.gpu_class == class
									&& count == (if class == 0 { profile.cpu } else { 1 })
									&& count > 0
									&& region.is_none_or(|region| {
										region == REGIONS[**worker as usize % 2]
									})
							})
							.map(|(worker, _)| *worker)
							.collect();
						prop_assert_eq!(listed(class, count, region), expected);
					}
				}
			}
			Ok(())
		})?;
	}
}

#[test]
fn every_idle_worker_is_drawn_as_often_as_another() {
	ExtBuilder.build_and_execute(|| {
		let workers: Vec<WorkerId> = (0..100).map(|i| add(i, *b"DE")).collect();
		for worker in &workers {
			make_idle(*worker, POOR);
		}
		let mut drawn = BTreeMap::<WorkerId, u32>::new();
		let draws = 20_000u32;
		for draw in 0..draws {
			let hash = sp_io::hashing::blake2_128(&draw.to_le_bytes());
			let len = Providers::idle_workers(0, 1, None);
			let position = (u128::from_le_bytes(hash) % u128::from(len)) as u32;
			let worker = <Providers as Market>::idle_at(0, 1, None, position).unwrap();
			*drawn.entry(worker).or_default() += 1;
		}
		assert_eq!(drawn.len(), 100);
		// 200 each, with a standard deviation of 14: within five deviations, and the seeds are fixed.
		assert!(drawn.values().all(|times| (130..270).contains(times)));
	});
}
