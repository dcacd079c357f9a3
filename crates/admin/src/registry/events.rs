//! Changes as server-sent events, for watchers that keep one connection open.
//!
//! An event is a state, not a difference: `service` has the instances of one service as they are now. Its id is an
//! index, so a client that comes back with `Last-Event-ID` gets what it missed; if that is not known any more, one event
//! `everything` says all there is; a few streams at once get that, the others wait. A slow reader gets fewer and newer
//! events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use discovery::provider::embedded::{Changes, Listing, Registry, Watch};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Api, access::Caller, read::Instances, reader, service, tokens::Tokens};
use crate::Fault;

/// Between two signs of life on a quiet stream: below what proxies on the way allow.
const ALIVE: Duration = Duration::from_secs(15);

/// One open stream.
struct Stream {
    registry: Registry,
    tokens: Arc<Tokens>,
    watch: Watch,
    caller: Caller,
    /// The only service it is about.
    only: Option<Arc<str>>,
    /// What the client knows.
    index: Option<u64>,
    queue: VecDeque<Event>,
    /// How many may send all there is at once, and the right to do so: kept until the client took it in.
    wholes: Arc<Semaphore>,
    whole: Option<OwnedSemaphorePermit>,
    _permit: OwnedSemaphorePermit,
}

/// All services.
#[derive(Serialize)]
struct Everything {
    index: u64,
    services: Vec<Instances>,
}

pub(super) async fn of_all(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Fault> {
    let caller = reader(&api, &headers).await?;
    open(&api, caller, None, &headers)
}

pub(super) async fn of_service(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let name = service(&name)?;
    let caller = reader(&api, &headers).await?;
    caller.may_read(name.as_str())?;
    open(&api, caller, Some(name.as_str().into()), &headers)
}

fn open(api: &Api, caller: Caller, only: Option<Arc<str>>, headers: &HeaderMap) -> Result<Response, Fault> {
    let permit = api.watches.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Fault::unavailable("too many watchers; try again later, or poll"))?;
    let index = match headers.get("last-event-id") {
        None => None,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            Some(id.ok_or_else(|| Fault::invalid("Last-Event-ID is not an index of this registry"))?)
        }
    };
    let (registry, watch) = (api.registry.clone(), api.registry.watch(only.as_deref()));
    let (queue, wholes) = (VecDeque::new(), api.wholes.clone());
    let tokens = Arc::clone(&api.tokens);
    let stream = Stream { registry, tokens, watch, caller, only, index, queue, wholes, whole: None, _permit: permit };
    let events = stream::unfold(stream, |mut stream| async {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

impl Stream {
    /// The next event; none after a reload, or once its token is another one, so that a watcher shows its token anew.
    async fn next(&mut self) -> Option<Event> {
        // That more is wanted means that most of the last event is sent.
        self.whole = None;
        loop {
            if !self.caller.is_current(&self.registry.settings(), &self.tokens).await {
                return None;
            }
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            let changed = self.watch.changed();
            match self.only.clone() {
                Some(name) => self.look_at(&name),
                None => self.look().await,
            }
            if self.queue.is_empty() {
                changed.await;
            }
        }
    }

    fn look_at(&mut self, name: &str) {
        let newest = self.registry.index();
        let listing = self.registry.now(name);
        if self.index.is_none_or(|index| index < listing.index || index > newest) {
            self.index = Some(listing.index);
            self.queue.push_back(event("service", listing.index, &instances(name, listing)));
        }
    }

    async fn look(&mut self) {
        if self.index.is_some_and(|index| index == self.registry.index()) {
            return;
        }
        if !self.registry.knows_since(self.index) && self.whole.is_none() {
            // Never closed; a client that does not read gives its right back when it is cut off.
            self.whole = self.wholes.clone().acquire_owned().await.ok();
        }
        let Changes { index, complete, services } = self.registry.changes(self.index);
        let seen = services.into_iter().filter(|(name, _)| self.caller.rights().may_read(name.as_str()));
        let mut seen: Vec<_> = seen.map(|(name, listing)| instances(name.as_str(), listing)).collect();
        self.index = Some(index);
        if complete {
            self.queue.push_back(event("everything", index, &Everything { index, services: seen }));
            return;
        }
        // In the order of their changes, so that each id says: all up to here is told.
        seen.sort_by_key(|service| service.index);
        self.queue.extend(seen.iter().map(|service| event("service", service.index, service)));
    }
}

fn instances(name: &str, Listing { index, instances }: Listing) -> Instances {
    Instances { name: name.to_owned(), index, instances: instances.into_iter().map(Into::into).collect() }
}

fn event(kind: &str, index: u64, body: &impl Serialize) -> Event {
    let event = Event::default().event(kind).id(index.to_string());
    // Our own structures always are JSON.
    event.json_data(body).unwrap_or_default()
}
