//! Helpers shared by the pallets' off-chain workers: requests to an agent over HTTP on the loopback
//! address, and a record of submissions.

use crate::{
	BlockNumber,
	agent::{AgentConfig, MAX_ANSWER, config_key},
};
use alloc::{format, string::String, vec::Vec};
use codec::{Decode, DecodeAll, Encode};
use core::marker::PhantomData;
use frame_support::traits::GetCallName;
use frame_system::offchain::{CreateAuthorizedTransaction, SubmitTransaction};
use sp_runtime::offchain::{Duration, Timestamp, http, storage::StorageValueRef};

/// The log target.
const LOG: &str = "runtime::offchain";
/// Blocks after which a submission that is still not on chain is sent again: its block may have been lost,
/// or the node restarted with an empty pool.
const RESEND: BlockNumber = 3;

/// Attempts at a change that another worker's change may interrupt. There are two such workers.
const TRIES: u32 = 4;

/// Timeout of one request. An agent answers from memory and does slow work in the background; but its
/// machine may be busy with a trial.
const DEADLINE: Duration = Duration::from_millis(600);
/// Timeout of all requests of one block's off-chain worker together.
const BUDGET: Duration = Duration::from_millis(1_000);
/// Blocks before an agent that failed is asked again: an agent that hangs must not cost every block its
/// timeout.
const RETRY: BlockNumber = 2;
/// Timeout of the requests that start a trial, each sent once: the worker's time is running, and until then
/// its machine was busy with all cores.
const START: Duration = Duration::from_millis(3_000);

/// The lock in local storage that serializes Popw's off-chain workers of successive blocks.
pub const POPW_LOCK: &[u8] = b"kaisar/popw/lock";
/// The same for those of Orders.
pub const ORDERS_LOCK: &[u8] = b"kaisar/orders/lock";
/// All locks. A starting node removes them: none of its off-chain workers runs yet, and a lock held when
/// the node was killed would otherwise block them until it expires.
pub const LOCKS: [&[u8]; 2] = [POPW_LOCK, ORDERS_LOCK];

/// Returns the time until which this run of the off-chain worker may talk to agents.
pub fn until() -> Timestamp {
	sp_io::offchain::timestamp().add(BUDGET)
}

/// An agent that serves one key.
pub struct Agent<'a> {
	key: &'a [u8],
	config: AgentConfig,
	now: BlockNumber,
	until: Timestamp,
}

/// The time since which an agent is down, stored under its key.
#[derive(Encode, Decode)]
struct Down {
	since: BlockNumber,
	retry: BlockNumber,
}

fn down_key(key: &[u8]) -> Vec<u8> {
	(b"kaisar/down", key).encode()
}

impl<'a> Agent<'a> {
	/// Returns the agent that the node has configured for `key`; `None` if there is none, or if it failed
	/// too recently to be asked again.
	pub fn of(key: &'a [u8], now: BlockNumber, until: Timestamp) -> Option<Self> {
		let config = read::<AgentConfig>(&config_key(key))?;
		if let Some(down) = read::<Down>(&down_key(key))
			&& now < down.retry
			// A purged chain restarts below the blocks stored here.
			&& now >= down.since
		{
			return None;
		}
		Some(Self {
			key,
			config,
			now,
			until,
		})
	}

	/// Posts `body` to `path` without waiting for the answer, so that several agents are asked at once. The
	/// agent is asked even if it failed recently. A failure of this request is not recorded.
	///
	/// `None` if the node has no agent configured for `key`.
	pub fn start<Answer: Decode>(
		key: &'a [u8],
		now: BlockNumber,
		path: &str,
		body: &impl Encode,
	) -> Option<Started<'a, Answer>> {
		let until = sp_io::offchain::timestamp().add(START);
		let agent = Self {
			key,
			config: read::<AgentConfig>(&config_key(key))?,
			now,
			until,
		};
		let pending = agent.send(path, body.encode(), until);
		Some(Started {
			agent,
			pending,
			answer: PhantomData,
		})
	}

	/// Posts `body` to `path`. `None` if the agent could not be reached in time or sent an invalid answer;
	/// that is logged once, and once more when it is back.
	pub fn ask<Answer: Decode>(&self, path: &str, body: &impl Encode) -> Option<Answer> {
		let started = sp_io::offchain::timestamp();
		if started >= self.until {
			// Other agents used up the time. Not this agent's fault; it is asked at the next block.
			return None;
		}
		let deadline = started.add(DEADLINE).min(self.until);
		let answer = self
			.send(path, body.encode(), deadline)
			.and_then(|pending| receive(pending, deadline));
		match answer {
			Ok(answer) => {
				self.is_back();
				Some(answer)
			}
			Err(reason) => {
				let since = match read::<Down>(&down_key(self.key)) {
					Some(down) => down.since,
					None => {
						log::warn!(
							target: LOG,
							"the agent at {} is down: {reason}; check that it runs (asking again every {RETRY} blocks)",
							self.config.url,
						);
						self.now
					}
				};
				let retry = self.now.saturating_add(RETRY);
				StorageValueRef::persistent(&down_key(self.key)).set(&Down { since, retry });
				None
			}
		}
	}

	/// Clears the record that the agent was down, if there is one.
	fn is_back(&self) {
		if let Some(down) = read::<Down>(&down_key(self.key)) {
			StorageValueRef::persistent(&down_key(self.key)).clear();
			log::info!(
				target: LOG,
				"the agent at {} is back (it was down since block {})",
				self.config.url,
				down.since,
			);
		}
	}

	fn send(
		&self,
		path: &str,
		body: Vec<u8>,
		deadline: Timestamp,
	) -> Result<http::PendingRequest, String> {
		let url = format!("{}{path}", self.config.url);
		http::Request::post(&url, [body])
			.add_header("Authorization", &format!("Bearer {}", self.config.token))
			.add_header("Content-Type", "application/octet-stream")
			.deadline(deadline)
			.send()
			.map_err(|error| format!("{error:?}"))
	}
}

