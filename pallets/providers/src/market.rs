//! Workers as goods ([`Market`]): finding, renting, freeing and barring them.

use super::*;
use kaisar_primitives::{Candidate, OrderId};

impl<T: Config> Market for Pallet<T> {
	fn idle(gpu_class: GpuClass, gpu_count: u8, region: Option<[u8; 2]>) -> u32 {
		BucketHeads::<T>::get(Bucket {
			gpu_class,
			gpu_count,
			region,
		})
		.len
	}

	fn idle_at(
		gpu_class: GpuClass,
		gpu_count: u8,
		region: Option<[u8; 2]>,
		position: u32,
	) -> Option<WorkerId> {
		let bucket = Bucket {
			gpu_class,
			gpu_count,
			region,
		};
		Self::at(bucket, position)
	}

	fn candidate(worker: WorkerId) -> Option<Candidate> {
		let record = Workers::<T>::get(worker).filter(Self::can_be_rented)?;
		Some(Candidate {
			profile: record.profile?,
			region: record.spec.region,
			price_floor: record.price_floor,
			reliability: record.history.reliability(),
			arch: record.spec.arch,
			driver: record.spec.driver,
			cuda: record.spec.cuda,
		})
	}

	fn use_of(class: GpuClass) -> (u32, u32) {
		let ClassTotals { online, rented, .. } = TotalsByClass::<T>::get(class);
		(online, rented)
	}

	fn rent(worker: WorkerId, order: OrderId) -> DispatchResult {
		Self::mutate(worker, |record| {
			ensure!(
				record.state() == WorkerState::Online,
				Error::<T>::WrongState
			);
			// A check comes between any two orders.
			ensure!(!record.is_marked(), Error::<T>::AlreadyDue);
			record.order = Some(order);
			Self::set_state(worker, record, WorkerState::Rented);
			Ok(())
		})
	}

	fn free(worker: WorkerId, unproved: bool) -> DispatchResult {
		Self::mutate(worker, |record| {
			ensure!(
				record.state() == WorkerState::Rented,
				Error::<T>::WrongState
			);
			record.order = None;
			if record.short {
				Self::leave(worker, record, WorkerState::Suspended);
				return Ok(());
			}
			// A pending check of the rented worker would have nothing to look at any more.
			Self::drop_coming_mark(record);
			Self::set_state(worker, record, WorkerState::Online);
			record.unproved |= unproved;
			if record.unproved {
				Self::mark_next(worker, record);
			}
			Ok(())
		})
	}

	fn deployed(worker: WorkerId) -> DispatchResult {
		Self::mutate(worker, |record| {
			record.history.push(true);
			Ok(())
		})
	}

	fn bar(worker: WorkerId, until: BlockNumber) -> DispatchResult {
		Self::mutate(worker, |record| {
			record.history.push(false);
			record.barred_until = record.barred_until.max(until);
			Ok(())
		})
	}

	fn review(worker: WorkerId) -> DispatchResult {
		// Each change of a record relists or unlists the worker.
		Self::mutate(worker, |_| Ok(()))
	}

	fn fault(worker: WorkerId) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::slash_absence(worker, record, Self::now(), None)
		})
	}

	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_verify(worker: WorkerId, profile: Profile) {
		use kaisar_math::tiers;
		use kaisar_primitives::{CheckedWorkers, Closing, Outcome};
		// The smallest claim that such a profile supports.
		let least = |figures: &[u32; 4], tier: u8| {
			let index = usize::from(tier).checked_sub(1)?;
			figures.get(index).copied()
		};
		let _ = Self::mutate(worker, |record| {
			let cores = least(&tiers::CPU, profile.cpu).and_then(|cores| cores.try_into().ok());
			record.spec = WorkerSpec {
				gpu_class: profile.gpu_class,
				gpu_count: profile.gpu_count,
				cpu_cores: cores.unwrap_or(1),
				memory_gb: least(&tiers::MEMORY, profile.memory).unwrap_or(1),
				disk_gb: hardware::MAX_DISK_GB,
				download_mbps: u32::MAX,
				upload_mbps: u32::MAX,
				..record.spec
			};
			Ok(())
		})
		.defensive();
		let closing = Closing {
			round: T::Checks::next_round(),
			round_start: Self::now(),
			outcome: Outcome::Online {
				profile: Some(profile),
				service: true,
			},
			rented: false,
			full: true,
			credit: 0,
			false_proof: false,
			slashes: false,
		};
		let _ = <Self as CheckedWorkers<T::AccountId>>::closed(worker, &closing, None).defensive();
	}
}

/// Conditions for renting a worker.
impl<T: Config> Pallet<T> {
	/// Returns whether an order can be matched with the worker now.
	fn can_be_rented(record: &RecordOf<T>) -> bool {
		record.state() == WorkerState::Online
			&& !record.is_marked()
			&& record.barred_until <= Self::now()
			&& record.shelf().is_some()
			&& Self::floor_is_within(record, T::Prices::highest)
	}

	/// Returns whether the worker's price floor is at most a price of its class; true while the class has
	/// no price.
	pub(crate) fn floor_is_within(
		record: &RecordOf<T>,
		price: impl FnOnce(GpuClass) -> Option<Balance>,
	) -> bool {
		let (class, _) = record.gpus();
		record.price_floor == 0 || price(class).is_none_or(|price| record.price_floor <= price)
	}

	/// Lists the worker if it can be rented, and unlists it if not.
	pub(crate) fn relist(worker: WorkerId, record: &mut RecordOf<T>) {
		if record.barred_until > 0 && record.barred_until <= Self::now() {
			// Rounds that began during the bar pay no idle time.
			record.barred_until = 0;
			record.waits_from = T::Checks::next_round();
		}
		match (Self::can_be_rented(record), record.place.is_some()) {
			(true, false) => Self::enter_indices(worker, record),
			(false, true) => Self::leave_indices(record),
			_ => {}
		}
	}
}
