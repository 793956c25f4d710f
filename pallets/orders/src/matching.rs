//! The choice of the worker that gets an order.
//!
//! Orders wait in a queue, oldest first. An order placed in block `N` is matched in `N + 2` at the earliest,
//! with the randomness of the block before the match, which nobody knew when the order was placed. In
//! `on_idle`, after the block's extrinsics, that randomness is public: a provider could have moved workers
//! in the index to the positions that will be drawn. So `on_idle` draws with the running block's own
//! randomness, which only its author knows.
//!
//! Idle workers are drawn until [`Config::MatchDraws`] of them fit, or four times as many were drawn. The
//! best of the fitting ones gets the order: by reliability in eighths, then by bandwidth tier, then by lot.
//! A bucket with no more workers than `MatchDraws` is read whole. A worker whose floor became too high when
//! the reference fell leaves the index when it is drawn.
//!
//! Matching pauses while a census prepares, since every idle worker is due in it. The queue keeps its order.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{storage::with_storage_layer, weights::Weight};
use kaisar_primitives::{
	Balance, BlockNumber, Candidate, Checks, CloseReason, HOURS, MAX_PAGE, Market, OrderId, Plan,
	Requirement, WorkerId,
};
use sp_core::H256;
use sp_io::hashing::blake2_256;
use sp_runtime::{DispatchError, DispatchResult};

/// Blocks from placing an order to the first block in which it can be matched.
pub const MATCH_DELAY: BlockNumber = 2;
/// Maximum number of draws, as a multiple of [`Config::MatchDraws`].
pub const TRIES: u32 = 4;
/// Maximum number of an order's candidates whose open check is closed first, if it is over.
pub const MAX_TOUCHED: u32 = 2;
/// Maximum number of workers that one match removes from the index because they cannot be rented.
pub const MAX_REVIEWED: u32 = 4;

/// The rank of a candidate: reliability in eighths, bandwidth tier, lot. The greatest is the best.
type Rank = (u32, u8, u64);

/// The work done for one order in a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
	/// Workers drawn.
	pub draws: u32,
	/// Workers touched.
	pub touched: u32,
	/// Workers reviewed.
	pub reviewed: u32,
}

impl Effort {
	/// Returns the weight of the work.
	pub fn weight<W: WeightInfo>(self) -> Weight {
		W::match_order(self.draws, self.touched, self.reviewed)
	}

	/// Returns the maximum effort of an order with this many draws.
	pub const fn most(draws: u32) -> Self {
		Self {
			draws,
			touched: MAX_TOUCHED,
			reviewed: MAX_REVIEWED,
		}
	}
}

/// Returns draw `j` of an order, `H("kaisar/match", seed, order, j)`: 64 bits for the position, 64 for the
/// lot. The bias of taking a remainder of 64 bits is below 2⁻³².
fn draw(seed: H256, order: OrderId, j: u32) -> (u64, u64) {
	let hash = (b"kaisar/match", seed, order, j).using_encoded(blake2_256);
	let part = |from: usize| {
		hash[from..from + 8]
			.iter()
			.fold(0u64, |number, byte| (number << 8) | u64::from(*byte))
	};
	(part(0), part(8))
}

/// Returns the maximum number of draws from a bucket of `idle` workers to find `wanted` that fit.
pub(crate) fn most_draws(idle: u32, wanted: u32) -> u32 {
	if idle <= wanted {
		idle
	} else {
		wanted.saturating_mul(TRIES)
	}
}

/// Draws from a bucket of `idle` workers until `wanted` of them fit, or [`most_draws`] were drawn. `fits`
/// gets the position and the lot of each, and returns whether it is a new one that fits. Returns the number
/// of draws.
pub(crate) fn draw_until(
	seed: H256,
	order: OrderId,
	idle: u32,
	wanted: u32,
	mut fits: impl FnMut(u32, u64) -> bool,
) -> u32 {
	let most = most_draws(idle, wanted);
	let mut found = 0;
	for j in 0..most {
		let (random, lot) = draw(seed, order, j);
		let position = if idle <= wanted {
			j
		} else {
			(random % u64::from(idle.max(1))) as u32
		};
		found += u32::from(fits(position, lot));
		if found == wanted {
			return j + 1;
		}
	}
	most
}

