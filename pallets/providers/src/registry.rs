//! The pallet as its partners see it: [`WorkerRegistry`] for all of them, [`CheckedWorkers`] for Popw,
//! [`Market`] for Orders, [`Pools`] for Rewards.

use super::*;
use kaisar_primitives::{
	Candidate, CheckedWorkers, Closing, OrderId, Outcome, PoolTerms, PoolValue, Pools, Proved,
	WorkerCounts, WorkerInfo, WorkerRegistry,
};

impl<T: Config> WorkerRegistry<T::AccountId> for Pallet<T> {
	fn info(worker: WorkerId, round: RoundIndex) -> Option<WorkerInfo<T::AccountId>> {
		let record = Workers::<T>::get(worker)?;
		let keys = record.keys.at_or_oldest(round).clone();
		Some(WorkerInfo {
			owner: record.owner,
			key: keys.worker,
			agent: keys.agent,
			standings: record.standings,
			forced: record.forced,
			spec: record.spec,
			profile: record.profile,
			order: record.order,
		})
	}

	fn by_key(key: &WorkerKey) -> Option<WorkerId> {
		WorkerByKey::<T>::get(key)
	}

	fn counts() -> WorkerCounts {
		let StateCounts { online, rented, .. } = Counts::<T>::get();
		WorkerCounts {
			registered: NextWorkerId::<T>::get(),
			online,
			rented,
		}
	}

	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(owner: &T::AccountId, key: WorkerKey, agent: AgentKey) -> WorkerId {
		let spec = WorkerSpec {
			region: *b"DE",
			..Default::default()
		};
		let stake = T::BaseStake::get();
		T::Consideration::ensure_successful(owner, Self::footprint());
		let _ = T::Currency::mint_into(&Self::pot(), stake).defensive();
		let keys = WorkerKeys { worker: key, agent };
		Self::insert(owner, spec, keys, stake).defensive_unwrap_or_default()
	}
}

