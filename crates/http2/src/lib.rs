//! HTTP/2 (RFC 9113, 7541) for one thread, between a byte stream and the types of the `http` crate.
//!
//! Reading order: `frame` is what is on the wire, `hpack` how heads are compressed, `head` what a head may be, `stream` and
//! `core` what frames mean (without any waiting, so all of it is tested as functions), `output` what waits to be
//! written. [`Connection`] brings bytes to the core and back, in one task; [`Incoming`], [`Outgoing`] and [`Sender`] are
//! what others hold of it.
//!
//! What makes it quick: one thread, hence no lock; a connection reads all there is, decides, and writes once; buffers
//! are lent, so that an idle connection owns none; a frame is written into the output when it is made and touched no more.
//!
//! What keeps it safe: each number a peer chooses has a limit (`core`); what a peer may send ahead is bounded by its
//! windows; frames that do nothing are counted, and too many of them end the connection; while a peer does not read,
//! little more is read from it.

mod buffers;
mod chunks;
mod connection;
mod core;
mod error;
mod frame;
mod halves;
mod head;
mod hpack;
mod output;
mod settings;
mod stream;

pub use buffers::Buffers;
pub use connection::Connection;
pub use error::{Error, Reason};
pub use frame::PREFACE;
pub use halves::{Answer, Incoming, Outgoing, Request, RequestHead, Sender};
pub use settings::Settings;
