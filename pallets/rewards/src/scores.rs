//! The contributions of closed checks to the scores, and the tables by which they are weighed.

use crate::{
	CheckerScore, CheckerScorePages, ClassReferences, ClassScores, ClassView, Config, Current,
	Error, Event, Pallet, Table, WorkerScores,
};
use alloc::vec::Vec;
use core::marker::PhantomData;
use frame_support::{
	defensive, ensure,
	storage::with_storage_layer,
	traits::{Defensive, Get},
	weights::Weight,
};
use kaisar_math::{ClassReference, Hardware, ScoreTable, classes::CLASSES, score};
use kaisar_primitives::{
	Checks, ClosedCheck, ClosedSeat, Dated, EpochIndex, GpuClass, GpuClasses, MAX_PAGE, OnClosed,
	OnUnopened, OperatorId, PoolId, Proved, RoundIndex, RunningScore, RunningScores, SeatResult,
	WorkerId,
};
use sp_runtime::{
	DispatchResult,
	traits::{EnsureAdd, EnsureAddAssign, EnsureSub},
};

/// Operators in a page of scores.
pub const SCORE_PAGE: u32 = 32;

/// Running scores of operators, by number.
///
/// They are stored in pages. Every verdict that closes a check credits five operators, and a block of a
/// census credits each of a few thousand operators several times: with one entry each it would write
/// thousands of entries, with pages it writes about a hundred, each once.
pub struct CheckerScores<T>(PhantomData<T>);

impl<T: Config> CheckerScores<T> {
	fn place(operator: OperatorId) -> (u32, usize) {
		(operator / SCORE_PAGE, (operator % SCORE_PAGE) as usize)
	}

	/// Returns an operator's score; `None` if it never had a seat.
	pub fn get(operator: OperatorId) -> Option<CheckerScore> {
		let (page, index) = Self::place(operator);
		CheckerScorePages::<T>::get(page)
			.get(index)
			.copied()
			.filter(|score| *score != CheckerScore::default())
	}

	/// Sets an operator's score.
	pub fn insert(operator: OperatorId, score: CheckerScore) {
		let (page, index) = Self::place(operator);
		CheckerScorePages::<T>::mutate(page, |page| {
			while page.len() <= index {
				if page.try_push(CheckerScore::default()).defensive().is_err() {
					return;
				}
			}
			if let Some(entry) = page.get_mut(index) {
				*entry = score;
			}
		});
	}

	/// Returns all scores, for checks off chain.
	#[cfg(any(
		feature = "try-runtime",
		feature = "runtime-benchmarks",
		feature = "std"
	))]
	pub fn iter_values() -> impl Iterator<Item = CheckerScore> {
		CheckerScorePages::<T>::iter_values()
			.flatten()
			.filter(|score| *score != CheckerScore::default())
	}
}

impl<T: Config> Pallet<T> {
	pub(crate) fn do_proved(worker: WorkerId, proved: &Proved) -> DispatchResult {
		let profile = &proved.profile;
		let class_score = if <Self as GpuClasses>::is_paid(profile.gpu_class) {
			<Self as GpuClasses>::score(profile.gpu_class).unwrap_or(0)
		} else {
			0
		};
		let hardware = Hardware {
			bandwidth: profile.bandwidth,
			cpu: profile.cpu,
			memory: profile.memory,
			disk: profile.disk,
			class_score,
			gpu_count: profile.gpu_count,
		};
		let table = Table::<T>::get();
		let boost = score::boost(proved.stake, T::MaxStake::get());
		let cpu_only = T::CpuOnlyWeight::get();
		let poc = |blocks| {
			table
				.poc(blocks, boost, &hardware, cpu_only)
				.ok_or(Error::<T>::Overflow)
		};
		let (idle, rented) = (poc(proved.idle)?, poc(proved.rented)?);
		let pod = table
			.pod(proved.rented, boost, &hardware, cpu_only)
			.ok_or(Error::<T>::Overflow)?;

		let mut current = Current::<T>::get();
		let mut record = WorkerScores::<T>::get(worker).unwrap_or_default();
		let terms = Self::terms_of(PoolId::Worker(worker));
		Self::roll_worker(worker, &mut record, current.index, &terms)?;
		record.idle.ensure_add_assign(idle)?;
		record.rented.ensure_add_assign(rented)?;
		record.pod.ensure_add_assign(pod)?;
		current.scores.idle.ensure_add_assign(idle)?;
		current.scores.rented.ensure_add_assign(rented)?;
		current.scores.pod.ensure_add_assign(pod)?;
		WorkerScores::<T>::insert(worker, record);
		Current::<T>::put(current);
		Ok(())
	}

	pub(crate) fn do_seat(seat: &ClosedSeat) -> DispatchResult {
		match seat.result {
			SeatResult::Correct => Self::count_seats(seat.operator, seat.weight, seat.weight),
			SeatResult::Dissenting | SeatResult::Missed => {
				Self::count_seats(seat.operator, 0, seat.weight)
			}
			SeatResult::Abstained => Ok(()),
		}
	}

	/// Counts `seats` of an operator, `correct` of which voted with the outcome.
	fn count_seats(operator: OperatorId, correct: u32, seats: u32) -> DispatchResult {
		let mut current = Current::<T>::get();
		let mut record = CheckerScores::<T>::get(operator).unwrap_or_default();
		let terms = Self::terms_of(PoolId::Checker(operator));
		Self::roll_checker(operator, &mut record, current.index, &terms)?;
		let old = record.score();
		// Saturating: more than 2³² missed seats are not worse than that many.
		record.seats = record.seats.saturating_add(seats);
		record.correct = record.correct.saturating_add(correct);
		// By difference, since a wrong seat lowers the score.
		current.scores.checkers = current
			.scores
			.checkers
			.ensure_sub(old)?
			.ensure_add(record.score())?;
		CheckerScores::<T>::insert(operator, record);
		Current::<T>::put(current);
		Ok(())
	}

