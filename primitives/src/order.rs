//! Orders: what a customer asks for, and what becomes of it.

use crate::GpuClass;
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
	/// Least CPU tier.
	pub min_cpu: u8,
	/// Least memory tier.
	pub min_memory: u8,
	/// Least disk tier.
	pub min_disk: u8,
	/// Where it has to be: an ISO 3166-1 alpha-2 country code, or anywhere.
	pub region: Option<[u8; 2]>,
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
	/// The image does not exist or cannot be pulled.
	ImageUnavailable,
	/// The container does not start, or ends at once.
	StartFailed,
	/// It runs, and neither its health check nor its port answers.
	Unhealthy,
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
	/// The customer cancelled it.
	Cancelled,
	/// The image cannot be pulled, or does not start.
	ImageFailed,
	/// The container ended by itself.
	Exited,
	/// The worker did not say in time that it runs.
	DeployFailed,
	/// A check found the worker offline, or the container without an answer.
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
	fn a_plan_is_earned_by_hours_and_never_better_than_the_one_ordered() {
		assert_eq!(Plan::Quarter.earned(2_160), Plan::Quarter);
		assert_eq!(Plan::Quarter.earned(2_159), Plan::Month);
		assert_eq!(Plan::Quarter.earned(719), Plan::OnDemand);
		assert_eq!(Plan::Month.earned(8_760), Plan::Month);
		assert_eq!(Plan::OnDemand.earned(8_760), Plan::OnDemand);
	}
}
