//! Instances of services, in this process, on real sockets: they answer by script, misbehave by script, and count.

mod exchange;
mod serve;
mod stream;

use std::{
    collections::HashMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::Ordering},
};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use crate::{Certs, Counts, Reply, Seen, certs::LOCAL_NAMES};

/// A running instance. It listens on a port of its own at 127.0.0.1 and lives on the runtime it was started on; dropped,
/// it is gone with all its connections.
///
/// ```no_run
/// # async fn example() {
/// use testkit::{Certs, Instance, Reply};
/// let certs = Certs::new();
/// let plain = Instance::http().start().await;
/// let tuned = Instance::https(&certs)
///     .named("pets-1")
///     .names(&["petstore.internal"])
///     .max_concurrent_streams(4)
///     .on("/slow", Reply::silence())
///     .answer(|seen| if seen.method == "POST" { Reply::unread().head(413) } else { Reply::echo() })
///     .start()
///     .await;
/// tuned.on("/health", Reply::status(503)); // at any time
/// tuned.kill().await;
/// tuned.restart_on_same_port().await;
/// assert_eq!(tuned.counts().requests() + plain.counts().requests(), 0);
/// # }
/// ```
#[derive(Debug)]
pub struct Instance {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

/// What an instance shall be, before it starts.
#[must_use]
#[derive(Debug)]
pub struct Builder<'a> {
    name: String,
    tls: Option<(&'a Certs, Tls<'a>)>,
    http2: bool,
    limits: Limits,
    replies: Replies,
}

#[derive(Debug)]
struct Tls<'a> {
    alpn: Vec<&'a str>,
    names: Vec<&'a str>,
    client_certificates: bool,
}

/// HTTP/2 settings the instance announces; `None` leaves the default of the h2 crate.
#[derive(Debug, Default, Clone, Copy)]
struct Limits {
    max_concurrent_streams: Option<u32>,
    stream_window: Option<u32>,
    connection_window: Option<u32>,
}

type Answer = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// How requests are answered: by exact path, else by the closure.
struct Replies {
    by_path: HashMap<String, Reply>,
    other: Answer,
}

/// Shared by the instance (which reads, and sets replies) and its connections (which count and record).
#[derive(Debug)]
struct State {
    name: String,
    tls: Option<Arc<ServerConfig>>,
    http2: bool,
    limits: Limits,
    replies: Mutex<Replies>,
    counts: Counts,
    log: Mutex<Vec<Seen>>,
    lines: Mutex<Vec<mpsc::UnboundedSender<Command>>>,
}

/// An order to the task of one connection.
#[derive(Debug, Clone)]
enum Command {
    /// Close at once.
    Cut,
    /// Send this in place of an answer and close.
    Raw(Bytes),
    /// Take no more requests.
    Drain,
}

/// Enough for every test that looks at single requests; beyond, only counts are kept.
const LOG_LIMIT: usize = 4096;

// === Builder ===
impl<'a> Builder<'a> {
    fn new(tls: Option<(&'a Certs, Tls<'a>)>, http2: bool) -> Self {
        let replies = Replies { by_path: HashMap::new(), other: Box::new(|_| Reply::echo()) };
        Self { name: "instance".to_owned(), tls, http2, limits: Limits::default(), replies }
    }

    /// The name it gives in echoes.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// More names for its certificate, beside [`LOCAL_NAMES`].
    ///
    /// # Panics
    /// Without TLS, as the two below.
    pub fn names(mut self, names: &[&'a str]) -> Self {
        self.tls_mut().names.extend(names);
        self
    }

    /// What it agrees to by ALPN, best first; `h2` and `http/1.1` unless told otherwise.
    pub fn alpn(mut self, protocols: &[&'a str]) -> Self {
        self.tls_mut().alpn = protocols.to_vec();
        self
    }

    /// Refuses clients without a certificate of the same authority.
    pub fn require_client_certificate(mut self) -> Self {
        self.tls_mut().client_certificates = true;
        self
    }

    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.limits.max_concurrent_streams = Some(streams);
        self
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE: how much of a body may come before the script reads it.
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.limits.stream_window = Some(bytes);
        self
    }

    /// The window of the whole connection.
    pub fn connection_window(mut self, bytes: u32) -> Self {
        self.limits.connection_window = Some(bytes);
        self
    }

    /// How it answers this exact path, before [`Builder::answer`].
    pub fn on(mut self, path: &str, reply: Reply) -> Self {
        self.replies.by_path.insert(path.to_owned(), reply);
        self
    }

    /// How it answers all else; [`Reply::echo`] unless told otherwise. The head is known, the body not yet read.
    pub fn answer(mut self, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        self.replies.other = Box::new(answer);
        self
    }

    /// Starts it.
    pub async fn start(self) -> Instance {
        let scheme = if self.tls.is_some() { "https" } else { ["http", "h2c"][usize::from(self.http2)] };
        let tls = self
            .tls
            .map(|(certs, tls)| certs.server_config(&certs.issue(&tls.names), &tls.alpn, tls.client_certificates));
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let instance = Instance {
            address: listener.local_addr().expect("a bound socket"),
            scheme,
            state: Arc::new(State {
                name: self.name,
                tls,
                http2: self.http2,
                limits: self.limits,
                replies: Mutex::new(self.replies),
                counts: Counts::default(),
                log: Mutex::default(),
                lines: Mutex::default(),
            }),
            accepting: Mutex::default(),
            connections: Arc::default(),
        };
        instance.accept_from(listener);
        instance
    }

    fn tls_mut(&mut self) -> &mut Tls<'a> {
        &mut self.tls.as_mut().expect("this setting belongs to Instance::https").1
    }
}

