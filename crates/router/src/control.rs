//! Starts, reloads and ends the router: a control thread with discovery, the acceptors and the operator's APIs, and one
//! thread for each data core.

mod announced;
mod apis;
mod cores;
mod files;
mod identity;
mod memory;
mod run;

use std::{
    fmt::Write,
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc as blocking},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use settings::{Located, Mistakes, SettingsError};
use tokio::sync::{mpsc, oneshot};

pub use files::{Origin, Overrides};
pub use identity::Ephemeral;

/// What a router is started with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Where the settings come from.
    pub origin: Origin,
    /// What the command line says over them.
    pub overrides: Overrides,
    /// To follow the settings' log level, if logging was set up for this process.
    pub log: Option<telemetry::log::Log>,
}

/// Why a router does not start, or does not follow new settings.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be used.
    #[error(transparent)]
    Settings(#[from] Mistakes),
    /// A registry cannot be used.
    #[error(transparent)]
    Registry(#[from] discovery::StartError),
    /// An address cannot be had.
    #[error("{what}: cannot listen on {address}: {cause}{remedy}")]
    Bind {
        /// Who wants it.
        what: String,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The system refuses something else.
    #[error("{0}")]
    Io(String),
    /// The router has ended.
    #[error("the router has ended")]
    Ended,
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl StartError {
    fn bind(what: &str, address: SocketAddr, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program has it: end that, or choose another address",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            _ => "",
        };
        Self::Bind { what: what.to_owned(), address, cause: error.to_string(), remedy }
    }
}

/// Checks settings as a start would, but opens and contacts nothing. Answers what is allowed but hardly meant.
///
/// # Errors
/// All that is wrong with them.
pub fn check(origin: &Origin) -> Result<Vec<String>, StartError> {
    let settings = origin.load(&Overrides::default())?;
    let mut mistakes = Mistakes::default();
    let compiled = mistakes.keep(crate::plan::compile(&settings, &made()?, &mut Vec::new()));
    mistakes.keep(writable(&settings.access_log));
    let mut doubts = Vec::new();
    if let Some(crate::plan::Compiled { plan, warnings, .. }) = compiled {
        doubts.extend(warnings);
        doubts.extend(crate::plan::expiring(&plan.certificates, SystemTime::now()));
    }
    Ok(mistakes.unless(doubts)?)
}

/// Whether the access log could be opened.
fn writable(log: &Located<telemetry::access::Settings>) -> Result<(), SettingsError> {
    let Some(file) = log.file.as_ref().filter(|_| log.format != telemetry::access::Format::Off) else { return Ok(()) };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let found = std::fs::metadata(folder).and_then(|found| match (found.is_dir(), file.is_dir()) {
        (false, _) => Err(io::ErrorKind::NotADirectory.into()),
        (true, true) => Err(io::ErrorKind::IsADirectory.into()),
        (true, false) => Ok(()),
    });
    found.map_err(|error| unwritable(log, &error))
}

/// The access log cannot be written.
fn unwritable(log: &Located<telemetry::access::Settings>, error: &io::Error) -> SettingsError {
    let file = log.file.as_deref().map_or_else(|| "standard output".into(), Path::to_string_lossy);
    let problem = SettingsError::at(log, format!("file: cannot write {file}: {error}"));
    match error.kind() {
        io::ErrorKind::NotFound => problem.remedy("name a file in a folder that is there"),
        _ => problem,
    }
}

/// What a plan needs besides its settings, made for this call.
pub(crate) fn made() -> Result<crate::plan::Made, StartError> {
    run::make().map(|(made, _)| made)
}

/// Where a running router can be reached.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Client listeners in the order of the file, and whether they speak TLS.
    pub clients: Vec<(SocketAddr, bool)>,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
    /// The HTTP APIs of embedded registries, by name.
    pub registries: Vec<(String, SocketAddr)>,
    /// The certificate made on the spot, PEM, if a listener uses it.
    pub certificate: Option<Arc<str>>,
}

impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (address, tls) in &self.clients {
            write!(text, " {}://{address}", if *tls { "https" } else { "http" })?;
        }
        if let Some(admin) = self.admin {
            write!(text, ", admin http://{admin}")?;
        }
        for (name, address) in &self.registries {
            write!(text, ", registry {name} http://{address}/registry")?;
        }
        f.write_str(text.trim_start())
    }
}

/// What the control thread is asked.
#[derive(Debug)]
enum Command {
    Reload(oneshot::Sender<Result<(), StartError>>),
    Replace(Box<crate::settings::Settings>, oneshot::Sender<Result<(), StartError>>),
    Addresses(oneshot::Sender<Addresses>),
    Readiness(oneshot::Sender<Result<(), String>>),
    Drain(oneshot::Sender<()>),
}

/// A running router. Dropping it ends it at once; [`Router::drain`] ends it without breaking anything.
#[derive(Debug)]
pub struct Router {
    commands: Option<mpsc::UnboundedSender<Command>>,
    addresses: Addresses,
    thread: Option<JoinHandle<()>>,
}

/// How long the end waits for what is being read; a disk needs less.
const END: Duration = Duration::from_secs(1);

impl Router {
    /// Starts a router; returns when it listens. Blocks.
    ///
    /// # Errors
    /// Why it cannot run as asked; nothing runs then.
    pub fn start(start: Start) -> Result<Self, StartError> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (told, started) = blocking::channel();
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    told.send(Err(error.into())).ok();
                    return;
                }
            };
            runtime.block_on(run::run(start, inbox, told));
            // What hangs in a file system is not waited for.
            runtime.shutdown_timeout(END);
        })?;
        match started.recv() {
            Ok(Ok(addresses)) => Ok(Self { commands: Some(commands), addresses, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Ended),
        }
    }

    /// Where it could be reached when it started.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where it can be reached now.
    pub async fn current_addresses(&self) -> Addresses {
        self.ask(Command::Addresses).await.unwrap_or_default()
    }

    /// Whether it wants traffic; if not, why.
    ///
    /// # Errors
    /// What it waits for.
    pub async fn readiness(&self) -> Result<(), String> {
        self.ask(Command::Readiness).await.unwrap_or_else(|| Err("the router has ended".to_owned()))
    }

    /// Reads its settings anew. If they are wrong, nothing changes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub async fn reload(&self) -> Result<(), StartError> {
        self.ask(Command::Reload).await.unwrap_or(Err(StartError::Ended))
    }

    /// Follows these settings instead, as if the file had been changed to them.
    ///
    /// # Errors
    /// What is wrong with them; nothing changes then.
    pub async fn replace(&self, settings: crate::settings::Settings) -> Result<(), StartError> {
        self.ask(|reply| Command::Replace(Box::new(settings), reply)).await.unwrap_or(Err(StartError::Ended))
    }

    /// Fails readiness, serves on for the drain delay, then takes no new requests and lets those under way end until
    /// the deadline.
    pub async fn drain(mut self) {
        self.ask(Command::Drain).await;
        self.end();
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.as_ref()?.send(command(reply)).ok()?;
        answer.await.ok()
    }

    fn end(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.end();
    }
}
