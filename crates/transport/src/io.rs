//! Byte streams: what a connection reads from and writes to.

mod coalesce;
mod meter;
mod rewind;
mod stream;

pub use coalesce::{Buffers, Coalesce};
pub use meter::{Expired, Meter, Metered, Patience};
pub use rewind::Rewind;
pub use stream::{Io, Stream};
