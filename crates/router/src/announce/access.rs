//! A client of a registry with the token as it is now, and the common words for its answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use settings::{Aside, Secret, SecretSource};
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
    /// Where token and certificates are read.
    aside: Aside,
}

impl Way {
    /// To this registry, which takes its token in this header.
    pub(super) fn new(settings: ClientSettings, header: HeaderName, token: Option<SecretSource>) -> Self {
        Self { settings, header, token, client: None, aside: Aside::default() }
    }

    /// Reads the token and the certificates again.
    pub(super) fn renew(&mut self) {
        self.client = None;
    }

    /// The same way with another token.
    pub(super) fn with(&self, token: Option<SecretSource>) -> Self {
        Self {
            token,
            client: None,
            settings: self.settings.clone(),
            header: self.header.clone(),
            aside: self.aside.clone(),
        }
    }

    /// The same way to another server.
    pub(super) fn to(&self, settings: ClientSettings) -> Self {
        Self { settings, ..self.with(self.token.clone()) }
    }

    /// A secret as it is now.
    pub(super) async fn secret(&self, source: &SecretSource) -> Result<Secret, Failure> {
        let source = source.clone();
        let read = self.aside.run(move || source.read()).await;
        read.map_err(|stalled| Failure::Away(stalled.to_string()))?.map_err(|e| Failure::Refused(e.to_string()))
    }

    async fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut settings = self.settings.clone();
        if let Some(source) = &self.token {
            let token = self.secret(source).await?;
            if !token.is_empty() {
                let mut value = HeaderValue::from_str(token.expose())
                    .map_err(|_| Failure::Refused("the token has characters that no header can carry".to_owned()))?;
                value.set_sensitive(true);
                settings.headers.insert(self.header.clone(), value);
            }
        }
        let made = self.aside.run(move || Client::new(settings)).await;
        let client = made
            .map_err(|stalled| Failure::Away(format!("certificates: {stalled}")))?
            .map_err(|e| Failure::Refused(e.to_string()))?;
        Ok(self.client.insert(client).clone())
    }

    /// One call; every status is an answer.
    pub(super) async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Response, Failure> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let client = self.client().await?;
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
    }
}
