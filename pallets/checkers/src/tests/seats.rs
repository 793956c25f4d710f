//! Queries and reports of Popw.

use crate::{mock::*, *};
use alloc::collections::BTreeMap;
use frame_support::assert_ok;
use kaisar_primitives::{SeatResult, Seats};

fn miss(round: RoundIndex) {
	Checkers::credit(0, 7, round, 1, SeatResult::Missed, false);
}

fn with_operator(test: impl FnOnce()) {
	ExtBuilder::build_and_execute(|| {
		register(10);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 10));
		rounds(4, 20);
		test();
	});
}

#[test]
fn three_missed_rounds_in_a_row_put_offline() {
	with_operator(|| {
		miss(6);
		miss(8);
		assert_eq!(record(0).presence.count, 2);
		assert_eq!(Checkers::active(), 1);
		miss(10);
		assert_eq!(
			last_event(),
			Event::WentOffline {
				operator: 0,
				from_round: 20,
				missed: true
			}
		);
		assert_eq!(Checkers::active(), 0);
		assert_eq!(
			(Checkers::seat(0, 19), Checkers::seat(0, 20)),
			(Some(0), None)
		);
		assert_eq!(Checkers::status(10), Some(CheckerStatus::Offline));

		// Late reports on rounds before it came back do not put it offline again.
		rounds(20, 30);
		assert_ok!(Checkers::go_online(signed(10)));
		for round in [12, 14, 16, 18, 29] {
			miss(round);
		}
		assert_eq!(Checkers::active(), 1);
		assert_eq!(record(0).presence.count, 0);
		for round in [30, 32, 34] {
			miss(round);
		}
		assert_eq!(Checkers::active(), 0);
	});
}

#[test]
fn a_round_counts_once_however_many_seats() {
	with_operator(|| {
		for _ in 0..10 {
			miss(6);
		}
		miss(8);
		miss(6);
		assert_eq!(record(0).presence.count, 2);
		assert_eq!(Checkers::active(), 1);
	});
}

#[test]
fn a_reveal_breaks_the_row() {
	with_operator(|| {
		miss(6);
		miss(8);
		Checkers::revealed(0, 10);
		// Other seats without a vote in the same round, and reports on earlier rounds, are not missed
		// rounds.
		miss(10);
		miss(9);
		assert_eq!(record(0).presence.count, 0);
		miss(12);
		miss(14);
		assert_eq!(Checkers::active(), 1);
		miss(16);
		assert_eq!(Checkers::active(), 0);
	});
}

#[test]
fn votes_of_any_kind_are_no_missed_rounds() {
	with_operator(|| {
		for round in [6, 8, 10, 12] {
			Checkers::credit(0, 7, round, 1, SeatResult::Dissenting, false);
			Checkers::credit(0, 8, round, 1, SeatResult::Correct, false);
		}
		assert_eq!(record(0).presence, Presence::default());
		assert!(StrikesOf::<Test>::get(10).is_empty());
	});
}

/// Carla's machine fails for a quarter of an hour while a census runs for hours. She is in the draw of the
/// next round again, and the rounds in flight still see her earlier states.
#[test]
fn put_offline_by_three_missed_rounds_an_operator_comes_back_while_a_census_runs() {
	with_operator(|| {
		let seats = |rounds: &[RoundIndex]| -> Vec<bool> {
			rounds
				.iter()
				.map(|round| Checkers::seat(0, *round).is_some())
				.collect()
		};
		Census::set(&vec![21]);
		for outage in 0..4 {
			// Offline from round n + 30 on, and back in round n + 40.
			let n = 40 * outage;
			rounds(n + 22, n + 30);
			for round in [n + 22, n + 24, n + 26] {
				miss(round);
			}
			assert_eq!(Checkers::status(10), Some(CheckerStatus::Offline));
			rounds(n + 32, n + 40);
			assert_ok!(Checkers::go_online(signed(10)));
			let asked = [21, n + 32, n + 39, n + 40];
			assert_eq!(seats(&asked), [true, false, false, true]);
			// States that no round in flight needs are dropped.
			assert!(record(0).in_draw.earlier.len() <= 2);
		}
	});
}

#[test]
fn going_off_and_on_in_every_round_changes_no_round_in_flight() {
	with_operator(|| {
		Census::set(&vec![11]);
		let mut seen = BTreeMap::new();
		for next in (20..100u32).step_by(2) {
			// Four spot rounds are running, and one is about to start.
			rounds(next - 10, next);
			if next % 4 == 0 {
				assert_ok!(Checkers::go_offline(signed(10)));
			} else {
				assert_ok!(Checkers::go_online(signed(10)));
			}
			seen.insert(next, next % 4 != 0);
			for round in Census::get().into_iter().chain(next - 10..=next) {
				let expected = seen.get(&(round & !1)).copied().unwrap_or(true);
				assert_eq!(Checkers::seat(0, round).is_some(), expected, "{round}");
			}
		}
	});
}

#[test]
fn unknown_operators_and_licenses_answer_none() {
	with_operator(|| {
		assert_eq!(<Checkers as Seats<_>>::operator(1, 4), None);
		assert_eq!(Checkers::number(&1), None);
		assert_eq!(Checkers::by_key(&ring(1).checker()), None);
		assert_eq!(Checkers::seat(u32::MAX, 4), None);
		assert_eq!(Checkers::minted(), 12);
	});
}

#[test]
fn a_draw_reads_one_page_and_one_record_with_30_licenses_or_29_998() {
	// The size of the state proof of the answer: all entries read, and the path to them.
	let proof = |licenses: u32| {
		let mut ext = ExtBuilder::build();
		ext.execute_with(|| {
			register(1);
			// As `accept` would leave them.
			for page in 0..licenses.div_ceil(PAGE_SIZE) {
				let entry = Entry {
					now: Span::open(0, 4),
					before: Span::default(),
				};
				Pages::<Test>::insert(page, Page::truncate_from(vec![entry; PAGE_SIZE as usize]));
			}
		});
		ext.commit_all().expect("the state can be written");
		let (seat, proof) = ext.execute_and_prove(|| Checkers::seat(licenses - 1, 4));
		assert_eq!(seat, Some(0));
		proof.encoded_size()
	};
	let page = Page::truncate_from(vec![Entry::default(); PAGE_SIZE as usize]).encoded_size();
	let (few, many) = (proof(30), proof(29_998));
	assert!(few > page, "a page is read");
	// The path is slightly longer, but no second page is read.
	assert!(
		many < few + page / 2 && many < 2 * page,
		"{few} bytes and {many}"
	);
}
