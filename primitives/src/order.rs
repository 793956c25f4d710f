//! Orders: requirements, workloads, plans and reasons.

use crate::{Arch, GpuClass};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use scale_info::TypeInfo;
use sp_core::{H256, ed25519};
use sp_runtime::{BoundedVec, Perbill};

/// The key that may connect to an order's container: ed25519, the identity of the client's QUIC endpoint.
pub type ClientKey = ed25519::Public;
/// The number of a template in the chain's list of images.
pub type TemplateId = u32;

/// Maximum length of an image reference, in bytes.
pub const MAX_IMAGE: u32 = 255;
/// Maximum hours of an order, extensions included: a year. Agents keep a container for that and a
/// week at most.
pub const MAX_HOURS: u32 = 8_760;
/// Minimum hours of an order with the plan for a month: 30 days.
const MONTH_HOURS: u32 = 30 * 24;
/// Minimum hours of an order with the plan for a quarter: 90 days.
const QUARTER_HOURS: u32 = 90 * 24;

/// The machine that a customer requires. An order rents a whole machine.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Requirement {
	/// GPU class, 0 for a machine without a GPU.
	pub gpu_class: GpuClass,
	/// The exact number of GPUs of that class; 0 if and only if the class is 0.
	pub gpu_count: u8,
	/// Minimum bandwidth tier, 0 … 4.
	pub min_bandwidth: u8,
	/// Minimum CPU tier. In class 0 it is the tier, 1 … 4, that the order pays for.
	pub min_cpu: u8,
	/// Minimum memory tier.
	pub min_memory: u8,
	/// Minimum disk tier.
	pub min_disk: u8,
	/// The region: an ISO 3166-1 alpha-2 country code; `None` for any.
	pub region: Option<[u8; 2]>,
	/// The processor architecture; `None` for any.
	pub arch: Option<Arch>,
	/// Minimum major version of the GPU's driver; `None` for any.
	pub min_driver: Option<u16>,
	/// Minimum CUDA version, 100 · major + minor; `None` for any.
	pub min_cuda: Option<u16>,
}

/// The period to which a customer commits, which lowers the price.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	PartialOrd,
	Ord,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum Plan {
	/// No commitment.
	#[default]
	OnDemand,
	/// 30 days: at least 720 hours.
	Month,
	/// 90 days: at least 2,160 hours.
	Quarter,
}

/// The image of the container.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Image {
	/// An OCI reference, e.g. `docker.io/library/nginx:1.27`.
	Reference(BoundedVec<u8, ConstU32<MAX_IMAGE>>),
	/// A template of the chain's list.
	Template(TemplateId),
}

/// Maximum total size of a workload's arguments and environment, in bytes.
pub const MAX_WORKLOAD: u32 = 2_048;
/// Maximum number of a workload's arguments, and of its environment variables.
pub const MAX_WORKLOAD_ITEMS: u32 = 64;
/// Maximum number of a workload's ports.
pub const MAX_PORTS: u32 = 8;
/// Environment variables that orders cannot set, each with the value that hands out nothing. NVIDIA's
/// container toolkit reads them as requests for devices: with them a customer could open GPUs and other
/// devices that are not part of its order. Agents set them in every container, over the image's own too.
pub const RESERVED_ENV: [(&str, &str); 6] = [
	("NVIDIA_VISIBLE_DEVICES", "void"),
	("NVIDIA_IMEX_CHANNELS", "void"),
	("NVIDIA_GDRCOPY", "disabled"),
	("NVIDIA_GDS", "disabled"),
	("NVIDIA_MOFED", "disabled"),
	("NVIDIA_NVSWITCH", "disabled"),
];
/// Limits of the deadline that an order can set in place of the parameter, in blocks.
pub const DEPLOY_BLOCKS: core::ops::RangeInclusive<u16> = 75..=600;

/// An argument, or an environment variable as `NAME=VALUE`.
pub type WorkloadItem = BoundedVec<u8, ConstU32<MAX_WORKLOAD>>;
/// The arguments, or the environment.
pub type WorkloadItems = BoundedVec<WorkloadItem, ConstU32<MAX_WORKLOAD_ITEMS>>;
/// Ports of a container.
pub type Ports = BoundedVec<u16, ConstU32<MAX_PORTS>>;

