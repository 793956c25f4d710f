//! Slashes: queued by checks' findings or by hand, canceled, applied.
//!
//! A slash of level 1 or 2 is a *rate*, and waits for the deferral. Until then governance may cancel it.
//! After that anyone may apply it, and it takes its rate of every part of the pool as the pool is at that
//! time. So stake that leaves before then does not raise the others' loss, and stake that remains does not
//! lower it.
//!
//! **Several findings.** A later finding of the same level adds its rate to the queued slash, up to one,
//! and does not move its due block: a worker cannot put off a slash by being found again. Slashes of
//! different causes are applied one after another, each to the remainder of the others. In either case
//! together they take no more than the sum of their rates.
//!
//! **A span of time is charged once.** The record keeps the last block charged
//! ([`charged_to`](WorkerRecord::charged_to)). Level 1 charges from there, or from the last proof if that
//! is later. Level 2 charges by difference: its rate for the time since the first false proof, less the
//! amount that either level has charged for that time ([`FalseProofs`]).
//!
//! **While a slash is queued**, delegators cannot join, and stake can be withdrawn only once it has been
//! unbonded for the deferral and a day ([`Error::SlashPending`]). So stake that unbonds between a finding
//! and its slash's due block is still in the pool at that block, and no chain of slashes holds an account's
//! stake for longer.

use super::*;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::tokens::Provenance;
use kaisar_math::stake::{MALICE_RATE, bounty, malice_rate, offline_rate, rate_over};
use kaisar_primitives::{Closing, Outcome, Pot, Pots};
use scale_info::TypeInfo;
use sp_runtime::{Perquintill, traits::Saturating};

/// The number of consecutive checks with a false proof from which on level 2 charges. A single false proof
/// only proves no time.
const CHARGED_RUN: u8 = 2;

/// The number of a slash. Dense from 0.
pub type SlashId = u32;

/// The severity of a worker's fault.
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
	/// Offline while `Online` or `Rented`: absent, or found offline by more than three quarters of the
	/// committee's weight. Also an order not deployed in time. 10 % of the pool for each 24 h since the
	/// last proof or the last block charged, at most 10 %.
	One,
	/// False proof in two consecutive checks, each found by more than three quarters: 50 % of the pool for
	/// each 24 h since the first, the first 24 h at once.
	Two,
	/// A serious security risk to the network: the whole pool, at once.
	Three,
}

/// A queued slash.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct QueuedSlash<AccountId> {
	/// The worker whose pool it is taken from.
	pub worker: WorkerId,
	/// The level.
	pub level: SlashLevel,
	/// The part of the pool that it takes when applied. Never zero.
	pub rate: Perquintill,
	/// The first block in which it may be applied. Before it, it may be canceled and added to.
	pub due: BlockNumber,
	/// The account that found the fault, if an account did: it shares the bounty.
	pub finder: Option<AccountId>,
}

/// The slashes queued against a worker.
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
pub struct QueuedSlashes {
	/// The sum of their rates, in parts of 10¹⁸. May exceed one; zero if and only if none is queued.
	#[codec(compact)]
	pub rates: u128,
	/// The slash to which a later finding of level 1 is added.
	pub offline: Option<SlashId>,
	/// The slash to which a later finding of level 2 is added.
	pub malice: Option<SlashId>,
}

impl QueuedSlashes {
	/// Returns whether a slash is queued.
	pub fn is_pending(&self) -> bool {
		self.rates > 0
	}

	/// Returns the maximum that the queued slashes can take together, as a rate.
	pub fn most(&self) -> Perquintill {
		u64::try_from(self.rates).map_or(Perquintill::one(), Perquintill::from_parts)
	}

	/// Returns the slash to which findings of a level are added. `None` for level 3, which is never queued.
	pub fn of(&mut self, level: SlashLevel) -> Option<&mut Option<SlashId>> {
		match level {
			SlashLevel::One => Some(&mut self.offline),
			SlashLevel::Two => Some(&mut self.malice),
			SlashLevel::Three => None,
		}
	}

	/// Adds a rate to the sum.
	fn add(&mut self, rate: Perquintill) -> Result<(), ArithmeticError> {
		self.rates.ensure_add_assign(rate.deconstruct().into())
	}

	/// Removes a slash. `None` if its rate was never added.
	fn remove(&mut self, id: SlashId, rate: Perquintill) -> Option<()> {
		self.rates = self.rates.checked_sub(rate.deconstruct().into())?;
		self.offline = self.offline.filter(|kept| *kept != id);
		self.malice = self.malice.filter(|kept| *kept != id);
		Some(())
	}
}

