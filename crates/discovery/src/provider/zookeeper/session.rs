//! One connection: hand-shake, questions, answers and events, pings, and silence that is noticed.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use model::ProviderError;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    time::{Instant, sleep_until, timeout_at},
};
use transport::{client::Questions, clock::tick};

use super::{
    resume::Resume,
    wire::{self, Message, Question, Rights},
};

/// At most, from our last word to a ping: no later than TCP would ask whether the machine is there, which begins to count
/// anew with each packet of ours that nobody acknowledges.
const PING: Duration = Duration::from_secs(1);

/// A session on a connection.
pub(super) struct Session<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    /// For messages.
    address: String,
    resume: Resume,
    /// Whether credentials were shown.
    known: bool,
    inbox: BytesMut,
    outbox: BytesMut,
    /// Something was written that may stand in a buffer below us.
    unflushed: bool,
    xid: i32,
    /// As the server granted it.
    timeout: Duration,
    /// When the last whole frame came: single bytes are no sign of life.
    heard: Instant,
    sent: Instant,
    questions: Arc<Questions>,
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    /// Takes up the session, or begins one; until the deadline. Forgets a session that the server refuses.
    pub(super) async fn open(
        stream: S,
        address: &str,
        resume: &mut Resume,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<Self, ProviderError> {
        let (reader, writer) = tokio::io::split(stream);
        let now = Instant::now();
        let (inbox, mut outbox) = (BytesMut::new(), BytesMut::new());
        wire::connect(resume, i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX), &mut outbox);
        let mut session = Self {
            reader,
            writer,
            address: address.to_owned(),
            resume: resume.clone(),
            known: false,
            inbox,
            outbox,
            unflushed: false,
            xid: 0,
            timeout,
            heard: now,
            sent: now,
            questions: Arc::default(),
        };
        match timeout_at(deadline, session.greet()).await {
            Ok(Ok(true)) => Ok(session),
            Ok(Ok(false)) => {
                resume.refused();
                Err(ProviderError::Failed(format!("{address}: the session expired")))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(session.unreachable("no answer to our greeting within the time allowed")),
        }
    }

    /// What to show to the next server.
    pub(super) fn resume(&self) -> &Resume {
        &self.resume
    }

    /// Whether the server grants the session.
    async fn greet(&mut self) -> Result<bool, ProviderError> {
        let frame = loop {
            if let Some(frame) = wire::take(&mut self.inbox)? {
                break frame;
            }
            self.exchange().await?;
        };
        let grant = wire::grant(frame)?;
        let Some(millis) = u64::try_from(grant.timeout).ok().filter(|millis| *millis > 0) else {
            return Ok(false);
        };
        self.timeout = Duration::from_millis(millis);
        self.resume.granted(grant.id, &grant.password);
        self.alive();
        Ok(true)
    }

    /// Shows our credentials; a refusal is told by [`next`](Self::next).
    pub(super) fn authenticate(&mut self, credentials: &[u8]) {
        wire::auth(credentials, &mut self.outbox);
        self.known = true;
    }

    /// Who may change what we make.
    pub(super) fn rights(&self) -> Rights {
        if self.known { Rights::Ours } else { Rights::Open }
    }

    /// How long the session outlives our last word, as the server granted it.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Counts questions there.
    pub(super) fn count(&mut self, questions: Arc<Questions>) {
        self.questions = questions;
    }

    /// Asks; the answer, from [`next`](Self::next), has the number returned.
    pub(super) fn ask(&mut self, question: &Question) -> i32 {
        self.questions.note(tick());
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        question.write(self.xid, &mut self.outbox);
        self.xid
    }

    /// The next answer or event. May be dropped at any await and called again.
    pub(super) async fn next(&mut self) -> Result<Message, ProviderError> {
        loop {
            if let Some(message) = self.at_hand()? {
                return Ok(message);
            }
            self.exchange().await?;
        }
    }

    /// An answer or event that has already come.
    pub(super) fn at_hand(&mut self) -> Result<Option<Message>, ProviderError> {
        while let Some(frame) = wire::take(&mut self.inbox)? {
            let message = self.read(frame)?;
            if message != Message::Sign {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn read(&mut self, frame: Bytes) -> Result<Message, ProviderError> {
        let message = wire::message(frame)?;
        self.alive();
        if let Message::Answer { zxid, .. } = message {
            self.resume.zxid = self.resume.zxid.max(zxid);
        }
        Ok(message)
    }

    fn alive(&mut self) {
        self.heard = Instant::now();
        self.resume.heard(tick(), self.timeout);
    }

    /// Moves bytes in one direction or the other, or pings. Reading comes first, so that a silence that was ours (we
    /// were busy) is not taken for the server's.
    async fn exchange(&mut self) -> Result<(), ProviderError> {
        let (ping, end) = (self.sent + PING.min(self.timeout / 3), self.heard + self.timeout * 2 / 3);
        let waiting = self.unflushed || !self.outbox.is_empty();
        tokio::select! {
            biased;
            read = self.reader.read_buf(&mut self.inbox) => match read {
                Ok(0) => return Err(self.unreachable("the server closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(self.unreachable(&error.to_string())),
            },
            written = send(&mut self.writer, &mut self.outbox, &mut self.unflushed), if waiting => match written {
                Ok(()) => self.sent = Instant::now(),
                Err(error) => return Err(self.unreachable(&error.to_string())),
            },
            () = sleep_until(ping.min(end)) => {
                if end <= Instant::now() {
                    return Err(self.unreachable(&format!("silent for {:?}", self.timeout * 2 / 3)));
                }
                wire::ping(&mut self.outbox);
                // Also if it cannot be written at once: one ping at a time.
                self.sent = Instant::now();
            }
        }
        Ok(())
    }

    /// What went wrong with this server.
    pub(super) fn unreachable(&self, why: &str) -> ProviderError {
        ProviderError::Unreachable(format!("{}: {why}", self.address))
    }
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No more: credentials may stand in the outbox.
        f.debug_struct("Session").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Writes everything and flushes; may be dropped and called again.
async fn send<W: AsyncWrite + Unpin>(
    writer: &mut W,
    outbox: &mut BytesMut,
    unflushed: &mut bool,
) -> std::io::Result<()> {
    while !outbox.is_empty() {
        *unflushed = true;
        if writer.write_buf(outbox).await? == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
    }
    writer.flush().await?;
    *unflushed = false;
    Ok(())
}

#[cfg(test)]
mod tests;
