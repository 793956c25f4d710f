//! What agents say to each other: SCALE, each message preceded by its length as four bytes, little
//! endian. Every length is checked against a bound before anything is allocated for it, and memory
//! grows only with bytes that have come. What is decoded of a message takes at most the message's limit
//! again.

use crate::bench::{
	hash::{Hash, hash},
	proof::{Challenge, Counts, Openings, Roots},
	stage::Stage,
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use kaisar_primitives::{
	AgentKey, AgentSignature, CheckerKey, RoundIndex, WorkerId, agent::decode_within,
	keys::receipt_payload,
};
use sp_core::{H256, Pair, ed25519};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// ALPN of everything here.
pub const ALPN: &[u8] = b"kaisar/popw/1";
/// Code with which an agent closes the connection of an admitted one to make room. That one stays admitted,
/// and comes back when it has a root to send: were it to come back at once, it would push the next one out.
pub const CLOSE_ROOM: u32 = 2;
/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 4_096;
/// Longest answer other than openings, in bytes.
pub const MAX_REPLY: usize = 4_096;
/// Room for the first bytes of a message.
const FIRST: usize = 4_096;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
	/// It claims to be longer than it may be.
	#[error("a message of {0} bytes where {1} are allowed")]
	TooLong(usize, usize),
	/// The bytes make no message.
	#[error("not a message: {0}")]
	Decode(#[from] codec::Error),
	/// The stream ended or broke.
	#[error("the stream: {0}")]
	Io(#[from] std::io::Error),
}

/// Reads one message of at most `limit` bytes.
pub async fn read_frame<R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
) -> Result<Vec<u8>, WireError> {
	let length = from.read_u32_le().await? as usize;
	if length > limit {
		return Err(WireError::TooLong(length, limit));
	}
	let mut bytes = Vec::new();
	while bytes.len() < length {
		// As much again as has come, and never more than is to come: `read_to_end` would double beyond it.
		let more = bytes.len().max(FIRST).min(length - bytes.len());
		bytes.reserve_exact(more);
		if from.take(more as u64).read_to_end(&mut bytes).await? < more {
			return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
		}
	}
	Ok(bytes)
}

/// Reads one message and decodes all of it. What is decoded takes less than `limit` bytes too.
pub async fn read<T: DecodeWithMemTracking, R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
) -> Result<T, WireError> {
	let bytes = read_frame(from, limit).await?;
	Ok(decode_within(&bytes, limit)?)
}

/// Reads the answer to [`Request::Open`], with at most so many of everything as the job has.
pub async fn read_openings<R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
	counts: &Counts,
) -> Result<OpeningsReply, WireError> {
	let bytes = read_frame(from, limit).await?;
	Ok(decode_openings(&bytes, counts)?)
}

/// Decodes the answer to [`Request::Open`].
pub fn decode_openings(bytes: &[u8], counts: &Counts) -> Result<OpeningsReply, codec::Error> {
	match bytes.split_first() {
		Some((0, openings)) => Openings::decode_within(openings, counts).map(Ok),
		_ => match decode_within(bytes, MAX_REPLY)? {
			Err(refusal) => Ok(Err(refusal)),
			Ok(()) => Err("no openings".into()),
		},
	}
}

/// Writes one message.
pub async fn write<T: Encode, W: AsyncWrite + Unpin>(
	to: &mut W,
	message: &T,
) -> Result<(), WireError> {
	let bytes = message.encode();
	let length = u32::try_from(bytes.len())
		.map_err(|_| WireError::TooLong(bytes.len(), u32::MAX as usize))?;
	to.write_all(&length.to_le_bytes()).await?;
	to.write_all(&bytes).await?;
	to.flush().await?;
	Ok(())
}

/// Which proof a checker asks for, and in whose name.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Which {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// The seed of its trial.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The checker's key, as it stands in the committee.
	pub checker: CheckerKey,
}

/// Names a round's benchmark of a worker.
pub fn job_id(genesis: &H256, round: RoundIndex, seed: &H256, worker: WorkerId) -> Hash {
	hash(
		"kaisar/agent 2026 job",
		&[&(genesis, round, seed, worker).encode()],
	)
}

