//! Questions to one member, by the JSON gateway that every etcd serves beside gRPC.

use std::{sync::Arc, time::Duration};

use ::settings::Aside;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::ProviderError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use transport::client::{Client, ClientError, ClientSettings, Lines, Questions, Streaming};

use super::{
    failure::{self, Failure},
    settings::Settings,
    wire::{self, Header, Line, Message, Range, Record, TimeToLive},
};
use crate::provider::aside;

/// For an answer etcd has at hand, and for the first word of a watch.
const ANSWER: Duration = Duration::from_secs(5);
/// Keys in one page of a list: about a megabyte, so that no member is busy with us for long.
const PAGE: usize = 1000;
/// Pages of one list: a million keys are no registry.
const PAGES: usize = 1000;
/// The longest line of a watch. etcd takes 1.5 MiB in one transaction by default; a longer line is a mistake.
const LINE: usize = 64 << 20;

/// A member as our settings reach it, and the token it gave us.
#[derive(Debug)]
pub(super) struct Gateway<'a> {
    settings: &'a Settings,
    endpoint: &'a str,
    aside: &'a Aside,
    client: Client,
    questions: Arc<Questions>,
    range: (Vec<u8>, Vec<u8>),
}

/// Everything below the prefix at one moment.
#[derive(Debug)]
pub(super) struct List {
    pub(super) header: Header,
    pub(super) records: Vec<Record>,
    /// When its first page was at hand, whose revision is that of them all.
    pub(super) seen: Instant,
}

impl<'a> Gateway<'a> {
    /// Reads certificates and password as they are now, and logs in.
    pub(super) async fn open(
        settings: &'a Settings,
        endpoint: &'a str,
        aside: &'a Aside,
        questions: Arc<Questions>,
    ) -> Result<Self, Failure> {
        let client = client(settings, endpoint, aside, None, &questions).await?;
        let mut gateway = Self { settings, endpoint, aside, client, questions, range: settings.range() };
        gateway.log_in().await?;
        Ok(gateway)
    }

