//! How one attempt at an instance ended.

/// How one attempt ended. Fed to the instance's vitals; decides what may be tried elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The instance answered and the exchange ran to its end. Carries the status code.
    Answered(u16),
    /// No connection could be made.
    ConnectFailed,
    /// The instance refused the stream before doing any work (REFUSED_STREAM, GOAWAY above our stream, closed idle connection).
    Refused,
    /// The connection or stream broke after the request may have been seen.
    Reset,
    /// No head within the route's limit.
    TimedOut,
    /// The instance broke the protocol.
    Protocol,
    /// We or the client gave up first; says nothing about the instance.
    Abandoned,
}

impl Outcome {
    /// Whether the instance provably did no work, so that any method may be sent elsewhere.
    #[must_use]
    pub fn is_unsent(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::Refused)
    }
}
