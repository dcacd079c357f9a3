//! The binary as a process: what it prints, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, OnceLock},
};

use testkit::eventually;

/// The binary of this tree: `POINTSMAN_BIN`, or built now, which takes a moment if it is built already.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("POINTSMAN_BIN") {
            return binary.into();
        }
        let mut build = Command::new(env!("CARGO"));
        let build = build.args(["build", "--quiet", "-p", "router"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(build.expect("cargo runs").success(), "the binary does not build");
        // We are target/debug/deps/it-HASH.
        let own = std::env::current_exe().expect("the test binary has a path");
        own.ancestors().nth(2).expect("a target folder").join("pointsman")
    })
}

/// Runs it to its end.
pub(crate) fn finish(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    printed: Lines,
    logged: Lines,
}

/// Lines as they come.
type Lines = Arc<Mutex<Vec<String>>>;

/// Where a router said that it can be reached.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) clients: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) registry: Option<SocketAddr>,
}

impl Process {
    /// Starts `pointsman` with these arguments in this folder.
    pub(crate) fn start(arguments: &[&str], folder: &Path) -> Self {
        Self::spawn(Command::new(binary()).args(arguments).current_dir(folder))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        // The configuration of the person who runs the tests is none of theirs.
        let command = command.env_remove("POINTSMAN_CONFIG").env_remove("RUST_LOG").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the process starts");
        let (printed, logged) = (collect(child.stdout.take()), collect(child.stderr.take()));
        Self { child, printed, logged }
    }

    /// Everything on standard output so far.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    /// Everything on standard error so far.
    pub(crate) fn logged(&self) -> Vec<String> {
        self.logged.lock().unwrap().clone()
    }

    /// How many log lines contain this.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.logged.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until a log line contains this.
    pub(crate) async fn logs(&self, text: &str) {
        self.logs_times(text, 1).await;
    }

    /// Waits until so many log lines contain this.
    pub(crate) async fn logs_times(&self, text: &str, times: usize) {
        let came = testkit::wait_for(|| self.count(text) >= times, testkit::DEADLINE).await;
        assert!(came, "not {times} times {text:?} in {:#?}", self.logged());
    }

    /// Waits for its word that it listens.
    pub(crate) async fn ready(&self) -> Reached {
        let said =
            || self.logged().into_iter().find_map(|line| Some(line.split_once("pointsman is ready: ")?.1.to_owned()));
        assert!(
            testkit::wait_for(|| said().is_some(), testkit::DEADLINE).await,
            "{:#?} {:#?}",
            self.printed(),
            self.logged()
        );
        // As JSON, the message ends with a quote.
        reached(said().unwrap().split('"').next().unwrap_or_default())
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs").success());
    }

    /// The most memory it ever had, in octets. Linux.
    pub(crate) fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the process ends", || !self.runs()).await;
        self.child.wait().expect("it ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is as well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(from: Option<impl Read + Send + 'static>) -> Lines {
    let lines = Lines::default();
    let (into, from) = (Arc::clone(&lines), BufReader::new(from.expect("piped")));
    std::thread::spawn(move || from.lines().map_while(Result::ok).for_each(|line| into.lock().unwrap().push(line)));
    lines
}

/// `https://A http://B, admin http://C, registry local http://D/registry`
pub(super) fn reached(text: &str) -> Reached {
    let address = |word: &str| -> Option<SocketAddr> {
        let rest = word.split_once("://")?.1;
        rest.trim_end_matches("/registry").trim_end_matches(',').parse().ok()
    };
    let mut parts = text.split(", ");
    let clients = parts.next().unwrap_or_default().split(' ').filter_map(address).collect();
    let mut reached = Reached { clients, admin: SocketAddr::from(([0, 0, 0, 0], 0)), registry: None };
    for part in parts {
        let found = part.split(' ').filter_map(address).next();
        match part.split(' ').next() {
            Some("admin") => reached.admin = found.expect("an address"),
            Some("registry") => reached.registry = found,
            _ => panic!("{text:?}: what is {part:?}?"),
        }
    }
    reached
}
