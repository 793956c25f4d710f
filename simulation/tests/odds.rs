//! Short measurements of committees, floods and authors.

use kaisar_primitives::KAI;
use kaisar_simulation::{
	authors::order_draws,
	capture::{self, Capture, Honest, Setting},
	floods::{self, Flood},
	network::{Network, Rules},
};

const COMMITTEES: u32 = 3_000;

fn measure(percent: u32, many_accounts: bool, honest: Honest, dead: u32) -> Capture {
	let setting = Setting {
		percent,
		many_accounts,
		honest,
		dead,
	};
	capture::measure(setting, COMMITTEES, 1)
}

/// Returns five standard deviations of a frequency.
fn slack(probability: f64) -> f64 {
	5.0 * (probability * (1.0 - probability) / f64::from(COMMITTEES)).sqrt() + 1e-4
}

#[test]
fn a_coalition_captures_committees_as_often_as_the_binomial_says() {
	for (percent, many_accounts) in [(10, true), (33, true), (33, false)] {
		let it = measure(percent, many_accounts, Honest::Small, 0);
		assert!(
			(it.majority - it.majority_exact).abs() <= slack(it.majority_exact),
			"{it:?}"
		);
		assert!(
			(it.slash - it.slash_exact).abs() <= slack(it.slash_exact),
			"{it:?}"
		);
		assert_eq!(
			it.undecided, 0.0,
			"every seat votes, so one side has more than half"
		);
	}
}

#[test]
fn pools_of_others_give_a_coalition_no_more() {
	for honest in [Honest::OneOf60, Honest::TwoOf35] {
		let it = measure(33, true, honest, 0);
		assert!(
			it.majority <= it.majority_exact + slack(it.majority_exact),
			"{it:?}"
		);
		assert!(it.slash <= it.slash_exact + slack(it.slash_exact), "{it:?}");
	}
}

#[test]
fn dead_seats_leave_checks_undecided_and_capture_none() {
	let it = measure(10, true, Honest::Small, 5);
	assert!(
		(it.majority - it.majority_exact).abs() <= slack(it.majority_exact),
		"{it:?}"
	);
	// Two hostile seats and a dead one occur in 1.5 % of checks, as documented.
	assert!(
		(it.undecided - 0.015).abs() <= slack(0.015) + 0.004,
		"{it:?}"
	);
}

#[test]
fn an_author_that_withholds_has_two_draws_and_no_more() {
	let it = measure(33, true, Honest::Small, 0);
	let both = 1.0 - (1.0 - it.majority_exact) * (1.0 - it.majority_exact);
	assert!(
		(it.majority_of_two - both).abs() <= 2.0 * slack(both),
		"{it:?}"
	);
}

#[test]
fn a_flood_keeps_no_attestation_out_and_makes_itself_dearer() {
	let rules = Rules {
		epoch_length: 150,
		..Rules::short()
	};
	let network = Network::of(40, rules, 2);
	let it = floods::measure(Flood::Reveals, KAI, &network);
	assert!(it.blocks > 0 && it.without > 0, "{it:?}");
	assert!(it.fullness > 0.9, "{it:?}");
	assert_eq!((it.attested, it.absent), (it.without, 0));
	assert!(it.cost > 1.0 && it.dearer > 0.0, "{it:?}");
}

#[test]
fn an_author_chooses_among_the_draws_that_its_calls_allow() {
	let without = order_draws(0, 40, 1);
	assert_eq!(without.with, without.without);
	let with = order_draws(3, 40, 1);
	assert!(with.with > with.without, "{with:?}");
	assert_eq!(with.without, without.without);
}
