//! Where names lead: looked up beside those who wait for it, and remembered for when the resolver is silent.
//!
//! The system's look-up occupies a thread until it ends, which takes ten seconds and more where no packet comes back. So
//! there is one at a time for each name, which all who ask share, and which goes on when they have given up.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

/// How long a resolver may take before what it said last is tried beside it. One that is well has answered by then.
const PATIENCE: Duration = Duration::from_millis(300);

/// Names that are kept. They stand in configurations, so there are few; after many reloads, those of the past go.
const MOST: usize = 256;

/// What is known of names of servers. Locked for a moment only, and never on the path of a request.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<String, Name>>);

#[derive(Debug)]
struct Name {
    /// By the last look-up that found anything.
    found: Vec<IpAddr>,
    began: Instant,
    answer: Answer,
}

/// `None` as long as the look-up is under way; its sender is gone once it is over, however it ended.
type Answer = watch::Receiver<Option<Result<Vec<IpAddr>, Arc<io::Error>>>>;

/// A look-up that is under way, or just began.
#[derive(Debug)]
pub(super) struct Look {
    /// Where the name led before; empty if nobody knows.
    pub(super) known: Vec<IpAddr>,
    began: Instant,
    answer: Answer,
}

impl Names {
    /// Those of this process: clients are made anew at each failure, and a name means the same to all of them.
    pub(super) fn of_this_process() -> &'static Arc<Self> {
        static NAMES: LazyLock<Arc<Names>> = LazyLock::new(Arc::default);
        &NAMES
    }

    /// Asks the system where this name leads, unless somebody is asking already.
    pub(super) fn look_up(self: &Arc<Self>, host: &str) -> Look {
        self.ask(host, |host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// Asks by a `resolve` that may block.
    fn ask<R>(self: &Arc<Self>, host: &str, resolve: R) -> Look
    where
        R: FnOnce(&str) -> io::Result<Vec<IpAddr>> + Send + 'static,
    {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host)
            && name.is_being_asked()
        {
            return Look { known: name.found.clone(), began: name.began, answer: name.answer.clone() };
        }
        let (answers, answer) = watch::channel(None);
        let began = Instant::now();
        if names.len() >= MOST {
            names.retain(|_, name| name.is_being_asked());
        }
        let found = names.remove(host).map(|name| name.found).unwrap_or_default();
        names.insert(host.to_owned(), Name { found: found.clone(), began, answer: answer.clone() });
        drop(names);
        let (all, host) = (Arc::clone(self), host.to_owned());
        spawn_blocking(move || {
            let outcome = resolve(&host).map_err(Arc::new);
            if let Ok(found) = &outcome
                && !found.is_empty()
                && let Some(name) = all.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&host)
            {
                name.found.clone_from(found);
            }
            answers.send_replace(Some(outcome));
        });
        Look { known: found, began, answer }
    }
}

impl Name {
    fn is_being_asked(&self) -> bool {
        self.answer.has_changed().is_ok() && self.answer.borrow().is_none()
    }
}

impl Look {
    /// How long it may go on before what is known is tried beside it.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.saturating_sub(self.began.elapsed())
    }

    /// Where the name leads now.
    ///
    /// # Errors
    /// The system's, of the same kind and with the same words.
    pub(super) async fn fresh(&self) -> io::Result<Vec<IpAddr>> {
        let mut answer = self.answer.clone();
        let outcome = answer.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // Without an outcome the runtime that it was asked on has ended, or the resolver panicked.
        let outcome = outcome.ok_or_else(|| io::Error::other("the look-up of its name was given up"))?;
        outcome.map_err(|error| io::Error::new(error.kind(), error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    type Found = io::Result<Vec<IpAddr>>;

    /// A resolver that is silent until it is told what to say.
    fn silent() -> (mpsc::Sender<Found>, impl FnOnce(&str) -> Found + Send) {
        let (say, said) = mpsc::channel();
        (say, move |_: &str| said.recv().unwrap_or_else(|_| Ok(Vec::new())))
    }

    #[tokio::test]
    async fn what_was_found_is_known_while_the_resolver_is_silent() {
        let names = Arc::new(Names::default());
        let look = names.ask("registry", |_| Ok(vec![HERE]));
        assert_eq!((&*look.known, look.fresh().await.unwrap()), (&[][..], vec![HERE]));
        let (say, resolve) = silent();
        let look = names.ask("registry", resolve);
        assert_eq!(look.known, [HERE]);
        assert!(names.ask("elsewhere", |_| Ok(vec![THERE])).known.is_empty(), "of another name nothing is known");
        say.send(Ok(vec![THERE])).unwrap();
        assert_eq!(look.fresh().await.unwrap(), [THERE]);
        assert_eq!(names.ask("registry", |_| Ok(vec![THERE])).known, [THERE]);
    }

    #[tokio::test]
    async fn a_silent_resolver_costs_one_thread_however_often_it_is_asked() {
        let (names, asked) = (Arc::new(Names::default()), Arc::new(AtomicUsize::new(0)));
        let (say, resolve) = silent();
        let first = names.ask("registry", resolve);
        for _ in 0..100 {
            let asked = Arc::clone(&asked);
            drop(names.ask("registry", move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(Vec::new())
            }));
        }
        say.send(Ok(vec![HERE])).unwrap();
        assert_eq!(first.fresh().await.unwrap(), [HERE]);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_failure_is_told_in_the_same_words_and_forgets_nothing() {
        let names = Arc::new(Names::default());
        names.ask("registry", |_| Ok(vec![HERE])).fresh().await.unwrap();
        let failed = names.ask("registry", |_| Err(io::Error::other("Temporary failure in name resolution")));
        assert_eq!(failed.fresh().await.unwrap_err().to_string(), "Temporary failure in name resolution");
        assert!(names.ask("registry", |_| panic!("a fault of the test")).fresh().await.is_err());
        assert_eq!(names.ask("registry", |_| Ok(Vec::new())).known, [HERE]);
    }

    #[tokio::test]
    async fn names_of_the_past_go() {
        let names = Arc::new(Names::default());
        for number in 0..3 * MOST {
            names.ask(&number.to_string(), |_| Ok(vec![HERE])).fresh().await.unwrap();
        }
        assert!(names.0.lock().unwrap().len() <= MOST + 1);
    }
}
