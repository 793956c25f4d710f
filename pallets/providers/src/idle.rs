//! Dense indices of idle workers: add, remove and look up in O(1), whatever their number.
//!
//! A worker that can be rented now is in two **buckets**: that of its GPU class and count, and that of its
//! class, count and region, as verified. Without a GPU, its CPU tier takes the place of the count. A bucket
//! is an array in pages of [`INDEX_PAGE`] workers, without gaps: when a worker is removed, the last one
//! moves to its position, and the moved worker's record is updated ([`IndexPosition`]). The first page is
//! stored with the bucket's length, so that a small bucket is one entry.
//!
//! With pages, an index costs four bytes a worker instead of the fifty of a trie key.

use super::*;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use scale_info::TypeInfo;

/// Maximum number of workers in a page of an index.
pub const INDEX_PAGE: u32 = 64;

/// A page of an index.
pub type IndexPage = BoundedVec<WorkerId, ConstU32<INDEX_PAGE>>;

/// The key by which idle workers are listed.
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
pub struct Bucket {
	/// The verified GPU class, 0 for none.
	pub gpu_class: GpuClass,
	/// The verified number of GPUs; in class 0 the CPU tier, from 1.
	pub gpu_count: u8,
	/// The region; `None` for all regions together.
	pub region: Option<[u8; 2]>,
}

/// The start of a bucket: a bucket of at most one page needs no other entry.
#[derive(
	Clone,
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
pub struct BucketHead {
	/// The number of workers in the bucket.
	#[codec(compact)]
	pub len: u32,
	/// The first page.
	pub first: IndexPage,
}

/// A worker's positions in its two buckets.
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
pub struct IndexPosition {
	/// Among the workers of its class and count.
	#[codec(compact)]
	pub by_class: u32,
	/// Among the workers of its class, count and region.
	#[codec(compact)]
	pub by_region: u32,
}

/// A worker that moves to another position in a bucket.
struct Moved {
	worker: WorkerId,
	position: u32,
}

impl Bucket {
	/// Returns the two buckets of a worker with these GPUs in this region.
	fn both((gpu_class, gpu_count): (GpuClass, u8), region: [u8; 2]) -> [Self; 2] {
		[None, Some(region)].map(|region| Self {
			gpu_class,
			gpu_count,
			region,
		})
	}
}

impl<T: Config> Pallet<T> {
	/// Adds a worker to its buckets.
	pub(crate) fn enter_indices(worker: WorkerId, record: &mut RecordOf<T>) {
		let Some(shelf) = record.shelf().defensive() else {
			return;
		};
		let [by_class, by_region] =
			Bucket::both(shelf, record.spec.region).map(|bucket| Self::push(bucket, worker));
		record.place = Some(IndexPosition {
			by_class,
			by_region,
		});
	}

	/// Removes a worker from its buckets, if it is in them, before its profile, claim or state changes.
	pub(crate) fn leave_indices(record: &mut RecordOf<T>) {
		let Some(place) = record.place.take() else {
			return;
		};
		let Some(shelf) = record.shelf().defensive() else {
			return;
		};
		let [class, region] = Bucket::both(shelf, record.spec.region);
		if let Some(moved) = Self::take_out(class, place.by_class) {
			Self::move_position(moved.worker, |place| place.by_class = moved.position);
		}
		if let Some(moved) = Self::take_out(region, place.by_region) {
			Self::move_position(moved.worker, |place| place.by_region = moved.position);
		}
	}

	/// Returns the worker at a position of a bucket.
	pub(crate) fn at(bucket: Bucket, position: u32) -> Option<WorkerId> {
		let (page, slot) = (position / INDEX_PAGE, (position % INDEX_PAGE) as usize);
		let workers = if page == 0 {
			BucketHeads::<T>::get(bucket).first
		} else {
			BucketPages::<T>::get((bucket, page))
		};
		workers.get(slot).copied()
	}

	fn move_position(worker: WorkerId, change: impl FnOnce(&mut IndexPosition)) {
		Workers::<T>::mutate(worker, |record| {
			match record.as_mut().and_then(|record| record.place.as_mut()) {
				Some(place) => change(place),
				None => {
					defensive!("an indexed worker has a place", worker);
				}
			}
		})
	}

	/// Appends a worker to a bucket, and returns its position.
	fn push(bucket: Bucket, worker: WorkerId) -> u32 {
		BucketHeads::<T>::mutate(bucket, |head| {
			let position = head.len;
			let page = position / INDEX_PAGE;
			let pushed = if page == 0 {
				head.first.try_push(worker)
			} else {
				BucketPages::<T>::mutate((bucket, page), |workers| workers.try_push(worker))
			};
			let _ = pushed.defensive_proof("pages are filled one after another");
			// There are no more workers than worker numbers.
			head.len = position.saturating_add(1);
			position
		})
	}

	/// Removes the worker at a position of a bucket, and returns the worker that takes the position, unless
	/// the removed one was the last.
	fn take_out(bucket: Bucket, position: u32) -> Option<Moved> {
		let mut head = BucketHeads::<T>::get(bucket);
		let last = head.len.checked_sub(1).defensive()?;
		let worker = Self::pop(bucket, &mut head, last).defensive()?;
		head.len = last;
		let moved = (position != last).then_some(Moved { worker, position });
		if let Some(Moved { worker, position }) = moved {
			let (page, slot) = (position / INDEX_PAGE, (position % INDEX_PAGE) as usize);
			let put = |workers: &mut IndexPage| match workers.get_mut(slot) {
				Some(place) => *place = worker,
				None => {
					defensive!("every place below the length is taken", position);
				}
			};
			if page == 0 {
				put(&mut head.first);
			} else {
				BucketPages::<T>::mutate((bucket, page), put);
			}
		}
		if head.len == 0 {
			BucketHeads::<T>::remove(bucket);
		} else {
			BucketHeads::<T>::insert(bucket, head);
		}
		moved
	}

	/// Removes and returns the last worker of a bucket; the caller lowers the length.
	fn pop(bucket: Bucket, head: &mut BucketHead, last: u32) -> Option<WorkerId> {
		let page = last / INDEX_PAGE;
		if page == 0 {
			return head.first.pop();
		}
		BucketPages::<T>::mutate_exists((bucket, page), |slot| {
			let workers = slot.as_mut()?;
			let worker = workers.pop();
			if workers.is_empty() {
				*slot = None;
			}
			worker
		})
	}
}
