//! Attacks on a worker's past: whatever its state became since, each running round sees it as it was at the
//! round's start.

use super::*;
use std::collections::BTreeMap;

/// The states of workers when changes last counted in each round, unless a check has found them offline
/// since.
#[derive(Default)]
pub struct Past {
	stood: BTreeMap<(WorkerId, RoundIndex), WorkerState>,
	/// The first round that is not recorded.
	next: RoundIndex,
}

impl Past {
	/// Records the changes since the last call, and expects each running round to see the worker as it was.
	pub fn follow(&mut self) {
		for event in events() {
			if let Event::FoundOffline { worker, .. } = event {
				let runs = |round| round >= Popw::next_round();
				self.stood
					.retain(|(other, round), _| *other != worker || runs(*round));
			}
		}
		if let Some(spot) = Popw::fixed() {
			self.note(spot);
		}
		let in_flight = <Popw as Checks>::in_flight();
		for (worker, record) in Workers::<Test>::iter() {
			for round in &in_flight {
				let stands = record.standings.at(*round).copied();
				// A worker found offline is away, or unknown, to earlier rounds.
				let is_known = !matches!(
					stands,
					None | Some(WorkerState::Offline | WorkerState::Suspended)
				);
				match self.stood.get(&(worker, *round)) {
					Some(stood) => assert_eq!(stands, Some(*stood), "{worker} in {round}"),
					None => assert!(!is_known, "{worker} in {round}"),
				}
			}
		}
	}

	/// Starts the next round.
	pub fn start(&mut self, census: bool) {
		let spot = Popw::start_round(census);
		self.note(spot);
	}

	/// Records the states for a round in which changes no longer count, and for a census that starts with
	/// it.
	fn note(&mut self, spot: RoundIndex) {
		if spot < self.next {
			return;
		}
		self.next = spot + 2;
		for (worker, record) in Workers::<Test>::iter() {
			for round in [spot, spot + 1] {
				self.stood.insert((worker, round), record.state());
			}
		}
	}
}

/// Returns a worker that was idle when a census started, which lasts for hours.
fn idle_in_a_census() -> (WorkerId, RoundIndex) {
	let worker = register_online(ALICE, 1);
	Popw::pass();
	let census = Popw::start_long_census(1_800);
	(worker, census)
}

/// Has the owner rent its own worker and cancel the order before it is deployed, each in a new round.
fn rent_and_cancel(worker: WorkerId) {
	Popw::start_round(false);
	rent(worker);
	Popw::start_round(false);
	assert_ok!(<Providers as Market>::free(worker, false));
	assert_eq!(state(worker), WorkerState::Online);
}

#[test]
fn a_canceled_order_hides_no_absence() {
	ExtBuilder.build_and_execute(|| {
		let (worker, census) = idle_in_a_census();
		rent_and_cancel(worker);
		events();
		assert!(Popw::absent(worker, census), "it was idle, and is due");
		assert_eq!(state(worker), WorkerState::Offline);
		assert!(matches!(
			events()[0],
			Event::FoundOffline { attested: false, round, .. } if round == census
		));
		assert!(record(worker).queued.is_pending(), "it is slashed");
	});
}

#[test]
fn a_canceled_order_takes_nothing_from_a_committees_finding() {
	ExtBuilder.build_and_execute(|| {
		let (worker, census) = idle_in_a_census();
		assert!(Popw::attest(worker, census));
		rent_and_cancel(worker);
		Popw::close(worker, Outcome::Offline);
		assert_eq!(state(worker), WorkerState::Offline);
		assert!(record(worker).queued.is_pending(), "it is slashed");
	});
}

#[test]
fn no_number_of_canceled_orders_does_either() {
	ExtBuilder.build_and_execute(|| {
		let (worker, census) = idle_in_a_census();
		for _ in 0..20 {
			rent_and_cancel(worker);
		}
		assert!(Popw::absent(worker, census));
		assert!(record(worker).queued.is_pending(), "it is slashed");
	});
}

#[test]
fn a_canceled_order_lets_no_owner_out_of_a_check() {
	ExtBuilder.build_and_execute(|| {
		let (worker, _) = idle_in_a_census();
		rent_and_cancel(worker);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		for call in [
			Providers::go_online(signed(ALICE), worker),
			Providers::update_worker(signed(ALICE), worker, SPEC),
		] {
			assert_eq!(call, Err(Error::<Test>::CheckRunning.into()));
		}
	});
}

/// A full check of a round before the order says nothing about the disk after the order, though the worker
/// was `Online` before and is again.
#[test]
fn an_order_within_a_round_is_not_as_if_it_had_never_been() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		rent(worker);
		free(worker);
		Popw::close_as(worker, online(PROFILE), None, |closing| closing.full = true);
		assert!(record(worker).unproved);
	});
}

/// A slash suspends the worker, and its owner tops it up at once: two changes of state within the census.
#[test]
fn suspension_and_topping_up_hide_no_absence() {
	ExtBuilder.build_and_execute(|| {
		let (worker, census) = idle_in_a_census();
		let slash = Call::slash {
			worker,
			level: SlashLevel::Three,
		};
		assert_ok!(dispatch(slash.into(), RuntimeOrigin::root()));
		assert_eq!(state(worker), WorkerState::Suspended);
		Popw::start_round(false);
		assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM));
		assert_eq!(state(worker), WorkerState::Offline);
		assert!(Popw::absent(worker, census));
		assert!(record(worker).queued.is_pending(), "it is slashed");
	});
}
