//! Why a request is sent to another instance, and why it is not.

use crate::Outcome;

/// What one try came to that may be worth another one: the words of `retries.on`, of metrics and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection could be made. Nothing was sent.
    Connect,
    /// The instance refused the stream, or closed a connection that was idle. Nothing was done.
    Refused,
    /// The instance broke off before its head, or answered with something that is not HTTP.
    Reset,
    /// No head in time.
    Timeout,
    /// It answered 502.
    BadGateway,
    /// It answered 503.
    Unavailable,
    /// It answered 504.
    GatewayTimeout,
}

impl Fault {
    /// Every fault, in the order of the declaration.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Refused,
        Self::Reset,
        Self::Timeout,
        Self::BadGateway,
        Self::Unavailable,
        Self::GatewayTimeout,
    ];

    /// One stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::BadGateway => "502",
            Self::Unavailable => "503",
            Self::GatewayTimeout => "504",
        }
    }

    /// The fault in how a try ended, if there is one. What we or the client gave up is none, and neither is an answer
    /// of another status.
    #[must_use]
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::ConnectFailed => Some(Self::Connect),
            Outcome::Refused => Some(Self::Refused),
            Outcome::Reset | Outcome::Protocol => Some(Self::Reset),
            Outcome::TimedOut => Some(Self::Timeout),
            Outcome::Answered(502) => Some(Self::BadGateway),
            Outcome::Answered(503) => Some(Self::Unavailable),
            Outcome::Answered(504) => Some(Self::GatewayTimeout),
            Outcome::Answered(_) | Outcome::Abandoned => None,
        }
    }

    /// Whether the instance provably did no work, so that any method may be sent elsewhere.
    #[must_use]
    pub fn is_unsent(self) -> bool {
        matches!(self, Self::Connect | Self::Refused)
    }
}

/// Why a request with a [`Fault`] was not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// The configuration does not retry this fault.
    Off,
    /// The instance may have done its work, and the method does not bear a second time.
    Method,
    /// It was tried as often as it may be.
    Attempts,
    /// The body is larger than what is kept of it.
    Body,
    /// There is no other instance.
    NoInstance,
    /// The time left does not suffice.
    Deadline,
    /// The service has had as many retries as its requests allow.
    Budget,
}

impl Withheld {
    /// Every reason, in the order of the declaration.
    pub const ALL: [Self; 7] =
        [Self::Off, Self::Method, Self::Attempts, Self::Body, Self::NoInstance, Self::Deadline, Self::Budget];

    /// One stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Method => "method",
            Self::Attempts => "attempts",
            Self::Body => "body",
            Self::NoInstance => "no_instance",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unsent_is_so_by_either_name() {
        let outcomes = [Outcome::ConnectFailed, Outcome::Refused, Outcome::Reset, Outcome::TimedOut, Outcome::Protocol];
        for outcome in outcomes {
            assert_eq!(Fault::of(outcome).is_some_and(Fault::is_unsent), outcome.is_unsent(), "{outcome:?}");
        }
        assert_eq!([200, 429, 500, 501].map(|status| Fault::of(Outcome::Answered(status))), [None; 4]);
        for fault in [Fault::BadGateway, Fault::Unavailable, Fault::GatewayTimeout] {
            assert_eq!(Fault::of(Outcome::Answered(fault.as_str().parse().unwrap())), Some(fault));
        }
    }

    #[test]
    fn all_is_in_the_order_of_the_declaration() {
        assert!(Fault::ALL.iter().enumerate().all(|(at, fault)| *fault as usize == at));
        assert!(Withheld::ALL.iter().enumerate().all(|(at, why)| *why as usize == at));
    }
}