/// The workload of an order: its image and its configuration. All of it is public; secrets go into the
/// sealed part, which is never on chain.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Workload {
	/// The image.
	pub image: Image,
	/// Arguments that replace the image's own.
	pub args: WorkloadItems,
	/// Environment variables, in addition to the image's own.
	pub env: WorkloadItems,
	/// Ports to which customers are connected; by default those that the image exposes.
	pub ports: Ports,
	/// Whether the agent waits for a sealed part before it starts the container.
	pub sealed: bool,
	/// Blocks for the deployment, within [`DEPLOY_BLOCKS`] and the time bought; 0 for the parameter
	/// `DeployDeadline`.
	pub deploy_blocks: u16,
	/// Whether the remaining paid time is matched again, as the same order, if the worker fails.
	pub failover: bool,
}

impl Workload {
	/// Returns a workload of an image alone.
	pub fn of(image: Image) -> Self {
		Self {
			image,
			args: Default::default(),
			env: Default::default(),
			ports: Default::default(),
			sealed: false,
			deploy_blocks: 0,
			failover: false,
		}
	}

	/// Returns whether it satisfies the limits that its types do not express: the total size of arguments
	/// and environment, their encoding (UTF-8 without a zero byte), the deadline, ports (none is 0 or named
	/// twice), and the names of environment variables.
	pub fn is_valid(&self) -> bool {
		let items = || self.args.iter().chain(&self.env);
		let bytes: usize = items().map(|item| item.len()).sum();
		let named = |item: &WorkloadItem| {
			item.iter()
				.position(|byte| *byte == b'=')
				.is_some_and(|end| end > 0)
		};
		let ports_differ = self
			.ports
			.iter()
			.enumerate()
			.all(|(index, port)| *port != 0 && !self.ports[..index].contains(port));
		// Container engines take texts only.
		let is_text =
			|item: &WorkloadItem| !item.contains(&0) && core::str::from_utf8(item).is_ok();
		bytes <= MAX_WORKLOAD as usize
			&& items().all(is_text)
			&& self.env.iter().all(named)
			&& ports_differ
			&& (self.deploy_blocks == 0 || DEPLOY_BLOCKS.contains(&self.deploy_blocks))
	}
}

/// The reason why a worker's agent could not deploy an order.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum DeployFailure {
	/// The image is malformed, not found, denied, too slow to pull, too large for the order's disk tier, or
	/// not made for the platform that the machine declares.
	ImageUnavailable,
	/// The container ended before it answered.
	ContainerExited,
	/// The container runs, but neither its health check nor its port answers.
	Unhealthy,
	/// The customer sent no sealed part in time.
	SealedMissing,
	/// The machine has no working container engine.
	NoEngine,
	/// The machine's disk is full.
	NoSpace,
	/// The machine cannot pull images: limits of a registry, or its network.
	PullFailed,
	/// The machine is not of the platform that it declares.
	PlatformMismatch,
	/// The engine cannot start the container.
	StartFailed,
}

impl DeployFailure {
	/// Returns whether the customer is at fault, who then pays for the time. Otherwise the provider is,
	/// whose worker is barred.
	pub const fn is_customers(self) -> bool {
		match self {
			Self::ImageUnavailable
			| Self::ContainerExited
			| Self::Unhealthy
			| Self::SealedMissing => true,
			Self::NoEngine
			| Self::NoSpace
			| Self::PullFailed
			| Self::PlatformMismatch
			| Self::StartFailed => false,
		}
	}
}

/// The issue that a customer reports.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum Issue {
	/// The machine cannot be reached.
	Unreachable,
	/// The machine is reachable, but the container does not answer.
	NotServing,
	/// Another issue. A check detects only the first two.
	Other,
}

