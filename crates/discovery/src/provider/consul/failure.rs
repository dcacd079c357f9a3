//! What a failed question means, and for whom.

use std::time::Duration;

use http::StatusCode;
use model::ProviderError;
use transport::client::{ClientError, Step};

/// A question without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Concerns the agent or our credentials: every other question would fail too.
    Agent(ProviderError),
    /// Concerns this question; others may do well.
    Question(ProviderError),
    /// A server error: the canary tells which of the two.
    Doubtful(ProviderError),
}

impl Failure {
    pub(super) fn into_error(self) -> ProviderError {
        match self {
            Self::Agent(error) | Self::Question(error) | Self::Doubtful(error) => error,
        }
    }
}

/// A connection that is closed this soon was turned away, not broken: agents close connections beyond
/// `http_max_conns_per_client` without a word.
const TURNED_AWAY: Duration = Duration::from_secs(1);

/// No answer at all, after this time, over TLS or in clear text. Over TLS an agent looks at the number of connections before the
/// handshake, and at our certificate after it.
pub(super) fn no_answer(error: ClientError, after: Duration, secure: bool) -> Failure {
    Failure::Agent(match error {
        ClientError::TooLarge { .. } => return Failure::Question(ProviderError::Malformed(error.to_string())),
        ClientError::Refused { .. } => ProviderError::Denied(error.to_string()),
        ClientError::Broken { step: Step::Tls, .. } if after < TURNED_AWAY => {
            ProviderError::Limited(format!("{error}; if this repeats, raise http_max_conns_per_client of the agent"))
        }
        ClientError::Broken { step: Step::Head, .. } if after < TURNED_AWAY && !secure => {
            ProviderError::Limited(format!(
                "{error}; if this repeats, raise http_max_conns_per_client of the agent or use https, where watches share \
             connections"
            ))
        }
        // The alert that would say so is lost where the agent closes before it has read all that we sent.
        ClientError::Broken { step: Step::Head, .. } if after < TURNED_AWAY => ProviderError::Unreachable(format!(
            "{error}; if this repeats, see whether the agent demands a client certificate (`client_certificate`)"
        )),
        // Settings name files that may be back in a moment: said as they are, tried again as everything else.
        ClientError::Settings(cause) => ProviderError::Failed(cause),
        error => ProviderError::Unreachable(error.to_string()),
    })
}

/// An answer with another status than 200 to a token that Consul `accepted` before, or never.
pub(super) fn refused(status: StatusCode, body: &[u8], accepted: bool) -> Failure {
    // Consul explains itself in one line of text; anything longer is some proxy's page.
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let told = format!("{status}: {}", text.trim());
    match status {
        // Consul says the same of both.
        StatusCode::FORBIDDEN if text.contains("ACL not found") => Failure::Agent(ProviderError::Denied(format!(
            "{told}: the token {}; check `token`",
            if accepted { "was valid until now: it has expired, or was deleted" } else { "is unknown to Consul" }
        ))),
        StatusCode::UNAUTHORIZED => Failure::Agent(ProviderError::Denied(format!("{told}; check `token`"))),
        StatusCode::FORBIDDEN => Failure::Question(ProviderError::Denied(told)),
        StatusCode::TOO_MANY_REQUESTS => Failure::Agent(ProviderError::Limited(told)),
        status if status.is_server_error() => Failure::Doubtful(ProviderError::Failed(told)),
        _ => Failure::Question(ProviderError::Malformed(told)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &str) {
        let failure = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes(), false);
        let whom = match &failure {
            Failure::Agent(_) => "agent",
            Failure::Question(_) => "question",
            Failure::Doubtful(_) => "doubtful",
        };
        assert_eq!(format!("{whom} {}", failure.into_error().reason()), expected, "{status} {body}");
    }

    #[test]
    fn each_status_concerns_someone() {
        check(403, "ACL not found", "agent denied");
        check(403, "Permission denied", "question denied");
        check(401, "", "agent denied");
        check(429, "Your IP is issuing too many concurrent connections", "agent limited");
        check(500, "No cluster leader", "doubtful failed");
        check(503, "<html>", "doubtful failed");
        check(400, "Invalid index", "question malformed");
        check(301, "", "question malformed");
    }

    #[test]
    fn a_connection_closed_at_once_was_turned_away_and_one_closed_later_broke() {
        let (soon, late) = (Duration::from_millis(5), Duration::from_secs(30));
        for (step, secure, after, reason, part) in [
            (Step::Head, false, soon, "limited", "use https"),
            (Step::Tls, true, soon, "limited", "http_max_conns_per_client"),
            (Step::Head, true, soon, "unreachable", "client_certificate"),
            (Step::Head, false, late, "unreachable", ""),
            (Step::Tls, true, late, "unreachable", ""),
            (Step::Body, false, soon, "unreachable", ""),
        ] {
            let broken = ClientError::Broken { address: "a:1".into(), step, cause: "closed".into() };
            let error = no_answer(broken, after, secure).into_error();
            assert_eq!(error.reason(), reason, "{step} {secure} {after:?}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn an_alert_is_a_refusal_and_no_limit() {
        let alert =
            ClientError::Refused { address: "a:1".into(), cause: "received fatal alert: BadCertificate".into() };
        let error = no_answer(alert, Duration::from_millis(5), true).into_error();
        assert!(error.reason() == "denied" && !error.to_string().contains("http_max_conns"), "{error}");
    }

    #[test]
    fn a_token_that_was_accepted_has_expired() {
        let told = |accepted| refused(StatusCode::FORBIDDEN, b"ACL not found", accepted).into_error().to_string();
        assert!(told(true).contains("expired") && !told(true).contains("unknown"), "{}", told(true));
        assert!(told(false).contains("unknown") && !told(false).contains("expired"), "{}", told(false));
    }

    #[test]
    fn a_long_page_is_cut() {
        let long = "é".repeat(10_000);
        assert!(refused(StatusCode::BAD_GATEWAY, long.as_bytes(), false).into_error().to_string().len() < 500);
    }
}