// === Instance ===
impl Instance {
    /// HTTP/1.1 in cleartext.
    pub fn http() -> Builder<'static> {
        Builder::new(None, false)
    }

    /// HTTP/2 in cleartext, by prior knowledge.
    pub fn h2c() -> Builder<'static> {
        Builder::new(None, true)
    }

    /// TLS with a certificate of `certs` for [`LOCAL_NAMES`]; `h2` or `http/1.1` by ALPN.
    pub fn https(certs: &Certs) -> Builder<'_> {
        let tls = Tls { alpn: vec!["h2", "http/1.1"], names: LOCAL_NAMES.to_vec(), client_certificates: false };
        Builder::new(Some((certs, tls)), false)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a static list: `http://`, `h2c://` or `https://`, address and port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The name it gives in echoes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.state.counts
    }

    /// The first 4,096 requests, as they arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.log.lock().unwrap().clone()
    }

    /// Changes the reply to this exact path, for requests that come from now on.
    pub fn on(&self, path: &str, reply: Reply) {
        self.state.replies.lock().unwrap().by_path.insert(path.to_owned(), reply);
    }

    /// Changes the reply to all other paths, for requests that come from now on.
    pub fn answer(&self, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.state.replies.lock().unwrap().other = Box::new(answer);
    }

    /// Announces on every connection that no more requests are taken: GOAWAY, `Connection: close`.
    pub fn drain(&self) {
        self.tell_all(&Command::Drain);
    }

    /// Closes every connection at once; new ones are welcome.
    pub fn cut(&self) {
        self.tell_all(&Command::Cut);
    }

    /// Closes the listener; when this returns, connecting is refused. Open connections live on.
    pub async fn stop_accepting(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(task) = accepting {
            task.abort();
            // Ended by the abort or before it; either way the listener is closed.
            drop(task.await);
        }
    }

    /// Closes the listener and every connection without a word, as the death of a process does.
    pub async fn kill(&self) {
        self.stop_accepting().await;
        let mut connections = std::mem::take(&mut *self.connections.lock().unwrap());
        connections.shutdown().await;
    }

    /// Listens again where it listened before. Counts, log and replies go on.
    pub async fn restart_on_same_port(&self) {
        self.stop_accepting().await;
        self.accept_from(listen(self.address));
    }

    fn tell_all(&self, command: &Command) {
        // A line whose connection ended is let go.
        self.state.lines.lock().unwrap().retain(|line| line.send(command.clone()).is_ok());
    }

    fn accept_from(&self, listener: TcpListener) {
        let task = tokio::spawn(serve::accept(listener, Arc::clone(&self.state), Arc::clone(&self.connections)));
        *self.accepting.lock().unwrap() = Some(task);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
        }
        self.connections.lock().unwrap().abort_all();
    }
}

// === State ===
impl State {
    fn reply_to(&self, seen: &Seen) -> Reply {
        let replies = self.replies.lock().unwrap();
        replies.by_path.get(seen.path()).cloned().unwrap_or_else(|| (replies.other)(seen))
    }

    fn record(&self, seen: &Seen) -> Option<usize> {
        let mut log = self.log.lock().unwrap();
        (log.len() < LOG_LIMIT).then(|| {
            log.push(seen.clone());
            log.len() - 1
        })
    }

    fn amend(&self, place: Option<usize>, seen: &Seen) {
        if let Some(place) = place {
            let mut log = self.log.lock().unwrap();
            log[place].body.clone_from(&seen.body);
            log[place].body_bytes = seen.body_bytes;
            log[place].body_digest = seen.body_digest;
            log[place].trailers.clone_from(&seen.trailers);
        }
    }

    /// The number of a new connection, and a line to its task.
    fn line(&self) -> (u64, mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>) {
        let (line, commands) = mpsc::unbounded_channel();
        let mut lines = self.lines.lock().unwrap();
        lines.retain(|line| !line.is_closed());
        lines.push(line.clone());
        (self.counts.connections.fetch_add(1, Ordering::SeqCst) + 1, line, commands)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("by_path", &self.by_path).finish_non_exhaustive()
    }
}

/// SO_REUSEADDR, so that an instance can come back while connections of its former life are in TIME_WAIT.
fn listen(address: SocketAddr) -> TcpListener {
    /// More than any test connects at once.
    const BACKLOG: u32 = 1024;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR");
    socket.bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
    socket.listen(BACKLOG).expect("listening")
}
