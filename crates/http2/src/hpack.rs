//! Header compression (RFC 7541): what both ends of a connection remember of earlier heads.

mod decode;
mod encode;
mod huffman;
mod integer;
mod table;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
pub(crate) use table::{Field, Name, Pseudo, Value};

/// The size of a table until somebody says otherwise; we never use more.
pub(crate) const TABLE: usize = 4096;
