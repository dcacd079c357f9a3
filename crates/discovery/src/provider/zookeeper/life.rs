//! One connection, from the server that takes our session to the first failure.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use ::settings::Aside;
use model::{Knowledge, ProviderError, ServiceId, Update};
use tokio::time::{Instant, sleep_until};

use super::{
    connect::{self, Open},
    resume::Resume,
    settings::Settings,
    tree::{Ask, Tree},
    wire::Message,
};
use crate::provider::{
    Feed, Interest,
    held::Held,
    pace::{self, Backoff},
};

/// Questions under way at once: enough to fill the time of one answer, few enough to leave the server to others.
const WINDOW: usize = 64;

/// Between two looks at whether we may still read a service, one after the other: the loss of the right to all is found
/// within this, that of a single one when its turn comes or everything is listed again.
const RIGHTS: Duration = Duration::from_secs(10);

/// How a life ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody listens any more.
    Closed,
    /// No server can be used at present.
    Failed(ProviderError),
}

/// Lives once.
pub(super) async fn run(settings: &Settings, aside: &Aside, resume: &mut Resume, held: &Held, feed: &Feed) -> End {
    let layout = match settings.layout() {
        Ok(layout) => layout,
        Err(why) => return End::Failed(ProviderError::Failed(why)),
    };
    feed.questions().note(transport::clock::tick());
    let mut session = match connect::open(settings, aside, resume).await {
        Ok(session) => session,
        Err(error) => return End::Failed(error),
    };
    session.count(feed.questions());
    let mut life = Life { session, tree: Tree::new(layout), held, feed, under_way: VecDeque::new(), told: None };
    let error = life.run().await;
    resume.clone_from(life.session.resume());
    match error {
        ProviderError::Closed => End::Closed,
        error => End::Failed(error),
    }
}

struct Life<'a> {
    session: Open,
    tree: Tree,
    held: &'a Held,
    feed: &'a Feed,
    /// Asked and not answered yet; answers come in this order.
    under_way: VecDeque<(i32, Ask)>,
    /// The catalogue as it was told last, as the present interest means it.
    told: Option<BTreeSet<ServiceId>>,
}

impl Life<'_> {
    async fn run(&mut self) -> ProviderError {
        match self.live().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn live(&mut self) -> Result<Infallible, ProviderError> {
        let mut interests = self.feed.interest();
        let calm = || Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut backoff = calm();
        let mut retry = Instant::now() + backoff.next(fastrand::f64());
        let mut resync = Instant::now() + pace::resync(fastrand::f64());
        let mut rights = Instant::now() + RIGHTS;
        let mut reading = true;
        let mut interest = Arc::clone(&interests.borrow_and_update());
        self.look(&interest).await?;
        loop {
            if self.tree.news() {
                self.look(&interest).await?;
            }
            self.say().await?;
            self.ask();
            if reading && self.under_way.is_empty() {
                self.feed.read();
                reading = false;
            }
            tokio::select! {
                message = self.session.next() => {
                    self.hear(message?)?;
                    self.feed.heard();
                }
                changed = interests.changed() => {
                    changed.map_err(|_| ProviderError::Closed)?;
                    interest = Arc::clone(&interests.borrow_and_update());
                    self.told = None;
                    self.look(&interest).await?;
                }
                () = sleep_until(retry) => {
                    self.tree.retry();
                    retry = Instant::now() + backoff.next(fastrand::f64());
                }
                () = sleep_until(rights) => {
                    self.tree.try_rights();
                    rights = Instant::now() + RIGHTS;
                }
                () = sleep_until(resync) => {
                    self.tree.resync();
                    resync = Instant::now() + pace::resync(fastrand::f64());
                    reading = true;
                }
            }
        }
    }

    /// Looks at what is of interest: services in use, those the catalogue names and exposure may match, and those that
    /// had instances by their last word.
    async fn look(&mut self, interest: &Interest) -> Result<(), ProviderError> {
        for service in self.held.let_go(interest) {
            self.feed.publish(Update::Forgotten(service)).await?;
        }
        let mut wanted = interest.services.clone();
        let names = self.tree.names();
        let found = names.is_some();
        wanted.extend(names.into_iter().flatten().filter(|name| interest.exposure.may_expose(name)).cloned());
        wanted.append(&mut self.held.all());
        let needed = interest.exposure.needs_catalog();
        let ended = self.tree.want(&wanted, needed);
        let due = if needed { found && self.told.as_ref() != Some(&wanted) } else { ended };
        if due {
            self.feed.publish(Update::Catalogue(wanted.clone())).await?;
            self.told = Some(wanted);
        }
        Ok(())
    }

    fn ask(&mut self) {
        while self.under_way.len() < WINDOW
            && let Some(ask) = self.tree.ask()
        {
            let xid = self.session.ask(&self.tree.question(&ask));
            self.under_way.push_back((xid, ask));
        }
    }

    /// Takes in a message and all that came with it, so that a burst is said once.
    fn hear(&mut self, first: Message) -> Result<(), ProviderError> {
        let (mut next, now) = (Some(first), Instant::now());
        while let Some(message) = next {
            match message {
                Message::Event(event) => self.tree.event(&event, now),
                Message::Answer { xid, body, .. } => match self.under_way.pop_front() {
                    Some((asked, ask)) if asked == xid => self.tree.answer(ask, body, now)?,
                    _ => return Err(ProviderError::Malformed("an answer to another question".to_owned())),
                },
                Message::Sign => {}
            }
            next = self.session.at_hand()?;
        }
        Ok(())
    }

    async fn say(&mut self) -> Result<(), ProviderError> {
        for (update, seen) in self.tree.updates(Instant::now()) {
            if let Update::Service { service, knowledge, .. } = &update {
                match knowledge {
                    Knowledge::Known(_) | Knowledge::Part(_) => self.held.note(service, false),
                    Knowledge::KnownEmpty => self.held.note(service, true),
                    Knowledge::Unknown(_) => {}
                }
            }
            self.feed.publish_seen(update, seen).await?;
        }
        Ok(())
    }
}