/// Returns the number that selects a bucket within a class: the number of GPUs; in class 0 the CPU tier.
fn bucket_of(requirement: &Requirement) -> u8 {
	match requirement.gpu_class {
		0 => requirement.min_cpu,
		_ => requirement.gpu_count,
	}
}

/// Returns the conditions of a requirement that a worker fails at this price of a unit and hour.
fn lacks(
	candidate: &Candidate,
	requirement: &Requirement,
	unit_price: Balance,
) -> impl Iterator<Item = Lack> {
	let Candidate {
		profile,
		region,
		price_floor,
		reliability: _,
		arch,
		driver,
		cuda,
	} = candidate;
	let cpu = match requirement.gpu_class {
		// Exactly the tier, since an order pays for the tier that it gets.
		0 => profile.cpu == requirement.min_cpu,
		_ => profile.cpu >= requirement.min_cpu,
	};
	let gpus =
		(profile.gpu_class, profile.gpu_count) == (requirement.gpu_class, requirement.gpu_count);
	let meets = [
		(Lack::Gpus, gpus),
		(Lack::Cpu, cpu),
		(
			Lack::Bandwidth,
			profile.bandwidth >= requirement.min_bandwidth,
		),
		(Lack::Memory, profile.memory >= requirement.min_memory),
		(Lack::Disk, profile.disk >= requirement.min_disk),
		(
			Lack::Region,
			requirement.region.is_none_or(|asked| asked == *region),
		),
		(
			Lack::Arch,
			requirement.arch.is_none_or(|asked| asked == *arch),
		),
		(
			Lack::Driver,
			requirement.min_driver.is_none_or(|least| *driver >= least),
		),
		(
			Lack::Cuda,
			requirement.min_cuda.is_none_or(|least| *cuda >= least),
		),
		(Lack::Price, *price_floor <= unit_price),
	];
	meets.into_iter().filter(|(_, met)| !met).map(|(it, _)| it)
}

/// Returns whether a worker meets a requirement at this price of a unit and hour.
fn fits(candidate: &Candidate, requirement: &Requirement, unit_price: Balance) -> bool {
	lacks(candidate, requirement, unit_price).next().is_none()
}

/// The result of an order's draws.
struct Drawn {
	/// The workers that fit, the best one first.
	candidates: Vec<(Rank, WorkerId)>,
	/// Workers that are listed but cannot be rented: their floor is too high since the reference fell.
	stale: Vec<WorkerId>,
	/// The number of draws.
	draws: u32,
}

impl<T: Config> Pallet<T> {
	/// Puts an order at the queue's end.
	pub(crate) fn enqueue(order: OrderId, placed_at: BlockNumber) -> DispatchResult {
		QueueEnds::<T>::try_mutate(|ends| {
			Queue::<T>::insert(ends.tail, Waiting { order, placed_at });
			ends.tail = ends.tail.ensure_add(1)?;
			Ok(())
		})
	}

	/// Returns the maximum weight of one order's match.
	pub(crate) fn heaviest_match(draws: u32) -> Weight {
		Effort::most(draws).weight::<T::WeightInfo>()
	}

	/// Returns the weight that placing an order is charged for its match: the maximum number of draws, one
	/// worker touched and one reviewed. There can be more of both, but each check is closed once and each
	/// floor unlists once: a customer who places many orders meets none twice.
	pub(crate) fn charged_match() -> Weight {
		let most = Effort {
			draws: most_draws(u32::MAX, Self::match_draws()),
			touched: 1,
			reviewed: 1,
		};
		most.weight::<T::WeightInfo>()
	}

