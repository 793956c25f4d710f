//! The draw of committees: fair, never the same operator twice, never on one's own worker, and at the same
//! cost with all licenses as with few.

use super::*;
use alloc::collections::BTreeSet;
use frame_support::StoragePrefixedMap;
use kaisar_primitives::Seats;
use std::sync::{
	Arc,
	atomic::{AtomicU32, Ordering},
};
use tracing::{Event as Trace, Metadata, Subscriber, field::Visit, span};

/// Registers accounts 1, 2, …, gives each the listed number of licenses, all of them active, and starts a
/// round. Licenses are as `accept` would leave them, but without items.
fn with_operators(licenses: &[u32], test: impl FnOnce(&Running)) {
	world(&[], || {
		let mut license = 0;
		for (n, count) in (1u8..).zip(licenses) {
			let operator = register(n);
			for _ in 0..*count {
				put(license, operator);
				license += 1;
			}
		}
		minted(license);
		ActiveLicenses::<World>::put(license);
		test(&attest(0));
		// The rest of the state is that of a world without licenses.
		let _ = Pages::<World>::clear(u32::MAX, None);
		ActiveLicenses::<World>::put(0);
		minted(0);
	});
}

fn put(license: LicenseId, operator: OperatorId) {
	let (page, index) = place(license);
	Pages::<World>::mutate(page, |entries| {
		while entries.len() <= index {
			entries
				.try_push(Entry::default())
				.expect("the page has room");
		}
		entries[index].now = Span::open(operator, 0);
	});
}

fn minted(count: u32) {
	pallet_licenses::Minted::<World>::put(count);
}

/// Returns Pearson's χ² of the counts against the expected ones.
fn chi_squared(counted: &[u32], weights: &[u32]) -> f64 {
	let total: u32 = counted.iter().sum();
	let all: u32 = weights.iter().sum();
	counted
		.iter()
		.zip(weights)
		.map(|(counted, weight)| {
			let expected = f64::from(total) * f64::from(*weight) / f64::from(all);
			(f64::from(*counted) - expected).powi(2) / expected
		})
		.sum()
}

#[test]
fn chi_squared_is_what_it_should_be() {
	assert_eq!(chi_squared(&[10, 20, 30], &[1, 2, 3]), 0.0);
	assert_eq!(chi_squared(&[20, 10], &[1, 1]), 10.0 / 3.0);
}

#[test]
fn the_first_seat_falls_in_proportion_to_licenses() {
	let licenses = [1, 2, 3, 5, 8, 13, 21, 34, 55, 2, 1, 40];
	with_operators(&licenses, |running| {
		let mut first = [0u32; 12];
		for worker in 1..=4_000 {
			let committee = Popw::committee(worker, running.round);
			first[committee[0].0 as usize] += 1;
		}
		// 11 degrees of freedom: above 31.3 in one of a thousand fair draws; the draw is the same in each
		// run.
		let fair = chi_squared(&first, &licenses);
		assert!(fair < 31.3, "{first:?}: {fair}");
		// The counts fit neither equal chances nor those of a neighbor.
		let mut shifted = licenses;
		shifted.rotate_left(1);
		for wrong in [[1; 12], shifted] {
			assert!(chi_squared(&first, &wrong) > 1_000.0);
		}
	});
}

/// Splitting licenses over accounts gains nothing, and bundling them loses nothing.
#[test]
fn weights_are_in_proportion_to_licenses_however_they_are_bundled() {
	let licenses = [120, 60, 30, 15, 15, 10, 10, 10, 10, 10, 5, 5];
	with_operators(&licenses, |_| {
		// No extra seat is drawn for a third operator.
		MinOperators::set(&1);
		let round = attest(1).round;
		let mut weights = [0u32; 12];
		for worker in 2..2_002 {
			let committee = Popw::committee(worker, round);
			let sum: u32 = committee.iter().map(|(_, weight)| *weight).sum();
			assert_eq!(sum, 5, "{committee:?}");
			for (operator, weight) in committee {
				weights[operator as usize] += weight;
			}
		}
		let fair = chi_squared(&weights, &licenses);
		assert!(fair < 31.3, "{weights:?}: {fair}");
	});
}