	pub(crate) fn do_set_score_table(table: ScoreTable) -> DispatchResult {
		ensure!(table.is_valid(), Error::<T>::InvalidScoreTable);
		let old = Table::<T>::get();
		Table::<T>::put(table);
		Self::deposit_event(Event::ScoreTableSet { old, new: table });
		Ok(())
	}

	pub(crate) fn do_set_class_score(class: GpuClass, new: u32) -> DispatchResult {
		ensure!(
			class > 0 && new <= score::MAX_CLASS_SCORE,
			Error::<T>::InvalidClassScore
		);
		let old = ClassScores::<T>::get(class);
		ClassScores::<T>::insert(class, new);
		Self::deposit_event(Event::ClassScoreSet { class, old, new });
		Ok(())
	}

	/// Returns a page of classes, as [`Pallet::classes`] shows them.
	pub(crate) fn classes_from(from: GpuClass, limit: u32) -> Vec<ClassView> {
		let page = (from..=GpuClass::MAX).take(limit.min(MAX_PAGE) as usize);
		page.filter_map(|gpu_class| {
			let known = CLASSES.iter().find(|known| known.id == gpu_class);
			Some(ClassView {
				gpu_class,
				name: known.map(|known| known.name.into()),
				memory_gb: known.map(|known| known.memory_gb),
				score: ClassScores::<T>::get(gpu_class)?,
				reference: Self::newest_reference(gpu_class),
				paid: <Self as GpuClasses>::is_paid(gpu_class),
			})
		})
		.collect()
	}

	pub(crate) fn newest_reference(class: GpuClass) -> Option<ClassReference> {
		ClassReferences::<T>::get(class).last()?.value
	}

	pub(crate) fn do_set_class_reference(
		class: GpuClass,
		new: Option<ClassReference>,
	) -> DispatchResult {
		ensure!(
			ClassScores::<T>::contains_key(class),
			Error::<T>::UnknownClass
		);
		ensure!(
			new.is_none_or(|reference| reference.is_valid()),
			Error::<T>::InvalidClassReference
		);
		let from = T::Checks::next_round();
		let oldest = T::Checks::oldest_round();
		let mut all = ClassReferences::<T>::get(class);
		let old = all.last().and_then(|dated| dated.value);
		// A reference set earlier for the same coming round is replaced; one that measures no unfinished
		// round is removed.
		all.retain(|dated| dated.since < from);
		let needed = all.iter().rposition(|dated| dated.since <= oldest);
		all.drain(..needed.unwrap_or(0));
		all.try_push(Dated {
			value: new,
			since: from,
		})
		.map_err(|_| Error::<T>::TooManyReferences)?;
		ClassReferences::<T>::insert(class, all);
		Self::deposit_event(Event::ClassReferenceSet {
			class,
			old,
			new,
			from,
		});
		Ok(())
	}
}

impl<T: Config> OnClosed for Pallet<T> {
	/// Scores the proved time and the seats. The weight of closing a check includes this.
	fn on_closed(check: &ClosedCheck) -> Weight {
		let ClosedCheck {
			worker,
			proved,
			seats,
			..
		} = *check;
		if (proved.idle > 0 || proved.rented > 0)
			&& let Err(error) = with_storage_layer(|| Self::do_proved(worker, &proved))
		{
			defensive!(
				"the time that a check proves can be scored",
				(worker, error)
			);
		}
		for seat in seats {
			if let Err(error) = with_storage_layer(|| Self::do_seat(seat)) {
				defensive!("a seat can be scored", (seat, error));
			}
		}
		Weight::zero()
	}

	fn max_weight() -> Weight {
		Weight::zero()
	}
}

impl<T: Config> OnUnopened for Pallet<T> {
	/// Counts the missed seats as errors. The weight of finding them includes this.
	fn on_unopened(operator: OperatorId, missed: u32) {
		if missed == 0 {
			return;
		}
		if let Err(error) = with_storage_layer(|| Self::count_seats(operator, 0, missed)) {
			defensive!("missed seats can be counted", (operator, error));
		}
	}
}

impl<T: Config> GpuClasses for Pallet<T> {
	fn score(class: GpuClass) -> Option<u32> {
		if class == 0 {
			Some(0)
		} else {
			ClassScores::<T>::get(class)
		}
	}

	/// Returns whether the class has a score, and a calibrated reference unless uncalibrated classes are
	/// paid.
	fn is_paid(class: GpuClass) -> bool {
		<Self as GpuClasses>::score(class).is_some()
			&& (class == 0
				|| T::PayUncalibrated::get()
				|| Self::newest_reference(class).is_some_and(|reference| reference.calibrated))
	}

	fn reference(class: GpuClass, round: RoundIndex) -> Option<ClassReference> {
		ClassReferences::<T>::get(class)
			.iter()
			.rev()
			.find(|dated| dated.since <= round)?
			.value
	}
}

impl<T: Config> RunningScores for Pallet<T> {
	fn of_worker(worker: WorkerId) -> Option<RunningScore> {
		let score = WorkerScores::<T>::get(worker)?;
		Some(RunningScore {
			epoch: score.epoch,
			idle: score.idle,
			rented: score.rented,
			pod: score.pod,
		})
	}
}

/// The running epoch.
impl<T: Config> Get<EpochIndex> for Pallet<T> {
	fn get() -> EpochIndex {
		Current::<T>::get().index
	}
}
