//! What the chain's calls take and its view functions give, as far as this program needs it. The
//! node's metadata says how each is laid out: fields are found by their names, and what is not named
//! here is passed over.

use crate::{
	amount::{Kai, Share},
	wrapper,
};
use kaisar_primitives::order;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};
use subxt::{
	ext::{scale_decode::DecodeAsType, scale_encode::EncodeAsType},
	utils::AccountId32,
};

/// Gives types what the chain's types need. The paths come from outside, since lints see the code that is
/// derived with paths from here.
macro_rules! chain_types {
	($decode:literal $encode:literal $($(#[$meta:meta])* $keyword:ident $name:ident $body:tt)*) => {
		$(
			#[derive(Clone, PartialEq, Eq, Debug, DecodeAsType, EncodeAsType, Serialize)]
			#[decode_as_type(crate_path = $decode)]
			#[encode_as_type(crate_path = $encode)]
			$(#[$meta])*
			pub $keyword $name $body
		)*
	};
}

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// The machine that a customer asks for.
	#[derive(Copy)]
	struct Requirement {
		/// GPU class, 0 for none.
		pub gpu_class: u16,
		/// GPUs of that class.
		pub gpu_count: u8,
		/// Least bandwidth tier.
		pub min_bandwidth: u8,
		/// Least CPU tier.
		pub min_cpu: u8,
		/// Least memory tier.
		pub min_memory: u8,
		/// Least disk tier.
		pub min_disk: u8,
		/// Where it has to be.
		pub region: Option<Region>,
	}

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

	/// What runs in the container.
	enum Image {
		/// An OCI reference.
		Reference(Text),
		/// A template of the chain's list.
		Template(u32),
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

	/// A template of the chain's list, or an image as if it were one.
	struct Template {
		/// The OCI reference.
		pub image: Text,
		/// The port that customers are connected to.
		pub port: Option<u16>,
	}

	/// What an order runs, and for whom.
	struct Workload {
		/// The template that was named.
		pub template: Option<u32>,
		/// What runs.
		pub run: Template,
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
		/// What it runs.
		pub workload: Workload,
		/// Hours that were bought.
		pub hours: u32,
		/// What its proved time costs.
		pub used: Kai,
	}

	/// A state of a worker.
	#[derive(Copy)]
	enum WorkerState { Pending, Online, Rented, Offline, Suspended }

	/// Hardware as its provider claims it.
	#[derive(Copy)]
	struct WorkerSpec {
		/// GPU class, 0 for none.
		pub gpu_class: u16,
		/// GPUs of that class.
		pub gpu_count: u8,
		/// CPU cores.
		pub cpu_cores: u16,
		/// Memory in GB.
		pub memory_gb: u32,
		/// Disk in GB.
		pub disk_gb: u32,
		/// Download bandwidth in Mb/s.
		pub download_mbps: u32,
		/// Upload bandwidth in Mb/s.
		pub upload_mbps: u32,
		/// Where it is.
		pub region: Region,
	}

	/// Hardware as a committee verified it, in tiers.
	#[derive(Copy)]
	struct Profile {
		/// Bandwidth tier.
		pub bandwidth: u8,
		/// CPU tier.
		pub cpu: u8,
		/// Memory tier.
		pub memory: u8,
		/// Disk tier.
		pub disk: u8,
		/// GPU class, 0 for none.
		pub gpu_class: u16,
		/// GPUs of that class.
		pub gpu_count: u8,
	}

	/// The solitary check that a worker is due in.
	#[derive(Copy)]
	struct Forced {
		/// The round.
		pub round: u32,
		/// It only verifies.
		pub verify_only: bool,
	}

	/// A worker, as `Providers.worker` shows it.
	struct Worker {
		/// The provider.
		pub owner: AccountId32,
		/// It was deregistered.
		pub deregistered: bool,
		/// Its state.
		pub state: WorkerState,
		/// The check it is due in.
		pub forced: Option<Forced>,
		/// The order that it serves.
		pub order: Option<u32>,
		/// What it claims.
		pub spec: WorkerSpec,
		/// What was last verified.
		pub profile: Option<Profile>,
		/// The owner's stake.
		pub own: Kai,
		/// The least that it must be.
		pub minimum: Option<Kai>,
		/// All delegators' stake.
		pub delegated: Kai,
		/// What is unbonding.
		pub unbonding: Kai,
		/// What is queued to be slashed.
		pub queued: Kai,
		/// The share of its last checks that confirmed it.
		pub reliability: Share,
		/// Online blocks that are not proved yet.
		pub online: u32,
		/// Rented blocks that are not proved yet.
		pub rented: u32,
		/// The start of the last round that confirmed it.
		pub proved_at: Option<u32>,
		/// The delegators' share of its reward.
		pub commission: Share,
		/// The one that is announced, and from which epoch on.
		pub next_commission: Option<(u32, Share)>,
		/// It is not matched below this price per GPU-hour.
		pub price_floor: Kai,
	}

	/// The two keys of a worker.
	#[derive(Copy)]
	struct WorkerKeys {
		/// The node's.
		pub worker: Key,
		/// The agent's.
		pub agent: Key,
	}

	/// Keys and the first round in which they count.
	#[derive(Copy)]
	struct DatedKeys {
		/// The keys.
		pub value: WorkerKeys,
		/// The round.
		pub since: u32,
	}

	/// The last two pairs of keys of a worker.
	#[derive(Copy)]
	struct KeyTimeline {
		/// The newest keys.
		pub now: DatedKeys,
		/// The keys before them, if any.
		pub before: Option<DatedKeys>,
	}

	/// What is needed of a worker's record to reach its agent.
	#[derive(Copy)]
	struct KeyRecord {
		/// Its keys.
		pub keys: KeyTimeline,
	}

	/// Stake on its way out.
	#[derive(Copy)]
	struct Unbonding {
		/// What it is worth.
		pub value: Kai,
		/// The first block in which it may be withdrawn.
		pub until: u32,
	}

	/// What an account delegates to a worker.
	#[derive(Copy)]
	struct Delegation {
		/// What its shares are worth.
		pub value: Kai,
	}

	/// Something that earns.
	#[derive(Copy)]
	enum PoolId {
		/// A worker.
		Worker(u32),
		/// A checker's operator.
		Checker(u32),
	}

	/// A page of what an account can claim as a member.
	struct DelegationPage {
		/// Pools, and what each pays now.
		pub claims: Vec<(PoolId, Kai)>,
		/// After which pool to ask on.
		pub next: Option<PoolId>,
	}

	/// Both keys' proof of possession.
	struct KeyProof {
		/// sr25519, of the worker key.
		pub key: Vec<u8>,
		/// ed25519, of the agent key.
		pub agent: Vec<u8>,
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
			Self::Cancelled => "it was cancelled",
			Self::ImageFailed => {
				"the image cannot be pulled or does not start; less the set-up everything is back"
			}
			Self::Exited => "the container ended by itself; what was not proved is back",
			Self::DeployFailed => "the worker did not say in time that it runs; everything is back",
			Self::WorkerFailed => {
				"the worker was found offline or the container without an answer; what was not proved is back"
			}
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

impl FromStr for Image {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		if let Some(id) = text.strip_prefix("template:") {
			return id
				.parse()
				.map(Self::Template)
				.map_err(|_| "a template is a number, as template:3".into());
		}
		let form = |byte: u8| byte.is_ascii_alphanumeric() || b"./:@_-".contains(&byte);
		if text.is_empty() || text.len() > order::MAX_IMAGE as usize {
			Err(format!("an image has 1 to {} characters", order::MAX_IMAGE))
		} else if !text.bytes().all(form) || !text.as_bytes()[0].is_ascii_alphanumeric() {
			Err("that is no image, as docker.io/library/nginx:1.27".into())
		} else {
			Ok(Self::Reference(Text(text.into())))
		}
	}
}

impl fmt::Display for Image {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		match self {
			Self::Reference(text) => text.fmt(f),
			Self::Template(id) => f.pad(&format!("template:{id}")),
		}
	}
}

/// Bytes that are text, and may be anything.
#[derive(Clone, PartialEq, Eq, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Text(pub Vec<u8>);
wrapper!(Text, Vec<u8>);

impl fmt::Display for Text {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		// Somebody else wrote it: nothing of it may reach the terminal's control.
		let text = String::from_utf8_lossy(&self.0);
		f.pad(&text.replace(|letter: char| letter.is_control(), "\u{fffd}"))
	}
}

/// A country: two letters of ISO 3166-1.
#[derive(Clone, Copy, PartialEq, Eq, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Region(pub [u8; 2]);
wrapper!(Region, [u8; 2]);

impl FromStr for Region {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		match text.to_ascii_uppercase().as_bytes() {
			[a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([*a, *b])),
			_ => Err("a country is two letters, as DE".into()),
		}
	}
}

impl fmt::Display for Region {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		// The chain lets in nothing else, but this is not the chain.
		f.pad(&String::from_utf8_lossy(&self.0))
	}
}

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Key(pub [u8; 32]);
wrapper!(Key, [u8; 32]);

