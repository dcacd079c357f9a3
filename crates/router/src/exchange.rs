//! hot path
//!
//! One request and its answer: everything that is known about it on the way, and the log line it becomes. Dropping it
//! writes that line, so every request leaves one, whichever way it ends.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use discovery::{Service, Table};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header::CONTENT_TYPE, request::Parts};
use http2::Outgoing;
use model::{Fields, Refusal};
use telemetry::ids::Ids;
use tokio::time::Instant;
use transport::{
    Body, BodyError, Upstream, clock,
    timer::{Expired, Timer},
    upload::Tally,
};

use crate::{
    affinity::Stick,
    client::Client,
    core::Core,
    plan::{Current, Limits, Plan},
    refuse,
    wait::Place,
};

/// One request and its answer.
#[derive(Debug)]
pub struct Exchange {
    /// The core it runs on.
    pub core: Rc<Core>,
    /// The client's connection.
    pub client: Rc<Client>,
    /// The configuration it began with; a reload does not change the rules under way.
    pub plan: Rc<Current>,
    /// The request's body, until it is on its way to an instance; what a refused request leaves unread.
    pub unread: Body,
    /// The way to the client that is open before the answer. Borrowed within a poll only.
    pub responder: RefCell<Responder>,
    /// The fields of the request's head as it came.
    pub fields: Fields,
    /// It is gRPC, with limits of its own.
    pub grpc: bool,
    /// Its place among the requests of its service, from when an instance is chosen.
    pub place: OnceCell<Place>,
    /// The ids it goes by: passed on, returned and logged.
    pub ids: Ids,
    /// What the client is to remember of the instance that answers, if it has to learn it.
    pub stick: Option<Box<Stick>>,
    /// What the log line will say.
    pub record: Record,
}

/// Which service was asked for, and by what.
#[derive(Debug, Clone)]
pub enum Asked {
    /// By the route of this number.
    Route(usize),
    /// By name, in a header or the query.
    Name(Arc<str>),
    /// By a route's fallback, in the place of another.
    Instead(Arc<str>),
}

impl Asked {
    /// The name of the service, by this plan's routes.
    #[must_use]
    pub fn service<'a>(&'a self, plan: &'a Plan) -> &'a str {
        match self {
            Self::Route(route) => plan.route(*route).service.as_str(),
            Self::Name(name) | Self::Instead(name) => name,
        }
    }

    /// The service, if it is there for whoever asks so: a name reaches what is exposed, a route what it leads to.
    #[must_use]
    pub fn find<'a>(&self, plan: &Plan, table: &'a Table) -> Option<&'a Service> {
        let name = self.service(plan);
        let found = if matches!(self, Self::Name(_)) { table.exposed(name) } else { table.service(name) };
        found.map(|service| &**service)
    }
}

/// What the access log says of a request.
#[derive(Debug)]
pub struct Record {
    /// When its head was complete.
    pub began: Instant,
    /// What the client said, if there is an access log.
    pub said: Option<Said>,
    /// The service it is for.
    pub asked: Option<Asked>,
    /// The instance it was sent to last.
    pub upstream: Option<Arc<Upstream>>,
    /// Instances it was sent to, in all.
    pub attempts: u8,
    /// When a connection to the last instance was at hand.
    pub connected: Cell<Option<Instant>>,
    /// When the response head was at hand.
    pub head: Option<Instant>,
    /// The status given to the client.
    pub status: Option<StatusCode>,
    /// The deadline that holds is the client's own.
    pub own_deadline: Cell<bool>,
    /// Why it was not forwarded, or broken off.
    pub reason: Option<&'static str>,
    /// What answered in the place of its service.
    pub fallback: Option<&'static str>,
    /// Bytes of the request's body, if it has one.
    pub upload: Option<Rc<Tally>>,
    /// Bytes of the response's body.
    pub sent: u64,
    /// The whole response was handed over.
    pub complete: bool,
}

/// What the access log says of a request's head.
#[derive(Debug)]
pub struct Said {
    /// When it was complete, by the calendar.
    pub time: SystemTime,
    /// Its method.
    pub method: Method,
    /// Its target as the client wrote it.
    pub uri: Uri,
    /// Its protocol.
    pub version: Version,
    /// Its `User-Agent`.
    pub agent: Option<HeaderValue>,
    /// Its `Host`, if the target does not have it.
    pub host: Option<HeaderValue>,
}

/// The way to the client that is open before the final answer.
#[derive(Debug)]
pub enum Responder {
    /// HTTP/1: hyper sends 100 when the body is first polled, and has no way to send other interim answers.
    H1,
    /// HTTP/2.
    H2(Outgoing),
    /// The answer is on its way.
    Answered,
}

