use super::*;
use frame_support::hypothetically;

#[test]
fn workers_of_an_owner_come_in_pages() {
	ExtBuilder.build_and_execute(|| {
		let mut expected: Vec<WorkerId> = (1..=7).map(|seed| register(ALICE, seed)).collect();
		register(BOB, 8);
		let mut found: Vec<WorkerId> = Vec::new();
		let mut cursor = None;
		loop {
			let page = Providers::workers_of(ALICE, cursor, 3);
			found.extend(&page);
			if page.len() < 3 {
				break;
			}
			cursor = page.last().copied();
		}
		found.sort_unstable();
		expected.sort_unstable();
		assert_eq!(found, expected);
		assert_eq!(Providers::workers_of(BOB, None, u32::MAX), vec![7]);
		assert!(Providers::workers_of(BOB, Some(7), 1).is_empty());
		assert!(Providers::workers_of(ALICE, None, 0).is_empty());
		assert!(Providers::workers_of(9, None, 1).is_empty());
	});
}

#[test]
fn counters_follow_the_states() {
	ExtBuilder.build_and_execute(|| {
		let (a, b, c) = (register(ALICE, 1), register(ALICE, 2), register(BOB, 3));
		assert_eq!(
			Providers::counts(),
			StateCounts {
				pending: 3,
				..Default::default()
			}
		);
		let round = Popw::start_round(false);
		for worker in [a, b] {
			assert!(Popw::attest(worker, round));
			Popw::close(worker, online(PROFILE));
		}
		put_into(b, WorkerState::Rented);
		assert_ok!(Providers::go_offline(signed(BOB), c));
		assert_eq!(
			Providers::counts(),
			StateCounts {
				online: 1,
				rented: 1,
				offline: 1,
				..Default::default()
			}
		);
		let counts = <Providers as WorkerRegistry<AccountId>>::counts();
		assert_eq!((counts.registered, counts.online, counts.rented), (3, 1, 1));
	});
}

#[test]
fn a_worker_is_shown_whole() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(Providers::set_commission(
			signed(ALICE),
			worker,
			Perbill::from_percent(7)
		));
		assert_ok!(Providers::set_price_floor(signed(ALICE), worker, KAI));
		assert_ok!(Providers::stake(signed(ALICE), worker, 3 * KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, KAI));
		assert_ok!(Providers::stake(signed(CAROL), worker, 20 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 5 * KAI));
		assert_ok!(Providers::slash(
			RuntimeOrigin::root(),
			worker,
			SlashLevel::One
		));
		run_to(Providers::now() + 10);
		let kept = record(worker);
		assert_eq!(
			Providers::worker(worker),
			Some(WorkerView {
				owner: ALICE,
				deregistered: false,
				state: WorkerState::Online,
				since: kept.standings.now.since,
				forced: None,
				listed: true,
				order: None,
				spec: SPEC,
				profile: Some(PROFILE),
				own: MINIMUM + 2 * KAI,
				minimum: Some(MINIMUM),
				delegated: 15 * KAI,
				unbonding: 6 * KAI,
				queued: (MINIMUM + 23 * KAI) / 10,
				delegation_cap: None,
				reliability: Perbill::from_rational(1u32, 8),
				rented: 0,
				proved_at: kept.proved_at,
				commission: Perbill::zero(),
				next_commission: Some((2, Perbill::from_percent(7))),
				price_floor: KAI,
				score: Some(SCORE),
			})
		);
		assert_eq!(Providers::worker(worker + 1), None);
		assert_eq!(
			Providers::reliability(worker),
			Some(Perbill::from_rational(1u32, 8))
		);
		assert_eq!(Providers::minimum_stake(11, 1), Some(MINIMUM));
		assert_eq!(Providers::minimum_stake(1, 8), Some(16_500 * KAI));
		assert_eq!(Providers::minimum_stake(0, 0), Some(BASE));
		assert_eq!(Providers::minimum_stake(12, 1), None);
		// A commission in force is not an announced one.
		Epoch::set(&2);
		let view = Providers::worker(worker).unwrap();
		assert_eq!(
			(view.commission, view.next_commission),
			(Perbill::from_percent(7), None)
		);
	});
}

#[test]
fn a_delegation_is_shown_with_its_worth() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 350 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 50 * KAI));
		let until = Providers::now() + UNBONDING;
		let slashed = |worker| Providers::slash(RuntimeOrigin::root(), worker, SlashLevel::Two);
		// Half, and half of the rest.
		assert_ok!(slashed(worker));
		assert_ok!(slashed(worker));
		run_to(Providers::now() + DEFERRAL);
		assert_ok!(Providers::apply_slash(signed(BOB), 0));
		assert_ok!(Providers::apply_slash(signed(BOB), 1));
		let shares = 300 * KAI;
		assert_eq!(
			Providers::delegation(worker, CAROL),
			DelegationView {
				shares,
				value: 75 * KAI
			}
		);
		assert_eq!(
			Providers::unbonding(worker, CAROL),
			vec![UnbondingView {
				value: 25 * KAI / 2,
				until
			}]
		);
		assert_eq!(
			Providers::delegation(worker, DAVE),
			DelegationView::default()
		);
		assert!(Providers::unbonding(worker, DAVE).is_empty());
		assert!(Providers::unbonding(worker + 1, DAVE).is_empty());
	});
}

