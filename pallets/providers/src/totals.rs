//! Totals over all workers, updated with every change, so that an explorer needs no indexer for them.

use super::*;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// The hardware that an `Online` or `Rented` worker contributes to the totals, or their sum.
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
pub struct Hardware {
	/// Verified GPUs.
	pub gpus: u64,
	/// CPU cores, as claimed, with the tier verified.
	pub cpu_cores: u64,
	/// Memory in GB, likewise.
	pub memory_gb: u64,
	/// Disk in GB, likewise.
	pub disk_gb: u64,
	/// Download bandwidth in Mb/s, likewise.
	pub download_mbps: u64,
	/// Upload bandwidth in Mb/s, likewise.
	pub upload_mbps: u64,
}

impl Hardware {
	/// Returns the hardware of one worker.
	pub fn of(spec: &WorkerSpec, gpu_count: u8) -> Self {
		Self {
			gpus: gpu_count.into(),
			cpu_cores: spec.cpu_cores.into(),
			memory_gb: spec.memory_gb.into(),
			disk_gb: spec.disk_gb.into(),
			download_mbps: spec.download_mbps.into(),
			upload_mbps: spec.upload_mbps.into(),
		}
	}

	/// Combines each figure with the other's; `None` if a result does not fit.
	fn with(&self, other: &Self, op: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
		Some(Self {
			gpus: op(self.gpus, other.gpus)?,
			cpu_cores: op(self.cpu_cores, other.cpu_cores)?,
			memory_gb: op(self.memory_gb, other.memory_gb)?,
			disk_gb: op(self.disk_gb, other.disk_gb)?,
			download_mbps: op(self.download_mbps, other.download_mbps)?,
			upload_mbps: op(self.upload_mbps, other.upload_mbps)?,
		})
	}

	/// Returns the sum.
	pub fn checked_add(&self, other: &Self) -> Option<Self> {
		self.with(other, u64::checked_add)
	}

	/// Returns the difference.
	pub fn checked_sub(&self, other: &Self) -> Option<Self> {
		self.with(other, u64::checked_sub)
	}
}

/// The `Online` and `Rented` workers of a verified GPU class.
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
pub struct ClassTotals {
	/// Idle workers.
	pub online: u32,
	/// Rented workers.
	pub rented: u32,
	/// GPUs of idle workers.
	pub gpus_online: u64,
	/// GPUs of rented workers.
	pub gpus_rented: u64,
}

/// The network in figures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo)]
pub struct NetworkTotals {
	/// Workers ever registered.
	pub registered: u32,
	/// Workers by state.
	pub workers: StateCounts,
	/// The hardware of the `Online` and `Rented` workers together.
	pub hardware: Hardware,
	/// The `Online` and `Rented` workers by GPU class, in no particular order; classes without any are left
	/// out.
	pub classes: Vec<(GpuClass, ClassTotals)>,
}

impl<T: Config> Pallet<T> {
	/// Adds an `Online` or `Rented` worker to the totals. Ignores workers in other states.
	pub(crate) fn add_up(record: &RecordOf<T>) {
		let state = record.state();
		if !Self::counts_in_totals(state) {
			return;
		}
		let (class, count) = record.gpus();
		Totals::<T>::mutate(|totals| {
			match totals.checked_add(&Hardware::of(&record.spec, count)) {
				Some(sum) => *totals = sum,
				None => {
					defensive!("the network fits into 64 bits");
				}
			}
		});
		TotalsByClass::<T>::mutate(class, |totals| {
			let (workers, gpus) = totals.of(state);
			*workers = workers.checked_add(1).defensive_unwrap_or(u32::MAX);
			*gpus = gpus.checked_add(count.into()).defensive_unwrap_or(u64::MAX);
		});
	}

	/// Reverses [`add_up`](Self::add_up), with the state, profile and claim that the worker was added with.
	pub(crate) fn take_off(record: &RecordOf<T>) {
		let state = record.state();
		if !Self::counts_in_totals(state) {
			return;
		}
		let (class, count) = record.gpus();
		Totals::<T>::mutate(|totals| {
			match totals.checked_sub(&Hardware::of(&record.spec, count)) {
				Some(rest) => *totals = rest,
				None => {
					defensive!("only hardware in the totals is taken out");
				}
			}
		});
		TotalsByClass::<T>::mutate_exists(class, |slot| {
			let totals = slot.get_or_insert_default();
			let (workers, gpus) = totals.of(state);
			*workers = workers.checked_sub(1).defensive_unwrap_or(0);
			*gpus = gpus.checked_sub(count.into()).defensive_unwrap_or(0);
			if *totals == ClassTotals::default() {
				*slot = None;
			}
		});
	}

	/// Sets the profile that a check found. If it moves the worker to another bucket, the worker leaves the
	/// indices, and is listed again when its record is written.
	pub(crate) fn set_profile(record: &mut RecordOf<T>, profile: Profile) {
		if record.shelf() != shelf_of(&profile) {
			Self::leave_indices(record);
		}
		let moves = record.gpus() != (profile.gpu_class, profile.gpu_count);
		if moves {
			Self::take_off(record);
		}
		record.profile = Some(profile);
		if moves {
			Self::add_up(record);
		}
	}

	fn counts_in_totals(state: WorkerState) -> bool {
		matches!(state, WorkerState::Online | WorkerState::Rented)
	}
}

impl ClassTotals {
	/// Returns the counters of workers and of GPUs for a state: idle or rented.
	fn of(&mut self, state: WorkerState) -> (&mut u32, &mut u64) {
		if state == WorkerState::Rented {
			(&mut self.rented, &mut self.gpus_rented)
		} else {
			(&mut self.online, &mut self.gpus_online)
		}
	}
}