impl Which {
	/// The benchmark that is meant.
	pub fn job_id(&self) -> Hash {
		job_id(&self.genesis, self.round, &self.seed, self.worker)
	}

	/// Returns the hash that the worker's agent signs as this checker's receipt.
	pub fn receipt_payload(&self) -> [u8; 32] {
		receipt_payload(
			self.genesis,
			self.round,
			self.seed,
			self.worker,
			&self.checker,
		)
	}
}

/// A worker's agent that names its worker, so that a checker's agent may admit it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Introduction {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// The worker.
	pub worker: WorkerId,
}

/// The answer to an introduction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Introduced {
	/// The roots of this worker are taken until the round is over.
	#[codec(index = 0)]
	Admitted,
	/// The checker's node has not answered yet. The connection is closed; the agent comes back.
	#[codec(index = 1)]
	ComeBack {
		/// Milliseconds until it should.
		ms: u32,
	},
	/// The checker does not sit for this worker, or the worker has another agent.
	#[codec(index = 2)]
	Denied,
}

/// A benchmark of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Trial {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// The seed of its trial.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
}

impl Trial {
	/// Its name.
	pub fn job_id(&self) -> Hash {
		job_id(&self.genesis, self.round, &self.seed, self.worker)
	}
}

/// A stage's root, signed by the worker's agent and sent the moment it is there.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Push {
	/// The benchmark.
	pub trial: Trial,
	/// The stage, from 0.
	pub stage: u8,
	/// Its root.
	pub root: Hash,
	/// Signature of [`Push::payload`].
	pub signature: AgentSignature,
}

impl Push {
	/// What is signed.
	pub fn payload(job: &Hash, stage: u8, root: &Hash) -> Hash {
		hash("kaisar/agent 2026 push", &[job, &[stage], root])
	}

	/// Signs a stage's root.
	pub fn signed(pair: &ed25519::Pair, trial: Trial, stage: Stage, root: Hash) -> Self {
		let stage = stage.number();
		let signature = pair.sign(&Self::payload(&trial.job_id(), stage, &root));
		Self {
			trial,
			stage,
			root,
			signature,
		}
	}

	/// The stage; `None` where there is no such stage.
	pub fn stage(&self) -> Option<Stage> {
		Stage::of_number(self.stage)
	}

	/// Whether `agent` signed it, for a stage that there is.
	pub fn verify(&self, agent: &AgentKey) -> bool {
		self.stage().is_some()
			&& ed25519::Pair::verify(
				&self.signature,
				Self::payload(&self.trial.job_id(), self.stage, &self.root),
				agent,
			)
	}
}

/// What an agent asks of another, each on a stream of its own.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Request {
	/// Worker to checker; the answer is `Result<(), Refusal>`.
	#[codec(index = 0)]
	Push(Push),
	/// Asks for the receipt; the answer is `Result<AgentSignature, Refusal>`.
	#[codec(index = 1)]
	Hello(Which),
	/// Asks for the roots; the answer is `Result<Roots, Refusal>`.
	#[codec(index = 2)]
	Roots(Which),
	/// Asks for openings; the answer is `Result<Openings, Refusal>`.
	#[codec(index = 3)]
	Open(Which, Challenge),
	/// Begins a measurement; after `Ok(())` the stream is [`crate::peer::bandwidth`]'s.
	#[codec(index = 4)]
	Bandwidth(Which),
	/// Worker to checker, before anything else; the answer is `Result<Introduced, Refusal>`.
	#[codec(index = 5)]
	Introduce(Introduction),
}

/// The roots, as they are answered.
pub type RootsReply = Result<Roots, Refusal>;
/// The openings, as they are answered.
pub type OpeningsReply = Result<Openings, Refusal>;

