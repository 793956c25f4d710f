//! What the pallet stores, and how a license and an operator answer for a round.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, pallet_prelude::ConstU32};
use kaisar_primitives::{
	AgentKey, CheckerKey, Commission, EpochIndex, History, LicenseId, OperatorId, PoolTerms,
	PoolValue, RoundIndex, Timeline,
};
use scale_info::TypeInfo;

/// Licenses in a page of the license → operator table.
pub const PAGE_SIZE: u32 = 256;
/// Rounds in a row, with seats and no reveal, after which an operator is offline.
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
	/// The first round no more; [`Span::OPEN`] while no end is set.
	pub until: RoundIndex,
}

impl Span {
	/// The end of a span that has none.
	pub const OPEN: RoundIndex = RoundIndex::MAX;

	/// A span without an end.
	pub fn open(operator: OperatorId, from: RoundIndex) -> Self {
		Self {
			operator,
			from,
			until: Self::OPEN,
		}
	}

	/// Whether it has no end.
	pub fn is_open(&self) -> bool {
		self.until == Self::OPEN
	}

	/// Whether it covers no round at all.
	pub fn is_empty(&self) -> bool {
		self.from >= self.until
	}

	/// Whether it covers the round.
	pub fn covers(&self, round: RoundIndex) -> bool {
		self.from <= round && round < self.until
	}

	/// Ends it before `round`, if it did not end earlier.
	pub fn close(&mut self, round: RoundIndex) {
		self.until = self.until.min(round);
	}
}

/// A license in the table: the span that was begun last, and an earlier one. All fields have a fixed width,
/// so that a single entry can be read out of a page.
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
	/// The last span.
	pub now: Span,
	/// An earlier one that rounds in flight may need, all of whose rounds are before the last one's.
	pub before: Span,
}

impl Entry {
	/// The operator that the license works for in `round`.
	pub fn at(&self, round: RoundIndex) -> Option<OperatorId> {
		[self.now, self.before]
			.iter()
			.find(|span| span.covers(round))
			.map(|span| span.operator)
	}

	/// Begins a span of `operator` in round `next`, where `in_flight` are the rounds before it that are not
	/// over. The last span has ended by then; if it was the same operator's until then, it goes on.
	///
	/// Returns false, and changes nothing, if rounds in flight need both spans that are there.
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

/// The page of a license and its place in it.
pub fn place(license: LicenseId) -> (u32, usize) {
	(license / PAGE_SIZE, (license % PAGE_SIZE) as usize)
}

/// What a holder asked for with a license.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Delegation<AccountId> {
	/// Who held the license then, and holds it while it is delegated.
	pub holder: AccountId,
	/// The operator. If it has gone, the delegation has ended, and this record means nothing.
	pub operator: OperatorId,
	/// The operator has accepted it; it is `Pending` otherwise.
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
	/// Both keys.
	pub fn new(checker: &CheckerKey, agent: &AgentKey) -> Self {
		Self {
			checker: *AsRef::<sp_core::sr25519::Public>::as_ref(checker),
			agent: *agent,
		}
	}

	/// The checker key with its role.
	pub fn checker_key(&self) -> CheckerKey {
		self.checker.into()
	}
}

/// What an operator did in its last rounds, so far as it matters for going offline by itself.
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
	/// The last round that was counted as missed.
	pub missed: Option<RoundIndex>,
	/// How many rounds in a row were.
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

/// A registration of an operator. It is kept after its end until nothing needs it, and pruned then.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Operator<AccountId, Balance> {
	/// The account.
	pub account: AccountId,
	/// Its keys.
	pub keys: History<Keys>,
	/// Whether it is in the draw: online and not banned.
	pub in_draw: History<bool>,
	/// Number of licenses that it accepted ([`Timeline::change_count`]).
	pub licenses: Timeline<u32>,
	/// The end of the registration.
	pub gone: Option<Gone>,
	/// The license holders' part of its reward.
	pub commission: Commission,
	/// Delegations need no acceptance.
	pub auto_accept: bool,
	/// The deposit on hold. After the end of the registration the part for the record.
	pub deposit: Balance,
	/// What it did in its last rounds.
	pub presence: Presence,
	/// It neither went offline nor was put offline.
	pub online: bool,
	/// The end of the ban that it has not come back from, in milliseconds of chain time; `u64::MAX` for
	/// never.
	pub ban: Option<u64>,
}

impl<AccountId, Balance> Operator<AccountId, Balance> {
	/// Whether it is registered in `round`, if it was before.
	pub fn is_registered(&self, round: RoundIndex) -> bool {
		self.gone.is_none_or(|gone| round < gone.from_round)
	}

	/// Whether its licenses have seats in `round`.
	pub fn sits(&self, round: RoundIndex) -> bool {
		self.is_registered(round) && *self.in_draw.at_or_oldest(round)
	}

	/// Whether it is in the draw, from the next round on: it neither went offline nor is kept out by
	/// a ban that it has not come back from.
	pub fn is_online(&self) -> bool {
		self.online && self.ban.is_none()
	}

	/// Brings [`in_draw`](Self::in_draw) up to date from round `next` on, after a change of what
	/// [`is_online`](Self::is_online) answers.
	pub fn redraw(&mut self, next: RoundIndex, in_flight: &[RoundIndex]) {
		let is_online = self.is_online();
		// Going and coming back before a round starts makes no difference to presence.
		if self.in_draw.now.value != is_online && !self.in_draw.undo(&is_online, next) {
			self.in_draw.change(is_online, next, in_flight);
		}
	}

	/// The terms of its pool: all licenses that it accepted are its members' shares.
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

	/// Licenses that count in all rounds that are still to come, as things stand.
	pub fn active(&self) -> u32 {
		if self.gone.is_none() && self.is_online() {
			self.licenses.now.value
		} else {
			0
		}
	}
}

/// How an operator stands: derived, never stored.
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
	/// It went offline, missed too many rounds, or has not come back from a ban that is over.
	Offline,
	/// It may have no seats.
	Banned {
		/// Until this time, in milliseconds of chain time; `u64::MAX` for good.
		until: u64,
	},
	/// No license has been accepted yet.
	Pending,
}

/// What is known of a license's delegation, for wallets.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct LicenseView<AccountId> {
	/// Who holds the license.
	pub holder: AccountId,
	/// The operator that it is delegated to, with its account.
	pub operator: Option<(OperatorId, AccountId)>,
	/// The operator has not accepted it yet.
	pub pending: bool,
	/// The operator that it works for in the next round to start, if that one is online.
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
		// Begun and ended for the same round: there was nothing.
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
		// Either is not.
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
