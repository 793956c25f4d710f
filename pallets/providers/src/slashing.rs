//! Slashes: queued by what checks find or by hand, cancelled, applied.
//!
//! A slash of level 1 or 2 waits for the deferral. Until then governance may cancel it, and a later
//! finding of the same level is added to it, without moving its day: a worker cannot put it off by
//! being found again. From then on anyone may apply it. Findings charge for disjoint spans of time, each at
//! the level's rate of what the pool held when it was made, so that together they never exceed the rate
//! over the time covered.
//!
//! While a slash waits, nobody can move behind others what it would take
//! ([`Error::SlashPending`]): it is enough that what is slashed before covers it.

use super::*;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::tokens::Provenance;
use kaisar_math::stake::{
	MALICE_RATE, OFFLINE_RATE, bounty, malice_charge, slash_by_time, slash_over,
};
use kaisar_primitives::{Closing, Pot, Pots};
use scale_info::TypeInfo;

/// A slash's number. Dense from 0.
pub type SlashId = u32;

/// How bad what a worker did is.
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
pub enum SlashLevel {
	/// Found offline while `Online` or `Rented`: 10 % of the pool for each 24 h since its last proof, at
	/// most 10 % a check.
	One,
	/// Malice or mass error: 50 % for each 24 h, the first at once.
	Two,
	/// A serious security risk to the network: all of it, at once.
	Three,
}

/// A slash that waits.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct QueuedSlash<AccountId> {
	/// Whose pool.
	pub worker: WorkerId,
	/// Its level.
	pub level: SlashLevel,
	/// How much of the pool, in the order of [`StakePool`].
	pub amount: Balance,
	/// The first block in which it may be applied; up to it, it may be cancelled and added to.
	pub due: BlockNumber,
	/// The account that found the fault, if one did: it shares the bounty.
	pub finder: Option<AccountId>,
}

/// What of a worker's pool is queued to be slashed.
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
pub struct Queued {
	/// All of it.
	#[codec(compact)]
	pub amount: Balance,
	/// The slash to which a later finding of level 1 is added.
	pub offline: Option<SlashId>,
	/// The slash to which a later finding of level 2 is added.
	pub malice: Option<SlashId>,
}

impl Queued {
	/// The slash to which findings of a level are added. None for level 3, which never waits.
	pub fn of(&mut self, level: SlashLevel) -> Option<&mut Option<SlashId>> {
		match level {
			SlashLevel::One => Some(&mut self.offline),
			SlashLevel::Two => Some(&mut self.malice),
			SlashLevel::Three => None,
		}
	}

	/// A slash is not queued any more.
	pub fn forget(&mut self, id: SlashId) {
		self.offline = self.offline.filter(|kept| *kept != id);
		self.malice = self.malice.filter(|kept| *kept != id);
	}
}

/// The time that checks in a row found a worker's proof false for.
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
pub struct FalseTime {
	/// The start of the first round.
	pub since: BlockNumber,
	/// Blocks that slashes were queued for.
	#[codec(compact)]
	pub charged: BlockNumber,
}

/// The calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_slash(worker: WorkerId, level: SlashLevel) -> DispatchResult {
		let mut record = Self::touched(worker)?;
		let total = record.pool.total()?;
		let amount = match level {
			SlashLevel::One => OFFLINE_RATE.mul_floor(total),
			SlashLevel::Two => MALICE_RATE.mul_floor(total),
			SlashLevel::Three => total,
		};
		ensure!(amount > 0, Error::<T>::NothingToSlash);
		if level == SlashLevel::Three {
			Self::slash_now(worker, &mut record, None, level, amount, None, None)?;
		} else {
			// A slash of its own, so that cancelling it leaves alone what checks found.
			let slash = Self::slash_of(worker, level, amount, None);
			Self::enqueue(&mut record, slash)?;
		}
		Self::store(worker, record)
	}

	pub(crate) fn do_cancel_slash(id: SlashId) -> DispatchResult {
		let (slash, mut record) = Self::touched_slash(id)?;
		ensure!(Self::now() < slash.due, Error::<T>::DeferralOver);
		let QueuedSlash {
			worker,
			level,
			amount,
			..
		} = slash;
		Self::unqueue(&mut record, id, amount)?;
		Slashes::<T>::remove(id);
		Self::deposit_event(Event::SlashCancelled {
			slash: id,
			worker,
			level,
			amount,
		});
		Self::store(worker, record)
	}

	pub(crate) fn do_apply_slash(who: T::AccountId, id: SlashId) -> DispatchResult {
		let (slash, mut record) = Self::touched_slash(id)?;
		ensure!(Self::now() >= slash.due, Error::<T>::SlashDeferred);
		let QueuedSlash {
			worker,
			level,
			amount,
			finder,
			..
		} = slash;
		Self::unqueue(&mut record, id, amount)?;
		Slashes::<T>::remove(id);
		let (finder, who) = (finder.as_ref(), Some(&who));
		Self::slash_now(worker, &mut record, Some(id), level, amount, finder, who)?;
		Self::store(worker, record)
	}
}

