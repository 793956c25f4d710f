//! The strategies that are played, each beside an honest party with the same machines, licenses and KAI.
//!
//! | module | who |
//! | --- | --- |
//! | [`checkers`] | operators: lazy ones, last movers, those that withhold, coalitions |
//! | [`workers`] | owners of machines: split, shared, borrowed, picky |
//! | [`orders`] | tenants, and providers with orders |
//! | [`pools`] | delegators, and owners with others' stake |
//!
//! Floods and authors act on blocks and not as parties: see [`floods`](crate::floods) and
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

/// The most that a strategy may earn beside honesty.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
	/// No more than one percent above it.
	Honest,
	/// It can be above, as is documented here, and no higher than this ratio.
	Documented {
		/// The ratio to honesty in the short play.
		most: f64,
		/// The document and the heading.
		heading: &'static str,
	},
	/// It earns nothing by design, and costs somebody. What it may earn is limited as an honest party's.
	Harm {
		/// The document and the heading that say what it costs.
		heading: &'static str,
	},
}

/// The two sides of a comparison: the party that is measured first, then a victim, then anybody else.
pub struct Sides {
	/// A description of the honest side, if it is a single honest party: strategies with the same one are
	/// compared with the same play.
	pub alike: Option<String>,
	/// With the strategy.
	pub strategic: Vec<Box<dyn Mind>>,
	/// With an honest party in its place.
	pub honest: Vec<Box<dyn Mind>>,
}

impl Sides {
	/// A strategy beside an honest party.
	fn of(strategic: impl Mind + 'static, honest: Honest) -> Self {
		Self {
			alike: Some(format!("{honest:?}")),
			..Self::beside(strategic, honest)
		}
	}

	/// A strategy beside a mind that is honest in its own way.
	pub(crate) fn beside(strategic: impl Mind + 'static, honest: impl Mind + 'static) -> Self {
		Self {
			alike: None,
			strategic: vec![Box::new(strategic)],
			honest: vec![Box::new(honest)],
		}
	}

	/// The same, with others who are alike on both sides.
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
	/// Its name on the command line.
	pub name: &'static str,
	/// A sentence on what it does and what bounds it.
	pub about: &'static str,
	/// The most that it may earn.
	pub limit: Limit,
	/// It changes the network around it, or its rules, and so is not played beside others.
	pub alone: bool,
	/// Makes its two sides for a network. The party that is measured has this number, the others the next.
	pub sides: fn(&Network, PartyId) -> Sides,
	/// Changes the rules, where the strategy would take longer than a play.
	pub rules: fn(Rules) -> Rules,
}

/// The rules as they are.
fn as_is(rules: Rules) -> Rules {
	rules
}

/// Accounts of a party have this much KAI, so that no fee is short.
const PURSE: Balance = 2_000 * KAI;

/// An honest owner of machines.
fn honest_owner(machines: Vec<WorkerSpec>, more: u16) -> Honest {
	Honest {
		machines,
		more,
		kai: 60_000 * KAI,
		..Default::default()
	}
}

/// An honest party with one machine at home.
fn one_at_home() -> Honest {
	honest_owner(vec![physics::home(*b"DE")], 0)
}

/// An honest party with these licenses.
fn honest_operators(operators: Vec<u32>) -> Honest {
	Honest {
		operators,
		kai: PURSE,
		..Default::default()
	}
}

/// All strategies.
pub fn all() -> Vec<Scenario> {
	let control = Scenario {
		name: "honest",
		about: "An honest owner beside an honest owner. The control: both plays are the same, to the unit.",
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
