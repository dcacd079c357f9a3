//! Questions to the engine, and what its failures mean.

use std::{sync::Arc, time::Duration};

use ::settings::Aside;
use bytes::Bytes;
use http::{Method, StatusCode};
use model::ProviderError;
use tokio::time::Instant;
use transport::client::{Client, ClientError, ClientSettings, Questions, Response, Streaming};

use super::{container, event::ACTIONS, settings::Settings};
use crate::provider::aside;

/// For an answer the engine has at hand.
const ANSWER: Duration = Duration::from_secs(5);

/// One engine as our settings reach it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Engine(Client);

/// What an inspection found.
pub(super) enum Found {
    Body(Bytes),
    /// There is no such container any more.
    Gone,
    /// The engine cannot say; other containers may do well.
    Odd(String),
}

impl Engine {
    /// Reads the certificates, as they are now.
    pub(super) async fn open(
        settings: &Settings,
        aside: &Aside,
        questions: Arc<Questions>,
    ) -> Result<Self, ProviderError> {
        let settings = ClientSettings { questions, ..settings.client() };
        aside::read(aside, "certificates", || Client::new(settings)).await?.map(Self).map_err(failed)
    }

    /// The stream of events from now on.
    pub(super) async fn events(&self) -> Result<Streaming<'_>, ProviderError> {
        let events = self.0.stream(Method::GET, &events_path(), Bytes::new(), Instant::now() + ANSWER).await;
        let mut events = events.map_err(failed)?;
        if events.status() != StatusCode::OK {
            let body = events.next(Instant::now() + ANSWER).await.map_err(failed)?;
            return Err(refused(events.status(), &body.unwrap_or_default()));
        }
        Ok(events)
    }

    /// The containers that are there.
    pub(super) async fn list(&self) -> Result<(std::collections::BTreeSet<String>, Vec<String>), ProviderError> {
        // Those that do not run too: whoever was stopped is asked for by id, and shall be found.
        let response = self.get("/containers/json?all=1").await?;
        if response.status != StatusCode::OK {
            return Err(refused(response.status, &response.body));
        }
        container::list(&response.body).map_err(|e| ProviderError::Malformed(format!("list of containers: {e}")))
    }

    /// All there is to say of one container.
    pub(super) async fn inspect(&self, id: &str) -> Result<Found, ProviderError> {
        // It comes from the engine and goes back to it, but nothing else shall be asked for by it.
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(Found::Odd(format!("container id {id:?} is none")));
        }
        let response = self.get(&format!("/containers/{id}/json")).await?;
        Ok(match response.status {
            StatusCode::OK => Found::Body(response.body),
            StatusCode::NOT_FOUND => Found::Gone,
            status => Found::Odd(format!("container {id}: {}", refused(status, &response.body))),
        })
    }

    async fn get(&self, path: &str) -> Result<Response, ProviderError> {
        self.0.get(path, Instant::now() + ANSWER).await.map_err(failed)
    }
}

/// With a filter, so that health checks of a thousand containers do not wake us.
fn events_path() -> String {
    let actions = ACTIONS.map(|action| format!("%22{action}%22")).join(",");
    format!("/events?filters=%7B%22type%22:[%22container%22,%22network%22],%22event%22:[{actions}]%7D")
}

/// No answer at all.
pub(super) fn failed(error: ClientError) -> ProviderError {
    match error {
        ClientError::Settings(cause) => ProviderError::Failed(cause),
        // The system's word for a socket that only others may open.
        ClientError::Unreachable { .. } if error.to_string().contains("ermission denied") => ProviderError::Denied(
            format!("{error}: let this user open the socket, by its group (docker) or by a proxy that only reads"),
        ),
        ClientError::Unreachable { .. } if error.to_string().contains("No such file") => {
            ProviderError::Unreachable(format!("{error}: does the engine run, and is its socket mounted here?"))
        }
        ClientError::Refused { .. } => ProviderError::Denied(error.to_string()),
        ClientError::TooLarge { .. } => ProviderError::Malformed(error.to_string()),
        error => ProviderError::Unreachable(error.to_string()),
    }
}

/// An answer with another status than 200.
fn refused(status: StatusCode, body: &[u8]) -> ProviderError {
    #[derive(serde::Deserialize)]
    struct Told {
        message: String,
    }
    // Anything that is not the engine's JSON is some proxy's page.
    let text = serde_json::from_slice::<Told>(body).map_or_else(
        |_| String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
        |told| told.message.chars().take(200).collect(),
    );
    let told = format!("{status}: {text}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ProviderError::Denied(format!("{told}; allow GET /events and /containers"))
        }
        StatusCode::TOO_MANY_REQUESTS => ProviderError::Limited(told),
        status if status.is_server_error() => ProviderError::Failed(told),
        _ => ProviderError::Malformed(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_to_do() {
        let unreachable = |cause: &str| failed(ClientError::Unreachable { address: "/s".into(), cause: cause.into() });
        let denied = unreachable("Permission denied (os error 13)");
        assert!(matches!(&denied, ProviderError::Denied(why) if why.contains("group")), "{denied}");
        assert!(unreachable("No such file or directory (os error 2)").to_string().contains("is its socket mounted"));
        assert_eq!(unreachable("Connection refused").reason(), "unreachable");
        let check = |status: u16, body: &str, expected: &str| {
            let told = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(told.reason(), expected, "{status}: {told}");
            told.to_string()
        };
        assert!(check(500, r#"{"message":"no space"}"#, "failed").contains("500 Internal Server Error: no space"));
        check(403, "<html>", "denied");
        check(429, "", "limited");
        assert!(check(404, &"é".repeat(1000), "malformed").len() < 500);
    }
}
