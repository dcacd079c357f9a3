//! Byte streams: what a connection reads from and writes to.

mod doubtful;
mod meter;
mod rewind;
mod stream;

pub(crate) use doubtful::Doubtful;
pub use meter::{ConnectionTimeouts, Expired, Meter, Metered};
pub use rewind::Rewind;
pub use stream::{Io, Stream};
