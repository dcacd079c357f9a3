//! What can go wrong, told so that an operator knows where to look.

use std::fmt;

/// The part of an exchange that failed or took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking up the host name.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request and waiting for the head of the answer.
    Head,
    /// Reading the body of the answer.
    Body,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name look-up",
            Self::Connect => "connect",
            Self::Tls => "TLS handshake",
            Self::Head => "answer",
            Self::Body => "rest of the answer",
        })
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The settings cannot work; the text says which and why.
    #[error("{0}")]
    Settings(String),
    /// No TCP connection, or no address for the name.
    #[error("{address}: {cause}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The system's word for it.
        cause: String,
    },
    /// The TLS handshake failed.
    #[error("{address}: TLS failed: {cause}; {remedy}")]
    Tls {
        /// Host and port.
        address: String,
        /// What rustls or the peer said.
        cause: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The server ended TLS by an alert: it does not want us as we are. With TLS 1.3 this comes when the handshake is over for
    /// us, in place of an answer, because a server looks at our certificate last.
    #[error(
        "{address}: the server refused us: {cause}; check `client_certificate` and `client_key`, and the server's log"
    )]
    Refused {
        /// Host and port.
        address: String,
        /// The alert, in words.
        cause: String,
    },
    /// The deadline passed.
    #[error("{address}: no {step} within the time allowed")]
    TimedOut {
        /// Host and port.
        address: String,
        /// What was being waited for.
        step: Step,
    },
    /// The connection ended, or what came was not HTTP.
    #[error("{address}: connection broke before the {step} was complete: {cause}")]
    Broken {
        /// Host and port.
        address: String,
        /// What was incomplete.
        step: Step,
        /// What the protocol layer said.
        cause: String,
    },
    /// The body exceeds the limit.
    #[error("{address}: answer longer than {limit} bytes")]
    TooLarge {
        /// Host and port.
        address: String,
        /// The limit in bytes.
        limit: usize,
    },
}

/// A failed exchange, and whether the server can have seen the request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ClientError,
    /// Provably not processed.
    pub(super) unsent: bool,
}

impl Failure {
    pub(super) fn unsent(error: ClientError) -> Self {
        Self { error, unsent: true }
    }

    /// The connection ended before an answer began.
    pub(super) fn closed(&self) -> bool {
        matches!(self.error, ClientError::Broken { step: Step::Head, .. })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { error, unsent: false }
    }
}

/// The text of an error and of all that caused it: libraries often hide the useful half in `source()`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}
