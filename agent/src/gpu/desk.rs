//! Who waits for rows that are not kept, and have to be computed again.
//!
//! All seats of a committee open the same chain, each at places of its own, and each looks at nearly
//! every part of it. So nobody has the chain computed again for itself: whoever has the device goes
//! along the chain, round and round, and serves all who wait for rows of the step that it passes. Those
//! who come while it is under way join where it is. Whenever they come, each has what it waits for
//! after no more than one time around.

use crate::bench::chain::{Place, Rows};
use parking_lot::{Mutex, MutexGuard};
use std::{
	collections::{BTreeMap, BTreeSet},
	ops::RangeInclusive,
};

/// The tickets of all who wait.
#[derive(Default)]
pub(super) struct Desk {
	tickets: Mutex<Tickets>,
}

#[derive(Default)]
struct Tickets {
	next: u64,
	waiting: BTreeMap<u64, Waiting>,
}

#[derive(Default)]
struct Waiting {
	missing: BTreeSet<Place>,
	there: Rows,
}

impl Desk {
	fn lock(&self) -> MutexGuard<'_, Tickets> {
		self.tickets.lock()
	}

	/// A ticket for these rows. What passes from now on is kept for it, until it is dropped.
	pub fn ticket(&self, missing: BTreeSet<Place>) -> Ticket<'_> {
		let mut tickets = self.lock();
		let id = tickets.next;
		tickets.next += 1;
		let there = Rows::new();
		tickets.waiting.insert(id, Waiting { missing, there });
		Ticket { desk: self, id }
	}

	/// The first of these steps of which anyone waits for rows.
	pub fn first(&self, steps: RangeInclusive<usize>) -> Option<usize> {
		let (from, to) = (*steps.start(), *steps.end());
		if from > to {
			return None;
		}
		let tickets = self.lock();
		let firsts = tickets.waiting.values().filter_map(|wanted| {
			let mut places = wanted.missing.range((from, 0)..=(to, usize::MAX));
			places.next().map(|(step, _)| *step)
		});
		firsts.min()
	}

	/// The rows of a step that anyone waits for.
	pub fn wanted(&self, step: usize) -> Vec<usize> {
		let tickets = self.lock();
		let places = tickets.waiting.values().flat_map(|wanted| {
			let places = wanted.missing.range((step, 0)..=(step, usize::MAX));
			places.map(|(_, row)| *row)
		});
		places.collect::<BTreeSet<_>>().into_iter().collect()
	}

	/// Gives everyone what it waits for of these rows.
	pub fn serve(&self, rows: &Rows) {
		for wanted in self.lock().waiting.values_mut() {
			for (place, row) in rows {
				if wanted.missing.remove(place) {
					wanted.there.insert(*place, row.clone());
				}
			}
		}
	}
}

/// What one opening waits for.
pub(super) struct Ticket<'a> {
	desk: &'a Desk,
	id: u64,
}

impl Ticket<'_> {
	/// Waits for these rows too.
	pub fn add(&self, places: impl IntoIterator<Item = Place>) {
		if let Some(wanted) = self.desk.lock().waiting.get_mut(&self.id) {
			for place in places {
				if !wanted.there.contains_key(&place) {
					wanted.missing.insert(place);
				}
			}
		}
	}

	/// The first and the last step of which rows are missing; `None` once all are there.
	pub fn missing(&self) -> Option<(usize, usize)> {
		let tickets = self.desk.lock();
		let missing = &tickets.waiting.get(&self.id)?.missing;
		Some((missing.first()?.0, missing.last()?.0))
	}

	/// The rows that are there.
	pub fn take(&self) -> Rows {
		let mut tickets = self.desk.lock();
		let wanted = tickets.waiting.get_mut(&self.id);
		wanted.map_or_else(Rows::new, |wanted| std::mem::take(&mut wanted.there))
	}
}

impl Drop for Ticket<'_> {
	fn drop(&mut self) {
		self.desk.lock().waiting.remove(&self.id);
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn rows(places: &[Place]) -> Rows {
		let row = |(step, row): &Place| (vec![*step as u8, *row as u8], Vec::new());
		places.iter().map(|place| (*place, row(place))).collect()
	}

	#[test]
	fn what_passes_serves_all_who_wait() {
		let desk = Desk::default();
		let one = desk.ticket([(2, 5), (4, 1)].into());
		let two = desk.ticket([(4, 1), (4, 2)].into());
		assert_eq!(desk.first(1..=9), Some(2));
		assert_eq!(desk.first(3..=9), Some(4));
		assert_eq!(desk.first(5..=9), None);
		let (from, to) = (4, 3);
		assert_eq!(desk.first(from..=to), None, "no step at all");
		assert_eq!(desk.wanted(4), [1, 2]);
		desk.serve(&rows(&[(4, 1), (4, 2), (4, 3)]));
		assert_eq!(one.missing(), Some((2, 2)));
		assert_eq!(two.missing(), None);
		assert_eq!(two.take(), rows(&[(4, 1), (4, 2)]), "what it waited for");
		desk.serve(&rows(&[(2, 5)]));
		assert_eq!(one.take(), rows(&[(2, 5), (4, 1)]));
	}

	#[test]
	fn what_is_there_is_not_waited_for_again() {
		let desk = Desk::default();
		let one = desk.ticket([(1, 1)].into());
		desk.serve(&rows(&[(1, 1)]));
		one.add([(1, 1), (3, 3)]);
		assert_eq!(one.missing(), Some((3, 3)));
		drop(one);
		assert_eq!(desk.first(1..=9), None, "nobody waits any more");
	}
}
