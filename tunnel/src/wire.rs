//! Messages at the beginning of a stream, before it carries the container's connection. They are
//! SCALE-encoded, preceded by their length as two bytes, little-endian. The length is checked before the
//! message is read.

use codec::{Decode, DecodeAll, Encode};
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Maximum length of a message, in bytes.
pub const MAX_MESSAGE: usize = 64;
/// Maximum number of ports that an order serves.
pub const MAX_PORTS: usize = 8;
/// Close code of a connection that has nothing more to do.
pub const CLOSE_DONE: u32 = 0;
/// Close code of a connection whose client violates the protocol.
pub const CLOSE_BAD: u32 = 16;
/// Reset code of a stream that is abandoned before its end.
pub const RESET: u32 = 1;

/// Purpose of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Purpose {
	/// Ask whether the order is served to this key. The stream ends with the answer.
	#[codec(index = 0)]
	Ask,
	/// Connect to the container.
	#[codec(index = 1)]
	Connect,
}

/// First message of a stream. The answer is `Result<(), Refusal>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Open {
	/// Genesis hash of the chain.
	pub genesis: [u8; 32],
	/// Id of the order.
	pub order: u32,
	/// Port of the container; without one, the agent selects it.
	pub port: Option<u16>,
	/// Purpose of the stream.
	pub purpose: Purpose,
}

impl Open {
	/// Returns whether both messages are about the same order.
	pub fn is_of_order_of(&self, other: &Self) -> bool {
		(self.genesis, self.order) == (other.genesis, other.order)
	}
}

/// Reason to refuse a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
	/// The agent does not serve the order, or not to this key. Both get the same answer, so that it does not
	/// reveal who rents what.
	#[codec(index = 0)]
	#[error("the agent does not serve this order to this key")]
	NotServed,
	/// The customer's time is over.
	#[codec(index = 1)]
	#[error("the order's time is over")]
	Over,
	/// The container does not accept connections now, but may later.
	#[codec(index = 2)]
	#[error("the container does not accept connections now")]
	NotReady,
	/// The order does not serve the port.
	#[codec(index = 3)]
	#[error("the order serves {served}, not {asked}")]
	NoSuchPort {
		/// The port that the client asked for.
		asked: u16,
		/// The ports that it may ask for.
		served: ServedPorts,
	},
	/// This key, or all together, have the maximum number of connections.
	#[codec(index = 4)]
	#[error("too many connections, of this key or of all keys")]
	Busy,
}

/// The ports that an order serves, the default first. Unused places are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ServedPorts([u16; MAX_PORTS]);

impl ServedPorts {
	/// Returns the ports.
	pub fn iter(&self) -> impl Iterator<Item = u16> {
		self.0.iter().copied().filter(|port| *port != 0)
	}
}

impl FromIterator<u16> for ServedPorts {
	/// Takes the first [`MAX_PORTS`].
	fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
		let mut served = Self::default();
		for (place, port) in served.0.iter_mut().zip(ports) {
			*place = port;
		}
		served
	}
}

impl fmt::Display for ServedPorts {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		let ports: Vec<String> = self.iter().map(|port| port.to_string()).collect();
		match &ports[..] {
			[] => write!(f, "no port"),
			[one] => write!(f, "port {one}"),
			[others @ .., last] => write!(f, "ports {} and {last}", others.join(", ")),
		}
	}
}

impl Refusal {
	/// Refusals for which a whole connection may be closed.
	const OF_CONNECTIONS: [Self; 4] = [Self::NotServed, Self::Over, Self::NotReady, Self::Busy];

	/// Returns whether another attempt is certain to fail.
	pub const fn is_final(self) -> bool {
		matches!(self, Self::NotServed | Self::Over)
	}

	/// Returns the close code of a connection that is closed for this reason.
	pub const fn close_code(self) -> u32 {
		match self {
			Self::NotServed => 1,
			Self::Over => 2,
			Self::NotReady => 3,
			Self::NoSuchPort { .. } => 4,
			Self::Busy => 5,
		}
	}

	/// Returns the reason of a connection's close code. A connection is not closed for a port.
	pub fn of_close_code(code: u64) -> Option<Self> {
		Self::OF_CONNECTIONS
			.into_iter()
			.find(|refusal| u64::from(refusal.close_code()) == code)
	}
}

