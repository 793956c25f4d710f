//! The queue of requests for lines that must be recomputed.
//!
//! All seats of a committee open the same run, each at its own places, and each needs nearly every part of
//! it. So the work is shared: the thread that has the device recomputes the run and serves every request for
//! the lines it passes, including requests that arrive while it is under way.

use crate::trial::{
	device::{Matrix, Place, Shown},
	hash::Hash,
	matrix::Size,
};
use parking_lot::{Condvar, Mutex};
use std::{
	collections::{BTreeMap, BTreeSet},
	ops::RangeFrom,
};

/// A run whose lines are requested: its seed and size.
pub(super) type Run = (Hash, Size);

/// The queue of open requests.
#[derive(Default)]
pub(super) struct Desk {
	tickets: Mutex<Tickets>,
	changed: Condvar,
}

#[derive(Default)]
struct Tickets {
	next: u64,
	/// A thread is recomputing.
	busy: bool,
	waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
	run: Run,
	missing: BTreeSet<Place>,
	shown: BTreeMap<Place, Shown>,
}

impl Waiting {
	/// Returns whether the request can use this matrix of a run: matrices of the fill are the same for all
	/// runs.
	fn is_of(&self, run: &Run, matrix: Matrix) -> bool {
		matches!(matrix, Matrix::Filled(_)) || self.run == *run
	}

	fn lines(&self, matrix: Matrix) -> impl Iterator<Item = u32> {
		let first = Place { matrix, line: 0 };
		let last = Place {
			matrix,
			line: u32::MAX,
		};
		self.missing.range(first..=last).map(|place| place.line)
	}
}

impl Desk {
	/// Queues a request for lines of a run.
	pub fn ticket(&self, run: Run, missing: BTreeSet<Place>) -> Ticket<'_> {
		let mut tickets = self.tickets.lock();
		let id = tickets.next;
		tickets.next += 1;
		let waiting = Waiting {
			run,
			missing,
			shown: BTreeMap::new(),
		};
		tickets.waiting.insert(id, waiting);
		Ticket { desk: self, id }
	}

	/// Returns the first matrix, from `from` on, with requested lines.
	pub fn first(&self, run: &Run, from: RangeFrom<Matrix>) -> Option<Matrix> {
		let from = Place {
			matrix: from.start,
			line: 0,
		};
		let tickets = self.tickets.lock();
		let firsts = tickets.waiting.values().filter_map(|waiting| {
			let mut places = waiting.missing.range(from..).map(|place| place.matrix);
			places.find(|matrix| waiting.is_of(run, *matrix))
		});
		firsts.min()
	}

	/// Returns the requested lines of a matrix.
	pub fn wanted(&self, run: &Run, matrix: Matrix) -> Vec<u32> {
		let tickets = self.tickets.lock();
		let all = tickets.waiting.values();
		let of_run = all.filter(|waiting| waiting.is_of(run, matrix));
		let lines: BTreeSet<u32> = of_run.flat_map(|waiting| waiting.lines(matrix)).collect();
		lines.into_iter().collect()
	}

	/// Delivers lines to all requests for them.
	pub fn serve(&self, run: &Run, matrix: Matrix, lines: &[(u32, Shown)]) {
		for waiting in self.tickets.lock().waiting.values_mut() {
			if !waiting.is_of(run, matrix) {
				continue;
			}
			for (line, shown) in lines {
				let place = Place {
					matrix,
					line: *line,
				};
				if waiting.missing.remove(&place) {
					waiting.shown.insert(place, shown.clone());
				}
			}
		}
		self.changed.notify_all();
	}
}

/// The request of one opening.
pub(super) struct Ticket<'a> {
	desk: &'a Desk,
	id: u64,
}

/// The exclusive right to recompute.
pub(super) struct Going<'a>(&'a Desk);

impl Drop for Going<'_> {
	fn drop(&mut self) {
		self.0.tickets.lock().busy = false;
		self.0.changed.notify_all();
	}
}

