//! Tests that the plays can fail: with a rule of the runtime switched off, a strategy beats honesty. Also
//! tests that a play neither loses nor creates money.

use kaisar_math::Schedule;
use kaisar_primitives::{Balance, KAI};
use kaisar_runtime::{
	Balances, RuntimeParameters,
	configs::params::dynamic_params::{popw, providers, rewards},
	constants::EXISTENTIAL_DEPOSIT,
};
use kaisar_simulation::{
	actors::{Honest, Mind},
	books,
	network::{self, Network, Rules},
	physics,
	play::{self, Outcome, Players},
	strategies,
	world::kai,
};
use sp_runtime::{FixedU128, Perbill};

fn network(rules: Rules) -> Network {
	Network::of(100, rules, 1)
}

fn outcome(name: &str, rules: Rules) -> Outcome {
	let scenario = strategies::by_name(name).expect("there is such a strategy");
	let pair = Players::default()
		.pair(&scenario, &network(rules))
		.expect("it can be played");
	Outcome::of(&scenario, 100, vec![pair])
}

#[test]
fn burning_others_stake_pays_where_the_bounty_is_all_of_the_slash() {
	let all = providers::Parameters::SlashBounty(providers::SlashBounty, Some(Perbill::one()));
	let rules = Rules::short().with(RuntimeParameters::Providers(all));
	let outcome = outcome("burn", rules);
	assert!(!outcome.holds(), "{outcome:?}");
	assert!(outcome.mean(|pair| pair.strategic) > 20_000.0);
}

#[test]
fn a_coalition_earns_more_than_documented_where_one_operator_decides() {
	let alone = [
		popw::Parameters::CommitteeSize(popw::CommitteeSize, Some(1)),
		popw::Parameters::MinOperators(popw::MinOperators, Some(1)),
	];
	let rules = alone
		.into_iter()
		.map(RuntimeParameters::Popw)
		.fold(Rules::short(), Rules::with);
	let captured = outcome("pass-racks", rules);
	assert!(!captured.holds(), "{captured:?}");
}

#[test]
fn renting_from_oneself_costs_what_the_cap_keeps_of_the_fee() {
	let scenario = strategies::by_name("shared-gpu-self-rented").expect("it is listed");
	let with = |cap: FixedU128| {
		let value = rewards::Parameters::PodFeeCap(rewards::PodFeeCap, Some(cap));
		let network = network(Rules::short().with(RuntimeParameters::Rewards(value)));
		let sides = (scenario.sides)(&network, 1);
		let side = play::side(&network, sides.strategic, false).expect("it can be played");
		kai(side.accounts[0].earned())
	};
	let [none, half, all] =
		[(0, 1), (1, 2), (1, 1)].map(|(part, of)| with(FixedU128::from_rational(part, of)));
	assert!(none < half && half < all, "{none}, {half}, {all}");
	// The two halves of the fee, to a ten-thousandth.
	let (first, second) = (half - none, all - half);
	assert!((first - second).abs() < 1e-4, "{first}, {second}");
}

#[test]
fn a_play_makes_and_loses_no_money() {
	let rules = Rules::short();
	let (setup, length) = (rules.setup, rules.epoch_length);
	let scenario = strategies::by_name("false-image").expect("there is such a strategy");
	let sides = (scenario.sides)(&network(rules.clone()), 1);
	let mut world = play::new_world(&network(rules), sides.strategic);
	let before = world.on_chain(|_| Balances::total_issuance());
	world.play();
	world.on_chain(|_| {
		network::try_state().expect("invariants hold");
		let issued = Balances::total_issuance();
		assert_eq!(books::all_kai(), issued);
		let (pools, held) = books::all_stake();
		assert_eq!(held, pools + EXISTENTIAL_DEPOSIT);
		// Half of an epoch's emission is for providers, a fifth for checkers. The set-up emits nothing for
		// them, and the validators' part is not minted before staking exists.
		let emitted = Schedule::KAISAR.emitted(setup, setup + length);
		assert_eq!(issued - before, emitted / 10 * 7);
	});
}

#[test]
fn claims_pay_what_the_books_say() {
	let party = Honest {
		machines: vec![physics::home(*b"DE"); 3],
		operators: vec![4],
		kai: 10_000 * KAI,
		..Default::default()
	};
	let parties: Vec<Box<dyn Mind>> = vec![Box::new(party)];
	let mut world = play::new_world(&network(Rules::short()), parties);
	world.play();
	let before = world.worth(1);
	world.claim(1);
	let fees = before - world.worth(1);
	// Four claims, each for a fee of less than a tenth of a KAI.
	let most: Balance = 4 * KAI / 10;
	assert!((1..most).contains(&fees), "{} KAI", kai(fees as i128));
}

#[test]
fn the_same_seed_is_the_same_play() {
	let scenario = strategies::by_name("lazy-checker").expect("there is such a strategy");
	let play = |seed| {
		let rules = Rules {
			epoch_length: 150,
			..Rules::short()
		};
		let network = Network {
			seed,
			..network(rules)
		};
		let sides = (scenario.sides)(&network, 1);
		play::side(&network, sides.strategic, false).expect("it can be played")
	};
	let (one, again, other) = (play(7), play(7), play(8));
	assert_eq!(one.accounts, again.accounts);
	assert_eq!(one.figures, again.figures);
	assert_ne!(one.accounts, other.accounts);
}
