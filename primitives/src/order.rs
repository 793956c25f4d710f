//! Orders: what a customer asks for, and what becomes of it.

use crate::{Arch, GpuClass};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use scale_info::TypeInfo;
use sp_core::{H256, ed25519};
use sp_runtime::{BoundedVec, Perbill};

/// The key that may connect to an order's container: ed25519, the identity of the client's QUIC
/// endpoint.
pub type ClientKey = ed25519::Public;
/// A template of the chain's list of images.
pub type TemplateId = u32;

/// Longest reference of an image, in bytes.
pub const MAX_IMAGE: u32 = 255;
/// Most hours that an order can come to, extensions included: a year.
pub const MAX_HOURS: u32 = 8_760;

/// The machine that a customer asks for. An order rents a machine as a whole.
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
	/// GPU class, 0 for a machine without any.
	pub gpu_class: GpuClass,
	/// GPUs of that class, no more and no less; 0 exactly where the class is 0.
	pub gpu_count: u8,
	/// Least bandwidth tier, 0 … 4.
	pub min_bandwidth: u8,
	/// Least CPU tier. In class 0 it is the tier, 1 … 4, which the order pays for.
	pub min_cpu: u8,
	/// Least memory tier.
	pub min_memory: u8,
	/// Least disk tier.
	pub min_disk: u8,
	/// Where it has to be: an ISO 3166-1 alpha-2 country code, or anywhere.
	pub region: Option<[u8; 2]>,
	/// The processor architecture that it must have; `None` for any.
	pub arch: Option<Arch>,
	/// Least major version of the GPU's driver, if it matters.
	pub min_driver: Option<u16>,
	/// Least CUDA version, 100 · major + minor, if it matters.
	pub min_cuda: Option<u16>,
}

/// For how long a customer commits itself, which lowers the price.
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
	/// Not at all.
	#[default]
	OnDemand,
	/// 30 days: 720 hours at least.
	Month,
	/// 90 days: 2,160 hours at least.
	Quarter,
}

/// What runs in the container.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Image {
	/// An OCI reference, as `docker.io/library/nginx:1.27`.
	Reference(BoundedVec<u8, ConstU32<MAX_IMAGE>>),
	/// A template of the chain's list.
	Template(TemplateId),
}

/// Most bytes of a workload's arguments and environment together.
pub const MAX_WORKLOAD: u32 = 2_048;
/// Most arguments, and most variables of the environment, of a workload.
pub const MAX_WORKLOAD_ITEMS: u32 = 64;
/// Most ports of a workload.
pub const MAX_PORTS: u32 = 8;
/// The shortest and the longest deadline that an order can ask for in place of the parameter, in blocks.
pub const DEPLOY_BLOCKS: core::ops::RangeInclusive<u16> = 75..=600;

/// An argument, or a variable of the environment as `NAME=VALUE`.
pub type WorkloadItem = BoundedVec<u8, ConstU32<MAX_WORKLOAD>>;
/// Arguments, or the environment.
pub type WorkloadItems = BoundedVec<WorkloadItem, ConstU32<MAX_WORKLOAD_ITEMS>>;
/// Ports of a container.
pub type Ports = BoundedVec<u16, ConstU32<MAX_PORTS>>;

/// The workload of an order: its image, and how that runs. All of it is public; secrets go into the sealed part, which is never on
/// chain.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Workload {
	/// The image.
	pub image: Image,
	/// Arguments, in place of the image's own.
	pub args: WorkloadItems,
	/// Variables of the environment, beside the image's own.
	pub env: WorkloadItems,
	/// Ports that customers are connected to; by default those that the image exposes.
	pub ports: Ports,
	/// The agent waits for a sealed part before it starts the container.
	pub sealed: bool,
	/// Blocks for the deployment, within [`DEPLOY_BLOCKS`] and the time that is bought; 0 for the parameter
	/// `DeployDeadline`.
	pub deploy_blocks: u16,
	/// If the worker fails, what is left of the paid time is matched again, as the same order.
	pub failover: bool,
}

impl Workload {
	/// A workload of nothing but an image.
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

	/// Whether it keeps the limits that its types do not: of arguments and environment together, of the
	/// deadline, of ports (none is 0 or named twice), and of the environment's names.
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
		bytes <= MAX_WORKLOAD as usize
			&& items().all(|item| !item.contains(&0))
			&& self.env.iter().all(named)
			&& ports_differ
			&& (self.deploy_blocks == 0 || DEPLOY_BLOCKS.contains(&self.deploy_blocks))
	}
}

/// Why a worker's agent could not deploy an order.
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
	/// The image is malformed, not found, denied, too slow, too large for the order's disk tier, or not made
	/// for the platform that the machine declares.
	ImageUnavailable,
	/// The container ended before it answered.
	ContainerExited,
	/// It runs, and neither its health check nor its port answers.
	Unhealthy,
	/// The customer sent no sealed part in time.
	SealedMissing,
	/// The machine has no container engine that works.
	NoEngine,
	/// The machine's disk is full.
	NoSpace,
	/// The machine cannot pull images: limits of a registry, or its network.
	PullFailed,
	/// The machine is not what it declares.
	PlatformMismatch,
	/// The engine does not start the container.
	StartFailed,
}

impl DeployFailure {
	/// Whether the customer is at fault, who then pays for the time. Otherwise the provider is, whose worker
	/// is barred.
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

/// What a customer says is wrong.
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
	/// The machine is there, and the container does not answer.
	NotServing,
	/// Something else. A check finds out about the first two only.
	Other,
}

/// Why an order was closed.
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
	/// No idle worker fits, at this price.
	NoSuitableWorker,
	/// Its time is over.
	Expired,
	/// The customer canceled it.
	Cancelled,
	/// It could not be deployed by the customer's fault.
	ImageFailed,
	/// The container ended by itself.
	Exited,
	/// A check found the container without an answer and the worker there.
	ServiceDown,
	/// It could not be deployed by the provider's fault, or not in time.
	DeployFailed,
	/// A check found the worker offline.
	WorkerFailed,
}

/// What a worker's node signs for a fee-less call about an order:
/// `blake2_256(SCALE((domain, genesis hash, arguments before the signature)))`, the domain being
/// `b"kaisar/<call>"`.
pub fn order_payload<const N: usize>(
	domain: &[u8; N],
	genesis: H256,
	arguments: impl Encode,
) -> [u8; 32] {
	(domain, genesis, arguments).using_encoded(sp_io::hashing::blake2_256)
}

/// The parts of a price that the plan leaves.
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
	/// The fewest hours of an order with this plan.
	pub const fn least_hours(self) -> u32 {
		match self {
			Self::OnDemand => 1,
			Self::Month => 720,
			Self::Quarter => 2_160,
		}
	}

	/// The part of the price that it leaves.
	pub fn rate(self, rates: &PlanRates) -> Perbill {
		match self {
			Self::OnDemand => Perbill::one(),
			Self::Month => rates.month,
			Self::Quarter => rates.quarter,
		}
	}

	/// The best plan, but not better than this one, that so many hours of use have earned.
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