    /// Gets a new token, if we have a user. etcd's tokens end after some minutes, and with every change of its users.
    pub(super) async fn log_in(&mut self) -> Result<(), Failure> {
        let access = &self.settings.access;
        let (Some(name), Some(password)) = (&access.user, &access.password) else { return Ok(()) };
        let password = aside::secret(self.aside, password).await?.map_err(ProviderError::Failed)?;
        self.client = client(self.settings, self.endpoint, self.aside, None, &self.questions).await?;
        let question = json!({ "name": name, "password": password.expose() });
        let token = match self.ask::<wire::Authenticated>("/v3/auth/authenticate", &question, ANSWER).await {
            Ok(answer) => answer.token,
            Err(Failure::Error(ProviderError::Malformed(told))) if told.contains("authentication is not enabled") => {
                tracing::debug!(endpoint = self.endpoint, "etcd does not check users: going on without one");
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        self.client = client(self.settings, self.endpoint, self.aside, Some(&token), &self.questions).await?;
        Ok(())
    }

    /// How long a watch lasts.
    pub(super) fn wait(&self) -> Duration {
        self.settings.wait.get()
    }

    /// Reads everything below the prefix, as it is at one revision. The first page needs a quorum, so that a member
    /// which was cut off does not answer with the past.
    pub(super) async fn list(&self) -> Result<List, Failure> {
        let mut list = List { header: Header::default(), records: Vec::new(), seen: Instant::now() };
        let mut from = self.range.0.clone();
        for _ in 0..PAGES {
            let mut question =
                json!({ "key": wire::encode(&from), "range_end": wire::encode(&self.range.1), "limit": PAGE });
            if !list.records.is_empty() {
                question["revision"] = json!(list.header.revision.to_string());
            }
            let page: Range = self.ask("/v3/kv/range", &question, ANSWER).await?;
            if list.records.is_empty() {
                (list.header, list.seen) = (page.header, Instant::now());
            }
            let next = page.kvs.last().map(|last| [&*last.key, b"\0"].concat());
            list.records.extend(page.kvs);
            if !page.more {
                return Ok(list);
            }
            let advanced = next.filter(|next| *next > from);
            from = advanced
                .ok_or_else(|| self.malformed("a page of the list that does not go on, though there is more"))?;
        }
        Err(self.malformed("more than a million keys below the prefix").into())
    }

    fn malformed(&self, what: &str) -> ProviderError {
        ProviderError::Malformed(format!("{}: {what}", self.endpoint))
    }

    /// Follows all changes from this revision on. Returns once the member said that it does.
    pub(super) async fn watch(&self, from: u64, lasting: Duration) -> Result<Watch<'_>, Failure> {
        let question = json!({ "create_request": {
            "key": wire::encode(&self.range.0), "range_end": wire::encode(&self.range.1),
            "start_revision": from.to_string(), "prev_kv": true,
        } });
        let (now, body) = (Instant::now(), Bytes::from(question.to_string()));
        let opened = self.client.stream(Method::POST, "/v3/watch", body, now + ANSWER).await;
        let stream = opened.map_err(failure::no_answer)?;
        let (status, until) = (stream.status(), now + ANSWER);
        let (lines, header) = (Lines::new(LINE), Header::default());
        let mut watch = Watch { stream, lines, heard: now, early: None, header, until };
        if status != StatusCode::OK {
            return Err(failure::refused(status, &watch.rest().await));
        }
        let silent = || ProviderError::Unreachable(format!("{}: no watch within the time allowed", self.endpoint));
        let made = watch.next().await?.ok_or_else(silent)?;
        (watch.header, watch.until) = (made.header, now + lasting);
        watch.early = (!made.events.is_empty()).then_some(made);
        Ok(watch)
    }

    /// Whether a lease runs on; also `false` if that cannot be found out until then.
    pub(super) async fn is_alive(&self, lease: u64, deadline: Instant) -> bool {
        let question = json!({ "ID": lease.to_string() });
        let patience = deadline.saturating_duration_since(Instant::now());
        let asked = self.ask::<TimeToLive>("/v3/lease/timetolive", &question, patience);
        asked.await.is_ok_and(|answer| answer.ttl.parse::<i64>().is_ok_and(|ttl| ttl > 0))
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, question: &Value, patience: Duration) -> Result<T, Failure> {
        let deadline = Instant::now() + patience;
        let answer = self.client.post(path, question.to_string().into(), deadline).await;
        let answer = answer.map_err(failure::no_answer)?;
        if answer.status != StatusCode::OK {
            return Err(failure::refused(answer.status, &answer.body));
        }
        let malformed = |e| ProviderError::Malformed(format!("{}{path}: {e}", self.endpoint)).into();
        serde_json::from_slice(&answer.body).map_err(malformed)
    }
}

async fn client(
    settings: &Settings,
    endpoint: &str,
    aside: &Aside,
    token: Option<&str>,
    questions: &Arc<Questions>,
) -> Result<Client, ProviderError> {
    let mut headers = HeaderMap::new();
    // Without it a member that lost the others keeps its watches open and silent, and ponders reads for 7 s.
    headers.insert("grpc-metadata-hasleader", HeaderValue::from_static("true"));
    if let Some(token) = token {
        let malformed = |_| ProviderError::Malformed("the token holds characters that no header may hold".to_owned());
        let mut value = HeaderValue::from_str(token).map_err(malformed)?;
        value.set_sensitive(true);
        headers.insert(http::header::AUTHORIZATION, value);
    }
    let questions = Arc::clone(questions);
    let settings = ClientSettings { headers, questions, ..settings.access.client(endpoint) };
    aside::read(aside, "certificates", || Client::new(settings)).await?.map_err(failure::no_answer)
}

/// A watch under way.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    stream: Streaming<'a>,
    lines: Lines,
    /// When the last piece of it came.
    heard: Instant,
    /// Changes that came with the first word.
    early: Option<Message>,
    /// Who watches, and the revision it was at when the watch began.
    pub(super) header: Header,
    until: Instant,
}

impl Watch<'_> {
    /// What it says next; `None` once its time is over, after which it must not be asked again. Dropping the future
    /// loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        if let Some(message) = self.early.take() {
            return Ok(Some(message));
        }
        loop {
            while let Some(line) = self.lines.pop() {
                if let Some(message) = read(&line)? {
                    return Ok(Some(Message { seen: self.heard, ..message }));
                }
            }
            match self.stream.next(self.until).await {
                Ok(Some(piece)) => {
                    self.heard = Instant::now();
                    let endless = |_| ProviderError::Malformed("a line of the watch has no end".to_owned());
                    self.lines.push(&piece).map_err(endless)?;
                }
                // Also how a member says that it lost its leader.
                Ok(None) => return Err(ProviderError::Failed("the member ended the watch".to_owned()).into()),
                Err(ClientError::TimedOut { .. }) => return Ok(None),
                Err(error) => return Err(failure::no_answer(error).into()),
            }
        }
    }

    /// The body of a refusal, as far as it comes.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = async {
            while let Ok(Some(piece)) = self.stream.next(self.until).await {
                rest.extend_from_slice(&piece);
                if rest.len() > 4096 {
                    break;
                }
            }
        };
        // However slowly it drips.
        drop(timeout(ANSWER, read).await);
        rest
    }
}

/// One line of a watch; `None` if it says nothing.
fn read(line: &[u8]) -> Result<Option<Message>, Failure> {
    let line: Line =
        serde_json::from_slice(line).map_err(|e| ProviderError::Malformed(format!("a line of the watch: {e}")))?;
    match (line.result, line.error) {
        (_, Some(fault)) => Err(failure::meaning(&fault)),
        (Some(message), None) if message.compact_revision > 0 => Err(Failure::Lost),
        (Some(message), None) if message.canceled => Err(failure::canceled(&message.cancel_reason)),
        (message, None) => Ok(message),
    }
}
