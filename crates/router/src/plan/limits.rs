//! Limits of one request, and how often it may be tried within them.

use std::time::Duration;

use settings::{Located, OrOff, SettingsError, Size, Span};
use transport::h1;

use crate::{
    retry::{Hedge, Retries},
    settings::{self as typed, Timeouts},
};

/// How long a gRPC stream may be silent unless its service says something else. Streams of events that seldom happen are;
/// but that a request is gRPC is its client's word, which must not be enough to stay for ever.
const SILENT: Duration = Duration::from_secs(3600);

/// Most fields of an answer that can be admitted: room for them is made anew for each, 64 bytes a field.
const ANSWER_FIELDS: u16 = 1000;

/// What one request may weigh and how long it may take. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request head.
    pub head_size: usize,
    /// Fields of the request head.
    pub fields: usize,
    /// Bytes of the request target.
    pub uri: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of the request body.
    pub body: u64,
    /// The same once the instance has said that it is gRPC, whose streams have no size unless their route says one.
    pub grpc_body: u64,
    /// Fields of the head of an answer by HTTP/1.1.
    pub answer_fields: u16,
    /// For a connection to an instance.
    pub connect: Duration,
    /// From the complete request to the response's head.
    pub head: Option<Duration>,
    /// With nothing moving.
    pub idle: Option<Duration>,
    /// For the whole exchange.
    pub total: Option<Duration>,
    /// `head` for gRPC: off unless its route or service says one.
    pub grpc_head: Option<Duration>,
    /// `idle` for gRPC, and for the wait for a head without a limit of its own: an hour unless its route or service says
    /// something else.
    pub grpc_idle: Option<Duration>,
    /// How long a gRPC stream or an event stream may go on.
    pub stream_age: Option<Duration>,
    /// What is sent to another instance when one fails.
    pub retries: Retries,
    /// Whether a slow instance is overtaken by another one.
    pub hedge: Option<Hedge>,
}

impl Limits {
    /// The file's own: for every request that no route or service limits otherwise.
    #[must_use]
    pub fn of_file(limits: &typed::Limits, timeouts: &Timeouts) -> Self {
        let usize = |size: Size| usize::try_from(size.get()).unwrap_or(usize::MAX);
        let base = Self {
            head_size: usize(limits.head),
            fields: limits.fields,
            uri: usize(limits.uri),
            streams: limits.streams,
            body: limits.body.get(),
            grpc_body: u64::MAX,
            answer_fields: h1::FIELDS,
            connect: Duration::from_secs(1),
            head: Some(Duration::from_secs(15)),
            idle: Some(Duration::from_secs(60)),
            total: None,
            grpc_head: None,
            grpc_idle: Some(SILENT),
            stream_age: None,
            retries: Retries::STANDARD,
            hedge: None,
        };
        Self { grpc_head: None, grpc_idle: Some(SILENT), ..base.with(timeouts, None) }
    }

    /// These, where a service or route says nothing else.
    #[must_use]
    pub fn with(mut self, timeouts: &Timeouts, body: Option<Size>) -> Self {
        let get = |limit: OrOff| limit.0.map(Span::get);
        self.connect = timeouts.connect.map_or(self.connect, Span::get);
        if let Some(head) = timeouts.head {
            self.head = get(head);
            self.grpc_head = get(head);
        }
        if let Some(idle) = timeouts.idle {
            self.idle = get(idle);
            self.grpc_idle = get(idle);
        }
        self.total = timeouts.total.map_or(self.total, get);
        self.stream_age = timeouts.stream_age.map_or(self.stream_age, get);
        if let Some(body) = body {
            self.body = body.get();
            self.grpc_body = body.get();
        }
        self
    }

    /// These, where a service says nothing else.
    ///
    /// # Errors
    /// If so many fields cannot be.
    pub fn with_answers(mut self, fields: Option<&Located<u16>>) -> Result<Self, SettingsError> {
        let Some(fields) = fields else { return Ok(self) };
        if !(h1::FIELDS..=ANSWER_FIELDS).contains(&**fields) {
            let text = format!("max_answer_fields: write {} to {ANSWER_FIELDS}", h1::FIELDS);
            return Err(SettingsError::at(fields, text));
        }
        self.answer_fields = **fields;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_leaves_out_its_service_says_and_then_the_file() {
        let file: Timeouts = Timeouts { head: Some(OrOff(Some(Span::from_secs(7)))), ..Timeouts::default() };
        let service = Timeouts { total: Some(OrOff(Some(Span::from_secs(9)))), ..Timeouts::default() };
        let route = Timeouts { head: Some(OrOff(None)), ..Timeouts::default() };
        let of_file = Limits::of_file(&typed::Limits::default(), &file);
        assert_eq!((of_file.head, of_file.grpc_head), (Some(Duration::from_secs(7)), None));
        assert_eq!(of_file.grpc_idle, Some(SILENT), "also if the file has an idle limit for all others");
        let lifted = of_file.with(&Timeouts { idle: Some(OrOff(None)), ..Timeouts::default() }, None);
        assert_eq!(lifted.grpc_idle, None);
        let limits = of_file.with(&service, None).with(&route, Some(Size::from_bytes(5)));
        assert_eq!((limits.head, limits.total), (None, Some(Duration::from_secs(9))));
        assert_eq!((limits.body, limits.grpc_body), (5, 5));
        assert_eq!(limits.idle, Some(Duration::from_secs(60)));
    }

    #[test]
    fn an_answer_has_as_many_fields_as_can_be() {
        let file = Limits::of_file(&typed::Limits::default(), &Timeouts::default());
        let said = |fields: u16| file.with_answers(Some(&Located::from(fields))).map(|limits| limits.answer_fields);
        assert_eq!(file.with_answers(None).map(|limits| limits.answer_fields).ok(), Some(100));
        assert_eq!([100, 1000].map(|fields| said(fields).ok()), [Some(100), Some(1000)]);
        for fields in [0, 99, 1001] {
            assert!(said(fields).unwrap_err().to_string().contains("write 100 to 1000"), "{fields}");
        }
    }
}
