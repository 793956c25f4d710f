//! # The tunnel
//!
//! A customer reaches its rented container through a QUIC connection to the worker's agent, with one stream
//! for each TCP connection. The key of an endpoint is its identity: the agent's key is on chain with its
//! worker, the client's with the order. So both sides know their peer, nothing else needs to be
//! authenticated, and nobody else can reach the container. `docs/tunnel.md` describes what the tunnel
//! protects, and what it does not.
//!
//! | Module | Contents |
//! | --- | --- |
//! | [`wire`] | the first message of a stream, and the answer |
//! | [`client`] | [`Tunnel`], which connects, opens streams, and forwards local TCP ports |
//! | [`server`] | [`Server`], the agent's side, which asks a [`Gate`] for permission |
//! | [`places`] | [`Door`], which limits the connections of strangers |
//! | [`dial`] | the limits on dialing a stranger's record |
//! | [`carry()`] | a TCP connection over a stream, in both directions, until both have ended |
//! | [`probe`] | the test whether a container answers |
//!
//! A stream goes through these steps:
//!
//! 1. The client opens the stream and sends [`Open`], with the chain, the order, and the port of the
//!    container.
//! 2. The agent asks its gate for permission, and connects to the container. It answers `Ok`, or gives the
//!    reason in a [`Refusal`].
//! 3. After `Ok`, the stream carries the container's connection. Each side closes its direction by itself,
//!    as in TCP. A direction that breaks breaks both, and is never mistaken for one that ended.
//!
//! The agent asks its gate again every second. As soon as the gate reports the end of the order, the agent
//! closes the connection with all its streams.

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
pub use wire::{Open, Purpose, Refusal, ServedPorts};

/// ALPN of the tunnel.
pub const ALPN: &[u8] = b"kaisar/tunnel/1";
/// Maximum number of streams of one connection at a time.
pub const MAX_STREAMS: u32 = 64;
