//! A model of the money and the lives of orders by `docs/spec/06-orders.md`, written down plainly.
//!
//! The model gets the calls and the results of checks ([`Observed`]), in the order in which they occurred.
//! Steps that the chain does by itself it takes from the chain's events, and asserts that they were allowed.
//! From these it computes every figure of every order, the balance of every account, and the events that
//! must have been emitted, and compares all of them.

use super::*;
use kaisar_primitives::{DeployFailure, Issue, Plan, Requirement, Workload};

mod compare;
mod expect;
mod explain;
mod money;
mod state;

pub use state::{Model, Plain};

/// A call of an order.
#[derive(Clone, Copy, Debug)]
pub enum Act {
	Place(Placing),
	Confirm(OrderId),
	Fail(OrderId, DeployFailure),
	Exit(OrderId, i32),
	Extend(OrderId, u32, Balance),
	Cancel(OrderId),
	Report(OrderId, Issue),
	Close(OrderId),
}

impl Act {
	/// Returns the order of the call, if it exists yet.
	fn order(&self) -> Option<OrderId> {
		match *self {
			Self::Place(_) => None,
			Self::Confirm(order)
			| Self::Fail(order, _)
			| Self::Exit(order, _)
			| Self::Extend(order, _, _)
			| Self::Cancel(order)
			| Self::Report(order, _)
			| Self::Close(order) => Some(order),
		}
	}

	pub fn call(&self) -> RuntimeCall {
		let signature = None;
		match *self {
			Self::Place(Placing {
				requirement,
				hours,
				plan,
				max_price,
				credits,
				deploy_blocks,
			}) => Call::place_order {
				requirement,
				workload: Workload {
					deploy_blocks,
					..crate::mock::workload()
				},
				hours,
				plan,
				max_price,
				credits,
				client_key: crate::mock::client_key(),
			},
			Self::Confirm(order) => Call::confirm_deployment { order, signature },
			Self::Fail(order, reason) => Call::fail_deployment {
				order,
				reason,
				signature,
			},
			Self::Exit(order, code) => Call::report_exit {
				order,
				code,
				signature,
			},
			Self::Extend(order, hours, max_price) => Call::extend_order {
				order,
				hours,
				max_price,
			},
			Self::Cancel(order) => Call::cancel_order { order },
			Self::Report(order, reason) => Call::report_issue { order, reason },
			Self::Close(order) => Call::close_order { order },
		}
		.into()
	}
}

/// The arguments of an order to place.
#[derive(Clone, Copy, Debug)]
pub struct Placing {
	pub requirement: Requirement,
	pub hours: u32,
	pub plan: Plan,
	pub max_price: Balance,
	pub credits: Balance,
	pub deploy_blocks: u16,
}

/// The action that caused the change to explain.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
	/// The hooks of the block.
	Hook,
	/// A call of an order.
	Call(AccountId, Act),
	/// Any other call, which can only close checks.
	Other,
}
