//! One scope, one task: list, watch, and again. Says what it hears, and never that it is well when it is not.

use std::{sync::Arc, time::Duration};

use ::settings::Aside;
use model::ProviderError;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use transport::{
    client::{Lines, Questions},
    clock::tick,
};

use super::{
    cluster::{Cluster, Content, Namespace},
    cursor::{Cursor, Step},
    failure::Failure,
    mirror::Scope,
    settings::Settings,
    slice::Record,
    wire::{self, Event},
};
use crate::provider::{
    pace::{self, Pace},
    retry::{Retry, Stay},
};

/// The longest pause that the scopes of one server make for each other's sake, which is also the longest for their own.
const SHARED: Duration = Duration::from_secs(5);

/// What a scope has to say.
#[derive(Debug)]
pub(super) struct News {
    pub(super) scope: Scope,
    pub(super) what: What,
    /// When it was at hand.
    pub(super) seen: Instant,
}

#[derive(Debug)]
pub(super) enum What {
    /// All slices there are, and what is wrong with those that cannot be named.
    Listed(Vec<Record>, Vec<String>),
    Changed(Event),
    /// A watch that was refused goes on where it stopped.
    Recovered,
    Failed(ProviderError),
}

/// A whole page, and the head of a watch.
const ANSWER: Duration = Duration::from_secs(15);
/// On top of `wait`: the server ends a watch at `wait`.
const GRACE: Duration = Duration::from_secs(10);
/// Reading credentials; only an exec plugin takes long.
const CREDENTIALS: Duration = Duration::from_secs(30);
/// The longest line of a watch: a slice has at most 1,000 endpoints, and etcd takes objects up to 1.5 MiB.
const LINE: usize = 16 << 20;
/// Pages of one list. More is a server that turns in a circle.
const PAGES: usize = 2_000;
/// Watches begin this far apart at least.
const APART: Duration = Duration::from_secs(1);

/// A scope and where it is.
pub(super) struct Watcher {
    scope: Scope,
    namespace: Namespace,
    settings: Arc<Settings>,
    /// Where a new token is looked for.
    aside: Aside,
    news: mpsc::Sender<News>,
    questions: Arc<Questions>,
    cursor: Cursor,
    /// Of the list that is being read.
    records: Vec<Record>,
    nameless: Vec<String>,
    pages: usize,
    /// When the first page was at hand: all others are of the same moment.
    listed: Instant,
    retry: Retry,
    /// When the last pause was over.
    begun: Instant,
    /// Something was read since then.
    answered: bool,
    /// When to list again, though the watch tells of changes.
    resync: Instant,
    /// Nothing came of what was asked since the last failure.
    futile: bool,
    /// A failure was said, and nothing good since.
    troubled: bool,
}

/// Nobody listens any more.
struct Closed;

impl Watcher {
    pub(super) fn new(
        scope: Scope,
        namespace: Namespace,
        settings: Arc<Settings>,
        news: mpsc::Sender<News>,
        questions: Arc<Questions>,
    ) -> Self {
        Self {
            scope,
            namespace,
            settings,
            aside: Aside::default(),
            news,
            questions,
            cursor: Cursor::new(),
            records: Vec::new(),
            nameless: Vec::new(),
            pages: 0,
            listed: Instant::now(),
            retry: Retry::new(),
            begun: Instant::now(),
            answered: false,
            resync: Instant::now(),
            futile: false,
            troubled: false,
        }
    }

    /// Runs until nobody listens.
    pub(super) async fn run(mut self) {
        while self.live().await.is_ok() {}
    }

    /// From reading the credentials to a failure that new ones, or a new connection, may mend.
    async fn live(&mut self) -> Result<(), Closed> {
        let mut cluster = match self.connect().await? {
            Ok(cluster) => cluster,
            Err(error) => return self.fail(error.into()).await,
        };
        let mut pace = Pace::every(APART, tick());
        loop {
            if matches!(self.cursor.step(), Step::Watch { .. }) {
                sleep(pace.wait(tick())).await;
                if let Some(renewed) = self.renewed(&cluster).await {
                    cluster = renewed;
                }
            }
            match self.step(&cluster).await? {
                Ok(()) => {}
                Err(failure @ (Failure::Gone | Failure::Other { error: ProviderError::Limited(_), .. })) => {
                    self.fail(failure).await?;
                }
                Err(failure) => return self.fail(failure).await,
            }
        }
    }