/// Why an agent does not do what it was asked.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, thiserror::Error,
)]
pub enum Refusal {
	/// It has no such proof, or the asker is not in the committee.
	#[error("not served")]
	NotServed,
	/// It is still computing.
	#[error("not ready")]
	NotReady,
	/// The asker has asked too often.
	#[error("asked too often")]
	Spent,
	/// The request makes no sense.
	#[error("bad request")]
	Bad,
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	const TRIAL: Trial = Trial {
		genesis: H256::repeat_byte(1),
		round: 4,
		seed: H256::repeat_byte(2),
		worker: 7,
	};

	fn block_on<T>(future: impl Future<Output = T>) -> T {
		tokio::runtime::Builder::new_current_thread()
			.build()
			.unwrap()
			.block_on(future)
	}

	#[test]
	fn what_is_written_is_read() {
		block_on(async {
			let push = Push::signed(
				&ed25519::Pair::from_seed(&[1; 32]),
				TRIAL,
				Stage::Memory,
				[4; 32],
			);
			let mut bytes = Vec::new();
			write(&mut bytes, &Request::Push(push.clone()))
				.await
				.unwrap();
			assert!(bytes.len() <= MAX_REQUEST);
			let read: Request = read(&mut &bytes[..], MAX_REQUEST).await.unwrap();
			assert_eq!(read, Request::Push(push));
		});
	}

	#[test]
	fn a_push_is_its_agents_and_of_its_stage() {
		let pair = ed25519::Pair::from_seed(&[1; 32]);
		let push = Push::signed(&pair, TRIAL, Stage::Memory, [4; 32]);
		assert!(push.verify(&pair.public()));
		assert!(!push.verify(&ed25519::Pair::from_seed(&[2; 32]).public()));
		assert!(
			!Push {
				stage: 2,
				..push.clone()
			}
			.verify(&pair.public())
		);
		assert!(
			!Push {
				root: [5; 32],
				..push.clone()
			}
			.verify(&pair.public())
		);
		assert!(
			!Push {
				trial: Trial { worker: 8, ..TRIAL },
				..push.clone()
			}
			.verify(&pair.public())
		);
		let stage = Stage::COUNT as u8;
		let signature = pair.sign(&Push::payload(&push.trial.job_id(), stage, &push.root));
		let beyond = Push {
			stage,
			signature,
			..push
		};
		assert!(!beyond.verify(&pair.public()));
	}

	#[test]
	fn a_huge_length_is_refused_before_it_is_read() {
		block_on(async {
			for length in [MAX_REQUEST as u32 + 1, 10_000_000, u32::MAX] {
				let mut bytes = length.to_le_bytes().to_vec();
				bytes.extend([0; 64]);
				let read = read::<Request, _>(&mut &bytes[..], MAX_REQUEST).await;
				assert!(matches!(read, Err(WireError::TooLong(..))));
			}
			// A length that is allowed, with nothing behind it.
			let bytes = (64u32 << 20).to_le_bytes();
			let read = read_frame(&mut &bytes[..], 64 << 20).await;
			assert!(matches!(read, Err(WireError::Io(_))));
		});
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

		#[test]
		fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
			block_on(async {
				let _ = read::<Request, _>(&mut &bytes[..], MAX_REQUEST).await;
				let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
				framed.extend(&bytes);
				let _ = read::<Request, _>(&mut &framed[..], MAX_REQUEST).await;
				let _ = read::<RootsReply, _>(&mut &framed[..], MAX_REPLY).await;
				let _ = read::<Result<AgentSignature, Refusal>, _>(&mut &framed[..], MAX_REPLY).await;
			});
		}

		#[test]
		fn trailing_bytes_are_refused(extra in 1usize..32) {
			block_on(async {
				let mut message = Request::Hello(Which {
					genesis: H256::zero(),
					round: 0,
					seed: H256::zero(),
					worker: 0,
					checker: CheckerKey::from(sp_core::sr25519::Public::from_raw([0; 32])),
				}).encode();
				message.extend(vec![0; extra]);
				let mut framed = (message.len() as u32).to_le_bytes().to_vec();
				framed.extend(&message);
				prop_assert!(read::<Request, _>(&mut &framed[..], MAX_REQUEST).await.is_err());
				Ok(())
			})?;
		}
	}
}
