//! A worker: what it claims, what was verified, and where it stands.

use crate::{GpuClass, RoundIndex, Timeline};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Hardware as its provider claims it.
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
pub struct WorkerSpec {
	/// GPU class, 0 for none.
	pub gpu_class: GpuClass,
	/// Number of GPUs; 0 exactly where the class is 0.
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
	/// Region: an ISO 3166-1 alpha-2 country code, upper case.
	pub region: [u8; 2],
}

/// Hardware as a committee verified it. Tiers are 0 … 4 (`kaisar_math::tiers`).
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
pub struct Profile {
	/// Bandwidth tier.
	pub bandwidth: u8,
	/// CPU tier.
	pub cpu: u8,
	/// Memory tier.
	pub memory: u8,
	/// Disk tier.
	pub disk: u8,
	/// GPU class that the evidence supports, 0 for none.
	pub gpu_class: GpuClass,
	/// Number of GPUs of that class.
	pub gpu_count: u8,
}

/// The state of a worker.
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
pub enum WorkerState {
	/// Registered, changed or back: not verified yet. Earns nothing.
	Pending,
	/// Verified and idle.
	Online,
	/// Verified and serving an order.
	Rented,
	/// Away, by choice or because a check found it so.
	Offline,
	/// Its owner's stake is below the minimum after a slash.
	Suspended,
}

/// A worker's last two states: enough to tell the state at the start of any running round. Round `r` sees a
/// worker as it stood at the round's start, so every change of state names the next round.
pub type Standings = Timeline<WorkerState>;

/// The one solitary check a worker is due in, outside any census.
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
pub struct Forced {
	/// The spot round in which it is due.
	pub round: RoundIndex,
	/// It only verifies: it credits no time and empties the pending amounts. So for a worker that
	/// was registered, updated or brought back, which would otherwise buy solitary checks.
	pub verify_only: bool,
}
