//! The messages between agents: SCALE, each preceded by its length as four bytes, little endian. Every
//! length is checked against a bound before memory is allocated for it, and memory grows only with received
//! bytes. A decoded message takes at most its limit again.

use crate::{
	host::time::Time,
	trial::{
		hash::{Hash, key},
		part::{Part, Resource},
		proof::{Challenge, Roots},
	},
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use kaisar_primitives::{
	AgentKey, AgentSignature, CheckerKey, RoundIndex, WorkerId, agent::decode_within,
	keys::receipt_payload,
};
use sp_core::{H256, Pair, ed25519};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// ALPN of these messages.
pub const ALPN: &[u8] = b"kaisar/popw/1";
/// Code with which an agent closes the connection of an admitted agent to make room. That agent stays
/// admitted, and comes back when it has a root to send: if it came back at once, it would displace the next
/// one.
pub const CLOSE_ROOM: u32 = 2;
/// Maximum length of a request, in bytes.
pub const MAX_REQUEST: usize = 4_096;
/// Maximum length of an answer other than openings, in bytes.
pub const MAX_REPLY: usize = 4_096;
/// Initial buffer of a message, in bytes.
const FIRST: usize = 4_096;
/// Minimum pace of openings once they come, in bytes per millisecond: 1 MB/s.
const PACE: u64 = 1_000;
/// Milliseconds by which openings may lag behind that pace.
const PACE_LAG: u64 = 3_000;
/// Maximum number of bytes between two checks of the pace.
const PIECE: usize = 64 << 10;

/// Reason why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
	/// Its length exceeds the limit.
	#[error("a message of {0} bytes exceeds the limit of {1}")]
	TooLong(usize, usize),
	/// The bytes do not decode as a message.
	#[error("not a valid message: {0}")]
	Decode(#[from] codec::Error),
	/// The stream ended or broke.
	#[error("the stream ended or broke: {0}")]
	Io(#[from] std::io::Error),
}

/// Reads one message of at most `limit` bytes.
pub async fn read_frame<R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
) -> Result<Vec<u8>, WireError> {
	let length = read_length(from, limit).await?;
	read_bytes(from, length).await
}

async fn read_length<R: AsyncRead + Unpin>(from: &mut R, limit: usize) -> Result<usize, WireError> {
	let length = from.read_u32_le().await? as usize;
	match length > limit {
		true => Err(WireError::TooLong(length, limit)),
		false => Ok(length),
	}
}

async fn read_bytes<R: AsyncRead + Unpin>(
	from: &mut R,
	length: usize,
) -> Result<Vec<u8>, WireError> {
	let mut bytes = Vec::new();
	while bytes.len() < length {
		read_more(from, &mut bytes, length, usize::MAX).await?;
	}
	Ok(bytes)
}

/// Reads at most `piece` further bytes, up to `length` bytes in all.
async fn read_more<R: AsyncRead + Unpin>(
	from: &mut R,
	bytes: &mut Vec<u8>,
	length: usize,
	piece: usize,
) -> Result<(), WireError> {
	let rest = length - bytes.len();
	if bytes.capacity() == bytes.len() {
		// Double the buffer, but never beyond the message: `read_to_end` would double beyond it.
		bytes.reserve_exact(bytes.len().max(FIRST).min(rest));
	}
	let more = (bytes.capacity() - bytes.len()).min(rest).min(piece);
	if from.take(more as u64).read_to_end(bytes).await? < more {
		return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
	}
	Ok(())
}

/// Reads one message and decodes all of it. The decoded value takes less than `limit` bytes too.
pub async fn read<T: DecodeWithMemTracking, R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
) -> Result<T, WireError> {
	let bytes = read_frame(from, limit).await?;
	Ok(decode_within(&bytes, limit)?)
}

/// Reads the answer to [`Request::Open`] without copying the openings.
pub async fn read_openings<R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
) -> Result<OpeningsReply, WireError> {
	Ok(match read_openings_length(from, limit).await? {
		Ok(length) => Ok(read_bytes(from, length).await?),
		Err(refusal) => Err(refusal),
	})
}

