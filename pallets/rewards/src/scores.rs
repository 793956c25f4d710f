//! What closed checks and paid fees add to the scores, and the tables that they are weighed with.

use crate::{
	CheckerScore, CheckerScorePages, ClassReferences, ClassScores, Config, Current, DatedReference,
	Error, Event, Pallet, Table, WorkerScores, add, sub,
};
use core::marker::PhantomData;
use frame_support::{
	defensive, ensure,
	storage::with_storage_layer,
	traits::{Defensive, Get},
};
use kaisar_math::{ClassReference, Hardware, ScoreTable, score};
use kaisar_primitives::{Checks, GpuClass, OnClosed, OperatorId, Proved, RoundIndex, WorkerId};
use sp_runtime::{ArithmeticError, DispatchError, DispatchResult};

/// Operators in a page of scores.
pub const SCORE_PAGE: u32 = 32;

/// Running scores of operators, by number.
///
/// They lie in pages. Every verdict that closes a check credits five operators, and a block of a census
/// credits each of a few thousand operators several times: with an entry each it would write thousands
/// of them, with pages it writes about a hundred, each once.
pub struct CheckerScores<T>(PhantomData<T>);

impl<T: Config> CheckerScores<T> {
	fn place(operator: OperatorId) -> (u32, usize) {
		(operator / SCORE_PAGE, (operator % SCORE_PAGE) as usize)
	}

	/// An operator's score; `None` if it never had a seat.
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

	/// All scores, for checks off chain.
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
	/// The score of one GPU of a class, in hundredths: 0 without a GPU, `None` for an unknown class.
	pub fn score_of_class(class: GpuClass) -> Option<u32> {
		if class == 0 {
			Some(0)
		} else {
			ClassScores::<T>::get(class)
		}
	}

	fn do_proved(worker: WorkerId, proved: &Proved) -> DispatchResult {
		let profile = &proved.profile;
		let hardware = Hardware {
			bandwidth: profile.bandwidth,
			cpu: profile.cpu,
			memory: profile.memory,
			disk: profile.disk,
			class_score: Self::score_of_class(profile.gpu_class).unwrap_or(0),
			gpu_count: profile.gpu_count,
		};
		let table = Table::<T>::get();
		let boost = score::boost(proved.stake, T::MaxStake::get());
		let poc = table
			.poc(proved.online, boost, &hardware)
			.ok_or(Error::<T>::Overflow)?;
		let pod = table
			.pod(proved.rented, boost, &hardware)
			.ok_or(Error::<T>::Overflow)?;

		let mut current = Current::<T>::get();
		let mut record = WorkerScores::<T>::get(worker).unwrap_or_default();
		Self::roll_worker(worker, &mut record, current.index)?;
		record.poc = add(record.poc, poc)?;
		record.pod = add(record.pod, pod)?;
		current.scores.poc = add(current.scores.poc, poc)?;
		current.scores.pod = add(current.scores.pod, pod)?;
		WorkerScores::<T>::insert(worker, record);
		Current::<T>::put(current);
		Ok(())
	}

	fn do_seat(operator: OperatorId, correct: bool) -> DispatchResult {
		let mut current = Current::<T>::get();
		let mut record = CheckerScores::<T>::get(operator).unwrap_or_default();
		Self::roll_checker(operator, &mut record, current.index)?;
		let old = record.score();
		let overflow = || DispatchError::from(ArithmeticError::Overflow);
		record.seats = record.seats.checked_add(1).ok_or_else(overflow)?;
		record.correct = record
			.correct
			.checked_add(correct.into())
			.ok_or_else(overflow)?;
		// By difference: a wrong seat lowers the score.
		current.scores.checkers = add(sub(current.scores.checkers, old)?, record.score())?;
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

	/// What one GPU of a class is held to in a round that is not over, or in one to come.
	pub fn reference_in(class: GpuClass, round: RoundIndex) -> Option<ClassReference> {
		ClassReferences::<T>::get(class)
			.iter()
			.rev()
			.find(|dated| dated.from <= round)?
			.reference
	}

	pub(crate) fn newest_reference(class: GpuClass) -> Option<ClassReference> {
		ClassReferences::<T>::get(class).last()?.reference
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
		let old = all.last().and_then(|dated| dated.reference);
		// What was set for the round that has not started is replaced; what no round that is not over is
		// measured by goes.
		all.retain(|dated| dated.from < from);
		let needed = all.iter().rposition(|dated| dated.from <= oldest);
		all.drain(..needed.unwrap_or(0));
		all.try_push(DatedReference {
			from,
			reference: new,
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
	fn on_proved(worker: WorkerId, proved: &Proved) {
		if let Err(error) = with_storage_layer(|| Self::do_proved(worker, proved)) {
			defensive!("what a check proves can be scored", (worker, error));
		}
	}

	fn on_seat(operator: OperatorId, correct: bool) {
		if let Err(error) = with_storage_layer(|| Self::do_seat(operator, correct)) {
			defensive!("a seat can be scored", (operator, error));
		}
	}
}
