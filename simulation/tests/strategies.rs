//! Short plays of every strategy in a network of a hundred workers, with fixed seeds. No strategy beats
//! honesty by more than a hundredth, except those with a documented exception, and these stay within it.

use kaisar_primitives::BlockNumber;
use kaisar_simulation::{
	network::{Network, Rules},
	play::{Outcome, Players},
	strategies::{self, Scenario, checkers, orders, pools, workers},
};

const WORKERS: u32 = 100;
const SEED: u64 = 1;
/// Number of blocks with about five censuses.
const CENSUSES: BlockNumber = 300;
/// Number of blocks in which an order of an hour is also served, proved and paid.
const ORDERS: BlockNumber = 400;

fn network(epoch_length: BlockNumber) -> Network {
	let rules = Rules {
		epoch_length,
		..Rules::short()
	};
	Network::of(WORKERS, rules, SEED)
}

/// Plays strategies for this number of blocks, with all invariants checked at the end of each play.
fn play(scenarios: &[Scenario], blocks: BlockNumber) -> Vec<Outcome> {
	let mut players = Players::new(true);
	let network = network(blocks);
	scenarios
		.iter()
		.map(|scenario| {
			let pair = players
				.pair(scenario, &network)
				.unwrap_or_else(|error| panic!("{}: {error:?}", scenario.name));
			Outcome::of(scenario, WORKERS, vec![pair])
		})
		.collect()
}

#[track_caller]
fn assert_within_limits(outcomes: &[Outcome]) {
	for outcome in outcomes {
		assert!(
			outcome.holds(),
			"{} earns {:?} times as much as honesty, and may earn {} times: {:?}",
			outcome.name,
			outcome.ratio,
			outcome.most,
			outcome.pairs
		);
	}
}

/// Asserts that these strategies still need their exceptions: an exception without need has to be removed.
#[track_caller]
fn assert_needs_its_exception(outcomes: &[Outcome], names: &[&str]) {
	for name in names {
		let outcome = outcomes.iter().find(|it| it.name == *name);
		let outcome = outcome.unwrap_or_else(|| panic!("{name} is played"));
		assert!(
			outcome.documented.is_some() && outcome.ratio > Some(1.01),
			"{name}: {:?}",
			outcome.ratio
		);
	}
}

#[test]
fn an_honest_party_in_place_of_an_honest_one_changes_nothing() {
	let honest = strategies::by_name("honest").expect("the control is there");
	// Each pair has a new player, which has not played the honest side, so both sides are played.
	let pairs: Vec<_> = (0..2)
		.map(|_| Players::default().pair(&honest, &network(CENSUSES)))
		.collect::<Result<_, _>>()
		.expect("it can be played");
	for pair in &pairs {
		assert!(pair.honest > 0.0);
		assert_eq!(pair.ratio(), Some(1.0));
		assert_eq!(pair.strategic.to_bits(), pairs[0].strategic.to_bits());
	}
}

#[test]
fn no_operator_beats_honesty() {
	let outcomes = play(&checkers::all(), CENSUSES);
	assert_within_limits(&outcomes);
	let lost = |name: &str| {
		let outcome = outcomes.iter().find(|it| it.name == name);
		outcome.and_then(|it| it.harm()).unwrap_or_default()
	};
	assert!(
		lost("fail") > 0.0,
		"a majority fails some of its victim's workers"
	);
}

#[test]
fn no_owner_beats_honesty() {
	let outcomes = play(&workers::all(), CENSUSES);
	assert_within_limits(&outcomes);
	assert_needs_its_exception(&outcomes, &["split-tiers", "split-gpus", "shared-gpu-let"]);
	let fetched = outcomes.iter().find(|it| it.name == "fetched-gpu");
	let spared = fetched.map(|it| it.mean(|pair| pair.spared));
	assert!(spared > Some(0.3), "its machine was elsewhere: {spared:?}");
}

#[test]
fn no_tenant_and_no_provider_beats_honesty() {
	let outcomes = play(&orders::all(), ORDERS);
	assert_within_limits(&outcomes);
	assert_needs_its_exception(&outcomes, &["false-image"]);
}

#[test]
fn nobody_gains_by_the_stake_of_others() {
	let outcomes = play(&pools::all(), CENSUSES);
	assert_within_limits(&outcomes);
	let harm = |name: &str| {
		let outcome = outcomes.iter().find(|it| it.name == name);
		outcome.and_then(|it| it.harm()).expect("it has a victim")
	};
	// As documented, half of the others' delegation burns, and nothing of the stake of a swollen pool's
	// owner.
	assert!(
		(24_000.0..=24_750.0).contains(&harm("burn")),
		"{}",
		harm("burn")
	);
	assert!(harm("swell") <= 0.0, "{}", harm("swell"));
}

#[test]
fn every_strategy_has_a_name_of_its_own() {
	let names: Vec<_> = strategies::all().iter().map(|it| it.name).collect();
	let mut unique = names.clone();
	unique.sort_unstable();
	unique.dedup();
	assert_eq!(unique.len(), names.len());
	assert!(strategies::by_name("no such strategy").is_none());
}