impl<T: Config> CheckedWorkers<T::AccountId> for Pallet<T> {
	fn force(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::do_force(worker, record, round, false);
			Ok(())
		})
	}

	fn postpone(worker: WorkerId, from: RoundIndex, to: RoundIndex) -> DispatchResult {
		Self::mutate(worker, |record| {
			if let Some(forced) = record.forced.filter(|forced| forced.round == from) {
				Self::set_forced(
					worker,
					record,
					Forced {
						round: to,
						..forced
					},
				);
			}
			Ok(())
		})
	}

	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		let mut record = Workers::<T>::get(worker).ok_or(Error::<T>::UnknownWorker)?;
		// In a census there is no mark to use up, and nothing to write.
		if record.forced.is_some_and(|forced| forced.round == round) {
			Self::use_mark(&mut record, round);
			Workers::<T>::insert(worker, record);
		}
		Ok(())
	}

	fn absent(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::use_mark(record, closing.round);
			Self::found_offline(worker, record, closing, false, finder)?;
			Self::after_check(worker, record, closing, finder)
		})
	}

	fn closed(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> Result<Proved, DispatchError> {
		Self::mutate(worker, |record| {
			// Popw tells of the attestation too; a mark that is not used up would make the worker due
			// twice.
			Self::use_mark(record, closing.round);
			let stake = record.pool.bonded()?;
			let (idle, rented) = match closing.outcome {
				Outcome::Online { profile, service } => {
					let what = Found { profile, service };
					Self::confirmed(worker, record, closing, what, finder)?
				}
				Outcome::Offline => {
					Self::found_offline(worker, record, closing, true, finder)?;
					(0, 0)
				}
				Outcome::NoConsensus => {
					Self::do_force(worker, record, T::Checks::next_round(), closing.credit == 0);
					(0, 0)
				}
			};
			Self::after_check(worker, record, closing, finder)?;
			let profile = record.profile.unwrap_or_default();
			Ok(Proved {
				idle,
				rented,
				stake,
				profile,
			})
		})
	}
}

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
		let record = Workers::<T>::get(worker)?;
		let idle = record.state() == WorkerState::Online && record.barred_until <= Self::now();
		Some(Candidate {
			profile: record.profile.filter(|_| idle)?,
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
			record.order = Some(order);
			Self::set_state(worker, record, WorkerState::Rented);
			Ok(())
		})
	}

	fn free(worker: WorkerId, _unproved: bool) -> DispatchResult {
		Self::mutate(worker, |record| {
			ensure!(
				record.state() == WorkerState::Rented,
				Error::<T>::WrongState
			);
			record.order = None;
			if record.short {
				Self::leave(worker, record, WorkerState::Suspended);
			} else {
				Self::set_state(worker, record, WorkerState::Online);
				Self::do_force(worker, record, T::Checks::next_round(), false);
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

	fn review(_worker: WorkerId) -> DispatchResult {
		Ok(())
	}

	fn bar(worker: WorkerId, until: BlockNumber) -> DispatchResult {
		Self::mutate(worker, |record| {
			record.history.push(false);
			record.barred_until = record.barred_until.max(until);
			Ok(())
		})
	}

	fn fault(worker: WorkerId) -> DispatchResult {
		Self::mutate(worker, |record| {
			let (proved_at, now) = (record.proved_at, Self::now());
			Self::slash_absence(worker, record, proved_at, now, None)
		})
	}

	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_verify(worker: WorkerId, profile: Profile) {
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

/// What a committee found of a worker that it found online.
struct Found {
	profile: Option<Profile>,
	service: bool,
}

/// What a check comes to for its worker.
impl<T: Config> Pallet<T> {
	/// The worker is due in `round`, unless it is due already, or away. One that is `Pending` is only
	/// verified, whoever asks: time that was pending when it changed or left is never credited.
	fn do_force(worker: WorkerId, record: &mut RecordOf<T>, round: RoundIndex, verify_only: bool) {
		let verify_only = match record.state() {
			WorkerState::Online | WorkerState::Rented => verify_only,
			WorkerState::Pending => true,
			WorkerState::Offline | WorkerState::Suspended => return,
		};
		if record
			.forced
			.is_none_or(|forced| forced.round < T::Checks::oldest_round())
		{
			Self::set_forced(worker, record, Forced { round, verify_only });
		}
	}

	/// A check of the worker was opened in `round`, or it was reported that there was none.
	fn use_mark(record: &mut RecordOf<T>, round: RoundIndex) {
		record.forced = record.forced.filter(|forced| forced.round != round);
	}

	/// A committee confirmed the worker online. Returns the online and rented blocks that it proved:
	/// none by a proof that was found false, and no rented ones if the customer's container did not answer.
	fn confirmed(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		found: Found,
		finder: Option<&T::AccountId>,
	) -> Result<(BlockNumber, BlockNumber), DispatchError> {
		let Found { profile, service } = found;
		let profile = profile.or(record.profile).unwrap_or_default();
		let (online, rented) = if closing.credit == 0 || closing.false_proof {
			record.time = PendingTime::empty(Self::now());
			(0, 0)
		} else {
			record
				.time
				.credit(record.state(), closing.round_start, closing.credit)
		};
		let proved_before = record.proved_at;
		record.proved_at = record.proved_at.max(Some(closing.round_start));
		Self::set_profile(worker, record, profile);

		// A check of a round that saw the worker otherwise says nothing of what it claims now.
		let verifies =
			record.state() == WorkerState::Pending && closing.round >= record.standings.now.since;
		let supported = !verifies || hardware::supports(&profile, &record.spec);
		// An order that was closed meanwhile has been dealt with, and one that began after the round was
		// nobody's to look at.
		let down = !service
			&& record.state() == WorkerState::Rented
			&& closing.round >= record.standings.now.since;
		record.history.push(!down && supported);
		if !supported {
			Self::delay_verification(record);
			Self::deposit_event(Event::VerificationFailed { worker, profile });
		} else if verifies {
			record.failures = 0;
			record.retry_from = 0;
			Self::set_state(worker, record, WorkerState::Online);
		}
		if !down {
			return Ok((online, if service { rented } else { 0 }));
		}
		Self::deposit_event(Event::ServiceDown {
			worker,
			round: closing.round,
			last_proof: proved_before,
		});
		let at = closing.round_start;
		Self::slash_absence(worker, record, proved_before, at, finder)?;
		Ok((online, 0))
	}

	/// The worker was found offline: by a committee, or because it did not attest. Its pending time is
	/// void, and it is away until its owner brings it back.
	fn found_offline(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		attested: bool,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let state = record.state();
		let earned = matches!(
			record.standings.at(closing.round).copied(),
			Some(WorkerState::Online | WorkerState::Rented)
		);
		record.time = PendingTime::empty(Self::now());
		record.history.push(false);
		record.forced = None;
		Self::deposit_event(Event::FoundOffline {
			worker,
			round: closing.round,
			state,
			last_proof: record.proved_at,
			attested,
			finder: finder.cloned(),
		});
		if state == WorkerState::Pending && closing.round >= record.standings.now.since {
			Self::delay_verification(record);
		}
		// It loses the order that it serves.
		record.order = None;
		if record.short && state == WorkerState::Rented {
			Self::set_state(worker, record, WorkerState::Suspended);
		} else if state != WorkerState::Suspended {
			Self::set_state(worker, record, WorkerState::Offline);
		}
		// Being found once is enough: no other round that saw it online counts any more.
		record.standings.before = None;
		if earned {
			let (proved_at, at) = (record.proved_at, closing.round_start);
			Self::slash_absence(worker, record, proved_at, at, finder)?;
		}
		Ok(())
	}

	/// Whatever it came to.
	fn after_check(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		if closing.false_proof {
			record.false_proofs = record.false_proofs.saturating_add(1);
			Self::deposit_event(Event::FalseProofFound {
				worker,
				round: closing.round,
				in_a_row: record.false_proofs,
			});
			Self::slash_false_proof(worker, record, closing, finder)?;
		} else if closing.outcome != Outcome::NoConsensus {
			record.false_proofs = 0;
			record.false_time = None;
		}
		if record.is_gone() {
			Self::release_all_keys(worker, record);
		}
		Ok(())
	}
}

impl<T: Config> Pools<T::AccountId> for Pallet<T> {
	fn owner(pool: PoolId) -> Option<T::AccountId> {
		let PoolId::Worker(worker) = pool else {
			return None;
		};
		Workers::<T>::get(worker)
			.map(|record| record.owner)
			.or_else(|| DepartedWorkers::<T>::get(worker).map(|departed| departed.owner))
	}

	/// Of a worker that was deregistered, the owner's part is 0, and its delegators' shares stay theirs until
	/// they withdraw.
	fn terms(pool: PoolId) -> PoolTerms {
		let PoolId::Worker(worker) = pool else {
			return PoolTerms::default();
		};
		Workers::<T>::get(worker)
			.map(|record| record.terms())
			.or_else(|| {
				DepartedWorkers::<T>::get(worker).map(|departed| PoolTerms {
					value: PoolValue::default(),
					commission: departed.commission,
				})
			})
			.unwrap_or_default()
	}

	fn shares(pool: PoolId, who: &T::AccountId) -> u128 {
		match pool {
			PoolId::Worker(worker) => Delegations::<T>::get(worker, who),
			PoolId::Checker(_) => 0,
		}
	}
}
