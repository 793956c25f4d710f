//! The pool of pending transactions, and the filling of blocks with them.
//!
//! The pool has the three bands of the runtime's priorities: fee-less calls of rounds, other fee-less calls,
//! and signed transactions by the priority that the runtime gives them. A block takes them in this order. A
//! transaction that does not fit waits for the next block; after a few of those the block is full, as for a
//! node's block builder.

use crate::chain::{self, Sender};
use kaisar_primitives::BlockNumber;
use kaisar_runtime::RuntimeCall;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Maximum number of transactions that a block builder skips because they do not fit, before it stops.
const MOST_SKIPPED: usize = 8;

/// A transaction.
#[derive(Clone, Debug)]
pub struct Transaction {
	/// Its sender.
	pub sender: Sender,
	/// Its call.
	pub call: RuntimeCall,
	/// Last block that may carry it.
	pub until: BlockNumber,
}

/// Counts of transactions by their fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Carried {
	/// Transactions that were carried and succeeded.
	pub succeeded: u32,
	/// Transactions that were carried and failed.
	pub failed: u32,
	/// Transactions that were invalid, or too old.
	pub dropped: u32,
}

/// Pool of pending transactions.
#[derive(Clone, Default)]
pub struct Pool {
	/// Transactions that wait for these blocks.
	later: BTreeMap<BlockNumber, Vec<Transaction>>,
	rounds: VecDeque<Transaction>,
	others: VecDeque<Transaction>,
	signed: Vec<Transaction>,
	/// Counts over all blocks.
	pub carried: Carried,
}

/// Returns whether a fee-less call is one of rounds, which go first.
fn is_of_rounds(call: &RuntimeCall) -> bool {
	use pallet_popw::Call;
	matches!(
		call,
		RuntimeCall::Popw(
			Call::attest { .. }
				| Call::commit { .. }
				| Call::reveal { .. }
				| Call::report_absent { .. }
		)
	)
}

impl Pool {
	/// Sends a transaction for the next block, valid until block `until`.
	pub fn send(&mut self, sender: Sender, call: impl Into<RuntimeCall>, until: BlockNumber) {
		let call = call.into();
		let of_rounds = is_of_rounds(&call);
		let transaction = Transaction {
			sender,
			call,
			until,
		};
		match transaction.sender {
			Sender::Account(..) => self.signed.push(transaction),
			Sender::Node if of_rounds => self.rounds.push_back(transaction),
			Sender::Node => self.others.push_back(transaction),
		}
	}

	/// Sends a transaction in block `at` or later.
	pub fn send_at(
		&mut self,
		at: BlockNumber,
		sender: Sender,
		call: impl Into<RuntimeCall>,
		until: BlockNumber,
	) {
		self.later.entry(at).or_default().push(Transaction {
			sender,
			call: call.into(),
			until,
		});
	}

	/// Fills block `now`.
	pub fn fill(&mut self, now: BlockNumber) {
		while let Some(entry) = self.later.first_entry() {
			if *entry.key() > now {
				break;
			}
			for Transaction {
				sender,
				call,
				until,
			} in entry.remove()
			{
				self.send(sender, call, until);
			}
		}
		self.signed
			.sort_by_cached_key(|it| std::cmp::Reverse(chain::priority(&it.sender, &it.call).ok()));
		let waiting = std::mem::take(&mut self.rounds)
			.into_iter()
			.chain(std::mem::take(&mut self.others))
			.chain(std::mem::take(&mut self.signed));
		let mut skipped = 0;
		let mut left = Vec::new();
		for transaction in waiting {
			if transaction.until < now {
				self.carried.dropped += 1;
				continue;
			}
			if skipped > MOST_SKIPPED {
				left.push(transaction);
				continue;
			}
			match chain::apply(&transaction.sender, transaction.call.clone()) {
				Ok(Ok(())) => self.carried.succeeded += 1,
				Ok(Err(_)) => self.carried.failed += 1,
				Err(error) if chain::is_full(&error) => {
					skipped += 1;
					left.push(transaction);
				}
				Err(_) => self.carried.dropped += 1,
			}
		}
		for Transaction {
			sender,
			call,
			until,
		} in left
		{
			self.send(sender, call, until);
		}
	}
}