#[test]
fn licenses_that_are_not_active_take_no_seats_from_those_that_are() {
	// Two thirds are held by operators that are offline, deregistered or banned.
	with_operators(&[10, 10, 10, 10, 10, 10], |running| {
		assert_ok!(Checkers::go_offline(signed(2)));
		Operators::<World>::mutate(2, |record| {
			record.as_mut().unwrap().gone = Some(Gone {
				from_round: <Popw as Checks>::next_round(),
				epoch: 0,
			});
		});
		let before = record(3);
		Operators::<World>::mutate(3, |record| {
			let record = record.as_mut().unwrap();
			record.ban = Some(u64::MAX);
			record.redraw(
				<Popw as Checks>::next_round(),
				&<Popw as Checks>::in_flight(),
			);
		});
		ActiveLicenses::<World>::put(30);
		let next = attest(1).round;
		let mut before_it = BTreeSet::new();
		for worker in 2..200 {
			assert_eq!(sitting(worker, next), [0, 4, 5]);
			before_it.extend(sitting(worker, running.round));
		}
		// In the round that ran before, all six could sit.
		assert!(before_it.into_iter().eq(0..6));
		// Restore the state.
		Operators::<World>::mutate(2, |record| record.as_mut().unwrap().gone = None);
		Operators::<World>::insert(3, before);
	});
}

#[test]
fn an_operator_never_sits_twice_nor_on_its_own_worker() {
	// One operator has most licenses, and would be drawn repeatedly.
	with_operators(&[60, 5, 5, 5, 5, 5, 5], |running| {
		let own: BTreeMap<WorkerId, AccountId> = (1..=700)
			.map(|worker| (worker, account(1 + (worker % 7) as u8)))
			.collect();
		Owners::set(&own);
		let mut full = 0;
		for worker in 1..=700 {
			let committee = sitting(worker, running.round);
			let mut others = committee.clone();
			others.dedup();
			assert_eq!(others, committee, "each has one seat");
			assert!(
				!committee.contains(&(worker % 7)),
				"{worker}: {committee:?}"
			);
			full += u32::from(committee.len() >= 3);
		}
		// The draw nearly always continues until three different operators sit.
		assert!(full > 650, "{full}");
	});
}

/// Counts the storage reads of this thread by kind.
#[derive(Clone, Default)]
struct Reads(Arc<Counts>);

#[derive(Default)]
struct Counts {
	pages: AtomicU32,
	operators: AtomicU32,
	others: AtomicU32,
}

/// The content of one trace of the state machine.
#[derive(Default)]
struct Said {
	method: String,
	key: String,
}

impl Visit for Said {
	fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
		match field.name() {
			"method" => self.method = format!("{value:?}"),
			"key" => self.key = format!("{value:?}"),
			_ => (),
		}
	}
}

impl Subscriber for Reads {
	fn enabled(&self, metadata: &Metadata<'_>) -> bool {
		metadata.target() == "state"
	}
	fn event(&self, trace: &Trace<'_>) {
		let mut said = Said::default();
		trace.record(&mut said);
		if said.method.trim_matches('"') != "Get" {
			return;
		}
		let of = |prefix: [u8; 32]| said.key.trim_matches('"').starts_with(&hex(&prefix));
		let counter = if of(Pages::<World>::final_prefix()) {
			&self.0.pages
		} else if of(Operators::<World>::final_prefix()) {
			&self.0.operators
		} else {
			&self.0.others
		};
		counter.fetch_add(1, Ordering::Relaxed);
	}
	fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
		span::Id::from_u64(1)
	}
	fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
	fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
	fn enter(&self, _: &span::Id) {}
	fn exit(&self, _: &span::Id) {}
}

fn hex(bytes: &[u8]) -> String {
	bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the numbers of reads of pages, of operators and of anything else while `f` runs.
fn reads(f: impl FnOnce()) -> (u32, u32, u32) {
	let reads = Reads::default();
	tracing::subscriber::with_default(reads.clone(), f);
	let of = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
	(
		of(&reads.0.pages),
		of(&reads.0.operators),
		of(&reads.0.others),
	)
}

#[test]
fn a_draw_reads_one_page_and_one_record_whatever_the_number_of_licenses() {
	let of = |licenses: u32| {
		let mut counted = None;
		with_operators(&[licenses], |running| {
			let draw = |license: LicenseId| {
				reads(|| assert_eq!(Checkers::seat(license, running.round), Some(0)))
			};
			let draws = [0, licenses / 2, licenses - 1].map(draw);
			// With one operator no committee is ever full, so the maximum number of draws is made, and each
			// hits. Its record is read for each draw, and once more for its account.
			let committee = reads(|| {
				assert_eq!(Popw::committee(7, running.round), [(0, 5)]);
			});
			counted = Some((draws, committee));
		});
		counted.expect("it was counted")
	};
	let (few, many) = (of(30), of(29_998));
	assert_eq!(few.0, [(1, 1, 0); 3]);
	assert_eq!(few, many);
	// All licenses are active: 8 draws for each of the 5 seats.
	assert_eq!((many.1.0, many.1.1), (40, 41));
	assert!(
		many.1.2 <= 8,
		"the round, the worker's check and owner: {:?}",
		many.1
	);
}
