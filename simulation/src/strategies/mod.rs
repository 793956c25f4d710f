//! The strategies, each with an honest party that has the same machines, licenses and KAI.
//!
//! | Module | Parties |
//! | --- | --- |
//! | [`checkers`] | operators: lazy ones, last movers, withholders, coalitions |
//! | [`workers`] | owners of machines that are split, shared, borrowed or picky |
//! | [`orders`] | tenants, and providers with orders |
//! | [`pools`] | delegators, and owners of pools with others' stake |
//!
//! Floods and authors act on blocks, and not as parties: see [`floods`](crate::floods) and
//! [`authors`](crate::authors).

pub mod checkers;
pub mod orders;
pub mod pools;
pub mod workers;

use crate::{
	actors::{Honest, Mind, PartyId},
	network::{Network, Rules},
	physics,
};
use kaisar_primitives::{Balance, KAI, WorkerSpec};

/// Limit on a strategy's earnings, compared with honesty.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
	/// At most one percent above honesty.
	Honest,
	/// Above honesty, as documented under the heading, and at most this ratio.
	Documented {
		/// The ratio to honesty in the short play.
		most: f64,
		/// Document and heading.
		heading: &'static str,
	},
	/// At most one percent above honesty: the strategy is not meant to earn, but to harm a victim.
	Harm {
		/// Document and heading that describe the harm.
		heading: &'static str,
	},
}

/// The two sides of a comparison. On each side the measured party is first, then a victim, then any others.
pub struct Sides {
	/// Description of the honest side, if it is a single honest party: strategies with the same description
	/// are compared with the same play.
	pub alike: Option<String>,
	/// Parties on the side with the strategy.
	pub strategic: Vec<Box<dyn Mind>>,
	/// Parties on the side with an honest party in its place.
	pub honest: Vec<Box<dyn Mind>>,
}

impl Sides {
	/// Returns the sides of a strategy and of an honest party.
	fn of(strategic: impl Mind + 'static, honest: Honest) -> Self {
		Self {
			alike: Some(format!("{honest:?}")),
			..Self::beside(strategic, honest)
		}
	}

	/// Returns the sides of a strategy and of another honest mind.
	pub(crate) fn beside(strategic: impl Mind + 'static, honest: impl Mind + 'static) -> Self {
		Self {
			alike: None,
			strategic: vec![Box::new(strategic)],
			honest: vec![Box::new(honest)],
		}
	}

	/// Adds another party, which is the same on both sides.
	fn with<M: Mind + 'static>(mut self, other: impl Fn() -> M) -> Self {
		self.alike = None;
		self.strategic.push(Box::new(other()));
		self.honest.push(Box::new(other()));
		self
	}
}

/// A strategy.
#[derive(Clone, Copy)]
pub struct Scenario {
	/// Name on the command line.
	pub name: &'static str,
	/// Sentence that describes the strategy and its limits.
	pub about: &'static str,
	/// Limit on its earnings.
	pub limit: Limit,
	/// Whether it changes the network around it, or its rules, and so is not played with others.
	pub alone: bool,
	/// Function that makes its two sides for a network. The measured party has this number, the others the
	/// next ones.
	pub sides: fn(&Network, PartyId) -> Sides,
	/// Function that changes the rules, if the strategy would otherwise take longer than a play.
	pub rules: fn(Rules) -> Rules,
}

/// Returns the rules unchanged.
fn as_is(rules: Rules) -> Rules {
	rules
}

/// Balance of a party's accounts, in KAI units: enough for all fees.
const PURSE: Balance = 2_000 * KAI;

/// Returns an honest owner of machines.
fn honest_owner(machines: Vec<WorkerSpec>, more: u16) -> Honest {
	Honest {
		machines,
		more,
		kai: 60_000 * KAI,
		..Default::default()
	}
}

/// Returns an honest party with one machine at home.
fn one_at_home() -> Honest {
	honest_owner(vec![physics::home(*b"DE")], 0)
}

/// Returns an honest party with these licenses.
fn honest_operators(operators: Vec<u32>) -> Honest {
	Honest {
		operators,
		kai: PURSE,
		..Default::default()
	}
}

/// Returns all strategies.
pub fn all() -> Vec<Scenario> {
	let control = Scenario {
		name: "honest",
		about: "An honest owner in place of an honest owner. The control: both plays are equal, to the unit.",
		limit: Limit::Honest,
		alone: false,
		sides: |_, _| Sides::of(one_at_home(), one_at_home()),
		rules: as_is,
	};
	std::iter::once(control)
		.chain(checkers::all())
		.chain(workers::all())
		.chain(orders::all())
		.chain(pools::all())
		.collect()
}

/// Returns the strategy of this name.
pub fn by_name(name: &str) -> Option<Scenario> {
	all().into_iter().find(|scenario| scenario.name == name)
}