#[test]
fn the_network_is_shown_in_figures() {
	ExtBuilder.build_and_execute(|| {
		let (a, b) = (register_online(ALICE, 1), register_online(ALICE, 2));
		register(BOB, 3);
		put_into(b, WorkerState::Rented);
		let view = Providers::network();
		assert_eq!((view.registered, view.workers), (3, Providers::counts()));
		assert_eq!(
			view.hardware,
			Hardware {
				gpus: 2,
				cpu_cores: 32,
				memory_gb: 128,
				disk_gb: 2_000,
				download_mbps: 1_000,
				upload_mbps: 800,
			}
		);
		let totals = ClassTotals {
			online: 1,
			rented: 1,
			gpus_online: 1,
			gpus_rented: 1,
		};
		assert_eq!(view.classes, vec![(11, totals)]);
		assert_eq!(<Providers as Market>::use_of(11), (1, 1));
		for worker in [a, b] {
			put_into(worker, WorkerState::Offline);
		}
		let view = Providers::network();
		assert_eq!(
			(view.hardware, view.classes),
			(Hardware::default(), Vec::new())
		);
	});
}

/// Returns the bytes of all entries of this pallet, keys included, plus the 24 bytes by which the runtime's
/// account ids exceed the mock's, in each record and in each owner's index.
fn bytes(workers: usize) -> usize {
	let prefix = sp_io::hashing::twox_128(b"Providers");
	let mut key = prefix.to_vec();
	let mut all = 0;
	while let Some(next) = sp_io::storage::next_key(&key) {
		if !next.starts_with(&prefix) {
			break;
		}
		all += next.len() + sp_io::storage::get(&next).unwrap().len();
		key = next;
	}
	all + 48 * workers
}

#[test]
fn a_worker_at_rest_takes_less_than_600_bytes() {
	ExtBuilder.build_and_execute(|| {
		// Entries that exist once for all workers, or for all of a class.
		register_online(ALICE, 1);
		let before = bytes(1);
		// A worker that is alone in its count and region, and the only one of its owner.
		let spec = WorkerSpec {
			gpu_count: 2,
			region: *b"CH",
			..SPEC
		};
		let profile = Profile {
			gpu_count: 2,
			..PROFILE
		};
		assert_ok!(try_register(BOB, 2, spec, 2 * MINIMUM));
		Popw::spot_check(1, online(profile));
		let alone = bytes(2) - before;
		let before = bytes(2);
		// A hundred workers of one kind.
		for seed in 3..103 {
			register_online(ALICE, seed);
		}
		let each = (bytes(102) - before).div_ceil(100);
		println!("a worker at rest: {alone} bytes alone of its kind, {each} bytes among others");
		assert!(alone < 600, "{alone} bytes");
		assert!(each < 600, "{each} bytes");
	});
}

#[test]
fn all_workers_come_in_pages_by_number() {
	ExtBuilder.build_and_execute(|| {
		let all: Vec<WorkerId> = (1..=5).map(|seed| register(ALICE, seed)).collect();
		assert_ok!(Providers::deregister_worker(signed(ALICE), all[1]));
		let page = |from, limit| {
			let (page, next) = Providers::workers(from, limit);
			let numbers: Vec<_> = page.iter().map(|(worker, _)| *worker).collect();
			(numbers, next)
		};
		assert_eq!(page(0, 3), (vec![0, 1, 2], Some(3)));
		assert_eq!(page(3, 2), (vec![3, 4], None));
		assert_eq!(page(5, 9), (vec![], None));
		assert_eq!(page(u32::MAX, u32::MAX), (vec![], None));
		assert_eq!(
			page(1, 0),
			(vec![1], Some(2)),
			"a page is never empty for its limit"
		);
		let (one, _) = Providers::workers(1, 1);
		assert_eq!(one, vec![(1, Providers::worker(1).unwrap())]);
		assert!(one[0].1.deregistered);
		hypothetically!({
			// A removed worker is skipped, and no page exceeds the maximum.
			Workers::<Test>::remove(3);
			NextWorkerId::<Test>::put(1_000_000);
			assert_eq!(page(3, 1), (vec![], Some(4)));
			assert_eq!(page(0, u32::MAX), (vec![0, 1, 2, 4], Some(MAX_PAGE)));
		});
	});
}

#[test]
fn queued_slashes_come_in_pages() {
	ExtBuilder.build_and_execute(|| {
		let mut expected = Vec::new();
		for seed in 1..=5 {
			let worker = register(ALICE, seed);
			expected.push(slashing::by_hand(worker, SlashLevel::One));
		}
		assert_ok!(Providers::cancel_slash(RuntimeOrigin::root(), expected[2]));
		expected.remove(2);
		let (mut found, mut cursor) = (Vec::new(), None);
		loop {
			let page = Providers::slashes(cursor, 3);
			for (id, slash) in &page {
				assert_eq!(Some(slash), Providers::queued_slash(*id).as_ref());
				found.push(*id);
			}
			cursor = page.last().map(|(id, _)| *id);
			if page.len() < 3 {
				break;
			}
		}
		found.sort_unstable();
		assert_eq!(found, expected);
		assert!(Providers::slashes(None, 0).is_empty());
	});
}
