//! What a refusal of the API server means. Pure.

use std::time::Duration;

use http::StatusCode;
use model::ProviderError;
use serde_json::Value;

/// A question without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The version asked for is too old (410): the list has to be read again, and nothing is wrong.
    Gone,
    /// Anything else.
    Other {
        error: ProviderError,
        /// The server asks for this pause.
        pause: Option<Duration>,
    },
}

/// Longer pauses are not believed: after this the server is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Other { error, pause: None }
    }
}

impl Failure {
    pub(super) fn malformed(text: String) -> Self {
        ProviderError::Malformed(text).into()
    }

    /// Whether what was heard so far may still be true and whole: the server itself said no, and would say no to a list
    /// too. After a broken connection it may be another server, restored from a backup, whose versions mean other things.
    pub(super) fn keeps_version(&self) -> bool {
        matches!(self, Self::Other { error: ProviderError::Limited(_) | ProviderError::Denied(_), .. })
    }
}

/// Kubernetes' own words about a failure, in a body or in an `ERROR` event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Status {
    code: u16,
    message: String,
    pause: Option<Duration>,
}

impl Status {
    /// Reads what there is of it.
    pub(super) fn read(object: &Value) -> Self {
        let number = |path: &str| object.pointer(path).and_then(Value::as_u64);
        let code = number("/code").and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
        let message = object.get("message").and_then(Value::as_str).unwrap_or_default();
        let pause = number("/details/retryAfterSeconds").map(Duration::from_secs);
        Self { code, message: shortened(message), pause }
    }

    /// Reads an answer with another status than 200. Proxies on the way send pages of their own.
    pub(super) fn of_answer(status: StatusCode, retry_after: Option<&str>, body: &[u8]) -> Self {
        let mut read = serde_json::from_slice(body).map(|object| Self::read(&object)).unwrap_or_default();
        if read.message.is_empty() {
            read.message = shortened(&String::from_utf8_lossy(&body[..body.len().min(400)]));
        }
        let pause = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Self { code: status.as_u16(), pause: pause.or(read.pause), ..read }
    }

    pub(super) fn failure(self) -> Failure {
        let Self { code, message, pause } = self;
        let pause = pause.map(|pause| pause.min(LONGEST_PAUSE));
        let told = format!("{code}: {message}");
        let error = match code {
            410 => return Failure::Gone,
            401 => ProviderError::Denied(format!("{told}: the API server does not know the token or certificate")),
            403 if message.contains("\"system:anonymous\"") => {
                ProviderError::Denied(format!("{told}: no token or certificate was presented"))
            }
            403 => ProviderError::Denied(format!(
                "{told}: grant list and watch on endpointslices; docs/registries/kubernetes.md has the manifest"
            )),
            404 => ProviderError::Failed(format!(
                "{told}: no discovery.k8s.io/v1 there; it needs Kubernetes 1.21 or newer, and the API server's own URL"
            )),
            429 => ProviderError::Limited(told),
            500.. => ProviderError::Failed(told),
            _ => ProviderError::Malformed(told),
        };
        Failure::Other { error, pause }
    }
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, body: &str, expected: &str) -> String {
        let failure = Status::of_answer(StatusCode::from_u16(code).unwrap(), None, body.as_bytes()).failure();
        let (reason, text) = match &failure {
            Failure::Gone => ("gone", String::new()),
            Failure::Other { error, .. } => (error.reason(), error.to_string()),
        };
        assert_eq!(reason, expected, "{code} {body}");
        text
    }

    #[test]
    fn each_status_has_its_meaning() {
        check(401, r#"{"message":"Unauthorized","code":401}"#, "denied");
        let forbidden = r#"{"message":"User \"router\" cannot watch resource \"endpointslices\"","code":403}"#;
        let text = check(403, forbidden, "denied");
        assert!(text.contains("cannot watch") && text.contains("docs/registries/kubernetes.md"), "{text}");
        let anonymous = r#"{"message":"User \"system:anonymous\" cannot list resource"}"#;
        assert!(check(403, anonymous, "denied").contains("no token"));
        check(404, "404 page not found", "failed");
        check(410, "{}", "gone");
        check(429, "Too many requests, please try again later.", "limited");
        check(504, r#"{"message":"Too large resource version"}"#, "failed");
        check(502, "<html>", "failed");
        check(400, r#"{"message":"unable to parse requirement"}"#, "malformed");
        check(302, "", "malformed");
    }

    #[test]
    fn the_pause_it_asks_for_is_read_and_bounded() {
        let pause = |retry_after, body: &str| match Status::of_answer(
            StatusCode::TOO_MANY_REQUESTS,
            retry_after,
            body.as_bytes(),
        )
        .failure()
        {
            Failure::Other { pause, .. } => pause.map(|pause| pause.as_secs()),
            Failure::Gone => unreachable!(),
        };
        assert_eq!(pause(Some("1"), ""), Some(1));
        assert_eq!(pause(Some("99999"), ""), Some(60));
        assert_eq!(pause(None, r#"{"details":{"retryAfterSeconds":2}}"#), Some(2));
        assert_eq!(pause(Some("Thu, 01 Jan"), ""), None);
    }

    #[test]
    fn a_long_page_is_cut() {
        let long = "é".repeat(10_000);
        let failure = Status::of_answer(StatusCode::BAD_GATEWAY, None, long.as_bytes()).failure();
        assert!(matches!(failure, Failure::Other { error, .. } if error.to_string().len() < 1000));
    }

    #[test]
    fn only_a_server_that_says_no_keeps_its_version() {
        let of = |error: ProviderError| Failure::from(error).keeps_version();
        assert!(of(ProviderError::Limited(String::new())) && of(ProviderError::Denied(String::new())));
        assert!(!of(ProviderError::Unreachable(String::new())) && !of(ProviderError::Malformed(String::new())));
        assert!(!Failure::Gone.keeps_version());
    }
}
