use super::*;

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
		let counts = <Providers as Registry<AccountId>>::counts();
		assert_eq!((counts.registered, counts.online, counts.rented), (3, 1, 1));
	});
}

#[test]
fn a_worker_is_shown_whole() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_eq!(Providers::worker(worker), Some(record(worker)));
		assert_eq!(Providers::worker(worker + 1), None);
		assert_eq!(Providers::reliability(worker), Some(Perbill::one()));
		assert_eq!(Providers::minimum_stake(11, 1), Some(MINIMUM));
		assert_eq!(Providers::minimum_stake(1, 8), Some(16_500 * KAI));
		assert_eq!(Providers::minimum_stake(0, 0), Some(BASE));
		assert_eq!(Providers::minimum_stake(12, 1), None);
	});
}

#[test]
fn a_worker_at_rest_takes_less_than_600_bytes() {
	ExtBuilder.build_and_execute(|| {
		let before = sp_io::storage::root(sp_core::storage::StateVersion::V1);
		let worker = register_online(ALICE, 1);
		assert_ne!(
			before,
			sp_io::storage::root(sp_core::storage::StateVersion::V1)
		);
		let WorkerKeys { worker: key, agent } = keys(1);
		// An account of the runtime is 24 bytes longer, wherever it is.
		let account = 24;
		let record = Workers::<Test>::hashed_key_for(worker).len()
			+ Providers::worker(worker).encode().len()
			+ account;
		let keys = WorkerByKey::<Test>::hashed_key_for(&key).len()
			+ WorkerByAgent::<Test>::hashed_key_for(agent).len()
			+ 2 * worker.encode().len();
		let index = WorkersByOwner::<Test>::hashed_key_for(ALICE, worker).len() + account;
		let total = record + keys + index;
		println!("a worker at rest: record {record}, keys {keys}, index {index}, {total} bytes");
		assert!(total < 600, "{total} bytes");
	});
}
