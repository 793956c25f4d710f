//! The messages between the off-chain worker and the agent: SCALE over HTTP on the loopback address, each
//! request a `POST` with a bearer token.
//!
//! The agent works in the background and is polled: repeating a request returns its progress, so a node
//! that restarts simply asks again.

use crate::{
	AgentKey, AgentSignature, BenchParams, CheckerKey, ClientKey, DeployFailure, OperatorId,
	OrderId, RoundIndex, Verdict, WorkerId, WorkerSpec,
};
use alloc::{string::String, vec::Vec};
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use kaisar_math::ClassReference;
use sp_core::H256;

/// Path of [`RoundStart`]; the answer is `()`.
pub const PATH_ROUND: &str = "/v1/round";
/// Path of [`PrepareRequest`]; the answer is [`Prepared`].
pub const PATH_PREPARE: &str = "/v1/prepare";
/// Path of [`ProveRequest`]; the answer is [`Progress<Attestation>`].
pub const PATH_PROVE: &str = "/v1/prove";
/// Path of `Vec<SeatRequest>` (at most [`MAX_SEATS`]); the answer is `Vec<SeatReply>`.
pub const PATH_CHECK: &str = "/v1/check";
/// Path of [`SeatAnswers`] (at most [`MAX_CLAIMS`] answers and [`MAX_CLAIM_ROUNDS`] rounds); the answer is
/// `Vec<SeatClaim>`, at most [`MAX_CLAIMS`].
pub const PATH_SEATS: &str = "/v1/seats";
/// Path of `()`; the answer is [`AgentStatus`].
pub const PATH_STATUS: &str = "/v1/status";
/// Path of [`AddressesFound`]; the answer is [`AddressBook`].
pub const PATH_ADDRESSES: &str = "/v1/addresses";
/// Path of [`OrderRequest`]; the answer is [`ContainerReport`].
pub const PATH_ORDER: &str = "/v1/order";
/// The start of a window that the node does not know and never will, so its checker has no opinion on the
/// bandwidth. The same holds for every window that had begun before the agent was told of it.
pub const WINDOW_MISSED: u64 = 0;
/// Maximum number of seats in one request.
pub const MAX_SEATS: usize = 256;
/// Maximum number of claims in one answer, and of answers in one request. A claim has 40 bytes, so they fit
/// in [`MAX_ANSWER`].
pub const MAX_CLAIMS: usize = 1_600;
/// Maximum number of rounds in one request.
pub const MAX_CLAIM_ROUNDS: usize = 16;
/// Maximum length of an answer that the off-chain worker reads, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Returns the local offchain storage key (persistent) under which the node stores the [`AgentConfig`] of a
/// worker or checker key: `b"kaisar/agent/" ++ key`.
pub fn config_key(key: &[u8]) -> Vec<u8> {
	let mut name = b"kaisar/agent/".to_vec();
	name.extend_from_slice(key);
	name
}

/// Returns the local offchain storage key (persistent) under which a checker's node stores the receipts of
/// the workers that served an operator in a round, as `Vec<(WorkerId, AgentSignature)>`, for as long as a
/// receipt can annul a strike.
pub fn receipts_key(operator: OperatorId, round: RoundIndex) -> Vec<u8> {
	(b"kaisar/receipts", operator, round).encode()
}

/// Decodes all of `bytes` to a value for which less than `memory` bytes are allocated, and fails before
/// allocating more: four bytes of a message may take a hundred and more in memory.
pub fn decode_within<T: DecodeWithMemTracking>(
	bytes: &[u8],
	memory: usize,
) -> Result<T, codec::Error> {
	let mut input = bytes;
	let value = T::decode_with_mem_limit(&mut input, memory)?;
	if input.is_empty() {
		Ok(value)
	} else {
		Err("bytes after the end".into())
	}
}

/// The address and the token of a key's agent.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct AgentConfig {
	/// Base URL, e.g. `http://127.0.0.1:9700`.
	pub url: String,
	/// Bearer token.
	pub token: String,
}

/// Starts a round's trial; the checker's clock for it starts when this arrives.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct RoundStart {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The seed of its trial.
	pub trial_seed: H256,
	/// Milliseconds for which the agent keeps the round's data.
	pub keep_ms: u64,
	/// Whether the trial began in an earlier block than the node's newest. If so, the agent keeps the
	/// round's data, but judges no times.
	pub late: bool,
}

