//! What a question without a usable answer means.

use http::StatusCode;
use model::ProviderError;
use transport::client::ClientError;

use super::wire::{Fault, Line};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The history we ask for is gone, or is not the one we know: only a new list helps.
    Lost,
    /// Everything else.
    Error(ProviderError),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    pub(super) fn into_error(self) -> ProviderError {
        match self {
            Self::Lost => ProviderError::Failed("its history has a gap".to_owned()),
            Self::Error(error) => error,
        }
    }
}

/// No answer at all.
pub(super) fn no_answer(error: ClientError) -> ProviderError {
    match error {
        ClientError::TooLarge { .. } => ProviderError::Malformed(error.to_string()),
        // Settings name files that may be back in a moment: said as they are, tried again as everything else.
        ClientError::Settings(cause) => ProviderError::Failed(cause),
        ClientError::Refused { .. } => ProviderError::Denied(error.to_string()),
        error => ProviderError::Unreachable(error.to_string()),
    }
}

/// An answer with another status than 200.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> Failure {
    match fault(body) {
        Some(fault) => meaning(&fault),
        None => {
            let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
            let told = format!("{status}: {}", text.trim());
            Failure::Error(match status {
                StatusCode::TOO_MANY_REQUESTS => ProviderError::Limited(told),
                _ if text.contains("CommonName") => ProviderError::Denied(format!(
                    "{told}: use a client certificate without a common name, and `user` and `password`"
                )),
                status if status.is_server_error() => ProviderError::Failed(told),
                // As members answer whose gateway is off or speaks another version.
                _ => {
                    ProviderError::Malformed(format!("{told}: is this etcd 3.4 or later, with --enable-grpc-gateway?"))
                }
            })
        }
    }
}

/// What etcd itself says: in the answer, or within `error` if a watch was asked for.
fn fault(body: &[u8]) -> Option<Fault> {
    let plain = serde_json::from_slice::<Fault>(body).ok().filter(|fault| *fault != Fault::default());
    plain.or_else(|| serde_json::from_slice::<Line>(body).ok()?.error)
}

/// A refusal in etcd's own words. The codes are those of gRPC.
pub(super) fn meaning(fault: &Fault) -> Failure {
    let Fault { code, message } = fault;
    let told = |what: &str| format!("{message}{what}");
    Failure::Error(match code {
        3 if message.contains("user name is empty") => ProviderError::Denied(told(": set `user` and `password`")),
        3 if message.contains("authentication failed") => ProviderError::Denied(told(": check `user` and `password`")),
        // Any change of users or roles makes older tokens useless.
        3 if message.contains("auth store is old") => ProviderError::Denied(told(": the token is out of date")),
        16 => ProviderError::Denied(told(": the token is unknown or has expired")),
        7 => ProviderError::Denied(told(": grant the role of `user` to read the prefix")),
        8 => ProviderError::Limited(told("")),
        11 if message.contains("compacted") => return Failure::Lost,
        4 | 13 | 14 => ProviderError::Failed(told("")),
        _ => ProviderError::Malformed(format!("code {code}: {message}")),
    })
}

/// A watch that etcd ended. The reason of a refusal is gRPC's code by name, within a text.
pub(super) fn canceled(reason: &str) -> Failure {
    let code = match reason {
        text if text.contains("PermissionDenied") || text.contains("permission denied") => 7,
        text if text.contains("Unauthenticated") || text.contains("invalid auth token") => 16,
        text if text.contains("compacted") => 11,
        _ => 14,
    };
    meaning(&Fault { code, message: format!("watch ended: {reason}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &str) {
        let reason = match refused(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            Failure::Lost => "lost",
            Failure::Error(error) => error.reason(),
        };
        assert_eq!(reason, expected, "{status} {body}");
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let fault = |code: u32, text: &str| format!(r#"{{"error":{text:?},"message":{text:?},"code":{code}}}"#);
        check(400, &fault(3, "etcdserver: user name is empty"), "denied");
        check(400, &fault(3, "etcdserver: authentication failed, invalid user ID or password"), "denied");
        check(400, &fault(3, "etcdserver: revision of auth store is old"), "denied");
        check(401, &fault(16, "etcdserver: invalid auth token"), "denied");
        check(403, &fault(7, "etcdserver: permission denied"), "denied");
        check(400, &fault(11, "etcdserver: mvcc: required revision has been compacted"), "lost");
        check(400, &fault(11, "etcdserver: mvcc: required revision is a future revision"), "malformed");
        check(503, &fault(14, "etcdserver: no leader"), "failed");
        check(429, &fault(8, "etcdserver: too many requests"), "limited");
        check(503, r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}"#, "failed");
        check(401, r#"{"error":{"grpc_code":16,"message":"etcdserver: invalid auth token"}}"#, "denied");
        check(429, "slow down", "limited");
        check(502, "<html>", "failed");
        check(404, "404 page not found", "malformed");
        check(400, "CommonName of client sending a request against gateway will be ignored", "denied");
        check(400, "{}", "malformed");
    }

    #[test]
    fn an_ended_watch_says_why() {
        for (reason, expected) in [
            ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", "denied"),
            ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", "denied"),
            ("", "failed"),
        ] {
            assert_eq!(canceled(reason).into_error().reason(), expected, "{reason}");
        }
    }

    #[test]
    fn a_long_page_is_cut() {
        let long = "é".repeat(10_000);
        let told = refused(StatusCode::BAD_GATEWAY, long.as_bytes()).into_error().to_string();
        assert!(told.len() < 500);
    }
}