	/// Matches the orders at the queue's head within the budget. Returns the weight used.
	///
	/// The loop ends with the budget, or with the queue: no more turns than orders were placed.
	pub(crate) fn match_orders(now: BlockNumber, seed: Option<H256>, budget: Weight) -> Weight {
		let mut used = T::WeightInfo::match_orders();
		if used.any_gt(budget) {
			return Weight::zero();
		}
		let mut ends = QueueEnds::<T>::get();
		let Some(seed) = seed.filter(|_| ends.head < ends.tail) else {
			return used;
		};
		if T::Checks::census_prepares() {
			return used;
		}
		let from = ends.head;
		while ends.head < ends.tail {
			let look = used.saturating_add(T::WeightInfo::match_look());
			if look.any_gt(budget) {
				break;
			}
			used = look;
			let Some(Waiting {
				order: id,
				placed_at,
			}) = Queue::<T>::get(ends.head)
			else {
				ends.head += 1;
				continue;
			};
			if now < placed_at.saturating_add(MATCH_DELAY) {
				break;
			}
			if let Some(order) = Self::to_match(id) {
				let most = Self::heaviest_match(most_draws(
					Self::idle(&order.requirement),
					Self::match_draws(),
				));
				if used.saturating_add(most).any_gt(budget) {
					break;
				}
				used = used.saturating_add(
					match with_storage_layer(|| Self::match_order(id, order, seed)) {
						Ok(effort) => effort.weight::<T::WeightInfo>(),
						Err(error) => {
							Self::put_aside(id, error);
							most
						}
					},
				);
			}
			Queue::<T>::remove(ends.head);
			ends.head += 1;
		}
		if ends.head != from {
			QueueEnds::<T>::put(ends);
		}
		used
	}

	/// Returns an order if it still has to be matched; `None` if it was canceled meanwhile.
	fn to_match(id: OrderId) -> Option<OrderOf<T>> {
		Orders::<T>::get(id).filter(|order| order.state == OrderState::Matching)
	}

	/// Returns the number of workers in the requirement's bucket.
	fn idle(requirement: &Requirement) -> u32 {
		let Requirement {
			gpu_class, region, ..
		} = requirement;
		T::Workers::idle(*gpu_class, bucket_of(requirement), *region)
	}

	/// Matches one order, or closes it.
	pub(crate) fn match_order(
		id: OrderId,
		mut order: OrderOf<T>,
		seed: H256,
	) -> Result<Effort, DispatchError> {
		let Drawn {
			candidates,
			stale,
			draws,
		} = Self::draw_for(id, &order, seed);
		let mut effort = Effort {
			draws,
			..Default::default()
		};
		for worker in stale {
			effort.reviewed += 1;
			// If the review fails, the worker stays listed and may be drawn and dropped again; no order
			// fails for it.
			let _ = with_storage_layer(|| T::Workers::review(worker));
		}
		let (mut changed, mut passed_over) = (false, false);
		for (_, worker) in candidates {
			if T::Checks::is_open(worker) {
				if effort.touched == MAX_TOUCHED {
					passed_over = true;
					continue;
				}
				// Closing an ended check may change the worker.
				effort.touched += 1;
				T::Checks::touch(worker);
			}
			let candidate = T::Workers::candidate(worker)
				.filter(|it| fits(it, &order.requirement, order.unit_price()));
			let Some(Candidate { price_floor, .. }) = candidate else {
				changed = true;
				continue;
			};
			if with_storage_layer(|| T::Workers::rent(worker, id)).is_ok() {
				Self::assign(id, order, worker, price_floor)?;
				return Ok(effort);
			}
		}
		if changed && passed_over {
			// Closed checks stay closed, so the retries end. Newer orders go first.
			let next = Self::now().saturating_add(1);
			Self::schedule(id, &mut order, next)?;
			Orders::<T>::insert(id, order);
		} else {
			Self::refund_rest(&mut order)?;
			Self::conclude(id, order, CloseReason::NoSuitableWorker)?;
		}
		Ok(effort)
	}

