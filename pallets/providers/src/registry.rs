//! The pallet as Popw, Orders and Rewards see it: [`Workers`](kaisar_primitives::Workers) and
//! [`Pools`](kaisar_primitives::Pools).

use super::*;
use kaisar_primitives::{
	Closing, Outcome, Pools, Proved, WorkerCounts, WorkerInfo, Workers as Registry,
};

impl<T: Config> Registry<T::AccountId> for Pallet<T> {
	fn info(worker: WorkerId, round: RoundIndex) -> Option<WorkerInfo<T::AccountId>> {
		let record = Workers::<T>::get(worker)?;
		let keys = record.keys_in(round).clone();
		Some(WorkerInfo {
			owner: record.owner,
			key: keys.worker,
			agent: keys.agent,
			standings: record.standings,
			forced: record.forced,
			spec: record.spec,
			profile: record.profile,
			gpu_stood: record.gpu_stood,
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

	fn force(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::do_force(worker, record, round, false);
			Ok(())
		})
	}

	fn attested(worker: WorkerId, round: RoundIndex) -> DispatchResult {
		Self::mutate(worker, |record| {
			Self::use_mark(record, round);
			Ok(())
		})
	}

	fn absent(
		worker: WorkerId,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> Result<Balance, DispatchError> {
		Self::mutate(worker, |record| {
			Self::use_mark(record, closing.round);
			Self::found_offline(worker, record, closing, false, finder);
			Self::after_check(worker, record, closing);
			// Slashes are queued for their deferral: nothing is slashed at once.
			Ok(0)
		})
	}

	fn closed(worker: WorkerId, closing: &Closing) -> Result<Proved, DispatchError> {
		Self::mutate(worker, |record| {
			// Popw tells of the attestation too; a mark that is not used up would make the worker due
			// twice.
			Self::use_mark(record, closing.round);
			let stake = record.pool.bonded().ok_or(ArithmeticError::Overflow)?;
			let (online, rented) = match closing.outcome {
				Outcome::Online {
					profile,
					service,
					gpu_stands,
				} => Self::confirmed(worker, record, closing, profile, service, gpu_stands),
				Outcome::Offline => {
					Self::found_offline(worker, record, closing, true, None);
					(0, 0)
				}
				Outcome::NoConsensus => {
					Self::do_force(worker, record, T::Checks::next_round(), closing.verify_only);
					(0, 0)
				}
			};
			Self::after_check(worker, record, closing);
			let profile = record.profile.unwrap_or_default();
			Ok(Proved {
				online,
				rented,
				stake,
				profile,
			})
		})
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

	/// A committee confirmed the worker online. Returns the online and rented blocks that it proved.
	fn confirmed(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		profile: Profile,
		service: bool,
		gpu_stands: bool,
	) -> (BlockNumber, BlockNumber) {
		let proved = if closing.verify_only {
			record.time = PendingTime::empty(Self::now());
			(0, 0)
		} else {
			record
				.time
				.credit(record.state(), closing.round_start, closing.max_gap)
		};
		record.proved_at = record.proved_at.max(Some(closing.round_start));
		record.profile = Some(profile);
		record.gpu_stood = gpu_stands;

		// A check of a round that saw the worker otherwise says nothing of what it claims now.
		let verifies =
			record.state() == WorkerState::Pending && closing.round >= record.standings.now.since;
		let supported = !verifies || hardware::supports(&profile, &record.spec);
		record.history.push(service && supported);
		if !supported {
			Self::delay_verification(record);
			Self::deposit_event(Event::VerificationFailed { worker, profile });
		} else if verifies {
			record.failures = 0;
			record.retry_from = 0;
			Self::set_state(worker, record, WorkerState::Online);
		}
		proved
	}

	/// The worker was found offline: by a committee, or because it did not attest. Its pending time is
	/// void, and it is away until its owner brings it back.
	fn found_offline(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		attested: bool,
		finder: Option<&T::AccountId>,
	) {
		let state = record.state();
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
		if state != WorkerState::Suspended {
			Self::set_state(worker, record, WorkerState::Offline);
		}
		// Being found once is enough: no other round that saw it online counts any more.
		record.standings.before = None;
	}

	/// Whatever it came to.
	fn after_check(worker: WorkerId, record: &mut RecordOf<T>, closing: &Closing) {
		if closing.false_proof {
			record.false_proofs = record.false_proofs.saturating_add(1);
			Self::deposit_event(Event::FalseProofFound {
				worker,
				round: closing.round,
				in_a_row: record.false_proofs,
			});
		} else {
			record.false_proofs = 0;
		}
		if record.is_gone() {
			Self::release_all_keys(worker, record);
		}
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

	fn commission(pool: PoolId) -> Perbill {
		Self::commission_in(pool, T::CurrentEpoch::get())
	}

	fn commission_in(pool: PoolId, epoch: EpochIndex) -> Perbill {
		let PoolId::Worker(worker) = pool else {
			return Perbill::zero();
		};
		Workers::<T>::get(worker)
			.map(|record| record.commission)
			.or_else(|| DepartedWorkers::<T>::get(worker).map(|departed| departed.commission))
			.map(|commission| commission.in_epoch(epoch))
			.unwrap_or_default()
	}
}
