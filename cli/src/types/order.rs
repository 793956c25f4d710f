//! Orders: quotes, records and their money.

use super::{image::Template, keys::Key, machine::Requirement};
use crate::amount::Kai;
use kaisar_primitives::order;
use std::fmt;
use subxt::utils::AccountId32;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// Commitment of a customer.
	#[derive(Copy, clap::ValueEnum)]
	enum Plan {
		/// No commitment.
		OnDemand,
		/// 30 days: at least 720 hours.
		Month,
		/// 90 days: at least 2,160 hours.
		Quarter,
	}

	/// Problem that a customer reports.
	#[derive(Copy, clap::ValueEnum)]
	enum Issue {
		/// The machine cannot be reached.
		Unreachable,
		/// The machine is reachable, but its container does not respond.
		NotServing,
		/// Any other problem. A check detects only the other two.
		Other,
	}

	/// Reason why an order was closed.
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

	/// State of an order.
	#[derive(Copy)]
	#[serde(tag = "state")]
	enum OrderState {
		/// Waits for a worker.
		Matching,
		/// Its worker deploys the container.
		Deploying,
		/// The container runs, and paid time passes.
		Active,
		/// Paid time is over, and the last check is pending.
		Closing,
		/// Ended.
		Closed {
			/// Reason.
			reason: CloseReason,
		},
	}

	/// Prices per unit and hour of each plan.
	#[derive(Copy)]
	struct Prices {
		/// Without commitment.
		pub on_demand: Kai,
		/// For 30 days.
		pub month: Kai,
		/// For 90 days.
		pub quarter: Kai,
	}

	/// Current price of an order.
	#[derive(Copy)]
	struct Quote {
		/// Prices per unit and hour.
		pub prices: Prices,
		/// Number of GPUs, or of cores without a GPU, that are paid for.
		pub units: u32,
		/// Total price.
		pub total: Kai,
	}

	/// An amount in both currencies that a customer can pay with.
	#[derive(Copy)]
	struct Money {
		/// KAI.
		pub kai: Kai,
		/// Credits.
		pub credits: Kai,
	}

	/// Accounting of an order's money.
	#[derive(Copy)]
	struct Ledger {
		/// Sum of all charges put into escrow.
		pub charged: Kai,
		/// Current escrow.
		pub escrow: Money,
		/// Payments to the provider.
		pub paid: Kai,
		/// Protocol fees on the payments.
		pub fees: Kai,
		/// Set-up fee to the treasury, for a failed deployment.
		pub setup: Kai,
		/// Refunds to the customer.
		pub refunded: Money,
		/// Amount converted into credits.
		pub credited: Kai,
	}

	/// A period that was bought at the prices of its day.
	#[derive(Copy)]
	struct Segment {
		/// Length in hours.
		pub hours: u32,
		/// Prices per unit and hour.
		pub prices: Prices,
	}

	/// A reported problem.
	#[derive(Copy)]
	struct OpenIssue {
		/// The problem.
		pub reason: Issue,
		/// KAI on hold for the report.
		pub bond: Kai,
		/// Block of the report.
		pub reported_at: u32,
	}

	/// Record of an order. Times are block numbers.
	struct OrderRecord {
		/// Account that pays.
		pub customer: AccountId32,
		/// Required machine.
		pub requirement: Requirement,
		/// Plan of its prices.
		pub plan: Plan,
		/// Its state.
		#[serde(flatten)]
		pub state: OrderState,
		/// Worker that serves or served it.
		pub worker: Option<u32>,
		/// Block that placed it.
		pub placed_at: u32,
		/// Last block in which its deployment can be confirmed.
		pub deploy_by: u32,
		/// Start of its paid time.
		pub started_at: u32,
		/// End of its paid time.
		pub ends_at: u32,
		/// Block that closed it.
		pub closed_at: u32,
		/// Periods that were bought.
		pub segments: Vec<Segment>,
		/// Proved blocks of paid time.
		pub proved: u32,
		/// Open report of its customer.
		pub issue: Option<OpenIssue>,
		/// Accounting.
		pub ledger: Ledger,
	}

	/// Workload of an order, and the key that may connect to it.
	struct Ordered {
		/// Template that the order named.
		pub template: Option<u32>,
		/// Image and settings of its container.
		pub run: Template,
		/// The agent waits for a sealed part before it deploys.
		pub sealed: bool,
		/// If the worker fails, the remaining time is matched again.
		pub failover: bool,
		/// Client key that may connect.
		pub client_key: Key,
	}

	/// Answer of `Orders.order`.
	struct Order {
		/// Number of the order.
		pub id: u32,
		/// Its record.
		#[serde(flatten)]
		pub order: OrderRecord,
		/// Its workload, until it is closed.
		pub workload: Option<Ordered>,
		/// Hours that were bought.
		pub hours: u32,
		/// Price of its proved time.
		pub used: Kai,
	}
}

impl Plan {
	/// Returns the minimum hours of an order with this plan.
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
	/// Returns the price with a plan.
	pub fn of(&self, plan: Plan) -> Kai {
		match plan {
			Plan::OnDemand => self.on_demand,
			Plan::Month => self.month,
			Plan::Quarter => self.quarter,
		}
	}
}

impl Money {
	/// Formats the amounts that are not zero.
	pub fn text(&self) -> String {
		match (self.kai, self.credits) {
			(kai, Kai(0)) => format!("{kai} KAI"),
			(Kai(0), credits) => format!("{credits} KAI in credits"),
			(kai, credits) => format!("{kai} KAI and {credits} KAI in credits"),
		}
	}
}

impl CloseReason {
	/// Explains the reason to the customer.
	pub fn meaning(self) -> &'static str {
		match self {
			Self::NoSuitableWorker => {
				"no idle worker meets the requirements at this price; the whole price was refunded"
			}
			Self::Expired => "its paid time is over",
			Self::Cancelled => "it was canceled",
			Self::ImageFailed => {
				"the image could not be pulled, ended or did not respond; all but the set-up fee was refunded"
			}
			Self::Exited => {
				"the container ended by itself; the unused part became credits, or was refunded if no check had \
				 proved any time"
			}
			Self::ServiceDown => {
				"the container did not respond although its machine did; the unused part became credits, or was \
				 refunded if no check had proved any time"
			}
			Self::DeployFailed => {
				"the worker failed to deploy it in time; the whole price was refunded"
			}
			Self::WorkerFailed => {
				"the worker was found offline; the part that was not proved was refunded"
			}
		}
	}
}

impl OrderState {
	/// Formats the state in one or two words.
	pub fn text(self) -> String {
		match self {
			Self::Closed { reason } => format!("Closed ({reason:?})"),
			state => format!("{state:?}"),
		}
	}
}
