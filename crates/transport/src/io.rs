//! Byte streams: what a connection reads from and writes to.

mod meter;
mod rewind;
mod stream;

pub use meter::{Expired, Meter, Metered, Patience};
pub use rewind::Rewind;
pub use stream::{Io, Stream};
