//! The bodies that the off-chain worker and the agent exchange: SCALE over HTTP on the loopback
//! address, each request a `POST` with a bearer token.
//!
//! The agent works in the background and is polled: asking again for the same thing returns how far
//! it is, so a node that restarts simply asks again.

use crate::{
	AgentKey, AgentSignature, BenchParams, BlockNumber, CheckerKey, RoundIndex, Verdict, WorkerId,
	WorkerSpec,
};
use alloc::{string::String, vec::Vec};
use codec::{Decode, Encode};
use sp_core::H256;

/// Path of [`RoundStart`]; the answer is `()`.
pub const PATH_ROUND: &str = "/v1/round";
/// Path of [`ProveRequest`]; the answer is [`Progress<Attestation>`].
pub const PATH_PROVE: &str = "/v1/prove";
/// Path of `Vec<SeatRequest>` (at most [`MAX_SEATS`]); the answer is `Vec<SeatReply>`.
pub const PATH_CHECK: &str = "/v1/check";
/// Path of `()`; the answer is [`AgentStatus`].
pub const PATH_STATUS: &str = "/v1/status";
/// Most seats in one request.
pub const MAX_SEATS: usize = 256;
/// Longest answer that the off-chain worker reads, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Local offchain storage key (persistent) under which the node leaves the [`AgentConfig`] of a
/// worker or checker key: `b"kaisar/agent/" ++ key`.
pub fn config_key(key: &[u8]) -> Vec<u8> {
	let mut name = b"kaisar/agent/".to_vec();
	name.extend_from_slice(key);
	name
}

/// Where the agent of a key is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AgentConfig {
	/// Base URL, for example `http://127.0.0.1:9700`.
	pub url: String,
	/// Bearer token.
	pub token: String,
}

/// A round began; the checker's clock for it starts when this arrives.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RoundStart {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// Milliseconds for which the agent keeps what belongs to the round.
	pub keep_ms: u64,
}

/// Asks a worker's agent to run the benchmark of a round.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ProveRequest {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// What it claims.
	pub spec: WorkerSpec,
	/// How much work it is.
	pub bench: BenchParams,
	/// Agents of the committee, which are sent the signed root as soon as it is there.
	pub committee: Vec<(CheckerKey, AgentKey)>,
	/// Milliseconds for which the agent keeps the proof for openings.
	pub keep_ms: u64,
}

/// How far a piece of work is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Progress<T> {
	/// Not finished; ask again.
	Working,
	/// Finished.
	Done(T),
	/// It cannot be done, and asking again will not help.
	Failed(String),
}

/// The root that a worker attests.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Attestation {
	/// Root of everything that the benchmark computed.
	pub root: [u8; 32],
}

/// Asks a checker's agent to measure and verify one worker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SeatRequest {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// Its agent.
	pub agent: AgentKey,
	/// What it claims.
	pub spec: WorkerSpec,
	/// How much work it was.
	pub bench: BenchParams,
	/// The root on chain.
	pub root: [u8; 32],
	/// Randomness of the block after the attestation; openings are drawn from it.
	pub open_seed: H256,
	/// The checker's own key: the worker's receipt is made out to it.
	pub checker: CheckerKey,
	/// Seats of this committee, all of which measure bandwidth at the same time.
	pub seats: u8,
	/// Measure bandwidth and disk too.
	pub full: bool,
	/// An order whose container must answer, if the worker is rented.
	pub order: Option<crate::OrderId>,
}

/// The answer for one seat.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SeatReply {
	/// The worker.
	pub worker: WorkerId,
	/// How far its check is.
	pub progress: Progress<Checked>,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Checked {
	/// The verdict.
	pub verdict: Verdict,
	/// The worker agent's receipt ([`crate::keys::receipt_payload`]), if it served this checker.
	pub receipt: Option<AgentSignature>,
}

/// What an agent says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AgentStatus {
	/// Its version.
	pub version: String,
	/// Its key.
	pub agent: AgentKey,
	/// GPUs that it can use.
	pub gpus: u8,
	/// The last block of which it was told, if any.
	pub seen: Option<BlockNumber>,
}
