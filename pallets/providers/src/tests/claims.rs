//! Claims: valid claims, possible profiles, and profiles below the claim.

use super::*;
use proptest::prelude::*;

const SERVER: WorkerSpec = WorkerSpec {
	gpu_class: 0,
	gpu_count: 0,
	..SPEC
};

#[test]
fn boundaries_of_a_claim() {
	ExtBuilder.build_and_execute(|| {
		let of = |change: &dyn Fn(&mut WorkerSpec)| {
			let mut spec = SPEC;
			change(&mut spec);
			spec
		};
		let zero = Error::<Test>::ZeroHardware;
		let large = Error::<Test>::ClaimTooLarge;
		let count = Error::<Test>::GpuCountMismatch;
		for (spec, error) in [
			(of(&|spec| spec.cpu_cores = 0), zero),
			(of(&|spec| spec.memory_gb = 0), Error::<Test>::ZeroHardware),
			(of(&|spec| spec.disk_gb = 0), Error::<Test>::ZeroHardware),
			(of(&|spec| spec.cpu_cores = 1_025), large),
			(
				of(&|spec| spec.memory_gb = 24_577),
				Error::<Test>::ClaimTooLarge,
			),
			(
				of(&|spec| spec.disk_gb = 1_048_577),
				Error::<Test>::ClaimTooLarge,
			),
			(of(&|spec| spec.gpu_count = 17), count),
			(
				WorkerSpec {
					gpu_count: 1,
					..SERVER
				},
				Error::<Test>::GpuCountMismatch,
			),
		] {
			assert_noop!(try_register(ALICE, 1, spec, MAX_STAKE), error);
		}
		let largest = WorkerSpec {
			gpu_count: 16,
			cpu_cores: 1_024,
			memory_gb: 24_576,
			disk_gb: 1_048_576,
			download_mbps: u32::MAX,
			upload_mbps: u32::MAX,
			arch: Arch::Arm64,
			driver: u16::MAX,
			cuda: u16::MAX,
			..SPEC
		};
		assert_ok!(try_register(ALICE, 1, largest, MAX_STAKE));
		assert_eq!(record(0).spec, largest);
		let least = WorkerSpec {
			cpu_cores: 1,
			memory_gb: 1,
			disk_gb: 1,
			download_mbps: 0,
			upload_mbps: 0,
			..SERVER
		};
		assert_ok!(try_register(ALICE, 2, least, BASE));
	});
}

#[test]
fn a_committee_cannot_give_a_worker_more_than_it_claims() {
	ExtBuilder.build_and_execute(|| {
		// Mallory's machine has no GPU, and a friendly committee.
		assert_ok!(try_register(ALICE, 1, SERVER, BASE));
		let farm = Profile {
			gpu_class: 1,
			gpu_count: 255,
			bandwidth: 4,
			cpu: 4,
			memory: 4,
			disk: u8::MAX,
		};
		Popw::spot_check(0, online(farm));
		assert_eq!(state(0), WorkerState::Online);
		for _ in 0..2 {
			let proved = Popw::census(0, online(farm));
			assert_eq!(proved.profile, POOR);
			assert_eq!(record(0).profile, Some(SERVER.bound()));
			assert_eq!(TotalsByClass::<Test>::get(1), ClassTotals::default());
		}
	});
}

#[test]
fn a_lower_claim_bounds_what_was_verified_before() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		assert_ok!(Providers::update_worker(signed(ALICE), worker, SERVER));
		assert_eq!(record(worker).profile, Some(POOR));
	});
}

#[test]
fn once_below_the_claim_lowers_the_profile() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		events();
		let proved = Popw::close(worker, online(POOR));
		assert_eq!(
			events(),
			vec![Event::ClaimUnsupported {
				worker,
				round: census,
				profile: POOR
			}]
		);
		// It is paid, and rented, as the machine that it is.
		assert_eq!((proved.idle, proved.profile), (INTERVAL, POOR));
		assert_eq!(state(worker), WorkerState::Online);
		assert_eq!(Providers::idle_workers(11, 1, None), 0);
		assert_eq!(Providers::idle_workers(0, 1, None), 1);
		// When the GPU is back, its earlier time is not paid: the lesser of both profiles is.
		let proved = Popw::census(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.profile), (INTERVAL, POOR));
		assert_eq!(
			Popw::census(worker, online(PROFILE)).profile,
			record(worker).profile.unwrap()
		);
		// That ended the run.
		Popw::census(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Online);
	});
}

#[test]
fn twice_below_the_claim_makes_it_pending() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::census(worker, online(POOR));
		// A check that decides nothing does not end it either.
		Popw::census(worker, Outcome::NoConsensus);
		Popw::census(worker, UNDECIDED);
		events();
		Popw::census(worker, online(POOR));
		let since = Popw::next_round();
		assert_eq!(
			events(),
			vec![
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Online,
					new: WorkerState::Pending,
					since
				},
				Event::VerificationFailed {
					worker,
					profile: POOR
				},
			]
		);
		let record = record(worker);
		assert_eq!((record.forced, record.failures), (None, 1));
		assert_eq!(record.queued, QueuedSlashes::default());
		assert_eq!(Providers::idle_workers(0, 1, None), 0);
		// Its owner requests another verification, which waits for one more spot round.
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		assert_eq!(
			super::record(worker).forced,
			Some(Forced {
				round: since + 2,
				verify_only: true
			})
		);
	});
}