/// Consecutive checks that found a worker's proof false.
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
pub struct FalseProofs {
	/// The number of checks.
	pub in_a_row: u8,
	/// The start of the first check's round.
	pub since: BlockNumber,
	/// The rate that slashes of either level have charged for the time since then.
	pub charged: Perquintill,
}

/// The calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_slash(worker: WorkerId, level: SlashLevel) -> DispatchResult {
		let mut record = Self::touched(worker)?;
		ensure!(record.pool.total()? > 0, Error::<T>::NothingToSlash);
		let rate = match level {
			SlashLevel::One => offline_rate(DAYS),
			SlashLevel::Two => malice_rate(DAYS),
			SlashLevel::Three => Perquintill::one(),
		};
		if level == SlashLevel::Three {
			Self::slash_now(worker, &mut record, None, level, rate, None, None)?;
		} else {
			// A separate slash, so that canceling it leaves the findings of checks alone.
			Self::enqueue(worker, &mut record, level, rate, None)?;
		}
		Self::store(worker, record)
	}

	pub(crate) fn do_cancel_slash(id: SlashId) -> DispatchResult {
		let (slash, mut record) = Self::touched_slash(id)?;
		ensure!(Self::now() < slash.due, Error::<T>::DeferralOver);
		let QueuedSlash {
			worker,
			level,
			rate,
			..
		} = slash;
		Self::unqueue(&mut record, id, rate)?;
		Self::deposit_event(Event::SlashCancelled {
			slash: id,
			worker,
			level,
			amount: record.pool.slashed_at(rate)?,
		});
		Self::store(worker, record)
	}

	pub(crate) fn do_apply_slash(who: T::AccountId, id: SlashId) -> DispatchResult {
		let (slash, mut record) = Self::touched_slash(id)?;
		ensure!(Self::now() >= slash.due, Error::<T>::SlashDeferred);
		let QueuedSlash {
			worker,
			level,
			rate,
			finder,
			..
		} = slash;
		Self::unqueue(&mut record, id, rate)?;
		let (finder, who) = (finder.as_ref(), Some(&who));
		Self::slash_now(worker, &mut record, Some(id), level, rate, finder, who)?;
		Self::store(worker, record)
	}
}

/// Charges for findings of checks and orders.
impl<T: Config> Pallet<T> {
	/// Charges level 1 for an absence found at block `at`: the time since the last proof or the last block
	/// charged, whichever is later. A worker that never gave a proof is charged nothing.
	pub(crate) fn slash_absence(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		at: BlockNumber,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let Some(proved) = record.proved_at else {
			return Ok(());
		};
		let from = proved.max(record.charged_to);
		let rate = offline_rate(at.saturating_sub(from));
		// Level 2 charges the rest of the same time.
		if let Some(row) = &mut record.false_proofs {
			let within = offline_rate(at.saturating_sub(from.max(row.since)));
			row.charged = row.charged.saturating_add(rate.min(within));
		}
		record.charged_to = record.charged_to.max(at);
		Self::queue_finding(worker, record, SlashLevel::One, rate, finder)
	}

	/// Judges a worker's proof by a closed check, and charges level 2 from the second consecutive false one
	/// on.
	///
	/// More than three quarters must have found it false. A check with fewer votes, or without consensus,
	/// neither continues nor ends the run.
	pub(crate) fn judge_proof(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		closing: &Closing,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let decided = match closing.outcome {
			Outcome::NoConsensus => false,
			Outcome::Offline => closing.slashes,
			Outcome::Online { .. } => closing.slashes || !closing.false_proof,
		};
		if !closing.false_proof {
			if decided {
				record.false_proofs = None;
			}
			return Ok(());
		}

		let mut charge = Perquintill::zero();
		if decided {
			let start = closing.round_start;
			let mut row = record.false_proofs.unwrap_or_else(|| FalseProofs {
				in_a_row: 0,
				since: start,
				// Charged already, by an earlier run's first 24 h or a fault found since.
				charged: rate_over(MALICE_RATE, record.charged_to.saturating_sub(start)),
			});
			row.in_a_row = row.in_a_row.saturating_add(1);
			if row.in_a_row >= CHARGED_RUN {
				let lasted = start.saturating_sub(row.since).max(DAYS);
				let all = malice_rate(lasted).max(row.charged);
				charge = all.saturating_sub(row.charged);
				row.charged = all;
				record.charged_to = record.charged_to.max(row.since.saturating_add(lasted));
			}
			record.false_proofs = Some(row);
		}
		Self::deposit_event(Event::FalseProofFound {
			worker,
			round: closing.round,
			in_a_row: record.false_proofs.map_or(0, |row| row.in_a_row),
		});
		Self::queue_finding(worker, record, SlashLevel::Two, charge, finder)
	}

