//! Why a request was not forwarded, and what the client is told.

use std::borrow::Cow;

use http::StatusCode;

/// Why a request was not forwarded.
///
/// Every variant answers the client's questions (status, gRPC code, stable code, reason word, text) and the operator's
/// (whether it is worth a warning). The text says what to do where the client can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed or ambiguous; the text names the rule.
    BadRequest(&'static str),
    /// The head is larger than the listener allows.
    HeadersTooLarge,
    /// The request target is longer than the listener allows.
    UriTooLong,
    /// The body is larger than the route allows.
    BodyTooLarge,
    /// The client did not send its head or body in time.
    ClientTimeout,
    /// No route matches, and the request names no service.
    NoRoute,
    /// The method cannot be forwarded (CONNECT, TRACE).
    MethodNotAllowed,
    /// The client asks for an upgrade, which this router does not relay.
    UpgradeRefused,
    /// The service does not exist for clients: unknown, or known and not exposed.
    UnknownService,
    /// Nobody asked for the service before; the registries are being asked about it.
    Unanswered,
    /// The service is known and has no instance in the asked environment.
    NoInstance,
    /// The service had no instance for as long as the request was held for one.
    HoldTimeout,
    /// So many requests of the service failed that none is sent for a while: for at least so many seconds more.
    CircuitOpen(u32),
    /// The instances, or this router's connections to them, take no more requests.
    Overloaded,
    /// The service has as many requests in hand, and in its queue, as it may have.
    ServiceFull,
    /// No place among the service's requests became free in time.
    QueueTimeout,
    /// The router has more in hand than it can serve in time.
    Shed,
    /// No connection to any instance that was tried.
    Connect,
    /// This machine's resolver fails or is silent, so that nobody knows where the instances are.
    Unresolved,
    /// The instance broke off before its head.
    Reset,
    /// The instance broke the protocol.
    Protocol,
    /// The head of the instance's answer is larger than this router takes.
    AnswerTooLarge,
    /// The instance sent no head in time.
    HeadTimeout,
    /// Nothing moved in either direction for the idle time.
    IdleTimeout,
    /// The whole exchange took longer than the route allows.
    Deadline,
    /// The client went away first. Only ever seen in logs.
    ClientGone,
    /// The router ended first. Only ever seen in logs.
    Shutdown,
    /// A fault of the router.
    Internal,
}

impl Refusal {
    /// One of each kind, for tables and metrics.
    pub const ALL: [Self; 28] = [
        Self::BadRequest("the request is malformed"),
        Self::HeadersTooLarge,
        Self::UriTooLong,
        Self::BodyTooLarge,
        Self::ClientTimeout,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::UpgradeRefused,
        Self::UnknownService,
        Self::Unanswered,
        Self::NoInstance,
        Self::HoldTimeout,
        Self::CircuitOpen(1),
        Self::Overloaded,
        Self::ServiceFull,
        Self::QueueTimeout,
        Self::Shed,
        Self::Connect,
        Self::Unresolved,
        Self::Reset,
        Self::Protocol,
        Self::AnswerTooLarge,
        Self::HeadTimeout,
        Self::IdleTimeout,
        Self::Deadline,
        Self::ClientGone,
        Self::Shutdown,
        Self::Internal,
    ];

    /// HTTP status for the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// gRPC status code for gRPC clients.
    #[must_use]
    pub fn grpc(&self) -> u8 {
        self.row().grpc
    }

