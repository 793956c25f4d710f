//! Tests of constant costs, whatever the size of the network and the time that passed: the end of an epoch,
//! and claims.

use crate::{mock::*, *};
use kaisar_primitives::*;
use std::{
	collections::BTreeMap,
	sync::{Arc, Mutex},
};
use tracing::{
	Event, Metadata, Subscriber,
	field::{Field, Visit},
	span,
};

/// Counts of accesses to the state by method, as the state machine traces them.
#[derive(Clone, Default)]
struct Accesses(Arc<Mutex<BTreeMap<String, u32>>>);

struct Method(Option<String>);

impl Visit for Method {
	fn record_str(&mut self, field: &Field, value: &str) {
		if field.name() == "method" {
			self.0 = Some(value.into());
		}
	}
	fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Accesses {
	fn enabled(&self, metadata: &Metadata<'_>) -> bool {
		metadata.target() == "state"
	}
	fn event(&self, event: &Event<'_>) {
		let mut method = Method(None);
		event.record(&mut method);
		let method = method.0.unwrap_or_default();
		*self.0.lock().unwrap().entry(method).or_default() += 1;
	}
	fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
		span::Id::from_u64(1)
	}
	fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
	fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
	fn enter(&self, _: &span::Id) {}
	fn exit(&self, _: &span::Id) {}
}

fn accesses(run: impl FnOnce()) -> BTreeMap<String, u32> {
	let counter = Accesses::default();
	tracing::subscriber::with_default(counter.clone(), run);
	let counted = counter.0.lock().unwrap();
	counted.clone()
}

fn end_with(workers: u32) -> BTreeMap<String, u32> {
	let mut ext = ExtBuilder::default().build();
	ext.execute_with(|| {
		// An epoch to drop, too: the worst case of an epoch's end.
		(0..4).for_each(|_| next_epoch());
		prove(0, 10, 3);
		for operator in 0..10 {
			seats(operator, 9, 1);
		}
		// As if each worker had proved as much.
		let one = WorkerScores::<Test>::get(0).unwrap();
		(1..workers).for_each(|worker| WorkerScores::<Test>::insert(worker, one));
		Current::<Test>::mutate(|current| {
			current.scores.idle = one.idle * u128::from(workers);
			current.scores.rented = one.rented * u128::from(workers);
			current.scores.pod = one.pod * u128::from(workers);
		});
	});
	ext.execute_with(|| accesses(next_epoch))
}

#[test]
fn the_same_reads_and_writes_for_ten_workers_and_for_a_million() {
	let few = end_with(10);
	assert_eq!(few, end_with(10_000));
	assert_eq!(few, end_with(1_000_000));
	// The count includes reads and writes, and no iteration.
	assert!(few["Get"] > 10 && few["Put"] > 10, "{few:?}");
	assert!(
		!few.contains_key("NextKey") && !few.contains_key("ClearPrefix"),
		"{few:?}"
	);
}

/// Returns the accesses of a claim by a delegator, with `others` in the pool, after `epochs`.
fn claim_with(others: u32, epochs: u32) -> BTreeMap<String, u32> {
	let mut counted = BTreeMap::new();
	ExtBuilder::default().build().execute_with(|| {
		HistoryDepth::set(1_000);
		// Some shares count in the first epoch, more from the second: a rate is needed.
		stake(0, ANNA, KAI);
		next_epoch();
		stake(0, ANNA, KAI);
		(0..others).for_each(|other| stake(0, 1_000 + u128::from(other), KAI));
		for _ in 0..epochs {
			prove(0, 10, 0);
			next_epoch();
		}
		counted = accesses(|| {
			Rewards::claim_delegation(RuntimeOrigin::signed(ANNA), PoolId::Worker(0)).unwrap()
		});
	});
	counted
}

#[test]
fn the_same_reads_and_writes_for_a_claim_of_two_epochs_and_of_a_hundred() {
	let two = claim_with(1, 2);
	assert_eq!(two, claim_with(1, 100));
	assert_eq!(two, claim_with(300, 2));
	assert!(!two.contains_key("NextKey"), "{two:?}");
}

#[test]
fn the_count_can_tell_the_difference() {
	let mut ext = ExtBuilder::default().build();
	ext.execute_with(|| {
		let one = accesses(|| prove(0, 1, 0));
		let two = accesses(|| (1..3).for_each(|worker| prove(worker, 1, 0)));
		assert_eq!(two["Get"], 2 * one["Get"]);
	});
}
