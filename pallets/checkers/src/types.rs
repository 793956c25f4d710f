//! Stored types, and the queries of a license or an operator for a round.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, pallet_prelude::ConstU32};
use kaisar_primitives::{
	AgentKey, CheckerKey, Commission, EpochIndex, History, LicenseId, OperatorId, PoolTerms,
	PoolValue, RoundIndex, Timeline,
};
use scale_info::TypeInfo;

/// The number of licenses in a page of the license → operator table.
pub const PAGE_SIZE: u32 = 256;
/// The number of consecutive rounds with seats and without a reveal after which an operator is put offline.
/// A restart that costs a round or two leaves it in the draw; one that is gone leaves no more seats empty
/// after three.
pub const MAX_MISSED_ROUNDS: u8 = 3;

/// The rounds in which a license works for an operator: `from ≤ round < until`.
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
pub struct Span {
	/// The operator.
	pub operator: OperatorId,
	/// The first round.
	pub from: RoundIndex,
	/// The first round after the span; [`Span::OPEN`] while no end is set.
	pub until: RoundIndex,
}

impl Span {
	/// The `until` of a span without an end.
	pub const OPEN: RoundIndex = RoundIndex::MAX;

	/// Returns a span without an end.
	pub fn open(operator: OperatorId, from: RoundIndex) -> Self {
		Self {
			operator,
			from,
			until: Self::OPEN,
		}
	}

	/// Returns whether it has no end.
	pub fn is_open(&self) -> bool {
		self.until == Self::OPEN
	}

	/// Returns whether it covers no round at all.
	pub fn is_empty(&self) -> bool {
		self.from >= self.until
	}

	/// Returns whether it covers the round.
	pub fn covers(&self, round: RoundIndex) -> bool {
		self.from <= round && round < self.until
	}

	/// Ends it before `round`, if it did not end earlier.
	pub fn close(&mut self, round: RoundIndex) {
		self.until = self.until.min(round);
	}
}

/// A license in the table: the newest span and an earlier one. All fields have a fixed width, so that a
/// single entry can be read out of a page.
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
pub struct Entry {
	/// The newest span.
	pub now: Span,
	/// An earlier span that rounds in flight may need; it ends before the newest one begins.
	pub before: Span,
}

impl Entry {
	/// Returns the operator that the license works for in `round`.
	pub fn at(&self, round: RoundIndex) -> Option<OperatorId> {
		[self.now, self.before]
			.iter()
			.find(|span| span.covers(round))
			.map(|span| span.operator)
	}

	/// Begins a span of `operator` in round `next`, where `in_flight` are the earlier rounds that are not
	/// over. The newest span must end by then; if it ends exactly then and is the same operator's, it is
	/// continued.
	///
	/// Returns false, and changes nothing, if rounds in flight need both stored spans.
	#[must_use]
	pub fn begin(
		&mut self,
		operator: OperatorId,
		next: RoundIndex,
		in_flight: &[RoundIndex],
	) -> bool {
		let needed = |span: &Span| in_flight.iter().any(|round| span.covers(*round));
		if !self.now.is_empty() && self.now.operator == operator && self.now.until == next {
			self.now.until = Span::OPEN;
			return true;
		}
		match (needed(&self.now), needed(&self.before)) {
			(true, true) => return false,
			(true, false) => self.before = self.now,
			(false, true) => (),
			(false, false) => self.before = Span::default(),
		}
		self.now = Span::open(operator, next);
		true
	}
}

/// A page of the license → operator table.
pub type Page = BoundedVec<Entry, ConstU32<PAGE_SIZE>>;

/// Returns the page of a license and its position in it.
pub fn place(license: LicenseId) -> (u32, usize) {
	(license / PAGE_SIZE, (license % PAGE_SIZE) as usize)
}

/// A license holder's request to an operator.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Delegation<AccountId> {
	/// The account that held the license then; it holds the license for as long as it is delegated.
	pub holder: AccountId,
	/// The operator. If it has deregistered, the delegation has ended, and this record has no effect.
	pub operator: OperatorId,
	/// Whether the operator has accepted; otherwise the delegation is `Pending`.
	pub accepted: bool,
}

/// The two keys of an operator.
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
pub struct Keys {
	/// The checker key, with which the node signs commitments and reveals.
	pub checker: sp_core::sr25519::Public,
	/// The identity of its agent.
	pub agent: AgentKey,
}

impl Keys {
	/// Combines both keys.
	pub fn new(checker: &CheckerKey, agent: &AgentKey) -> Self {
		Self {
			checker: *AsRef::<sp_core::sr25519::Public>::as_ref(checker),
			agent: *agent,
		}
	}

	/// Returns the checker key with its role.
	pub fn checker_key(&self) -> CheckerKey {
		self.checker.into()
	}
}

/// An operator's recent reveals and missed rounds, from which it is put offline automatically.
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
pub struct Presence {
	/// The last round in which it revealed.
	pub revealed: Option<RoundIndex>,
	/// The last round counted as missed.
	pub missed: Option<RoundIndex>,
	/// The number of consecutive missed rounds.
	pub count: u8,
}

/// The end of a registration.
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
pub struct Gone {
	/// The first round in which the operator is not registered.
	pub from_round: RoundIndex,
	/// The epoch in which the registration ended.
	pub epoch: EpochIndex,
}