    /// Reads the credentials, on a thread that may wait. If that hangs, it is said, and waited for: there is never a second
    /// one.
    async fn connect(&self) -> Result<Result<Cluster, ProviderError>, Closed> {
        let (settings, namespace) = (Arc::clone(&self.settings), self.namespace.clone());
        let mut reading = spawn_blocking(move || Cluster::new(&settings, &namespace));
        loop {
            match timeout(CREDENTIALS, &mut reading).await {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(panic)) => return Ok(Err(ProviderError::Failed(format!("reading credentials: {panic}")))),
                Err(_) => {
                    let text = "reading the credentials does not end: a credential plugin, or a file system, hangs";
                    self.say(What::Failed(ProviderError::Stalled(text.to_owned())), Instant::now()).await?;
                }
            }
        }
    }

    /// The cluster with a new token or CA, if a file has one: a pod's token is replaced long before it ends. What cannot
    /// be read now is read before the next watch; the old ones count until they are refused.
    async fn renewed(&self, cluster: &Cluster) -> Option<Cluster> {
        if cluster.files.is_empty() {
            return None;
        }
        let files = cluster.files.clone();
        let (settings, namespace) = (Arc::clone(&self.settings), self.namespace.clone());
        let renew = move || files.iter().any(Content::is_replaced).then(|| Cluster::new(&settings, &namespace));
        self.aside.run(renew).await.ok()??.ok()
    }

    async fn step(&mut self, cluster: &Cluster) -> Result<Result<(), Failure>, Closed> {
        let (namespace, selector) = (cluster.namespace.as_deref(), self.settings.selector.as_deref());
        let path = self.cursor.path(namespace, selector, self.settings.wait.get());
        self.questions.note(tick());
        match self.cursor.step() {
            Step::List { .. } => self.list(cluster, &path).await,
            Step::Watch { .. } => self.watch(cluster, &path).await,
        }
    }

    /// One page of the list.
    async fn list(&mut self, cluster: &Cluster, path: &str) -> Result<Result<(), Failure>, Closed> {
        let deadline = Instant::now() + ANSWER;
        let page = async { wire::page(&cluster.open(path, deadline).await?.whole(deadline).await?, &cluster.rules) };
        let page = match page.await {
            Ok(page) => page,
            Err(failure) => return Ok(Err(failure)),
        };
        if self.pages == 0 {
            self.listed = Instant::now();
        }
        self.answered = true;
        self.records.extend(page.records);
        self.nameless.extend(page.nameless);
        self.pages += 1;
        if self.cursor.page(page.version, page.next) {
            let (records, nameless) = self.take();
            self.resync = Instant::now() + pace::resync(fastrand::f64());
            self.say(What::Listed(records, nameless), self.listed).await?;
            self.troubled = false;
        } else if self.pages >= PAGES {
            return Ok(Err(Failure::malformed(format!("a list of more than {PAGES} pages"))));
        }
        Ok(Ok(()))
    }

    /// The records of the list that is being read; forgets them.
    fn take(&mut self) -> (Vec<Record>, Vec<String>) {
        self.pages = 0;
        (std::mem::take(&mut self.records), std::mem::take(&mut self.nameless))
    }

    /// One watch, to its end.
    async fn watch(&mut self, cluster: &Cluster, path: &str) -> Result<Result<(), Failure>, Closed> {
        let opened = Instant::now();
        let mut answer = match cluster.open(path, opened + ANSWER).await {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        self.answered = true;
        if std::mem::take(&mut self.troubled) {
            self.say(What::Recovered, Instant::now()).await?;
        }
        // The server ends it by itself at `wait`: whatever comes, and however slowly, it is over then.
        let deadline = opened + self.settings.wait.get() + GRACE;
        let (mut lines, mut alive) = (Lines::new(LINE), false);
        loop {
            let next = answer.chunk(deadline).await;
            let seen = Instant::now();
            match next {
                Ok(Some(chunk)) => {
                    if lines.push(&chunk).is_err() {
                        return Ok(Err(Failure::malformed("a line of the watch has no end".into())));
                    }
                }
                Ok(None) if lines.is_cut() => {
                    return Ok(Err(ProviderError::Unreachable("the watch was cut within an event".into()).into()));
                }
                Ok(None) => {
                    self.cursor.ended(alive && Instant::now() < self.resync);
                    if !alive {
                        self.pause(Stay::answered(self.begun.elapsed()), None).await;
                    }
                    return Ok(Ok(()));
                }
                Err(failure) => return Ok(Err(failure)),
            }
            while let Some(line) = lines.pop() {
                match wire::event(&line, &cluster.rules) {
                    Ok((event, version)) => {
                        alive = true;
                        // Something came of it.
                        self.futile = false;
                        self.say(What::Changed(event), seen).await?;
                        if let Some(version) = version {
                            self.cursor.seen(version);
                        }
                    }
                    Err(failure) => return Ok(Err(failure)),
                }
            }
        }
    }

    /// Says the failure, and waits. A version that is too old is no failure, unless it is all that ever comes.
    async fn fail(&mut self, failure: Failure) -> Result<(), Closed> {
        self.cursor.failed(&failure);
        drop(self.take());
        let lasted = self.begun.elapsed();
        let (stay, asked) = match failure {
            Failure::Gone if !self.futile => {
                self.futile = true;
                return Ok(());
            }
            Failure::Gone => (Stay::answered(lasted), None),
            Failure::Other { error, pause } => {
                self.troubled = true;
                let stay = Stay::ended(&error, self.answered, lasted);
                self.say(What::Failed(error), Instant::now()).await?;
                (stay, pause)
            }
        };
        self.pause(stay, asked).await;
        Ok(())
    }

    async fn pause(&mut self, stay: Stay, asked: Option<Duration>) {
        self.futile = true;
        // Each scope looks for the server by itself; together they do so about as often as one.
        let scopes = u32::try_from(self.settings.scopes().len()).unwrap_or(u32::MAX);
        let own = self.retry.after(stay, fastrand::f64()).saturating_mul(scopes).min(SHARED);
        // What the server asks for, and a share of chance on top, so that not all come back at once.
        sleep(asked.map_or(own, |asked| own.max(asked + own / 4))).await;
        (self.begun, self.answered) = (Instant::now(), false);
    }

    async fn say(&self, what: What, seen: Instant) -> Result<(), Closed> {
        self.news.send(News { scope: self.scope, what, seen }).await.map_err(|_| Closed)
    }
}
