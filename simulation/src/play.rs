//! Plays in pairs: the same network and the same randomness, once with a strategy and once with an honest
//! party in its place.

use crate::{
	actors::Mind,
	background::Background,
	network::{self, Network, Rules},
	pool::Carried,
	strategies::{Limit, Scenario},
	world::{Account, Counts, World, kai},
};
use serde::Serialize;
use sp_runtime::TryRuntimeError;
use std::collections::BTreeMap;

/// Number of workers in a thousand that no checker reaches in a census.
const LOST: u32 = 10;
/// Number of operators in a thousand that are registered and do nothing.
const DEAD: u32 = 20;

/// One side of a pair.
pub struct Side {
	/// The accounts of the parties.
	pub accounts: Vec<Account>,
	/// Figures of the play as a whole.
	pub figures: Figures,
}

/// Figures of a play as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Figures {
	/// The seed.
	pub seed: u64,
	/// Counts of checks.
	pub counts: Counts,
	/// Counts of transactions.
	pub carried: Carried,
	/// Number of storage entries at the end.
	pub entries: usize,
	/// Total length of their keys, without prefixes, and values, in bytes.
	pub bytes: usize,
}

/// Creates a network with these parties.
pub fn new_world(network: &Network, parties: Vec<Box<dyn Mind>>) -> World {
	let background = Background {
		lost: LOST,
		dead: DEAD,
		seed: network.seed,
	};
	World::new(network.clone(), Box::new(background), parties)
}

/// Plays one side, and with `checked` verifies the chain's invariants at its end.
pub fn side(
	network: &Network,
	parties: Vec<Box<dyn Mind>>,
	checked: bool,
) -> Result<Side, TryRuntimeError> {
	let mut world = new_world(network, parties);
	let accounts = world.play();
	if checked {
		world.on_chain(|_| network::try_state())?;
	}
	let (entries, bytes) = world.size();
	Ok(Side {
		accounts,
		figures: Figures {
			seed: network.seed,
			counts: world.counts(),
			carried: world.carried(),
			entries,
			bytes,
		},
	})
}

/// A pair of plays.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pair {
	/// Earnings of the strategy, in KAI.
	pub strategic: f64,
	/// Earnings of honesty, in KAI.
	pub honest: f64,
	/// Turnover of honesty, in KAI: its earnings, or the price of what it used.
	pub turnover: f64,
	/// Cost of entering for the strategy, beyond that for honesty, in KAI.
	pub entry: f64,
	/// Loss of the victim, if there is one, in KAI.
	pub harm: Option<f64>,
	/// Part of the blocks for which the strategy's machines were free for another use.
	pub spared: f64,
}

impl Pair {
	/// Returns the strategy's earnings as a ratio to those of honesty. Returns `None` if honesty neither
	/// earns nor uses anything.
	pub fn ratio(&self) -> Option<f64> {
		(self.turnover > 1e-9).then(|| 1.0 + (self.strategic - self.honest) / self.turnover)
	}
}

/// Player of pairs. Equal honest sides are played once.
#[derive(Default)]
pub struct Players {
	/// Accounts of honest sides, by the description of the side and the rules, the network's size, and its
	/// seed.
	honest: BTreeMap<(String, u32, u64), Vec<Account>>,
	/// Whether the chain's invariants are checked at the end of each play.
	checked: bool,
}

impl Players {
	/// Creates a player. With `checked`, every play ends with a check of the chain's invariants.
	pub fn new(checked: bool) -> Self {
		Self {
			checked,
			..Default::default()
		}
	}

	/// Plays a strategy and its honest counterpart. `network` has the seed.
	pub fn pair(
		&mut self,
		scenario: &Scenario,
		network: &Network,
	) -> Result<Pair, TryRuntimeError> {
		let network = Network {
			rules: (scenario.rules)(network.rules.clone()),
			..network.clone()
		};
		let sides = (scenario.sides)(&network, 1);
		let strategic = side(&network, sides.strategic, self.checked)?.accounts;
		let key = sides.alike.map(|made_of| {
			let made_of = format!("{made_of} {:?}", network.rules);
			(made_of, network.workers, network.seed)
		});
		let known = key.as_ref().and_then(|key| self.honest.get(key));
		let honest = match known {
			Some(accounts) => accounts.clone(),
			None => side(&network, sides.honest, self.checked)?.accounts,
		};
		let pair = compare(&network.rules, &strategic, &honest);
		if let Some(key) = key {
			self.honest.insert(key, honest);
		}
		Ok(pair)
	}
}

