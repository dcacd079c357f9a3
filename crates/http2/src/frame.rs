//! Frames as they are on the wire (RFC 9113, sections 4 and 6).

use crate::error::Fault;

/// The first bytes of every connection, from the client.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The size of a frame's head.
pub(crate) const HEAD: usize = 9;

/// The largest payload until a peer admits more, and the smallest limit a peer may set.
pub(crate) const DEFAULT_FRAME: usize = 16_384;
/// The largest limit a peer may set.
pub(crate) const LARGEST_FRAME: usize = (1 << 24) - 1;
/// The largest window.
pub(crate) const LARGEST_WINDOW: i64 = (1 << 31) - 1;
/// Windows before anybody said otherwise.
pub(crate) const DEFAULT_WINDOW: i64 = 65_535;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const HAS_PRIORITY: u8 = 0x20;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Without the reserved bit.
    pub(crate) stream: u32,
}

impl Head {
    pub(crate) fn read(bytes: &[u8; HEAD]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff }
    }

    pub(crate) fn bytes(self) -> [u8; HEAD] {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The number at the beginning of a payload.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|four| u32::from_be_bytes(*four))
}

/// What is left of a HEADERS payload without padding and priority.
pub(crate) fn fragment(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    let mut rest = payload;
    let mut padding = 0;
    if head.has(PADDED) {
        let (&length, after) = rest.split_first().ok_or(Fault::size("HEADERS without its pad length"))?;
        (padding, rest) = (usize::from(length), after);
    }
    if head.has(HAS_PRIORITY) {
        let (priority, after) = rest.split_at_checked(5).ok_or(Fault::size("HEADERS without its priority"))?;
        if number(priority).is_some_and(|depends| depends & 0x7fff_ffff == head.stream) {
            return Err(Fault::protocol("a stream that depends on itself"));
        }
        rest = after;
    }
    let length = rest.len().checked_sub(padding).ok_or(Fault::protocol("more padding than frame"))?;
    Ok(&rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_as_written() {
        let head = Head { length: 0x01_02_03, kind: DATA, flags: 5, stream: 0x7fff_fffe };
        assert_eq!(Head::read(&head.bytes()), head);
        let mut reserved = head.bytes();
        reserved[5] |= 0x80;
        assert_eq!(Head::read(&reserved), head, "the reserved bit is nothing");
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let head = |flags| Head { length: 0, kind: HEADERS, flags, stream: 1 };
        assert_eq!(fragment(head(0), b"abc"), Ok(&b"abc"[..]));
        assert_eq!(fragment(head(PADDED), b"\x02abcpp"), Ok(&b"abc"[..]));
        assert_eq!(fragment(head(PADDED | HAS_PRIORITY), b"\x01\0\0\0\x03\x10abcp"), Ok(&b"abc"[..]));
        assert!(fragment(head(PADDED), b"\x04abc").is_err());
        assert!(fragment(head(PADDED), b"").is_err());
        assert!(fragment(head(HAS_PRIORITY), b"\0\0\0").is_err());
        assert!(fragment(head(HAS_PRIORITY), b"\0\0\0\x01\x10").is_err(), "on itself");
    }
}