/// A registration of an operator. The record outlives it until nothing needs it, and is then pruned.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Operator<AccountId, Balance> {
	/// The account.
	pub account: AccountId,
	/// The checker key and the agent key, by round.
	pub keys: History<Keys>,
	/// Whether it is in the draw: online and not banned.
	pub in_draw: History<bool>,
	/// The number of licenses that it accepted ([`Timeline::change_count`]).
	pub licenses: Timeline<u32>,
	/// The end of the registration.
	pub gone: Option<Gone>,
	/// The license holders' part of its reward.
	pub commission: Commission,
	/// Whether delegations are accepted automatically.
	pub auto_accept: bool,
	/// The deposit on hold; after the end of the registration only the part for the record.
	pub deposit: Balance,
	/// Recent reveals and missed rounds.
	pub presence: Presence,
	/// Whether it is online: it neither went offline nor was put offline.
	pub online: bool,
	/// The end of the ban from which it has not returned, in milliseconds of chain time; `u64::MAX` for
	/// good.
	pub ban: Option<u64>,
}

impl<AccountId, Balance> Operator<AccountId, Balance> {
	/// Returns whether it is still registered in `round`, assuming that it was before.
	pub fn is_registered(&self, round: RoundIndex) -> bool {
		self.gone.is_none_or(|gone| round < gone.from_round)
	}

	/// Returns whether its licenses have seats in `round`.
	pub fn sits(&self, round: RoundIndex) -> bool {
		self.is_registered(round) && *self.in_draw.at_or_oldest(round)
	}

	/// Returns whether it is in the draw from the next round on: it did not go offline, and no ban keeps it
	/// out from which it has not returned.
	pub fn is_online(&self) -> bool {
		self.online && self.ban.is_none()
	}

	/// Updates [`in_draw`](Self::in_draw) from round `next` on, after a change of the answer of
	/// [`is_online`](Self::is_online).
	pub fn redraw(&mut self, next: RoundIndex, in_flight: &[RoundIndex]) {
		let is_online = self.is_online();
		// Going and coming back before a round starts cancel out.
		if self.in_draw.now.value != is_online && !self.in_draw.undo(&is_online, next) {
			self.in_draw.change(is_online, next, in_flight);
		}
	}

	/// Returns the terms of its pool: all licenses that it accepted are its members' shares.
	pub fn terms(&self) -> PoolTerms {
		let licenses = self.licenses.now.value;
		PoolTerms {
			value: PoolValue {
				owner: 0,
				members: licenses.into(),
				shares: licenses.into(),
			},
			commission: self.commission,
		}
	}

	/// Returns the number of its licenses that will be active in all rounds yet to come, if nothing
	/// changes.
	pub fn active(&self) -> u32 {
		if self.gone.is_none() && self.is_online() {
			self.licenses.now.value
		} else {
			0
		}
	}
}

/// The status of an operator: derived, never stored.
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
pub enum CheckerStatus {
	/// It has a seat in a running round.
	Checking,
	/// It can be drawn.
	Ready,
	/// It went offline, was put offline, or has not returned from a ban that is over.
	Offline,
	/// It gets no seats.
	Banned {
		/// The end of the ban, in milliseconds of chain time; `u64::MAX` for good.
		until: u64,
	},
	/// It has not accepted a license yet.
	Pending,
}

/// A license's holder and delegation, for wallets.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct LicenseView<AccountId> {
	/// The license's holder.
	pub holder: AccountId,
	/// The operator to which it is delegated, with its account.
	pub operator: Option<(OperatorId, AccountId)>,
	/// Whether the operator has yet to accept it.
	pub pending: bool,
	/// The operator that sits for it in the next round to start, if that operator is in the draw.
	pub seat: Option<OperatorId>,
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_span_taken_up_again_before_it_ended_goes_on() {
		let mut entry = Entry::default();
		assert!(entry.begin(7, 10, &[8]));
		entry.now.close(14);
		assert!(entry.begin(7, 14, &[10, 12]));
		assert_eq!(
			entry,
			Entry {
				now: Span::open(7, 10),
				before: Span::default()
			}
		);
		// Begun and ended for the same round: the span is empty.
		entry.now.close(16);
		assert!(entry.begin(8, 16, &[12, 14]));
		entry.now.close(16);
		assert!(entry.begin(9, 16, &[12, 14]));
		assert_eq!([15, 16].map(|round| entry.at(round)), [Some(7), Some(9)]);
	}

	#[test]
	fn an_entry_keeps_the_span_of_a_running_round() {
		let mut entry = Entry::default();
		assert_eq!(entry.at(0), None);
		assert!(entry.begin(7, 10, &[]));
		entry.now.close(14);
		assert!(entry.begin(8, 14, &[10, 12]));
		assert_eq!(
			[9, 10, 13, 14].map(|round| entry.at(round)),
			[None, Some(7), Some(7), Some(8)]
		);
		entry.now.close(16);
		// Both spans are needed, and nothing is changed.
		let kept = entry;
		assert!(!entry.begin(9, 20, &[13, 14, 18]));
		assert_eq!(entry, kept);
		// Only one of them is needed.
		let mut other = entry;
		assert!(other.begin(9, 20, &[13, 18]));
		assert_eq!(
			[13, 14, 16, 20].map(|round| other.at(round)),
			[Some(7), None, None, Some(9)]
		);
		assert!(entry.begin(9, 20, &[14, 18]));
		assert_eq!(
			[13, 14, 16, 20].map(|round| entry.at(round)),
			[None, Some(8), None, Some(9)]
		);
	}
}