/// Announces a round in which the worker is due to its agent, from the round's start and again at each
/// block until the trial. The agent reserves slots for the committee's agents, connects to all of them and
/// introduces itself; it also fills the memory that the trial reads.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct PrepareRequest {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The worker's claim.
	pub spec: WorkerSpec,
	/// The amount of work in the trial.
	pub bench: BenchParams,
	/// The reference of the claimed class in this round, which sizes the GPUs' work.
	pub reference: Option<ClassReference>,
	/// Milliseconds until the trial's block.
	pub trial_ms: u64,
	/// Agents of the committee.
	pub committee: Vec<(CheckerKey, AgentKey)>,
	/// Whether the worker runs the trial. A rented worker does not and has no roots to send, so its agent
	/// connects to no other agent.
	pub runs: bool,
	/// Milliseconds over which the agents of all workers spread their introductions.
	pub spread_ms: u64,
	/// Milliseconds until the round is over.
	pub keep_ms: u64,
}

/// A worker's agent's progress with its committee.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Prepared {
	/// Agents in the committee, without this one.
	pub members: u32,
	/// The number of them that are connected and accept the worker's roots.
	pub connected: u32,
}

/// Starts the trial of a round, at the trial's block, and from then on asks for its root.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct ProveRequest {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The seed of its trial.
	pub trial_seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The worker's claim.
	pub spec: WorkerSpec,
	/// The amount of work in the trial.
	pub bench: BenchParams,
	/// The reference of the claimed class in this round, which sizes the GPUs' work.
	pub reference: Option<ClassReference>,
	/// The order that it serves. If set, the worker runs no trial, which would take the machine from its
	/// customer: it only shows that it is online and that the container answers.
	pub order: Option<OrderId>,
	/// Agents of the committee, which are sent the signed root as soon as it is known.
	pub committee: Vec<(CheckerKey, AgentKey)>,
	/// Milliseconds for which the agent keeps the proof for openings.
	pub keep_ms: u64,
}

/// The progress of a piece of work.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Progress<T> {
	/// Not finished; ask again.
	Working,
	/// Finished.
	Done(T),
	/// Impossible; asking again will not help.
	Failed(String),
}

/// The root that a worker attests.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Attestation {
	/// Root of all results of the trial.
	pub root: [u8; 32],
}

/// A request for admission: a worker's agent introduced itself to a checker's agent.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, DecodeWithMemTracking,
)]
pub struct SeatClaim {
	/// The round.
	pub round: RoundIndex,
	/// The worker that the agent claims to serve.
	pub worker: WorkerId,
	/// The agent's key. The connection proved it.
	pub agent: AgentKey,
}

/// A round whose workers a checker's agent may admit.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct SeatRound {
	/// The round.
	pub round: RoundIndex,
	/// The seed from which its committees are drawn. With another seed, earlier admissions are void.
	pub seed: H256,
	/// Milliseconds until the round is over.
	pub keep_ms: u64,
}

/// Tells a checker's agent which claims hold, and requests the pending ones. Claims that were handed out
/// and are not answered here are handed out again.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking)]
pub struct SeatAnswers {
	/// The chain.
	pub genesis: H256,
	/// The rounds for which claims are answered.
	pub rounds: Vec<SeatRound>,
	/// Claims, and whether the worker is this agent's and the operator sits for it.
	pub answers: Vec<(SeatClaim, bool)>,
}

/// Asks a checker's agent to measure and verify one worker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct SeatRequest {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The seed of its trial.
	pub trial_seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The worker's agent.
	pub agent: AgentKey,
	/// The worker's claim.
	pub spec: WorkerSpec,
	/// The amount of work in the trial.
	pub bench: BenchParams,
	/// The reference of the claimed class in this round.
	pub reference: Option<ClassReference>,
	/// The root on chain.
	pub root: [u8; 32],
	/// Randomness of the block after the attestation, from which openings are drawn.
	pub open_seed: H256,
	/// The checker's own key, to which the worker's receipt is made out.
	pub checker: CheckerKey,
	/// The number of operators in this committee, all of which measure bandwidth at the same time.
	pub seats: u8,
	/// Whether to measure bandwidth and disk too.
	pub full: bool,
	/// The time at which all seats measure the bandwidth of all workers of the owner, in milliseconds since
	/// 1970: `None` until the chain has fixed it, [`WINDOW_MISSED`] if it did so while this node was away.
	/// It may arrive later than the rest of the request, in a repetition of the same request.
	pub window: Option<u64>,
	/// Whether the worker was rented at the round's start: it ran no trial, and only has to show that it is
	/// online.
	pub rented: bool,
	/// The order whose container must answer, if the worker is rented.
	pub order: Option<OrderId>,
}

