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
    /// The host is not one this router serves.
    Misdirected,
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
    /// The instance broke off before its head.
    Reset,
    /// The instance broke the protocol.
    Protocol,
    /// The instance sent no head in time.
    HeadTimeout,
    /// Nothing moved in either direction for the idle time.
    IdleTimeout,
    /// The whole exchange took longer than the route allows.
    Deadline,
    /// The client went away first. Only ever seen in logs.
    ClientGone,
    /// A fault of the router.
    Internal,
}

impl Refusal {
    /// One of each kind, for tables and metrics.
    pub const ALL: [Self; 26] = [
        Self::BadRequest("the request is malformed"),
        Self::HeadersTooLarge,
        Self::UriTooLong,
        Self::BodyTooLarge,
        Self::ClientTimeout,
        Self::NoRoute,
        Self::Misdirected,
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
        Self::Reset,
        Self::Protocol,
        Self::HeadTimeout,
        Self::IdleTimeout,
        Self::Deadline,
        Self::ClientGone,
        Self::Internal,
    ];

    /// HTTP status for the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRefused => StatusCode::BAD_REQUEST,
            Self::UnknownService
            | Self::Unanswered
            | Self::NoInstance
            | Self::HoldTimeout
            | Self::CircuitOpen(_)
            | Self::Overloaded
            | Self::ServiceFull
            | Self::QueueTimeout
            | Self::Shed => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect | Self::Reset | Self::Protocol => StatusCode::BAD_GATEWAY,
            Self::HeadTimeout | Self::IdleTimeout | Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// gRPC status code for gRPC clients.
    #[must_use]
    pub fn grpc(&self) -> u8 {
        match self {
            Self::BadRequest(_)
            | Self::HeadersTooLarge
            | Self::UriTooLong
            | Self::BodyTooLarge
            | Self::UpgradeRefused => 3,
            Self::ClientTimeout | Self::HeadTimeout | Self::IdleTimeout | Self::Deadline => 4,
            Self::NoRoute | Self::Misdirected | Self::MethodNotAllowed => 12,
            Self::Internal | Self::Protocol => 13,
            Self::UnknownService
            | Self::Unanswered
            | Self::NoInstance
            | Self::HoldTimeout
            | Self::CircuitOpen(_)
            | Self::Overloaded
            | Self::ServiceFull
            | Self::QueueTimeout
            | Self::Shed
            | Self::Connect
            | Self::Reset => 14,
            Self::ClientGone => 1,
        }
    }

    /// One stable word: the `x-pointsman-reason` header, the metric label, the log field.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::HeadersTooLarge => "headers_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::ClientTimeout => "client_timeout",
            Self::NoRoute => "no_route",
            Self::Misdirected => "misdirected",
            Self::MethodNotAllowed => "method",
            Self::UpgradeRefused => "upgrade",
            Self::UnknownService => "no_service",
            Self::Unanswered => "unanswered",
            Self::NoInstance => "no_instance",
            Self::HoldTimeout => "hold_timeout",
            Self::CircuitOpen(_) => "circuit_open",
            Self::Overloaded => "overload",
            Self::ServiceFull => "service_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Shed => "shed",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::HeadTimeout => "head_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Deadline => "deadline",
            Self::ClientGone => "client",
            Self::Internal => "internal",
        }
    }

    /// The stable code of the JSON body, `PTS` and five digits: the status, then a running number.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "PTS40001",
            Self::UpgradeRefused => "PTS40002",
            Self::NoRoute => "PTS40401",
            Self::MethodNotAllowed => "PTS40501",
            Self::ClientTimeout => "PTS40801",
            Self::BodyTooLarge => "PTS41301",
            Self::UriTooLong => "PTS41401",
            Self::Misdirected => "PTS42101",
            Self::HeadersTooLarge => "PTS43101",
            Self::ClientGone => "PTS49901",
            Self::Internal => "PTS50001",
            Self::Connect => "PTS50201",
            Self::Reset => "PTS50202",
            Self::Protocol => "PTS50203",
            Self::UnknownService => "PTS50301",
            Self::NoInstance => "PTS50302",
            Self::Overloaded => "PTS50303",
            Self::CircuitOpen(_) => "PTS50304",
            Self::ServiceFull => "PTS50305",
            Self::QueueTimeout => "PTS50306",
            Self::HoldTimeout => "PTS50307",
            Self::Shed => "PTS50308",
            Self::Unanswered => "PTS50309",
            Self::HeadTimeout => "PTS50401",
            Self::IdleTimeout => "PTS50402",
            Self::Deadline => "PTS50403",
        }
    }

    /// The short upper-case message of the JSON body.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BAD_REQUEST",
            Self::HeadersTooLarge => "HEADERS_TOO_LARGE",
            Self::UriTooLong => "URI_TOO_LONG",
            Self::BodyTooLarge => "BODY_TOO_LARGE",
            Self::ClientTimeout => "CLIENT_TIMEOUT",
            Self::NoRoute => "NO_ROUTE",
            Self::Misdirected => "MISDIRECTED",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::UpgradeRefused => "UPGRADE_REFUSED",
            Self::UnknownService => "UNKNOWN_SERVICE",
            Self::Unanswered => "UNANSWERED",
            Self::NoInstance => "NO_INSTANCE",
            Self::HoldTimeout => "HOLD_TIMEOUT",
            Self::CircuitOpen(_) => "CIRCUIT_OPEN",
            Self::Overloaded => "OVERLOADED",
            Self::ServiceFull => "SERVICE_FULL",
            Self::QueueTimeout => "QUEUE_TIMEOUT",
            Self::Shed => "SHED",
            Self::Connect => "CONNECT_FAILED",
            Self::Reset => "INSTANCE_RESET",
            Self::Protocol => "INSTANCE_PROTOCOL_ERROR",
            Self::HeadTimeout => "HEAD_TIMEOUT",
            Self::IdleTimeout => "IDLE_TIMEOUT",
            Self::Deadline => "DEADLINE_EXCEEDED",
            Self::ClientGone => "CLIENT_GONE",
            Self::Internal => "INTERNAL",
        }
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
            Self::Misdirected => "this router does not serve this host",
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
            Self::Reset => "the instance closed the exchange before answering",
            Self::Protocol => "the instance answered with something that is not valid HTTP",
            Self::HeadTimeout => "the instance did not begin to answer in time",
            Self::IdleTimeout => "nothing was sent in either direction for too long",
            Self::Deadline => "the request took longer than its route allows",
            Self::ClientGone => "the client closed the request",
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