/// The reason why an order was closed.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum CloseReason {
	/// No idle worker meets the requirement at this price.
	NoSuitableWorker,
	/// Its time has ended.
	Expired,
	/// The customer canceled it.
	Cancelled,
	/// It could not be deployed, by the customer's fault.
	ImageFailed,
	/// The container ended by itself.
	Exited,
	/// A check found the worker online, but the container without an answer.
	ServiceDown,
	/// It could not be deployed, by the provider's fault, or not in time.
	DeployFailed,
	/// A check found the worker offline.
	WorkerFailed,
}

/// Returns the payload that a worker's node signs for a fee-less call about an order:
/// `blake2_256(SCALE((domain, genesis hash, arguments before the signature)))`, where the domain is
/// `b"kaisar/<call>"`.
pub fn order_payload<const N: usize>(
	domain: &[u8; N],
	genesis: H256,
	arguments: impl Encode,
) -> [u8; 32] {
	(domain, genesis, arguments).using_encoded(sp_io::hashing::blake2_256)
}

/// The parts of the on-demand price that each plan pays.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct PlanRates {
	/// For 30 days.
	pub month: Perbill,
	/// For 90 days.
	pub quarter: Perbill,
}

impl Default for PlanRates {
	fn default() -> Self {
		Self {
			month: Perbill::from_percent(90),
			quarter: Perbill::from_percent(80),
		}
	}
}

impl Plan {
	/// Returns the minimum hours of an order with this plan.
	pub const fn least_hours(self) -> u32 {
		match self {
			Self::OnDemand => 1,
			Self::Month => MONTH_HOURS,
			Self::Quarter => QUARTER_HOURS,
		}
	}

	/// Returns the part of the on-demand price that the plan pays.
	pub fn rate(self, rates: &PlanRates) -> Perbill {
		match self {
			Self::OnDemand => Perbill::one(),
			Self::Month => rates.month,
			Self::Quarter => rates.quarter,
		}
	}

	/// Returns the best plan that `hours` of use have earned, at most this one.
	pub fn earned(self, hours: u32) -> Self {
		[Self::Quarter, Self::Month]
			.into_iter()
			.find(|plan| *plan <= self && hours >= plan.least_hours())
			.unwrap_or_default()
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_workload_keeps_its_limits() {
		let item = |bytes: &[u8]| WorkloadItem::try_from(bytes.to_vec()).unwrap();
		let with = |change: &dyn Fn(&mut Workload)| {
			let mut workload = Workload::of(Image::Template(0));
			change(&mut workload);
			workload.is_valid()
		};
		assert!(with(&|_| ()));
		assert!(with(&|w| w.args.force_push(item(&[b'a'; 2_048]))));
		assert!(!with(&|w| {
			w.args.force_push(item(&[b'a'; 2_046]));
			w.env.force_push(item(b"A=1"));
		}));
		assert!(!with(&|w| w.args.force_push(item(b"a\0b"))));
		assert!(with(&|w| w.args.force_push(item("\u{fc}".as_bytes()))));
		assert!(!with(&|w| w.args.force_push(item(b"\xfc"))));
		assert!(!with(&|w| w.env.force_push(item(b"A=\xfc"))));
		for (variable, holds) in [("A=", true), ("A=1=2", true), ("A", false), ("=1", false)] {
			assert_eq!(
				with(&|w| w.env.force_push(item(variable.as_bytes()))),
				holds
			);
		}
		for (ports, holds) in [(&[80, 443][..], true), (&[80, 80], false), (&[0], false)] {
			assert_eq!(
				with(&|w| w.ports = ports.to_vec().try_into().unwrap()),
				holds
			);
		}
		for (blocks, holds) in [(75, true), (600, true), (74, false), (601, false)] {
			assert_eq!(with(&|w| w.deploy_blocks = blocks), holds);
		}
	}

	#[test]
	fn a_plan_is_earned_by_hours_and_never_better_than_the_one_ordered() {
		assert_eq!(Plan::Quarter.earned(2_160), Plan::Quarter);
		assert_eq!(Plan::Quarter.earned(2_159), Plan::Month);
		assert_eq!(Plan::Quarter.earned(719), Plan::OnDemand);
		assert_eq!(Plan::Month.earned(8_760), Plan::Month);
		assert_eq!(Plan::OnDemand.earned(8_760), Plan::OnDemand);
	}
}
