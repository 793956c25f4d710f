//! Orders: quotes, records and their money.

use super::{image::Template, keys::Key, machine::Requirement};
use crate::amount::Kai;
use kaisar_primitives::order;
use std::fmt;
use subxt::utils::AccountId32;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// For how long a customer commits itself.
	#[derive(Copy, clap::ValueEnum)]
	enum Plan {
		/// Not at all.
		OnDemand,
		/// For 30 days: 720 hours at least.
		Month,
		/// For 90 days: 2,160 hours at least.
		Quarter,
	}

	/// What a customer says is wrong.
	#[derive(Copy, clap::ValueEnum)]
	enum Issue {
		/// The machine cannot be reached.
		Unreachable,
		/// The machine is there, and the container does not answer.
		NotServing,
		/// Something else. A check finds out about the other two only.
		Other,
	}

	/// Why an order was closed.
	#[derive(Copy)]
	enum CloseReason {
		NoSuitableWorker,
		Expired,
		Cancelled,
		ImageFailed,
		Exited,
		ServiceDown,
		DeployFailed,
		WorkerFailed,
	}

	/// Where an order is in its life.
	#[derive(Copy)]
	#[serde(tag = "state")]
	enum OrderState {
		/// Waits for a worker.
		Matching,
		/// Its worker deploys the container.
		Deploying,
		/// The container runs, and paid time passes.
		Active,
		/// Paid time is over, and the last check awaited.
		Closing,
		/// Over.
		Closed {
			/// Why.
			reason: CloseReason,
		},
	}

	/// Prices of a unit and hour with each plan.
	#[derive(Copy)]
	struct Prices {
		/// Without any commitment.
		pub on_demand: Kai,
		/// For 30 days.
		pub month: Kai,
		/// For 90 days.
		pub quarter: Kai,
	}

	/// What an order would cost now.
	#[derive(Copy)]
	struct Quote {
		/// Prices of a unit and hour.
		pub prices: Prices,
		/// GPUs, or cores, that are paid for.
		pub units: u32,
		/// All of it.
		pub total: Kai,
	}

	/// An amount in both kinds that a customer can pay in.
	#[derive(Copy)]
	struct Money {
		/// KAI.
		pub kai: Kai,
		/// Credits.
		pub credits: Kai,
	}

	/// Where the money of an order is, or went.
	#[derive(Copy)]
	struct Ledger {
		/// All that was ever put into escrow.
		pub charged: Kai,
		/// What is there now.
		pub escrow: Money,
		/// Paid to the provider.
		pub paid: Kai,
		/// The protocol's part of the payments.
		pub fees: Kai,
		/// To the treasury, for a deployment that came to nothing.
		pub setup: Kai,
		/// Back to the customer.
		pub refunded: Money,
		/// Turned into credits.
		pub credited: Kai,
	}

	/// A span of time that was bought at one day's prices.
	#[derive(Copy)]
	struct Segment {
		/// Its length.
		pub hours: u32,
		/// What a unit and hour costs in it.
		pub prices: Prices,
	}

	/// What a customer says is wrong.
	#[derive(Copy)]
	struct OpenIssue {
		/// What.
		pub reason: Issue,
		/// The KAI that is on hold for it.
		pub bond: Kai,
		/// When it was said.
		pub reported_at: u32,
	}

	/// An order's record.
	struct OrderRecord {
		/// Who pays.
		pub customer: AccountId32,
		/// What was asked for.
		pub requirement: Requirement,
		/// The plan that it is bought with.
		pub plan: Plan,
		/// Where it is in its life.
		#[serde(flatten)]
		pub state: OrderState,
		/// The worker that serves, or served, it.
		pub worker: Option<u32>,
		/// When it was placed.
		pub placed_at: u32,
		/// The last block in which its deployment may be confirmed.
		pub deploy_by: u32,
		/// When its paid time began.
		pub started_at: u32,
		/// When it ends.
		pub ends_at: u32,
		/// When it was closed.
		pub closed_at: u32,
		/// The time that was bought.
		pub segments: Vec<Segment>,
		/// Blocks of paid time that are proved.
		pub proved: u32,
		/// What its customer says is wrong.
		pub issue: Option<OpenIssue>,
		/// Its money.
		pub ledger: Ledger,
	}

	/// What an order runs, and for whom.
	struct Ordered {
		/// The template that was named.
		pub template: Option<u32>,
		/// The image and how it runs.
		pub run: Template,
		/// The agent waits for a sealed part.
		pub sealed: bool,
		/// If the worker fails, what is left is matched again.
		pub failover: bool,
		/// The key that may connect.
		pub client_key: Key,
	}

	/// All that is known of an order.
	struct Order {
		/// Its number.
		pub id: u32,
		/// Its record.
		#[serde(flatten)]
		pub order: OrderRecord,
		/// What it runs, until it is closed.
		pub workload: Option<Ordered>,
		/// Hours that were bought.
		pub hours: u32,
		/// What its proved time costs.
		pub used: Kai,
	}
}

impl Plan {
	/// The fewest hours of an order with this plan.
	pub fn least_hours(self) -> u32 {
		match self {
			Self::OnDemand => order::Plan::OnDemand,
			Self::Month => order::Plan::Month,
			Self::Quarter => order::Plan::Quarter,
		}
		.least_hours()
	}
}

impl fmt::Display for Plan {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.pad(match self {
			Self::OnDemand => "on demand",
			Self::Month => "month",
			Self::Quarter => "quarter",
		})
	}
}

impl Prices {
	/// With a plan.
	pub fn of(&self, plan: Plan) -> Kai {
		match plan {
			Plan::OnDemand => self.on_demand,
			Plan::Month => self.month,
			Plan::Quarter => self.quarter,
		}
	}
}

impl Money {
	/// Both kinds, as far as there is any of them.
	pub fn text(&self) -> String {
		match (self.kai, self.credits) {
			(kai, Kai(0)) => format!("{kai} KAI"),
			(Kai(0), credits) => format!("{credits} KAI in credits"),
			(kai, credits) => format!("{kai} KAI and {credits} KAI in credits"),
		}
	}
}

impl CloseReason {
	/// What it means to the customer.
	pub fn meaning(self) -> &'static str {
		match self {
			Self::NoSuitableWorker => "no idle worker fits at this price; everything is back",
			Self::Expired => "its time is over",
			Self::Cancelled => "it was canceled",
			Self::ImageFailed => {
				"the image could not be pulled, ended or did not answer; less the set-up everything is back"
			}
			Self::Exited => "the container ended by itself; what was not used became credits",
			Self::ServiceDown => {
				"the container did not answer while the machine was there; what was not used became credits"
			}
			Self::DeployFailed => {
				"the worker failed to deploy it, or not in time; everything is back"
			}
			Self::WorkerFailed => "the worker was found offline; what was not proved is back",
		}
	}
}

impl OrderState {
	/// In one word, or two.
	pub fn text(self) -> String {
		match self {
			Self::Closed { reason } => format!("Closed ({reason:?})"),
			state => format!("{state:?}"),
		}
	}
}