/// What checks and orders find.
impl<T: Config> Pallet<T> {
	/// The worker was not there, or not at work, at block `at`: level 1, for the time since its last proof.
	pub(crate) fn slash_absence(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		proved_at: Option<BlockNumber>,
		at: BlockNumber,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let Some(blocks) = proved_at.and_then(|proved| at.checked_sub(proved)) else {
			return Ok(());
		};
		let total = record.pool.total()?;
		let amount = slash_by_time(total, OFFLINE_RATE, blocks).ok_or(ArithmeticError::Overflow)?;
		Self::found(worker, record, SlashLevel::One, amount, finder)
	}

	/// A check found the worker's proof false. From the second one in a row on that is level 2: for a day
	/// at once, and when it goes on, for the time since the first.
	pub(crate) fn slash_false_proof(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let mut time = record.false_time.unwrap_or(FalseTime {
			since: closing.round_start,
			charged: 0,
		});
		if record.false_proofs >= 2 {
			let lasted = closing.round_start.saturating_sub(time.since);
			let all = malice_charge(lasted).max(time.charged);
			let blocks = all.saturating_sub(core::mem::replace(&mut time.charged, all));
			let total = record.pool.total()?;
			let amount = slash_over(total, MALICE_RATE, blocks).ok_or(ArithmeticError::Overflow)?;
			Self::found(worker, record, SlashLevel::Two, amount, finder)?;
		}
		record.false_time = Some(time);
		Ok(())
	}

	/// Queues a slash for what was found, or adds it to the one that is queued for the same cause.
	fn found(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		level: SlashLevel,
		amount: Balance,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		// No more can be slashed than there is.
		let total = record.pool.total()?;
		let Some(amount) = total
			.checked_sub(record.queued.amount)
			.map(|free| amount.min(free))
			.filter(|amount| *amount > 0)
		else {
			return Ok(());
		};
		let queued = record
			.queued
			.of(level)
			.and_then(|id| *id)
			.and_then(|id| Some((id, Slashes::<T>::get(id)?)))
			.filter(|(_, slash)| Self::now() < slash.due);
		match queued {
			Some((id, slash)) => Self::add(record, id, slash, amount, finder),
			None => {
				let slash = Self::slash_of(worker, level, amount, finder);
				let id = Self::enqueue(record, slash)?;
				if let Some(kept) = record.queued.of(level) {
					*kept = Some(id);
				}
				Ok(())
			}
		}
	}
}

/// The queue.
impl<T: Config> Pallet<T> {
	/// A slash that is queued, and the record of its worker, which is touched first: a check that this
	/// closes may add to the slash.
	fn touched_slash(
		id: SlashId,
	) -> Result<(QueuedSlash<T::AccountId>, RecordOf<T>), DispatchError> {
		let unknown = Error::<T>::UnknownSlash;
		let worker = Slashes::<T>::get(id).ok_or(unknown)?.worker;
		let record = Self::touched(worker)?;
		let slash = Slashes::<T>::get(id).ok_or(Error::<T>::UnknownSlash)?;
		Ok((slash, record))
	}

	fn slash_of(
		worker: WorkerId,
		level: SlashLevel,
		amount: Balance,
		finder: Option<&T::AccountId>,
	) -> QueuedSlash<T::AccountId> {
		QueuedSlash {
			worker,
			level,
			amount,
			// A check is closed whatever the parameter says.
			due: Self::now().saturating_add(T::SlashDeferral::get()),
			finder: finder.cloned(),
		}
	}