	/// Queues a slash for a finding, or adds it to the slash queued for the same cause.
	fn queue_finding(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		level: SlashLevel,
		rate: Perquintill,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		if rate.is_zero() || record.pool.total()? == 0 {
			return Ok(());
		}
		let queued = record
			.queued
			.of(level)
			.and_then(|id| *id)
			.and_then(|id| Some((id, Slashes::<T>::get(id)?)))
			.filter(|(_, slash)| Self::now() < slash.due);
		match queued {
			Some((id, slash)) => Self::add(record, id, slash, rate, finder),
			None => {
				let id = Self::enqueue(worker, record, level, rate, finder)?;
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
	/// Returns a queued slash and the record of its worker, which is touched first: a check closed by that
	/// may add to the slash.
	fn touched_slash(
		id: SlashId,
	) -> Result<(QueuedSlash<T::AccountId>, RecordOf<T>), DispatchError> {
		let unknown = Error::<T>::UnknownSlash;
		let worker = Slashes::<T>::get(id).ok_or(unknown)?.worker;
		let record = Self::touched(worker)?;
		let slash = Slashes::<T>::get(id).ok_or(Error::<T>::UnknownSlash)?;
		Ok((slash, record))
	}

	/// Queues a slash.
	fn enqueue(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		level: SlashLevel,
		rate: Perquintill,
		finder: Option<&T::AccountId>,
	) -> Result<SlashId, DispatchError> {
		let id = NextSlashId::<T>::get();
		NextSlashId::<T>::put(id.ensure_add(1)?);
		let slash = QueuedSlash {
			worker,
			level,
			rate: Perquintill::zero(),
			// A check must close even at the last block numbers.
			due: Self::now().saturating_add(Self::slash_deferral()),
			finder: None,
		};
		Self::add(record, id, slash, rate, finder)?;
		Ok(id)
	}

	/// Adds to a slash, up to a rate of one. Its due block stays, and so does the first finder.
	fn add(
		record: &mut RecordOf<T>,
		id: SlashId,
		mut slash: QueuedSlash<T::AccountId>,
		rate: Perquintill,
		finder: Option<&T::AccountId>,
	) -> DispatchResult {
		let before = slash.rate;
		slash.rate = before.saturating_add(rate);
		slash.finder = slash.finder.or(finder.cloned());
		record.queued.add(slash.rate.saturating_sub(before))?;
		let amount = record.pool.slashed_at(slash.rate)?;
		Self::deposit_event(Event::SlashQueued {
			slash: id,
			worker: slash.worker,
			level: slash.level,
			added: amount.ensure_sub(record.pool.slashed_at(before)?)?,
			amount,
			due: slash.due,
		});
		Slashes::<T>::insert(id, slash);
		Ok(())
	}

	/// Takes a slash out of the queue.
	fn unqueue(record: &mut RecordOf<T>, id: SlashId, rate: Perquintill) -> DispatchResult {
		Slashes::<T>::remove(id);
		let removed = record.queued.remove(id, rate).defensive();
		removed.ok_or_else(|| Error::<T>::Defensive.into())
	}

	/// Slashes the pool at `rate`, and pays it out: the bounty to the accounts that found the fault and
	/// applied the slash, the rest to the provider pot. The caller writes the record.
	fn slash_now(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		slash: Option<SlashId>,
		level: SlashLevel,
		rate: Perquintill,
		finder: Option<&T::AccountId>,
		applier: Option<&T::AccountId>,
	) -> DispatchResult {
		let taken = Self::change_pool(worker, record, |record| Ok(record.pool.slash(rate)))?;
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
				left.ensure_sub_assign(paid)?;
			}
		}
		if left > 0 {
			T::Pots::put(Pot::Providers, &Self::pot(), left)?;
		}

		if !record.is_gone() {
			let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
			record.short = record.pool.own < minimum;
			// The customer keeps a rented worker; it is suspended when the order closes.
			if record.short && record.state() != WorkerState::Rented {
				Self::leave(worker, record, WorkerState::Suspended);
			}
		}
		Ok(())
	}

	/// Pays a bounty, and returns the amount paid: nothing to an account that it would leave below the
	/// existential deposit.
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
