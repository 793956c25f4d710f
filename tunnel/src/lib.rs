//! # The tunnel
//!
//! How a customer reaches the container that it rents: a QUIC connection to the worker's agent, and on
//! it one stream for each TCP connection. Both sides know whom they talk to, since the identity of an
//! endpoint is its key: the agent's stands on chain with its worker, the client's with the order. There
//! is nothing else to authenticate, and the container is open to nobody else. `docs/tunnel.md` says
//! what the tunnel protects, and what it does not.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`wire`] | the first message of a stream, and the answer |
//! | [`client`] | [`Tunnel`]: connects, opens streams, forwards a local TCP port |
//! | [`server`] | [`Server`]: the agent's side, which asks a [`Gate`] who may go where |
//! | [`places`] | [`Door`]: how many connections of strangers are held, and of whom |
//! | [`dial`] | which addresses and relays of a stranger's record are dialed |
//! | [`carry()`] | a TCP connection over a stream, both ways, until both are done |
//! | [`probe`] | finding out whether a container answers |
//!
//! A stream, from its beginning:
//!
//! 1. The client opens it and sends [`Open`]: which order of which chain, and which port of its
//!    container.
//! 2. The agent asks its gate whether this key may, and connects to the container. It answers `Ok`, or
//!    says in a [`Refusal`] why not.
//! 3. After `Ok` the stream is the container's. Each side closes its direction by itself, as in TCP; a
//!    direction that breaks breaks both, and is never mistaken for one that ended.
//!
//! The gate is asked again every second. The moment it says that the order is over, the connection is
//! closed with everything on it.

#![warn(missing_docs)]

mod carry;
pub mod client;
pub mod dial;
pub mod places;
pub mod probe;
pub mod server;
pub mod wire;

pub use carry::carry;
pub use client::{Target, Tunnel, TunnelError};
pub use dial::{DialRule, Undialable, is_public};
pub use iroh::{
	RelayUrl,
	endpoint::{RecvStream, SendStream},
};
pub use places::Door;
pub use server::{Gate, Pass, Server};
pub use wire::{Open, Purpose, Refusal};

/// ALPN of the tunnel.
pub const ALPN: &[u8] = b"kaisar/tunnel/1";
/// Most streams of one connection at a time.
pub const MAX_STREAMS: u32 = 64;