/// The answer for one seat.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct SeatReply {
	/// The worker.
	pub worker: WorkerId,
	/// The progress of its check.
	pub progress: Progress<Checked>,
}

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Checked {
	/// The verdict.
	pub verdict: Verdict,
	/// The worker agent's receipt ([`crate::keys::receipt_payload`]), if it served this checker.
	pub receipt: Option<AgentSignature>,
}

/// The deployment that a worker's agent should run now, sent every few blocks for as long as the node knows
/// the worker. The agent reconciles its containers with it, and stops any other that it runs for this
/// worker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct OrderRequest {
	/// The chain.
	pub genesis: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The order that it serves, if any.
	pub deployment: Option<Deployment>,
}

/// An order's container.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Deployment {
	/// The order.
	pub order: OrderId,
	/// The image, as an OCI reference.
	pub image: String,
	/// Arguments in place of the image's own; none for the image's own.
	pub args: Vec<String>,
	/// Environment variables as `NAME=VALUE`, in addition to the image's own.
	pub env: Vec<String>,
	/// The container's TCP ports to which customers are connected, the default first. None for those that
	/// the image exposes, the lowest first, at most [`crate::MAX_PORTS`].
	pub ports: Vec<u16>,
	/// Capabilities that the template names, e.g. `NET_BIND_SERVICE`. All others are dropped.
	pub capabilities: Vec<String>,
	/// The key that may connect.
	pub client: ClientKey,
	/// The container's limits.
	pub limits: ContainerLimits,
	/// Milliseconds until the container must have answered, if the order sets its own deadline. Otherwise
	/// the agent's timeout holds.
	pub answer_ms: Option<u64>,
	/// Milliseconds until the customer's time ends and it can no longer connect; `None` while the time has
	/// not begun.
	pub serve_ms: Option<u64>,
	/// Milliseconds after which the agent stops and removes the container by its own clock, unless told
	/// otherwise.
	pub keep_ms: u64,
}

/// The maximum resources of a container. The machine's own size is a limit too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking)]
pub struct ContainerLimits {
	/// GPUs.
	pub gpus: u8,
	/// CPU cores.
	pub cpu_cores: u16,
	/// Memory in GB (10⁹ bytes).
	pub memory_gb: u32,
	/// Disk in GB.
	pub disk_gb: u32,
}

/// The status of a worker's container.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct ContainerReport {
	/// The container's order.
	pub order: Option<OrderId>,
	/// Its state.
	pub state: ContainerState,
}

/// The state of a container.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum ContainerState {
	/// There is none, and none is wanted.
	Absent,
	/// Its image is being pulled.
	Pulling {
		/// Progress of the pull, of the size known so far, 0 … 100.
		percent: u8,
	},
	/// It was started, but does not answer yet.
	Starting,
	/// Its health check passes, or its first port answers.
	Running,
	/// It could not be deployed; trying again will not help.
	Failed {
		/// The reason.
		failure: DeployFailure,
		/// The engine's message.
		message: String,
	},
	/// It ran, and ended by itself.
	Exited {
		/// Its exit code.
		code: i32,
	},
	/// The engine does not answer, or has not reported yet. The state of the container is unknown.
	Unknown {
		/// The problem.
		message: String,
	},
}

/// An agent's report on itself.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct AgentStatus {
	/// Its version.
	pub version: String,
	/// Its key.
	pub agent: AgentKey,
	/// The number of GPUs that it can use.
	pub gpus: u8,
	/// Its machine's clock, in milliseconds since 1970.
	pub clock_ms: u64,
}

/// Default UDP port of an agent. It is below the ports that systems assign to outgoing connections, so it
/// is free unless another program is configured to use it.
pub const PROVIDER_PORT: u16 = 30_500;
/// UDP port of an agent that a node with `--checker` starts, so that a provider's agent may run beside it.
pub const CHECKER_PORT: u16 = PROVIDER_PORT + 1;
/// Maximum number of an agent's addresses, and of its relays.
const MAX_ADDRESSES: usize = 32;
/// Maximum length of an encoded [`AddressRecord`], in bytes.
pub const MAX_RECORD: usize = 4 * 1024;