/// Reads the length of the openings that follow, at most `limit`, or a refusal.
pub async fn read_openings_length<R: AsyncRead + Unpin>(
	from: &mut R,
	limit: usize,
) -> Result<Result<usize, Refusal>, WireError> {
	let length = read_length(from, limit.saturating_add(1)).await?;
	let rest = length
		.checked_sub(1)
		.ok_or(codec::Error::from("an empty answer"))?;
	match from.read_u8().await? {
		0 => Ok(Ok(rest)),
		first => {
			if length > MAX_REPLY {
				return Err(WireError::TooLong(length, MAX_REPLY));
			}
			let mut bytes = vec![first];
			bytes.extend(read_bytes(from, rest).await?);
			match decode_within::<OpeningsReply>(&bytes, MAX_REPLY)? {
				Err(refusal) => Ok(Err(refusal)),
				Ok(_) => Err(codec::Error::from("no openings").into()),
			}
		}
	}
}

/// Reads openings of this length. Fails if the sender lags behind [`PACE`] by more than [`PACE_LAG`], or
/// takes `longest` in all, since it holds memory that others wait for.
pub async fn read_paced<R: AsyncRead + Unpin>(
	from: &mut R,
	length: usize,
	longest: Duration,
	time: &Time,
) -> Result<Vec<u8>, WireError> {
	let began = time.now_ms();
	let longest = longest.as_millis() as u64;
	let mut bytes = Vec::new();
	while bytes.len() < length {
		let due = PACE_LAG + bytes.len() as u64 / PACE;
		let piece = read_more(from, &mut bytes, length, PIECE);
		let read = time.before_ms(began + due.min(longest), piece).await;
		read.ok_or(std::io::Error::from(std::io::ErrorKind::TimedOut))??;
	}
	Ok(bytes)
}

/// Writes the answer to [`Request::Open`].
pub async fn write_openings<W: AsyncWrite + Unpin>(
	to: &mut W,
	reply: &OpeningsReply,
) -> Result<(), WireError> {
	match reply {
		Ok(openings) => write_opened(to, openings).await,
		Err(_) => write(to, reply).await,
	}
}

/// Writes the answer to [`Request::Open`] that is not a refusal.
pub async fn write_opened<W: AsyncWrite + Unpin>(
	to: &mut W,
	openings: &[u8],
) -> Result<(), WireError> {
	write_frame(to, &[&[0], openings]).await
}

/// Writes one message.
pub async fn write<T: Encode, W: AsyncWrite + Unpin>(
	to: &mut W,
	message: &T,
) -> Result<(), WireError> {
	write_frame(to, &[&message.encode()]).await
}

/// Writes one message from several pieces.
async fn write_frame<W: AsyncWrite + Unpin>(to: &mut W, pieces: &[&[u8]]) -> Result<(), WireError> {
	let length: usize = pieces.iter().map(|piece| piece.len()).sum();
	let length =
		u32::try_from(length).map_err(|_| WireError::TooLong(length, u32::MAX as usize))?;
	to.write_all(&length.to_le_bytes()).await?;
	for piece in pieces {
		to.write_all(piece).await?;
	}
	to.flush().await?;
	Ok(())
}

/// A proof that a checker asks for, and the checker's key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct ProofRequest {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// The seed of its trial.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The checker's key in the committee.
	pub checker: CheckerKey,
}

/// Returns the id of a worker's trial, by the trial's seed.
pub fn job_id(genesis: &H256, round: RoundIndex, seed: &H256, worker: WorkerId) -> Hash {
	key("trial", &[&(genesis, round, seed, worker).encode()])
}

impl ProofRequest {
	/// Returns the trial.
	pub fn trial(&self) -> Trial {
		Trial {
			genesis: self.genesis,
			round: self.round,
			seed: self.seed,
			worker: self.worker,
		}
	}

	/// Returns the id of the trial.
	pub fn job_id(&self) -> Hash {
		self.trial().job_id()
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

/// Introduction of a worker's agent: it names its worker, so that a checker's agent can admit it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Introduction {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// The worker.
	pub worker: WorkerId,
}

/// Answer to an introduction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Introduced {
	/// The checker takes roots of this worker until the round is over.
	#[codec(index = 0)]
	Admitted,
	/// The checker's node has not answered yet. The connection is closed; the agent comes back.
	#[codec(index = 1)]
	ComeBack {
		/// Milliseconds until the agent should come back.
		ms: u32,
	},
	/// The checker does not sit for this worker, or the worker has another agent.
	#[codec(index = 2)]
	Denied,
}