impl<'a> Ticket<'a> {
	/// Waits until the request is served (`None`), or until no thread is recomputing: then the caller must.
	pub fn wait(&self) -> Option<Going<'a>> {
		let mut tickets = self.desk.tickets.lock();
		loop {
			if is_served(&tickets, self.id) {
				return None;
			}
			if !tickets.busy {
				tickets.busy = true;
				return Some(Going(self.desk));
			}
			self.desk.changed.wait(&mut tickets);
		}
	}

	/// Returns whether all lines were delivered.
	pub fn is_served(&self) -> bool {
		is_served(&self.desk.tickets.lock(), self.id)
	}

	/// Takes the delivered lines.
	pub fn take(&self) -> BTreeMap<Place, Shown> {
		let mut tickets = self.desk.tickets.lock();
		let waiting = tickets.waiting.get_mut(&self.id);
		waiting.map_or_else(BTreeMap::new, |waiting| std::mem::take(&mut waiting.shown))
	}
}

fn is_served(tickets: &Tickets, id: u64) -> bool {
	let waiting = tickets.waiting.get(&id);
	waiting.is_none_or(|waiting| waiting.missing.is_empty())
}

impl Drop for Ticket<'_> {
	fn drop(&mut self) {
		self.desk.tickets.lock().waiting.remove(&self.id);
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use Matrix::{Filled, Step};

	const SIZE: Size = Size {
		n: 64,
		window: 2,
		turns: 1,
	};
	const RUN: Run = ([1; 32], SIZE);
	const OTHER: Run = ([2; 32], SIZE);

	fn places<const N: usize>(places: [(Matrix, u32); N]) -> BTreeSet<Place> {
		let place = |(matrix, line)| Place { matrix, line };
		places.into_iter().map(place).collect()
	}

	fn shown(lines: &[u32]) -> Vec<(u32, Shown)> {
		let one = |line: &u32| Shown {
			line: [*line as u8; 1_024],
			path: Vec::new(),
		};
		lines.iter().map(|line| (*line, one(line))).collect()
	}

	#[test]
	fn what_passes_serves_all_who_wait() {
		let desk = Desk::default();
		let one = desk.ticket(RUN, places([(Filled(2), 5), (Step(4), 1)]));
		let two = desk.ticket(RUN, places([(Step(4), 1), (Step(4), 2)]));
		let other = desk.ticket(OTHER, places([(Step(3), 7), (Filled(2), 6)]));
		assert_eq!(desk.first(&RUN, Filled(0)..), Some(Filled(2)));
		assert_eq!(desk.first(&RUN, Filled(3)..), Some(Step(4)));
		assert_eq!(desk.first(&OTHER, Filled(3)..), Some(Step(3)));
		assert_eq!(desk.first(&RUN, Step(5)..), None);
		assert_eq!(desk.wanted(&RUN, Step(4)), [1, 2]);
		assert_eq!(desk.wanted(&RUN, Filled(2)), [5, 6]);
		desk.serve(&RUN, Step(4), &shown(&[1, 2, 3]));
		assert!(two.is_served() && two.wait().is_none());
		assert_eq!(two.take().len(), 2, "what it waited for");
		desk.serve(&RUN, Step(3), &shown(&[7]));
		desk.serve(&RUN, Filled(2), &shown(&[5, 6]));
		assert!(one.is_served());
		assert!(!other.is_served(), "a step of its own run");
	}

	#[test]
	fn one_at_a_time_goes_along_and_the_next_takes_over() {
		let desk = Desk::default();
		let one = desk.ticket(RUN, places([(Step(1), 1)]));
		let two = desk.ticket(RUN, places([(Step(2), 2)]));
		let going = one.wait().unwrap();
		std::thread::scope(|scope| {
			let waiting = scope.spawn(|| two.wait().is_some());
			desk.serve(&RUN, Step(1), &shown(&[1]));
			assert!(one.is_served());
			// It stopped before the other was served.
			drop(going);
			assert!(waiting.join().unwrap());
		});
		drop(two);
		assert_eq!(desk.first(&RUN, Filled(0)..), None, "nobody waits any more");
	}
}