/// The addresses of an agent, signed by its key. Stored in the network's DHT under [`address_key`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct AddressRecord {
	/// The agent's key.
	pub agent: AgentKey,
	/// Its addresses, as `IP:PORT`.
	pub addresses: Vec<String>,
	/// URLs of the relays through which it can be reached.
	pub relays: Vec<String>,
	/// The time of signing, in milliseconds since 1970, or later if the previous stamp was later. The
	/// record with the newest stamp holds.
	pub stamp: u64,
	/// ed25519 over `H(b"kaisar/agent address", agent, addresses, relays, stamp)`.
	pub signature: AgentSignature,
}

impl AddressRecord {
	/// Returns the payload that the agent signs.
	pub fn payload(
		agent: &AgentKey,
		addresses: &[String],
		relays: &[String],
		stamp: u64,
	) -> [u8; 32] {
		(b"kaisar/agent address", agent, addresses, relays, stamp)
			.using_encoded(sp_io::hashing::blake2_256)
	}

	/// Decodes a record of `agent` from an untrusted source: `None` if it is too long, malformed, another
	/// agent's, or not signed by it.
	pub fn read(agent: &AgentKey, bytes: &[u8]) -> Option<Self> {
		if bytes.len() > MAX_RECORD {
			return None;
		}
		let record: Self = decode_within(bytes, 2 * MAX_RECORD).ok()?;
		let payload = Self::payload(agent, &record.addresses, &record.relays, record.stamp);
		let holds = record.agent == *agent
			&& record.addresses.len() <= MAX_ADDRESSES
			&& record.relays.len() <= MAX_ADDRESSES
			&& sp_io::crypto::ed25519_verify(&record.signature, &payload, agent);
		holds.then_some(record)
	}
}

/// Returns the key in the network's DHT under which an agent's [`AddressRecord`] is stored:
/// `H(b"kaisar/agent address", agent key)`.
pub fn address_key(agent: &AgentKey) -> [u8; 32] {
	(b"kaisar/agent address", agent).using_encoded(sp_io::hashing::blake2_256)
}

/// The maximum time by which the stamps of an agent's records may be ahead of the newest block, in
/// milliseconds: the agent's clock may be right and the block late.
pub const AHEAD_MS: u64 = 10 * 60 * 1_000;

/// Tells an agent the addresses of others, as its node found them in the DHT.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking)]
pub struct AddressesFound {
	/// Encoded [`AddressRecord`]s.
	pub records: Vec<Vec<u8>>,
	/// The time of the node's newest block, in milliseconds since 1970, which bounds the stamps of the
	/// agent's own records; 0 while the node has no block.
	pub chain_ms: u64,
}

/// An agent's own addresses, and the agents that it looks for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct AddressBook {
	/// The agent's key.
	pub agent: AgentKey,
	/// Its encoded [`AddressRecord`]; empty if it has none yet.
	pub record: Vec<u8>,
	/// Agents that it could not reach lately.
	pub wanted: Vec<AgentKey>,
}

#[cfg(test)]
mod tests {
	use super::*;
	use alloc::vec;
	use sp_core::{Pair, ed25519};

	#[test]
	fn boundary_of_the_memory_for_what_is_decoded() {
		let strings = vec![String::new(); 100];
		let bytes = strings.encode();
		let memory = 100 * size_of::<String>();
		assert!(bytes.len() < 110);
		assert_eq!(
			decode_within::<Vec<String>>(&bytes, memory + 1),
			Ok(strings)
		);
		assert!(decode_within::<Vec<String>>(&bytes, memory).is_err());
		assert!(
			decode_within::<u8>(&[1, 2], 8).is_err(),
			"bytes after the end"
		);
	}

	#[test]
	fn the_largest_record_is_read() {
		let text = |length: usize| vec![String::from("x").repeat(length); MAX_ADDRESSES];
		let pair = ed25519::Pair::from_seed(&[1; 32]);
		let agent = pair.public();
		let (addresses, relays) = (text(46), text(70));
		let payload = AddressRecord::payload(&agent, &addresses, &relays, 1);
		let record = AddressRecord {
			agent,
			addresses,
			relays,
			stamp: 1,
			signature: pair.sign(&payload),
		};
		let bytes = record.encode();
		assert!(
			(MAX_RECORD - 256..=MAX_RECORD).contains(&bytes.len()),
			"{}",
			bytes.len()
		);
		assert_eq!(AddressRecord::read(&agent, &bytes), Some(record));
		// An invalid record: as many empty addresses as fit.
		let mut empty = agent.encode();
		empty.extend(codec::Compact(MAX_RECORD as u32 - 64).encode());
		empty.resize(MAX_RECORD, 0);
		assert_eq!(AddressRecord::read(&agent, &empty), None);
	}
}