	/// Queues a slash.
	fn enqueue(
		record: &mut RecordOf<T>,
		slash: QueuedSlash<T::AccountId>,
	) -> Result<SlashId, DispatchError> {
		let id = NextSlashId::<T>::get();
		let next = id.ensure_add(1)?;
		record.queued.amount = record.queued.amount.ensure_add(slash.amount)?;
		NextSlashId::<T>::put(next);
		Self::deposit_event(Event::SlashQueued {
			slash: id,
			worker: slash.worker,
			level: slash.level,
			added: slash.amount,
			amount: slash.amount,
			due: slash.due,
		});
		Slashes::<T>::insert(id, slash);
		Ok(id)
	}

	/// Adds to a slash that is queued. Its day stays, and so does whoever found it first.
	fn add(
		record: &mut RecordOf<T>,
		id: SlashId,
		mut slash: QueuedSlash<T::AccountId>,
		amount: Balance,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		record.queued.amount = record.queued.amount.ensure_add(amount)?;
		slash.amount = slash.amount.ensure_add(amount)?;
		slash.finder = slash.finder.or(finder.cloned());
		Self::deposit_event(Event::SlashQueued {
			slash: id,
			worker: slash.worker,
			level: slash.level,
			added: amount,
			amount: slash.amount,
			due: slash.due,
		});
		Slashes::<T>::insert(id, slash);
		Ok(())
	}

	/// A slash is not queued any more.
	fn unqueue(record: &mut RecordOf<T>, id: SlashId, amount: Balance) -> DispatchResult {
		record.queued.amount = record
			.queued
			.amount
			.checked_sub(amount)
			.defensive()
			.ok_or(Error::<T>::Defensive)?;
		record.queued.forget(id);
		Ok(())
	}

	/// Slashes `amount` of the pool, or all that is there, and pays it out: the bounty to whoever found the
	/// fault and whoever applied the slash, the rest to the provider pot. The caller writes the record.
	fn slash_now(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		slash: Option<SlashId>,
		level: SlashLevel,
		amount: Balance,
		finder: Option<&T::AccountId>,
		applier: Option<&T::AccountId>,
	) -> DispatchResult {
		let taken = Self::change_pool(worker, record, |record| Ok(record.pool.slash(amount)))?;
		let total = taken.total()?;
		let Slashed {
			own,
			own_unbonding,
			delegated,
			unbonding,
		} = taken;
		Self::deposit_event(Event::Slashed {
			worker,
			slash,
			level,
			own,
			own_unbonding,
			delegated,
			unbonding,
		});

		let mut left = total;
		if let Some(applier) = applier {
			let (found, applied) = bounty(total, T::SlashBounty::get(), finder.is_some());
			for (who, part) in [(finder, found), (Some(applier), applied)] {
				let paid = Self::pay_bounty(worker, who, part)?;
				left = left.ensure_sub(paid)?;
			}
		}
		if left > 0 {
			T::Pots::put(Pot::Providers, &Self::pot(), left)?;
		}

		if !record.is_gone() {
			let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
			record.short = record.pool.own < minimum;
			// A customer keeps what is rented; it is suspended when the order closes.
			if record.short && record.state() != WorkerState::Rented {
				Self::leave(worker, record, WorkerState::Suspended);
			}
		}
		Ok(())
	}

	/// Pays a bounty, and returns what was paid: nothing to an account that it would not bring to life.
	fn pay_bounty(
		worker: WorkerId,
		who: Option<&T::AccountId>,
		amount: Balance,
	) -> Result<Balance, DispatchError> {
		let Some(who) = who.filter(|_| amount > 0) else {
			return Ok(0);
		};
		let can = T::Currency::can_deposit(who, amount, Provenance::Extant);
		if can.into_result().is_err() {
			return Ok(0);
		}
		T::Currency::transfer(&Self::pot(), who, amount, Preservation::Expendable)?;
		Self::deposit_event(Event::BountyPaid {
			worker,
			who: who.clone(),
			amount,
		});
		Ok(amount)
	}
}