#[test]
fn a_rental_between_does_not_end_the_row() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::census(worker, online(POOR));
		rent(worker);
		Popw::pass();
		free(worker);
		Popw::spot_check(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Pending);
	});
}

#[test]
fn a_worker_that_is_rented_meanwhile_is_judged_when_it_is_free() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::census(worker, online(POOR));
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		rent(worker);
		Popw::close(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Rented);
		// Even if the order was never deployed.
		assert_ok!(<Providers as Market>::free(worker, false));
		assert!(record(worker).unproved && record(worker).forced.is_some());
		Popw::spot_check(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Pending);
	});
}

#[test]
fn a_flooded_line_and_a_lost_plot_stay_online_and_listed() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let flooded = Profile {
			bandwidth: 0,
			disk: 0,
			..PROFILE
		};
		for _ in 0..3 {
			Popw::census(worker, online(flooded));
			assert_eq!(state(worker), WorkerState::Online);
		}
		assert_eq!(record(worker).profile, Some(flooded));
		assert_eq!(Providers::idle_workers(11, 1, None), 1);
	});
}

#[test]
fn undecided_hardware_changes_and_pays_nothing() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let history = record(worker).history;
		let proved = Popw::census(worker, UNDECIDED);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		let after = record(worker);
		assert_eq!(after.profile, Some(PROFILE));
		assert_eq!(after.state(), WorkerState::Online);
		assert_eq!(after.history, history);
		assert_eq!(after.forced, None);
	});
}

#[test]
fn nothing_stands_in_a_verification() {
	ExtBuilder.build_and_execute(|| {
		// The GPU is removed before the claim is verified again; two friends vote for it.
		let worker = register_online(ALICE, 1);
		Popw::pass();
		assert_ok!(Providers::update_worker(signed(ALICE), worker, SPEC));
		Popw::spot_check(worker, UNDECIDED);
		assert_eq!(state(worker), WorkerState::Pending);
		// It is not a failure either: the worker is due again.
		assert_eq!(record(worker).failures, 0);
		assert_eq!(
			record(worker).forced,
			Some(Forced {
				round: Popw::next_round(),
				verify_only: true
			})
		);
		Popw::spot_check(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Pending);
	});
}

#[test]
fn a_false_proof_verifies_nothing() {
	ExtBuilder.build_and_execute(|| {
		assert_ok!(try_register(ALICE, 1, SERVER, BASE));
		let round = Popw::start_round(false);
		assert!(Popw::attest(0, round));
		Popw::close_with(0, online(POOR), true);
		assert_eq!(state(0), WorkerState::Pending);
		assert_eq!(record(0).failures, 1);
	});
}

#[test]
fn a_rented_profile_is_frozen() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		Popw::spot_check(worker, online(POOR));
		assert_eq!(record(worker).profile, Some(PROFILE));
		assert!(!record(worker).below);
	});
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(64),
		rng_seed: kaisar_test_support::property::seed(8),
		..ProptestConfig::default()
	})]

	#[test]
	fn a_profile_never_exceeds_the_claim(
		(class, count, cpu_cores, memory_gb) in (0usize..3, 1u8..=16, 1u16..=1_024, 1u32..=24_576),
		(disk_gb, down, up) in (1u32..=1_048_576, any::<u32>(), any::<u32>()),
		votes in prop::collection::vec(any::<(u8, u8, u8, u8, u8, u8, bool)>(), 1..6),
	) {
		ExtBuilder.build().execute_with(|| {
			let gpu_class = [0, 1, 11][class];
			let spec = WorkerSpec {
				gpu_class,
				gpu_count: if gpu_class == 0 { 0 } else { count },
				cpu_cores,
				memory_gb,
				disk_gb,
				download_mbps: down,
				upload_mbps: up,
				..SPEC
			};
			let bound = spec.bound();
			assert_ok!(try_register(ALICE, 1, spec, MAX_STAKE));
			Popw::spot_check(0, online(bound));
			for (bandwidth, cpu, memory, disk, gpu, gpu_count, claimed) in votes {
				let voted = Profile {
					bandwidth,
					cpu,
					memory,
					disk,
					gpu_class: if claimed { gpu_class } else { gpu.into() },
					gpu_count,
				};
				if state(0) != WorkerState::Online {
					break;
				}
				Popw::census(0, online(voted));
				let profile = record(0).profile.unwrap();
				assert!(profile.gpu_class == gpu_class || profile.gpu_class == 0);
				assert!(profile.gpu_count <= spec.gpu_count);
				assert!(profile.bandwidth <= bound.bandwidth && profile.disk <= bound.disk);
				assert!(profile.cpu <= bound.cpu && profile.memory <= bound.memory);
				Providers::do_try_state().unwrap();
			}
		});
	}
}