/// A trial of a worker.
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
	/// Returns its id.
	pub fn job_id(&self) -> Hash {
		job_id(&self.genesis, self.round, &self.seed, self.worker)
	}
}

/// A part of a trial, signed by the worker's agent and sent as soon as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Push {
	/// The trial.
	pub trial: Trial,
	/// The number of the part.
	pub part: u8,
	/// Its root, or the GPUs' mark.
	pub hash: Hash,
	/// Signature of [`Push::payload`].
	pub signature: AgentSignature,
}

impl Push {
	/// Returns the hash that the agent signs.
	pub fn payload(trial: &Hash, part: u8, hash: &Hash) -> Hash {
		key("push", &[trial, &[part], hash])
	}

	/// Signs a part.
	pub fn signed(pair: &ed25519::Pair, trial: Trial, part: Part, hash: Hash) -> Self {
		let part = part.number();
		let signature = pair.sign(&Self::payload(&trial.job_id(), part, &hash));
		Self {
			trial,
			part,
			hash,
			signature,
		}
	}

	/// Returns the part; `None` if its number is invalid.
	pub fn part(&self) -> Option<Part> {
		Part::of_number(self.part)
	}

	/// Returns whether its part is valid and `agent` signed it.
	pub fn verify(&self, agent: &AgentKey) -> bool {
		self.part().is_some()
			&& ed25519::Pair::verify(
				&self.signature,
				Self::payload(&self.trial.job_id(), self.part, &self.hash),
				agent,
			)
	}
}

/// A request of an agent to another, each on its own stream.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Request {
	/// Worker to checker; the answer is `Result<(), Refusal>`.
	#[codec(index = 0)]
	Push(Push),
	/// Asks for the receipt; the answer is `Result<AgentSignature, Refusal>`.
	#[codec(index = 1)]
	Hello(ProofRequest),
	/// Asks for the roots; the answer is `Result<Roots, Refusal>`.
	#[codec(index = 2)]
	Roots(ProofRequest),
	/// Asks for the openings of a resource; the answer is an [`OpeningsReply`], whose bytes have no length
	/// prefix of their own.
	#[codec(index = 3)]
	Open(ProofRequest, Resource, Challenge),
	/// Starts a measurement; after `Ok(())`, [`crate::peer::bandwidth`] uses the stream.
	#[codec(index = 4)]
	Bandwidth(ProofRequest),
	/// Worker to checker, before anything else; the answer is `Result<Introduced, Refusal>`.
	#[codec(index = 5)]
	Introduce(Introduction),
}

/// Answer with roots.
pub type RootsReply = Result<Roots, Refusal>;
/// Answer with openings.
pub type OpeningsReply = Result<Vec<u8>, Refusal>;

/// Reason why an agent refuses a request.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, thiserror::Error,
)]
pub enum Refusal {
	/// It does not have this proof, or the asker is not in the committee.
	#[error("the agent does not serve this request")]
	NotServed,
	/// It is still computing.
	#[error("the agent is not ready yet")]
	NotReady,
	/// The asker has reached the limit of its requests.
	#[error("asked too often")]
	Spent,
	/// The request is invalid.
	#[error("the request is invalid")]
	Bad,
	/// The worker lost the work that it attested and cannot compute it again.
	#[error("the worker lost the work that it attested")]
	Gone,
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::part::PARTS;
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
				Part::Processor,
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
	fn a_push_is_its_agents_and_of_its_part() {
		let pair = ed25519::Pair::from_seed(&[1; 32]);
		let push = Push::signed(&pair, TRIAL, Part::Processor, [4; 32]);
		assert!(push.verify(&pair.public()));
		assert!(!push.verify(&ed25519::Pair::from_seed(&[2; 32]).public()));
		assert!(
			!Push {
				part: 2,
				..push.clone()
			}
			.verify(&pair.public())
		);
		assert!(
			!Push {
				hash: [5; 32],
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
		let part = PARTS as u8;
		let signature = pair.sign(&Push::payload(&push.trial.job_id(), part, &push.hash));
		let beyond = Push {
			part,
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
			// A valid length without the message.
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
				let mut message = Request::Hello(ProofRequest {
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