/// A request to an agent that it has not answered yet.
pub struct Started<'a, Answer> {
	agent: Agent<'a>,
	pending: Result<http::PendingRequest, String>,
	answer: PhantomData<Answer>,
}

impl<Answer: Decode> Started<'_, Answer> {
	/// Waits for the answer. `None` if it does not come in time.
	pub fn answer(self) -> Option<Answer> {
		let answer = self
			.pending
			.and_then(|pending| receive(pending, self.agent.until));
		match answer {
			Ok(answer) => {
				self.agent.is_back();
				Some(answer)
			}
			Err(reason) => {
				// The same run asks once more, and warns if that also fails.
				log::debug!(
					target: LOG,
					"the agent at {} gave no valid answer for the trial in block {}: {reason}",
					self.agent.config.url,
					self.agent.now,
				);
				None
			}
		}
	}
}

/// Waits for the answer to a request until `deadline`.
fn receive<Answer: Decode>(
	pending: http::PendingRequest,
	deadline: Timestamp,
) -> Result<Answer, String> {
	let response = pending
		.try_wait(deadline)
		.map_err(|_| String::from("timeout"))?
		.map_err(|error| format!("{error:?}"))?;
	if response.code != 200 {
		return Err(format!("HTTP status {}", response.code));
	}
	let mut body = response.body();
	body.deadline(deadline);
	let mut bytes = Vec::new();
	for byte in body.by_ref() {
		if bytes.len() == MAX_ANSWER {
			return Err(format!("the answer exceeds {MAX_ANSWER} bytes"));
		}
		bytes.push(byte);
	}
	if let Some(error) = body.error() {
		return Err(format!("{error:?}"));
	}
	Answer::decode_all(&mut bytes.as_slice())
		.map_err(|_| String::from("the answer does not decode"))
}

/// Submits a fee-less call to the node's own pool. Returns whether the pool accepted it.
pub fn submit<T, Call>(call: Call) -> bool
where
	T: CreateAuthorizedTransaction<Call>,
	Call: GetCallName + Into<T::RuntimeCall>,
{
	let name = call.get_call_name();
	let transaction = T::create_authorized_transaction(call.into());
	let taken = SubmitTransaction::<T, Call>::submit_transaction(transaction).is_ok();
	if !taken {
		log::debug!(target: LOG, "the pool refused {name}");
	}
	taken
}

/// Reads a value of local storage; `None` if it is missing or does not decode.
pub fn read<V: Decode>(key: &[u8]) -> Option<V> {
	StorageValueRef::persistent(key).get().ok().flatten()
}

/// The blocks of submissions, by hash.
type Sent = Vec<([u8; 16], BlockNumber)>;

/// Returns the hash of a submission, and the local storage key of the list with it. Submissions are spread
/// over 256 lists, so that a node with thousands of submissions at a time writes few of them each time.
fn sent_key(what: impl Encode) -> ([u8; 16], Vec<u8>) {
	let hash = what.using_encoded(sp_io::hashing::blake2_128);
	(hash, (b"kaisar/sent", hash[0]).encode())
}

/// Returns whether to send the submission named by `what`, so that it is not repeated at every block while
/// it waits to be included: `true` if it was not sent within the last three blocks. Older entries are
/// dropped, so the lists do not grow.
pub fn may_send(what: impl Encode, now: BlockNumber) -> bool {
	let (hash, key) = sent_key(what);
	let mut fresh = false;
	change_sent(&key, |sent| {
		// A purged chain restarts below the blocks stored here.
		sent.retain(|(_, at)| now.checked_sub(*at).is_some_and(|age| age < RESEND));
		fresh = sent.iter().any(|(other, _)| *other == hash);
		if !fresh {
			sent.push((hash, now));
		}
	});
	!fresh
}

/// Drops the entry of [`may_send`], so that `what` may be sent again.
pub fn forget(what: impl Encode) {
	let (hash, key) = sent_key(what);
	change_sent(&key, |sent| sent.retain(|(other, _)| *other != hash));
}

/// Changes a list of submissions, again if a worker of another pallet, which holds another lock, changed it
/// meanwhile.
fn change_sent(key: &[u8], mut change: impl FnMut(&mut Sent)) {
	for _ in 0..TRIES {
		let changed = StorageValueRef::persistent(key).mutate(|sent| {
			let mut sent: Sent = sent.ok().flatten().unwrap_or_default();
			change(&mut sent);
			Ok::<_, ()>(sent)
		});
		if changed.is_ok() {
			return;
		}
	}
}
