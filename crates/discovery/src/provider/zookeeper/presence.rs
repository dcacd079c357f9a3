//! An instance's own node: ephemeral, so it is there as long as our session, and goes with it.
//!
//! Nothing runs on its own here: who keeps a presence asks for it three times in [`Presence::lease`]. That renews the
//! session, on another server if need be, and tells whether the node is still ours.

use std::time::Duration;

use ::settings::Aside;
use bytes::Bytes;
use model::{Instance, ProviderError, ServiceId};
use tokio::time::timeout;
use transport::clock::tick;

use super::{
    connect::{self, Open},
    failure::Code,
    resume::Resume,
    settings::Settings,
    wire::{self, Message, Question},
};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Attempts to make a node whose parents others delete, or that others make, at the same time.
const ATTEMPTS: u32 = 3;

/// One node of one ensemble. Dropped, it stands until the session expires.
#[derive(Debug)]
pub struct Presence {
    settings: Settings,
    aside: Aside,
    resume: Resume,
    session: Option<Open>,
    /// Where it was made last.
    node: Option<String>,
}

impl Presence {
    /// Of this ensemble, in this layout. Its session timeout is how long the node outlives us.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, aside: Aside::default(), resume: Resume::default(), session: None, node: None }
    }

    /// Whether this instance can stand in an ensemble with these settings.
    ///
    /// # Errors
    /// What cannot work, and what to write instead.
    pub fn check(settings: &Settings, service: &ServiceId, instance: &Instance) -> Result<(), String> {
        settings.check()?;
        settings.layout()?.write(service, instance, 0).map(drop)
    }

    /// Makes the node, and its parents, in place of what stands there; at this time since 1970 in milliseconds.
    ///
    /// # Errors
    /// That no server can be used, or that we may not.
    pub async fn appear(&mut self, service: &ServiceId, instance: &Instance, now_ms: u64) -> Result<(), ProviderError> {
        let written = self.settings.layout().and_then(|layout| layout.write(service, instance, now_ms));
        let (path, data) = written.map_err(ProviderError::Failed)?;
        let made = self.make(&path, data).await;
        self.node = made.is_ok().then_some(path);
        if matches!(made, Err(ProviderError::Denied(_))) {
            // Credentials are shown when a connection begins: the next may have better ones.
            self.hang_up();
        }
        made
    }

    async fn make(&mut self, path: &str, data: Bytes) -> Result<(), ProviderError> {
        for _ in 0..ATTEMPTS {
            match self.create(path, data.clone(), true).await? {
                Ok(_) => return Ok(()),
                Err(Code::NO_NODE) => self.make_parents(path).await?,
                // Of an earlier life, whose session has not expired yet.
                Err(Code::NODE_EXISTS) => match self.ask(&Question::Delete(path.to_owned())).await? {
                    Ok(_) | Err(Code::NO_NODE) => {}
                    Err(code) => return Err(refusal(code, path)),
                },
                Err(code) => return Err(refusal(code, path)),
            }
        }
        Err(ProviderError::Failed(format!("{path}: others make and delete it at the same time")))
    }

    /// Renews the session; whether the node is there and ours.
    ///
    /// # Errors
    /// That no server can be used.
    pub async fn persists(&mut self) -> Result<bool, ProviderError> {
        let Some(path) = self.node.clone() else { return Ok(false) };
        match self.ask(&Question::Exists(path.clone())).await? {
            Ok(body) => Ok(self.session.as_ref().is_some_and(|session| wire::owner(body) == Some(session.resume().id))),
            Err(Code::NO_NODE) => Ok(false),
            Err(code) => Err(code.error(&path)),
        }
    }

    /// Ends the session, and with it the node at once; never one that somebody else made in its place.
    ///
    /// # Errors
    /// That no server can be used; the node then goes when the session expires.
    pub async fn vanish(&mut self) -> Result<(), ProviderError> {
        self.resume.expire(tick());
        if self.session.is_none() && self.resume.id == 0 {
            return Ok(());
        }
        if let Err(code) = self.ask(&Question::Close).await? {
            return Err(code.error("the end of the session"));
        }
        (self.session, self.resume, self.node) = (None, Resume::default(), None);
        Ok(())
    }

    /// How long the node outlives our last word, as a server granted it.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        self.session.as_ref().map(Open::timeout)
    }

    async fn make_parents(&mut self, path: &str) -> Result<(), ProviderError> {
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for parent in ends.map(|at| &path[..at]) {
            // Asked first, because it takes no right: above there may be nodes of others.
            if self.ask(&Question::Exists(parent.to_owned())).await?.is_ok() {
                continue;
            }
            match self.create(parent, Bytes::new(), false).await? {
                Ok(_) | Err(Code::NODE_EXISTS) => {}
                Err(code) => return Err(refusal(code, parent)),
            }
        }
        Ok(())
    }

    async fn create(&mut self, path: &str, data: Bytes, ephemeral: bool) -> Result<Result<Bytes, Code>, ProviderError> {
        let rights = self.session().await?.rights();
        self.ask(&Question::Create { path: path.to_owned(), data, ephemeral, rights }).await
    }

    /// One question and its answer. Dropped while it waits, it may have been heard.
    async fn ask(&mut self, question: &Question) -> Result<Result<Bytes, Code>, ProviderError> {
        let session = self.session().await?;
        let answer = match timeout(PATIENCE, answer(session, question)).await {
            Ok(answer) => answer,
            Err(_) => Err(session.unreachable(&format!("no answer within {PATIENCE:?}"))),
        };
        let answer = match answer {
            Ok(Err(code)) if code.ends_the_connection() => Err(code.error("the session")),
            answer => answer,
        };
        if answer.is_err() {
            self.hang_up();
        }
        answer
    }

    /// Lets go of the connection, not of the session.
    fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            self.resume.clone_from(session.resume());
        }
    }

    /// The session we have, or another connection to it, or a new one.
    async fn session(&mut self) -> Result<&mut Open, ProviderError> {
        if self.session.is_none() {
            self.session = Some(connect::open(&self.settings, &self.aside, &mut self.resume).await?);
        }
        self.session.as_mut().ok_or(ProviderError::Closed)
    }
}

/// What was asked before, by one who did not wait for it, is answered before: that is nobody's now.
async fn answer(session: &mut Open, question: &Question) -> Result<Result<Bytes, Code>, ProviderError> {
    let asked = session.ask(question);
    loop {
        if let Message::Answer { xid, body, .. } = session.next().await?
            && xid == asked
        {
            return Ok(body);
        }
    }
}

fn refusal(code: Code, path: &str) -> ProviderError {
    match code {
        Code::NO_AUTH => ProviderError::Denied(format!(
            "{path}: we may not make or delete it; give us the right to create and delete below its parent, and check user \
             and password: ZooKeeper takes wrong ones without a word"
        )),
        code => code.error(path),
    }
}