impl fmt::Display for Key {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		write!(f, "0x{}", hex::encode(self.0))
	}
}

/// Shown and serialized as they are displayed.
macro_rules! as_displayed {
	($($type:ident)*) => {
		$(
			impl fmt::Debug for $type {
				fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
					write!(f, "{self}")
				}
			}

			impl Serialize for $type {
				fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
					serializer.collect_str(self)
				}
			}
		)*
	};
}
as_displayed!(Region Key Text);

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn images_are_references_or_templates() {
		assert_eq!("template:3".parse(), Ok(Image::Template(3)));
		let nginx: Image = "docker.io/library/nginx:1.27@sha256:ab"
			.parse()
			.expect("it is a reference");
		assert_eq!(nginx.to_string(), "docker.io/library/nginx:1.27@sha256:ab");
		let long = "a".repeat(256);
		for text in ["", "-v", "a b", "nginx\n", "template:x", "nginx;ls", &long] {
			assert!(text.parse::<Image>().is_err(), "{text:?}");
		}
		assert!("a".repeat(255).parse::<Image>().is_ok());
	}

	#[test]
	fn what_others_wrote_does_not_reach_the_terminal() {
		let image = Image::Reference(Text(b"a\x1b[2Jb\xff".to_vec()));
		assert_eq!(image.to_string(), "a\u{fffd}[2Jb\u{fffd}");
	}

	/// A value of the chain's, decoded as this program does.
	fn seen<Theirs: codec::Encode + scale_info::TypeInfo + 'static, Ours: DecodeAsType>(
		value: &Theirs,
	) -> Ours {
		let (id, types) = register::<Theirs>();
		let bytes = value.encode();
		let mut rest = &bytes[..];
		let ours = Ours::decode_as_type(&mut rest, id, &types).expect("it is laid out as expected");
		assert!(rest.is_empty(), "all of it is read");
		ours
	}

	/// A value of this program's, encoded as the chain takes it.
	fn told<Theirs: codec::Decode + scale_info::TypeInfo + 'static>(
		ours: &impl EncodeAsType,
	) -> Theirs {
		let (id, types) = register::<Theirs>();
		let bytes = ours
			.encode_as_type(id, &types)
			.expect("it has a place for everything");
		codec::DecodeAll::decode_all(&mut &bytes[..]).expect("it is laid out as expected")
	}

	fn register<T: scale_info::TypeInfo + 'static>() -> (u32, scale_info::PortableRegistry) {
		let mut registry = scale_info::Registry::new();
		let id = registry.register_type(&scale_info::meta_type::<T>()).id;
		(id, registry.into())
	}

	#[test]
	fn what_is_told_is_what_the_chain_takes() {
		let requirement = Requirement {
			gpu_class: 11,
			gpu_count: 2,
			min_bandwidth: 1,
			min_cpu: 2,
			min_memory: 3,
			min_disk: 4,
			region: Some(Region(*b"DE")),
		};
		let theirs: order::Requirement = told(&requirement);
		assert_eq!(
			(theirs.gpu_class, theirs.gpu_count, theirs.region),
			(11, 2, Some(*b"DE"))
		);
		let tiers = (
			theirs.min_bandwidth,
			theirs.min_cpu,
			theirs.min_memory,
			theirs.min_disk,
		);
		assert_eq!(tiers, (1, 2, 3, 4));
		assert_eq!(seen::<_, Requirement>(&theirs), requirement);

		for (ours, theirs) in [
			(Plan::OnDemand, order::Plan::OnDemand),
			(Plan::Month, order::Plan::Month),
			(Plan::Quarter, order::Plan::Quarter),
		] {
			assert_eq!(told::<order::Plan>(&ours), theirs);
		}
		for (ours, theirs) in [
			(Issue::Unreachable, order::Issue::Unreachable),
			(Issue::NotServing, order::Issue::NotServing),
			(Issue::Other, order::Issue::Other),
		] {
			assert_eq!(told::<order::Issue>(&ours), theirs);
		}
		let image: Image = "nginx:1.27".parse().expect("it is an image");
		let order::Image::Reference(reference) = told(&image) else {
			panic!("it is a reference");
		};
		assert_eq!(reference.to_vec(), b"nginx:1.27");
		assert_eq!(
			told::<order::Image>(&Image::Template(7)),
			order::Image::Template(7)
		);
		let key = Key([9; 32]);
		assert_eq!(told::<order::ClientKey>(&key).0, key.0);
		assert_eq!(
			told::<kaisar_primitives::Balance>(&Kai(u128::MAX)),
			u128::MAX
		);
		assert_eq!(told::<codec::Compact<u128>>(&Kai(5)), codec::Compact(5));
		let share: sp_runtime::Perbill = told(&Share(75_000_000));
		assert_eq!(share, sp_runtime::Perbill::from_parts(75_000_000));

		let spec = WorkerSpec {
			gpu_class: 1,
			gpu_count: 8,
			cpu_cores: 128,
			memory_gb: 1_024,
			disk_gb: 10_000,
			download_mbps: 2_000,
			upload_mbps: 1_000,
			region: Region(*b"FR"),
		};
		let theirs: kaisar_primitives::WorkerSpec = told(&spec);
		assert_eq!(seen::<_, WorkerSpec>(&theirs), spec);
		assert_eq!((theirs.upload_mbps, theirs.region), (1_000, *b"FR"));

		let proof = KeyProof {
			key: vec![1; 64],
			agent: vec![2; 64],
		};
		let theirs: kaisar_primitives::KeyProof = told(&proof);
		assert_eq!((theirs.key.0, theirs.agent.0), ([1; 64], [2; 64]));
		let pool: kaisar_primitives::PoolId = told(&PoolId::Checker(3));
		assert_eq!(pool, kaisar_primitives::PoolId::Checker(3));
	}

	type Account = sp_runtime::AccountId32;

	#[test]
	fn an_order_is_read_as_the_chain_shows_it() {
		use kaisar_primitives::{CloseReason as Why, OrderId};
		use pallet_orders as theirs;
		let prices = theirs::Prices {
			on_demand: 100,
			month: 90,
			quarter: 80,
		};
		let money = |kai, credits| theirs::Money { kai, credits };
		let run = theirs::Template {
			image: b"nginx".to_vec().try_into().expect("it is short"),
			port: Some(8_080),
			capabilities: vec![theirs::Capability::Kill]
				.try_into()
				.expect("it is one"),
		};
		let order = theirs::Order::<Account> {
			customer: Account::new([7; 32]),
			requirement: Default::default(),
			plan: order::Plan::Month,
			state: theirs::OrderState::Closed {
				reason: Why::WorkerFailed,
			},
			worker: Some(4),
			floor: 1,
			placed_at: 10,
			matched_at: 12,
			deploy_by: 87,
			started_at: 20,
			ends_at: 320,
			closed_at: 330,
			segments: vec![theirs::Segment { hours: 1, prices }]
				.try_into()
				.expect("it is one"),
			proved_to: 300,
			proved: 280,
			ending: None,
			failed: false,
			issue: Some(theirs::OpenIssue {
				reason: order::Issue::Other,
				bond: 10,
				reported_at: 30,
				undecided: 1,
			}),
			wake: 400,
			ledger: theirs::Ledger {
				charged: 100,
				escrow: money(1, 2),
				paid: 50,
				fees: 5,
				setup: 3,
				refunded: money(30, 4),
				credited: 5,
			},
		};
		let view = theirs::OrderView {
			id: 9,
			order,
			workload: theirs::Workload {
				template: Some(3),
				run,
				client_key: order::ClientKey::from_raw([8; 32]),
			},
			hours: 1,
			used: 93,
		};
		let page = (vec![view], Some(10 as OrderId));
		let (orders, next): (Vec<Order>, Option<u32>) = seen(&page);
		assert_eq!((orders.len(), next), (1, Some(10)));
		let seen = &orders[0];
		assert_eq!((seen.id, seen.hours, seen.used), (9, 1, Kai(93)));
		assert_eq!(seen.order.customer, AccountId32([7; 32]));
		assert_eq!(
			seen.order.state,
			OrderState::Closed {
				reason: CloseReason::WorkerFailed
			}
		);
		assert_eq!((seen.order.plan, seen.order.worker), (Plan::Month, Some(4)));
		let times = (
			seen.order.placed_at,
			seen.order.deploy_by,
			seen.order.started_at,
		);
		assert_eq!(times, (10, 87, 20));
		assert_eq!(
			(seen.order.ends_at, seen.order.closed_at, seen.order.proved),
			(320, 330, 280)
		);
		assert_eq!(seen.order.segments[0].prices.of(Plan::Quarter), Kai(80));
		assert_eq!(seen.order.issue.expect("there is one").bond, Kai(10));
		let ledger = seen.order.ledger;
		assert_eq!(
			(ledger.charged, ledger.paid, ledger.fees),
			(Kai(100), Kai(50), Kai(5))
		);
		assert_eq!((ledger.setup, ledger.credited), (Kai(3), Kai(5)));
		assert_eq!(
			ledger.escrow.text(),
			"0.000000000000000001 KAI and 0.000000000000000002 KAI in credits"
		);
		assert_eq!(
			ledger.refunded,
			Money {
				kai: Kai(30),
				credits: Kai(4)
			}
		);
		assert_eq!(seen.workload.run.image.to_string(), "nginx");
		assert_eq!(
			(seen.workload.template, seen.workload.run.port),
			(Some(3), Some(8_080))
		);
		assert_eq!(seen.workload.client_key, Key([8; 32]));

		// Programs read the state in one place, whatever it is.
		let json = serde_json::to_value(seen).expect("it is JSON");
		assert_eq!(
			(&json["state"], &json["reason"]),
			(&"Closed".into(), &"WorkerFailed".into())
		);
		assert_eq!(json["ledger"]["charged"], "100");
		let quote = theirs::Quote {
			prices,
			units: 2,
			total: 200,
		};
		assert_eq!(self::seen::<_, Quote>(&quote).total, Kai(200));
	}

	#[test]
	fn every_reason_has_a_meaning() {
		use kaisar_primitives::CloseReason as Why;
		for reason in [
			Why::NoSuitableWorker,
			Why::Expired,
			Why::Cancelled,
			Why::ImageFailed,
			Why::Exited,
			Why::DeployFailed,
			Why::WorkerFailed,
		] {
			let ours: CloseReason = seen(&reason);
			assert_eq!(format!("{ours:?}"), format!("{reason:?}"));
			assert!(!ours.meaning().is_empty());
		}
	}

	#[test]
	fn a_worker_is_read_as_the_chain_shows_it() {
		use kaisar_primitives as theirs;
		use sp_runtime::Perbill;
		let view = pallet_providers::WorkerView::<Account> {
			owner: Account::new([1; 32]),
			deregistered: false,
			state: theirs::WorkerState::Rented,
			since: 8,
			forced: Some(theirs::Forced {
				round: 10,
				verify_only: true,
			}),
			order: Some(3),
			spec: theirs::WorkerSpec {
				cpu_cores: 4,
				region: *b"DE",
				..Default::default()
			},
			profile: Some(theirs::Profile {
				cpu: 1,
				..Default::default()
			}),
			own: 500,
			minimum: Some(400),
			delegated: 30,
			unbonding: 20,
			queued: 10,
			reliability: Perbill::from_percent(75),
			online: 100,
			rented: 50,
			proved_at: Some(90),
			commission: Perbill::from_percent(5),
			next_commission: Some((2, Perbill::from_percent(6))),
			price_floor: 1,
			score: None,
		};
		let worker: Option<Worker> = seen(&Some(view));
		let worker = worker.expect("it is there");
		assert_eq!((worker.state, worker.order), (WorkerState::Rented, Some(3)));
		assert_eq!(worker.forced.expect("it is due").round, 10);
		assert_eq!(
			(worker.spec.cpu_cores, worker.spec.region),
			(4, Region(*b"DE"))
		);
		assert_eq!(
			(worker.own, worker.minimum, worker.delegated),
			(Kai(500), Some(Kai(400)), Kai(30))
		);
		assert_eq!(worker.reliability.to_string(), "75 %");
		assert_eq!(worker.next_commission, Some((2, Share(60_000_000))));

		let keys = |byte| pallet_providers::WorkerKeys {
			worker: sp_core::sr25519::Public::from_raw([byte; 32]).into(),
			agent: theirs::AgentKey::from_raw([byte + 1; 32]),
		};
		let ours: (WorkerKeys, Option<(u32, WorkerKeys)>) = seen(&(keys(1), Some((4u32, keys(3)))));
		assert_eq!(ours.0.agent, Key([2; 32]));
		assert_eq!(
			ours.1.map(|(from, keys)| (from, keys.agent)),
			Some((4, Key([4; 32])))
		);

		let page = pallet_rewards::DelegationPage {
			claims: vec![(theirs::PoolId::Worker(1), 5)],
			next: Some(theirs::PoolId::Checker(2)),
		};
		let page: DelegationPage = seen(&page);
		assert_eq!(page.claims, [(PoolId::Worker(1), Kai(5))]);
		assert_eq!(page.next, Some(PoolId::Checker(2)));
	}

	#[test]
	fn countries_are_two_letters() {
		assert_eq!("de".parse(), Ok(Region(*b"DE")));
		for text in ["", "D", "DEU", "D1", "DÉ"] {
			assert!(text.parse::<Region>().is_err(), "{text:?}");
		}
	}
}