	/// Puts an order that could not be matched yet back into the queue.
	pub(crate) fn match_again(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		Self::enqueue(id, order.placed_at)?;
		order.wake = 0;
		Orders::<T>::insert(id, order);
		Ok(())
	}

	/// Draws workers for an order.
	fn draw_for(id: OrderId, order: &OrderOf<T>, seed: H256) -> Drawn {
		let Requirement {
			gpu_class, region, ..
		} = order.requirement;
		let bucket = bucket_of(&order.requirement);
		let (idle, wanted) = (Self::idle(&order.requirement), Self::match_draws());
		let unit_price = order.unit_price();
		let mut candidates = Vec::<(Rank, WorkerId)>::new();
		let mut stale = Vec::new();
		let draws = draw_until(seed, id, idle, wanted, |position, lot| {
			let Some(worker) = T::Workers::idle_at(gpu_class, bucket, region, position) else {
				return false;
			};
			if candidates.iter().any(|(_, known)| *known == worker) {
				return false;
			}
			let Some(it) = T::Workers::candidate(worker) else {
				if stale.len() < MAX_REVIEWED as usize && !stale.contains(&worker) {
					stale.push(worker);
				}
				return false;
			};
			if fits(&it, &order.requirement, unit_price) {
				let rank = (it.reliability.mul_ceil(8u32), it.profile.bandwidth, lot);
				candidates.push((rank, worker));
				return true;
			}
			false
		});
		candidates.sort_unstable_by(|a, b| b.cmp(a));
		Drawn {
			candidates,
			stale,
			draws,
		}
	}

	/// Returns a page of the workers from which an order would be drawn, as [`Pallet::candidates`] shows it.
	pub(crate) fn do_candidates(
		requirement: &Requirement,
		plan: Plan,
		from: u32,
		limit: u32,
	) -> Result<CandidatePage, DispatchError> {
		Self::ensure_requirement(requirement)?;
		let unit_price = Self::prices_of(requirement.gpu_class)?.of(plan);
		let Requirement {
			gpu_class, region, ..
		} = *requirement;
		let bucket = bucket_of(requirement);
		let idle = Self::idle(requirement);
		let next = from.saturating_add(limit.clamp(1, MAX_PAGE)).min(idle);
		let workers = (from..next)
			.filter_map(|position| {
				let worker = T::Workers::idle_at(gpu_class, bucket, region, position)?;
				let lacks = match T::Workers::candidate(worker) {
					Some(it) => lacks(&it, requirement, unit_price).collect(),
					// The reference price fell below the worker's floor since it was listed.
					None => [Lack::Price].into(),
				};
				Some(CandidateView { worker, lacks })
			})
			.collect();
		Ok(CandidatePage {
			idle,
			workers,
			next: (next < idle).then_some(next),
		})
	}

	/// Returns the blocks that an order's deployment may take: no more than the time bought, whose whole
	/// price a customer pays who holds the machine until the deadline.
	pub(crate) fn deploy_blocks_of(order: &OrderOf<T>) -> BlockNumber {
		let blocks = match order.deploy_blocks {
			0 => Self::deploy_deadline(),
			blocks => blocks.into(),
		};
		blocks.min(order.hours().saturating_mul(HOURS))
	}

	/// Assigns an order to a worker that was rented for it.
	fn assign(
		id: OrderId,
		mut order: OrderOf<T>,
		worker: WorkerId,
		floor: Balance,
	) -> DispatchResult {
		let now = Self::now();
		// The deadline excludes the time that the machine still needs for proofs from before the match.
		let proves_until = T::Checks::proves_until(worker).unwrap_or(now);
		let deploy_by = proves_until
			.max(now)
			.ensure_add(Self::deploy_blocks_of(&order))?;
		order.state = OrderState::Deploying;
		order.worker = Some(worker);
		order.floor = floor;
		order.matched_at = now;
		order.deploy_by = deploy_by;
		Self::schedule(id, &mut order, deploy_by.saturating_add(1))?;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::OrderMatched {
			order: id,
			worker,
			deploy_by,
		});
		Ok(())
	}
}