    /// The stable code of the JSON body, `PTS` and five digits: the status, then a running number.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// One stable word: the `x-pointsman-reason` header, the metric label, the log field.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.row().reason
    }

    /// The short upper-case message of the JSON body.
    #[must_use]
    pub fn message(&self) -> &'static str {
        self.row().message
    }

    /// What all refusals of its kind have in common.
    fn row(&self) -> Row {
        let (status, grpc, code, reason, message) = match self {
            Self::BadRequest(_) => (400, grpc::INVALID_ARGUMENT, "PTS40001", "bad_request", "BAD_REQUEST"),
            Self::HeadersTooLarge => {
                (431, grpc::INVALID_ARGUMENT, "PTS43101", "headers_too_large", "HEADERS_TOO_LARGE")
            }
            Self::UriTooLong => (414, grpc::INVALID_ARGUMENT, "PTS41401", "uri_too_long", "URI_TOO_LONG"),
            Self::BodyTooLarge => (413, grpc::INVALID_ARGUMENT, "PTS41301", "body_too_large", "BODY_TOO_LARGE"),
            Self::ClientTimeout => (408, grpc::DEADLINE_EXCEEDED, "PTS40801", "client_timeout", "CLIENT_TIMEOUT"),
            Self::NoRoute => (404, grpc::UNIMPLEMENTED, "PTS40401", "no_route", "NO_ROUTE"),
            Self::MethodNotAllowed => (405, grpc::UNIMPLEMENTED, "PTS40501", "method", "METHOD_NOT_ALLOWED"),
            Self::UpgradeRefused => (400, grpc::INVALID_ARGUMENT, "PTS40002", "upgrade", "UPGRADE_REFUSED"),
            Self::UnknownService => (503, grpc::UNAVAILABLE, "PTS50301", "no_service", "UNKNOWN_SERVICE"),
            Self::Unanswered => (503, grpc::UNAVAILABLE, "PTS50309", "unanswered", "UNANSWERED"),
            Self::NoInstance => (503, grpc::UNAVAILABLE, "PTS50302", "no_instance", "NO_INSTANCE"),
            Self::HoldTimeout => (503, grpc::UNAVAILABLE, "PTS50307", "hold_timeout", "HOLD_TIMEOUT"),
            Self::CircuitOpen(_) => (503, grpc::UNAVAILABLE, "PTS50304", "circuit_open", "CIRCUIT_OPEN"),
            Self::Overloaded => (503, grpc::UNAVAILABLE, "PTS50303", "overload", "OVERLOADED"),
            Self::ServiceFull => (503, grpc::UNAVAILABLE, "PTS50305", "service_full", "SERVICE_FULL"),
            Self::QueueTimeout => (503, grpc::UNAVAILABLE, "PTS50306", "queue_timeout", "QUEUE_TIMEOUT"),
            Self::Shed => (503, grpc::UNAVAILABLE, "PTS50308", "shed", "SHED"),
            Self::Connect => (502, grpc::UNAVAILABLE, "PTS50201", "connect", "CONNECT_FAILED"),
            Self::Unresolved => (502, grpc::UNAVAILABLE, "PTS50204", "resolver", "RESOLVER_FAILED"),
            Self::Reset => (502, grpc::UNAVAILABLE, "PTS50202", "reset", "INSTANCE_RESET"),
            Self::Protocol => (502, grpc::INTERNAL, "PTS50203", "protocol", "INSTANCE_PROTOCOL_ERROR"),
            Self::AnswerTooLarge => {
                (502, grpc::RESOURCE_EXHAUSTED, "PTS50205", "answer_too_large", "ANSWER_HEAD_TOO_LARGE")
            }
            Self::HeadTimeout => (504, grpc::DEADLINE_EXCEEDED, "PTS50401", "head_timeout", "HEAD_TIMEOUT"),
            Self::IdleTimeout => (504, grpc::DEADLINE_EXCEEDED, "PTS50402", "idle_timeout", "IDLE_TIMEOUT"),
            Self::Deadline => (504, grpc::DEADLINE_EXCEEDED, "PTS50403", "deadline", "DEADLINE_EXCEEDED"),
            Self::ClientGone => (499, grpc::CANCELLED, "PTS49901", "client", "CLIENT_GONE"),
            Self::Shutdown => (503, grpc::UNAVAILABLE, "PTS50310", "shutdown", "SHUTDOWN"),
            Self::Internal => (500, grpc::INTERNAL, "PTS50001", "internal", "INTERNAL"),
        };
        Row { status, grpc, code, reason, message }
    }

    /// One sentence for whoever sent the request.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadRequest(rule) => rule,
            Self::HeadersTooLarge => "the request head is larger than this listener accepts",
            Self::UriTooLong => "the request target is longer than this listener accepts",
            Self::BodyTooLarge => "the request body is larger than this route accepts",
            Self::ClientTimeout => "the request did not arrive completely in time",
            Self::NoRoute => {
                "no route matches this request; name a service in the service_id header or use a routed path"
            }
            Self::MethodNotAllowed => "this method is not forwarded",
            Self::UpgradeRefused => "protocol upgrades are not forwarded",
            Self::UnknownService => "no service of this name is available to clients of this router",
            Self::Unanswered => "the registries are being asked about this service; try again in a moment",
            Self::NoInstance => {
                "the service has no instance that can take this request now, or none in the environment it names; try again later"
            }
            Self::HoldTimeout => "the service has no instance, and none came while this request waited for one",
            Self::CircuitOpen(_) => {
                "too many requests to this service failed, so none is sent for a while; try again later"
            }
            Self::Overloaded => "the instances take no more requests now; try again later",
            Self::ServiceFull => "the service has as many requests in hand as it may have; try again later",
            Self::QueueTimeout => "the service had no room for this request in time; try again later",
            Self::Shed => "this router has too much in hand; try again later",
            Self::Connect => "no instance of the service could be connected to",
            Self::Unresolved => "this router cannot find out where the instances of the service are",
            Self::Reset => "the instance closed the exchange before answering",
            Self::Protocol => "the instance answered with something that is not valid HTTP",
            Self::AnswerTooLarge => {
                "the instance answered, with more header fields or a larger head than this router accepts"
            }
            Self::HeadTimeout => "the instance did not begin to answer in time",
            Self::IdleTimeout => "nothing was sent in either direction for too long",
            Self::Deadline => "the request took longer than its route allows",
            Self::ClientGone => "the client closed the request",
            Self::Shutdown => "this router ended before the answer did",
            Self::Internal => "the router failed; the operator can find the cause by the correlation id",
        })
    }

    /// Seconds for `Retry-After`, where trying again later helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Unanswered
            | Self::NoInstance
            | Self::Overloaded
            | Self::ServiceFull
            | Self::QueueTimeout
            | Self::Shed => Some(1),
            // It was waited for as long already.
            Self::HoldTimeout => Some(5),
            Self::CircuitOpen(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// Whether the operator should look into it (as against the client).
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.status().is_server_error() && !matches!(self, Self::UnknownService | Self::Unanswered)
    }
}

struct Row {
    status: u16,
    grpc: u8,
    code: &'static str,
    reason: &'static str,
    message: &'static str,
}

/// The codes of gRPC that refusals have.
mod grpc {
    pub(super) const CANCELLED: u8 = 1;
    pub(super) const INVALID_ARGUMENT: u8 = 3;
    pub(super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const INTERNAL: u8 = 13;
    pub(super) const UNAVAILABLE: u8 = 14;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_reasons_are_unique_and_begin_with_the_status() {
        let mut codes = HashSet::new();
        let mut reasons = HashSet::new();
        for refusal in &Refusal::ALL {
            assert!(codes.insert(refusal.code()), "{refusal:?}");
            assert!(reasons.insert(refusal.reason()), "{refusal:?}");
            assert_eq!(refusal.code()[3..6], refusal.status().as_str()[..], "{refusal:?}");
            assert!(!refusal.description().is_empty());
        }
    }
}