impl Responder {
    fn inform(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Self::H2(out) = self {
            // Fails only if the client is gone, which shows elsewhere.
            out.send_interim(status, headers).ok();
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::H2(out) if out.is_gone())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // hyper drops the whole exchange instead; or its connection does, where hyper does not see it.
            Self::H1 | Self::Answered => Poll::Pending,
            Self::H2(out) => out.poll_reset(cx).map(|_| ()),
        }
    }
}

impl Exchange {
    /// A request whose head just came.
    #[must_use]
    pub fn new(core: &Rc<Core>, client: &Rc<Client>, responder: Responder, head: &Parts, body: Body) -> Self {
        let began = clock::now();
        let time = clock::calendar(began);
        let fields = Fields::of(&head.headers);
        core.load().begin();
        Self {
            core: Rc::clone(core),
            client: Rc::clone(client),
            plan: core.plan(),
            unread: body,
            responder: RefCell::new(responder),
            fields,
            grpc: fields.may_have(&CONTENT_TYPE) && refuse::is_grpc(&head.headers),
            place: OnceCell::new(),
            ids: Ids::of(&head.headers, fields, time),
            stick: None,
            record: Record::new(began, core.logs().then(|| Said::new(head, time))),
        }
    }

    /// Reads the service it is for in the newest table.
    ///
    /// # Errors
    /// If there is none for whoever asks so.
    pub fn with_service<T>(&self, read: impl FnOnce(&Service) -> T) -> Result<T, Refusal> {
        let asked = self.record.asked.as_ref().ok_or(Refusal::NoRoute)?;
        self.core.table(|table| asked.find(&self.plan, table).map(read)).ok_or(Refusal::UnknownService)
    }

    /// The limits of the route or service it follows.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        match &self.record.asked {
            Some(Asked::Route(route)) => self.plan.route_limits(*route),
            Some(Asked::Name(service) | Asked::Instead(service)) => self.plan.service_limits(service),
            None => &self.plan.limits,
        }
    }

    /// Sends an interim answer, if the client's protocol can.
    pub fn inform(&self, status: StatusCode, headers: &HeaderMap) {
        self.responder.borrow_mut().inform(status, headers);
    }

    /// Whether its client is one of gRPC, and hears what is said in trailers.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.grpc && matches!(*self.responder.borrow(), Responder::H2(_))
    }

    /// Whether the client has given the request up already.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.responder.borrow().is_gone()
    }

    /// Whether an instance worked in vain because the client gave it too little time: no better than giving it up.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        let Record { own_deadline, attempts, reason, .. } = &self.record;
        own_deadline.get() && *attempts > 0 && *reason == Some(Refusal::Deadline.reason())
    }

    /// Ready when the client is gone or a limit ran out: polled by whatever waits for an instance.
    pub fn poll_end(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<Result<Expired, Refusal>> {
        if self.responder.borrow_mut().poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Refusal::ClientGone));
        }
        timer.poll(cx).map(Ok)
    }
}

impl Record {
    fn new(began: Instant, said: Option<Said>) -> Self {
        Self {
            began,
            said,
            asked: None,
            upstream: None,
            attempts: 0,
            connected: Cell::new(None),
            head: None,
            status: None,
            own_deadline: Cell::new(false),
            reason: None,
            fallback: None,
            upload: None,
            sent: 0,
            complete: false,
        }
    }
}

impl Said {
    fn new(head: &Parts, time: SystemTime) -> Self {
        Self {
            time,
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            agent: head.headers.get(http::header::USER_AGENT).cloned(),
            host: head.headers.get(http::header::HOST).cloned(),
        }
    }
}

impl Record {
    /// The request goes to this instance now.
    pub fn sent_to(&mut self, upstream: &Arc<Upstream>) {
        self.attempts = self.attempts.saturating_add(1);
        self.upstream = Some(Arc::clone(upstream));
    }

    /// The request was refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.reason = Some(refusal.reason());
    }

    /// The response broke off after its head.
    pub fn broke_off(&mut self, error: BodyError) {
        let refusal = refuse::of_body(error);
        self.refused(&refusal);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.record.complete && self.record.reason.is_none() {
            let why = if self.core.is_over() { Refusal::Shutdown } else { Refusal::ClientGone };
            self.record.reason = Some(why.reason());
        }
        if let (Some(reason), Some(_), false) = (self.record.reason, self.record.head, self.record.complete) {
            self.core.metrics.broken(reason);
        }
        if let Some(upstream) = &self.record.upstream {
            // A client that is gone takes nobody's turn along.
            upstream.service_vitals.breaker.give_back(clock::at(self.record.began));
        }
        self.core.load().end();
        self.core.log(self);
    }
}