/// Plays many strategies in one network, each as a small group, and the same network with honest groups in
/// their places. Strategies that change the network around them, or its rules, are left out. Also returns
/// the figures of the play with the strategies.
pub fn together(
	scenarios: &[Scenario],
	network: &Network,
	checked: bool,
) -> Result<(Vec<(Scenario, Pair)>, Figures), TryRuntimeError> {
	let played: Vec<Scenario> = scenarios.iter().filter(|it| !it.alone).copied().collect();
	let (mut strategic, mut honest, mut groups) = (Vec::new(), Vec::new(), Vec::new());
	for scenario in &played {
		let first = strategic.len();
		let sides = (scenario.sides)(network, first + 1);
		groups.push(first..first + sides.strategic.len());
		strategic.extend(sides.strategic);
		honest.extend(sides.honest);
	}
	let Side {
		accounts: strategic,
		figures,
	} = side(network, strategic, checked)?;
	let honest = side(network, honest, checked)?.accounts;
	let compared = played.into_iter().zip(groups).map(|(scenario, group)| {
		let (with, without) = (&strategic[group.clone()], &honest[group]);
		(scenario, compare(&network.rules, with, without))
	});
	Ok((compared.collect(), figures))
}

/// Compares the accounts of both sides: those of the measured party, and those of its victim.
pub fn compare(rules: &Rules, strategic: &[Account], honest: &[Account]) -> Pair {
	let (own, other) = (strategic[0], honest[0]);
	let blocks = f64::from(rules.epoch_length * rules.epochs);
	let harm = strategic
		.get(1)
		.zip(honest.get(1))
		.map(|(with, without)| kai(without.earned() - with.earned()));
	Pair {
		strategic: kai(own.earned()),
		honest: kai(other.earned()),
		turnover: kai(other.earned().max(other.used as i128)),
		entry: kai(own.entry() - other.entry()),
		harm,
		spared: own.spared as f64 / blocks,
	}
}

/// A strategy's result over several seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
	/// The strategy.
	pub name: &'static str,
	/// Number of workers in the network.
	pub workers: u32,
	/// Mean of the ratios to honesty.
	pub ratio: Option<f64>,
	/// Standard error of that mean; `None` with one seed.
	pub error: Option<f64>,
	/// Upper limit of the ratio.
	pub most: f64,
	/// Document and heading of an exception.
	pub documented: Option<&'static str>,
	/// Pairs, one for each seed.
	pub pairs: Vec<Pair>,
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
	let count = values.clone().count() as f64;
	values.sum::<f64>() / count
}

impl Outcome {
	/// Sums up the pairs of a strategy.
	pub fn of(scenario: &Scenario, workers: u32, pairs: Vec<Pair>) -> Self {
		let ratios: Vec<f64> = pairs.iter().filter_map(Pair::ratio).collect();
		let ratio = (!ratios.is_empty()).then(|| mean(ratios.iter().copied()));
		let error = ratio.filter(|_| ratios.len() > 1).map(|ratio| {
			let square = |value: f64| (value - ratio) * (value - ratio);
			let count = ratios.len() as f64;
			let variance = ratios.iter().copied().map(square).sum::<f64>() / (count - 1.0);
			(variance / count).sqrt()
		});
		let (most, documented) = match scenario.limit {
			Limit::Honest => (1.01, None),
			Limit::Documented { most, heading } => (most, Some(heading)),
			Limit::Harm { heading } => (1.01, Some(heading)),
		};
		Self {
			name: scenario.name,
			workers,
			ratio,
			error,
			most,
			documented,
			pairs,
		}
	}

	/// Returns the mean of a figure over the pairs.
	pub fn mean(&self, of: impl Fn(&Pair) -> f64 + Clone) -> f64 {
		mean(self.pairs.iter().map(of))
	}

	/// Returns the mean of the victim's loss.
	pub fn harm(&self) -> Option<f64> {
		let losses: Vec<f64> = self.pairs.iter().filter_map(|pair| pair.harm).collect();
		(!losses.is_empty()).then(|| mean(losses.iter().copied()))
	}

	/// Returns whether the strategy stays within its limit: by its ratio, or, if honesty earns nothing, by
	/// earning nothing.
	pub fn holds(&self) -> bool {
		match self.ratio {
			Some(ratio) => ratio <= self.most,
			None => self
				.pairs
				.iter()
				.all(|pair| pair.strategic <= pair.honest + 0.01),
		}
	}
}
