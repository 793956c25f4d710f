//! Reliability: only the provider's faults count.

use super::*;

fn reliability(worker: WorkerId) -> Perbill {
	Providers::reliability(worker).unwrap()
}

fn of(passed: u32, entries: u32) -> Perbill {
	Perbill::from_rational(passed, entries)
}

#[test]
fn is_of_the_last_32_and_of_eight_at_least() {
	let mut history = History::default();
	assert_eq!(history.reliability(), Perbill::zero());
	history.push(true);
	assert_eq!(history.reliability(), of(1, 8));
	for _ in 0..7 {
		history.push(true);
	}
	assert_eq!(history.reliability(), Perbill::one());
	history.push(false);
	assert_eq!(history.reliability(), of(8, 9));
	for _ in 0..32 {
		history.push(true);
	}
	assert_eq!(history.reliability(), Perbill::one());
	history.push(false);
	assert_eq!(history.reliability(), of(31, 32));
	assert_eq!(history.entries, 32);
}

#[test]
fn counts_what_the_provider_controls() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::census(worker, online(PROFILE));
		rent(worker);
		assert_ok!(<Providers as Market>::deployed(worker));
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		Popw::spot_check(worker, UNDECIDED);
		free(worker);
		Popw::spot_check(worker, online(PROFILE));
		let until = Providers::now() + 300;
		assert_ok!(<Providers as Market>::bar(worker, until));
		Popw::census(worker, Outcome::Offline);
		let history = record(worker).history;
		assert_eq!((history.bits, history.entries), (0b111_1100, 7));
		assert_noop!(
			<Providers as Market>::deployed(9),
			Error::<Test>::UnknownWorker
		);
	});
}

#[test]
fn nothing_else_counts_against_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let before = record(worker).history;
		// Effects of committees, customers and traffic floods.
		Popw::census(worker, Outcome::NoConsensus);
		Popw::census(worker, UNDECIDED);
		Popw::census(worker, online(POOR));
		rent(worker);
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		let silent = Outcome::Online {
			profile: None,
			service: false,
		};
		Popw::spot_check(worker, silent);
		assert_ok!(<Providers as Market>::free(worker, false));
		assert_eq!(record(worker).history, before);
	});
}

#[test]
fn a_rival_cannot_put_the_best_machine_last() {
	ExtBuilder.build_and_execute(|| {
		let (petra, mallory) = (register_online(ALICE, 1), register_online(BOB, 2));
		for _ in 0..32 {
			let census = Popw::start_round(true) + 1;
			for worker in [petra, mallory] {
				assert!(Popw::attest(worker, census));
				Popw::close(worker, online(PROFILE));
			}
		}
		assert_eq!(reliability(petra), Perbill::one());
		// Mallory repeatedly orders images that do not exist: Petra's machine reports so truthfully, and
		// the order ends by the customer's fault.
		for _ in 0..40 {
			rent(petra);
			assert_ok!(<Providers as Market>::free(petra, false));
		}
		// Then a container that stops answering by itself.
		rent(petra);
		assert_ok!(<Providers as Market>::deployed(petra));
		assert_ok!(<Popw as Checks>::force(petra));
		let silent = Outcome::Online {
			profile: None,
			service: false,
		};
		Popw::spot_check(petra, silent);
		free(petra);
		Popw::spot_check(petra, online(PROFILE));
		assert!(reliability(petra) >= reliability(mallory));
		assert!(<Providers as Market>::candidate(petra).is_some());
	});
}

#[test]
fn a_new_identity_does_not_begin_above_a_veteran() {
	ExtBuilder.build_and_execute(|| {
		let veteran = register_online(ALICE, 1);
		for _ in 0..32 {
			Popw::census(veteran, online(PROFILE));
		}
		// Three of 32 failed.
		let until = Providers::now();
		for _ in 0..3 {
			assert_ok!(<Providers as Market>::bar(veteran, until));
		}
		// Registering again for a fresh record is worse.
		let fresh = register_online(ALICE, 2);
		assert!(reliability(fresh) < reliability(veteran));
	});
}