/// Error of reading or writing a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
	/// The message exceeds the maximum length.
	#[error("a message of {0} bytes; at most {MAX_MESSAGE} are allowed")]
	TooLong(usize),
	/// The bytes are not a valid message.
	#[error("not a valid message: {0}")]
	Decode(#[from] codec::Error),
	/// The stream ended or broke.
	#[error("the stream broke: {0}")]
	Io(#[from] std::io::Error),
}

impl WireError {
	/// Returns whether the other side sent bytes that are not a valid message, rather than nothing.
	pub const fn is_garbage(&self) -> bool {
		matches!(self, Self::TooLong(_) | Self::Decode(_))
	}
}

/// Reads one message. All its bytes have to decode.
pub async fn read<T: Decode, R: AsyncRead + Unpin>(from: &mut R) -> Result<T, WireError> {
	let length = usize::from(from.read_u16_le().await?);
	let mut bytes = [0; MAX_MESSAGE];
	let bytes = bytes.get_mut(..length).ok_or(WireError::TooLong(length))?;
	from.read_exact(bytes).await?;
	Ok(T::decode_all(&mut &bytes[..])?)
}

/// Writes one message, preceded by its length.
pub async fn write<T: Encode, W: AsyncWrite + Unpin>(
	to: &mut W,
	message: &T,
) -> Result<(), WireError> {
	let bytes = message.encode();
	let length = u16::try_from(bytes.len())
		.ok()
		.filter(|length| usize::from(*length) <= MAX_MESSAGE)
		.ok_or(WireError::TooLong(bytes.len()))?;
	to.write_all(&[&length.to_le_bytes()[..], &bytes].concat())
		.await?;
	Ok(())
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	const OPEN: Open = Open {
		genesis: [7; 32],
		order: u32::MAX,
		port: Some(u16::MAX),
		purpose: Purpose::Connect,
	};

	fn block_on<T>(future: impl Future<Output = T>) -> T {
		tokio::runtime::Builder::new_current_thread()
			.build()
			.unwrap()
			.block_on(future)
	}

	fn framed(message: impl Encode) -> Vec<u8> {
		let mut bytes = Vec::new();
		block_on(write(&mut bytes, &message)).unwrap();
		bytes
	}

	fn read_all<T: Decode>(mut bytes: &[u8]) -> Result<T, WireError> {
		block_on(read(&mut bytes))
	}

	#[test]
	fn what_is_written_is_read() {
		assert_eq!(read_all::<Open>(&framed(OPEN)).unwrap(), OPEN);
		let no_such_port = Refusal::NoSuchPort {
			asked: 23,
			served: [8_080, 22].into_iter().collect(),
		};
		for refusal in Refusal::OF_CONNECTIONS.into_iter().chain([no_such_port]) {
			let reply: Result<(), Refusal> = Err(refusal);
			assert_eq!(
				read_all::<Result<(), Refusal>>(&framed(reply)).unwrap(),
				reply
			);
			let of_code = Refusal::of_close_code(refusal.close_code().into());
			let closes = refusal != no_such_port;
			assert_eq!(of_code, closes.then_some(refusal));
		}
		for code in [CLOSE_DONE, CLOSE_BAD] {
			assert_eq!(Refusal::of_close_code(code.into()), None);
		}
	}

	#[test]
	fn a_refused_port_is_named_with_those_that_are_served() {
		let refused = |served: &[u16]| {
			let refusal = Refusal::NoSuchPort {
				asked: 23,
				served: served.iter().copied().collect(),
			};
			refusal.to_string()
		};
		assert_eq!(refused(&[]), "the order serves no port, not 23");
		assert_eq!(refused(&[80]), "the order serves port 80, not 23");
		assert_eq!(
			refused(&[8_080, 22]),
			"the order serves ports 8080 and 22, not 23"
		);
		let many: Vec<u16> = (1..=9).collect();
		assert_eq!(
			refused(&many),
			"the order serves ports 1, 2, 3, 4, 5, 6, 7 and 8, not 23"
		);
	}

	#[test]
	fn what_is_too_long_cut_off_or_followed_by_more_is_no_message() {
		for length in [MAX_MESSAGE as u16 + 1, 0x7fff, u16::MAX] {
			let bytes = [&length.to_le_bytes()[..], &[0; 70]].concat();
			assert!(matches!(
				read_all::<Open>(&bytes),
				Err(WireError::TooLong(_))
			));
		}
		let good = framed(OPEN);
		for end in 0..good.len() {
			let read = read_all::<Open>(&good[..end]);
			assert!(matches!(read, Err(WireError::Io(_))), "cut at {end}");
		}
		let mut longer = good.clone();
		longer[0] += 1;
		longer.push(0);
		assert!(matches!(
			read_all::<Open>(&longer),
			Err(WireError::Decode(_))
		));
		assert!(matches!(
			block_on(write(&mut Vec::new(), &[0u8; MAX_MESSAGE + 1])),
			Err(WireError::TooLong(_))
		));
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

		#[test]
		fn whatever_is_read_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
			if let Ok(open) = read_all::<Open>(&bytes) {
				prop_assert!(bytes.starts_with(&framed(open)));
			}
			let mut framed = (bytes.len() as u16).to_le_bytes().to_vec();
			framed.extend(&bytes);
			let _ = read_all::<Open>(&framed);
			let _ = read_all::<Result<(), Refusal>>(&framed);
		}
	}
}
