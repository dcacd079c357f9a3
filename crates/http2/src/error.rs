//! Why a stream or a connection ended.

use std::{fmt, io};

/// An error code of RFC 9113, section 7.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub u32);

impl Reason {
    /// Nothing went wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// Our fault.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// The peer sent more than the window admits.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// A frame for a stream that was over.
    pub const STREAM_CLOSED: Self = Self(5);
    /// A frame of a wrong size.
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    /// Nothing was done with the stream.
    pub const REFUSED_STREAM: Self = Self(7);
    /// Nobody wants the stream any more.
    pub const CANCEL: Self = Self(8);
    /// The header compression is out of step.
    pub const COMPRESSION_ERROR: Self = Self(9);
    /// The peer makes work for nothing.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);

    fn name(self) -> &'static str {
        match self.0 {
            0 => "NO_ERROR",
            1 => "PROTOCOL_ERROR",
            2 => "INTERNAL_ERROR",
            3 => "FLOW_CONTROL_ERROR",
            4 => "SETTINGS_TIMEOUT",
            5 => "STREAM_CLOSED",
            6 => "FRAME_SIZE_ERROR",
            7 => "REFUSED_STREAM",
            8 => "CANCEL",
            9 => "COMPRESSION_ERROR",
            10 => "CONNECT_ERROR",
            11 => "ENHANCE_YOUR_CALM",
            12 => "INADEQUATE_SECURITY",
            13 => "HTTP_1_1_REQUIRED",
            _ => "an unknown code",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a stream or a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes stopped.
    #[error("the connection broke: {0}")]
    Io(io::ErrorKind),
    /// The peer broke the protocol, and the whole connection ended.
    #[error("the peer broke the protocol: {what} ({reason})")]
    Protocol {
        /// What the peer was told.
        reason: Reason,
        /// The rule it broke.
        what: &'static str,
    },
    /// The peer broke the protocol in this stream, which was reset.
    #[error("the peer broke the protocol in one stream: {what} ({reason})")]
    Stream {
        /// What the peer was told.
        reason: Reason,
        /// The rule it broke.
        what: &'static str,
    },
    /// The peer reset the stream.
    #[error("the peer reset the stream: {0}")]
    Reset(Reason),
    /// The peer said that it goes away and did nothing with this stream, or takes no new ones.
    #[error("the peer goes away: {0}")]
    GoAway(Reason),
    /// We ended the stream or the connection.
    #[error("ended by ourselves")]
    Ended,
    /// The peer takes no more streams at once; nothing was sent.
    #[error("the peer takes no more streams at once")]
    Full,
    /// The head is larger than the peer said it takes; nothing was sent.
    #[error("the peer takes no head of this size")]
    TooLarge,
    /// The head of the peer's response is larger than [`Settings::head`](crate::Settings::head), and the stream was reset.
    #[error("the head of the response is larger than admitted")]
    ResponseTooLarge,
}

impl Error {
    /// The peer certainly did nothing with the stream (RFC 9113, 8.7).
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        matches!(self, Self::GoAway(_) | Self::Full) || *self == Self::Reset(Reason::REFUSED_STREAM)
    }

    /// It ended the whole connection, and with it every stream.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Protocol { .. })
    }

    /// The peer, or the way to it, is the cause; not what it said.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Reset(_) | Self::GoAway(_))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// What one frame was found to be: the end of the connection, or of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Connection(Reason, &'static str),
    Stream(u32, Reason, &'static str),
}

impl Fault {
    pub(crate) const fn protocol(what: &'static str) -> Self {
        Self::Connection(Reason::PROTOCOL_ERROR, what)
    }

    pub(crate) const fn size(what: &'static str) -> Self {
        Self::Connection(Reason::FRAME_SIZE_ERROR, what)
    }

    pub(crate) const fn compression(what: &'static str) -> Self {
        Self::Connection(Reason::COMPRESSION_ERROR, what)
    }
}
