//! A client of a registry with the token as it is now, and the common words for its answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use settings::SecretSource;
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, Response};

use super::Failure;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The way to one registry.
#[derive(Debug)]
pub(super) struct Way {
    settings: ClientSettings,
    header: HeaderName,
    token: Option<SecretSource>,
    client: Option<Client>,
}

impl Way {
    /// To this registry, which takes its token in this header.
    pub(super) fn new(settings: ClientSettings, header: HeaderName, token: Option<SecretSource>) -> Self {
        Self { settings, header, token, client: None }
    }

    /// Reads the token and the certificates again.
    pub(super) fn renew(&mut self) {
        self.client = None;
    }

    fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut settings = self.settings.clone();
        if let Some(source) = &self.token {
            let token = source.read().map_err(|e| Failure::Refused(e.to_string()))?;
            if !token.is_empty() {
                let mut value = HeaderValue::from_str(token.expose())
                    .map_err(|_| Failure::Refused("the token has characters that no header can carry".to_owned()))?;
                value.set_sensitive(true);
                settings.headers.insert(self.header.clone(), value);
            }
        }
        let client = Client::new(settings).map_err(|e| Failure::Refused(e.to_string()))?;
        Ok(self.client.insert(client).clone())
    }

    /// One call; every status is an answer.
    pub(super) async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Response, Failure> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let client = self.client()?;
        client.send(method, path, body, Instant::now() + PATIENCE).await.map_err(|e| Failure::Away(e.to_string()))
    }
}

/// Whether an answer is the one that was wanted; if not, whose turn it is to do something.
pub(super) fn judge(answer: &Response, path: &str) -> Result<(), Failure> {
    if answer.status.is_success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.body);
    let said: String = said.trim().chars().take(300).collect();
    let text = format!("{path} answered {}: {said}", answer.status);
    let later = answer.status.is_server_error()
        || matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    Err(if later { Failure::Away(text) } else { Failure::Refused(text) })
}

/// A word of a path, or of a query (RFC 3986).
pub(crate) fn escaped(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let escape = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    word.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whose_turn_it_is() {
        let answer = |status: u16| Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: Bytes::from_static(b"no\n"),
        };
        assert_eq!(judge(&answer(204), "/x"), Ok(()));
        assert_eq!(judge(&answer(503), "/x"), Err(Failure::Away("/x answered 503 Service Unavailable: no".to_owned())));
        assert!(matches!(judge(&answer(429), "/x"), Err(Failure::Away(_))));
        assert!(matches!(judge(&answer(403), "/x"), Err(Failure::Refused(_))));
        assert_eq!(escaped("a/b c"), "a%2Fb%20c");
    }
}
