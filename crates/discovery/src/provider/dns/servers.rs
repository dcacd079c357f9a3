//! The servers: which are asked, in which order, and what their silence or refusal means.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::settings::Aside;
use model::ProviderError;
use tokio::{sync::Semaphore, time::Instant};
use transport::{client::Questions, clock};

use super::{
    ask::ask,
    settings::{Server, Settings},
    wire::{self, Answer, Found, Kind, Name, Reply},
};
use crate::provider::{aside, single_flight::SingleFlight};

/// Where the system says which servers there are.
const SYSTEM: &str = "/etc/resolv.conf";
/// Questions at once, so that a start is no flood.
const AT_ONCE: usize = 50;
/// How often each server is asked a question that none answers: a datagram may be lost.
const ROUNDS: usize = 2;
/// Aliases in a row that are followed.
const ALIASES: usize = 8;

/// The servers of one source. They count as equal: one that answers is asked first until it does not.
#[derive(Debug)]
pub(super) struct Servers {
    list: Mutex<Arc<[SocketAddr]>>,
    /// Where that list is read anew, if it is the system's.
    from_system: Option<Aside>,
    first: AtomicUsize,
    tcp: bool,
    patience: Duration,
    permits: Semaphore,
    /// Makes ids that nobody can guess, from a counter.
    key: RandomState,
    asked: AtomicU64,
    questions: Arc<Questions>,
    /// Answers of any kind: the servers are there.
    heard: AtomicU64,
    /// The number of answers when silence was reported last.
    reported: AtomicU64,
    /// How often it was reported.
    silences: AtomicU64,
    probes: SingleFlight<()>,
}

/// Why one server has no answer for us.
enum Trouble {
    Silent(ProviderError),
    Refused(ProviderError),
}

impl Servers {
    /// Those that the settings name, else the system's.
    ///
    /// # Errors
    /// If the system's list cannot be read at the moment.
    pub(super) async fn open(
        settings: &Settings,
        aside: &Aside,
        questions: Arc<Questions>,
    ) -> Result<Self, ProviderError> {
        let listed: Arc<[_]> = settings.servers.0.iter().map(|server| server.0).collect();
        if !listed.is_empty() {
            return Ok(Self::new(settings, listed, None, questions));
        }
        let system = aside::read(aside, SYSTEM, system).await?;
        Ok(Self::new(settings, system, Some(aside.clone()), questions))
    }

    fn new(
        settings: &Settings,
        list: Arc<[SocketAddr]>,
        from_system: Option<Aside>,
        questions: Arc<Questions>,
    ) -> Self {
        Self {
            list: Mutex::new(list),
            from_system,
            first: AtomicUsize::new(0),
            tcp: settings.tcp,
            patience: settings.timeout.get(),
            permits: Semaphore::new(AT_ONCE),
            key: RandomState::new(),
            asked: AtomicU64::new(0),
            questions,
            heard: AtomicU64::new(0),
            reported: AtomicU64::new(u64::MAX),
            silences: AtomicU64::new(0),
            probes: SingleFlight::default(),
        }
    }

    /// Every record of this kind that the name has, aliases followed.
    ///
    /// # Errors
    /// If no server knows; never for a name without such records.
    pub(super) async fn resolve(&self, name: &Name, kind: Kind) -> Result<Answer, ProviderError> {
        let mut name = name.clone();
        let mut least = Duration::MAX;
        for _ in 0..ALIASES {
            match self.ask(&name, kind).await? {
                Found::Answer(answer) => return Ok(Answer { ttl: answer.ttl.min(least), ..answer }),
                Found::Alias { name: next, ttl } => (name, least) = (next, least.min(ttl)),
            }
        }
        Err(ProviderError::Malformed(format!("{name}: more than {ALIASES} aliases in a row")))
    }

    /// How many answers came so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether all servers have been silent since there were so many answers, and nobody has reported it yet. A server may
    /// be silent about one name only, because whom it asks is: what it says of the root tells.
    pub(super) async fn fell_silent(&self, heard: u64) -> bool {
        if self.heard() != heard {
            return false;
        }
        let probe = Box::pin(async { drop(self.ask(&Name::root_vec(), Kind::A).await) });
        self.probes.since(Instant::now(), probe).await;
        let fell = self.heard() == heard && self.reported.swap(heard, Ordering::Relaxed) != heard;
        self.silences.fetch_add(u64::from(fell), Ordering::Relaxed);
        fell
    }

    /// How often silence was reported. What was said before has to be said again once they answer.
    pub(super) fn silences(&self) -> u64 {
        self.silences.load(Ordering::Relaxed)
    }

    /// The next silence is to be reported, also if it is the one that was.
    pub(super) fn report_again(&self) {
        self.reported.store(u64::MAX, Ordering::Relaxed);
    }

    async fn ask(&self, name: &Name, kind: Kind) -> Result<Found, ProviderError> {
        // Never closed, so this only ever waits.
        let _permit = self.permits.acquire().await;
        let servers = self.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.first.load(Ordering::Relaxed);
        let mut silent = None;
        for _ in 0..ROUNDS {
            let mut refused = None;
            for turn in 0..servers.len() {
                let at = (first + turn) % servers.len();
                match self.ask_one(servers[at], name, kind).await {
                    Ok(found) => {
                        self.first.store(at, Ordering::Relaxed);
                        return Ok(found);
                    }
                    Err(Trouble::Silent(error)) => silent = Some(error),
                    Err(Trouble::Refused(error)) => refused = refused.or(Some(error)),
                }
            }
            if let Some(error) = refused {
                return Err(error);
            }
        }
        // They may be others now; while that cannot be read, those we know are asked.
        if let Some(aside) = &self.from_system
            && let Ok(system) = aside.run(system).await
        {
            *self.list.lock().unwrap_or_else(PoisonError::into_inner) = system;
        }
        Err(silent.unwrap_or_else(|| ProviderError::Unreachable("any name server: none is known".to_owned())))
    }

    async fn ask_one(&self, server: SocketAddr, name: &Name, kind: Kind) -> Result<Found, Trouble> {
        self.questions.note(clock::tick());
        let question = wire::question(self.id(), name, kind);
        let reply = ask(server, &question, kind, self.tcp, self.patience).await;
        let reply = reply.map_err(|e| Trouble::Silent(ProviderError::Unreachable(format!("{server}: {e}"))))?;
        self.heard.fetch_add(1, Ordering::Relaxed);
        let told = |what: &str| format!("{server}: {what} for {kind:?} of {name}");
        Err(Trouble::Refused(match reply {
            Reply::Found(found) => return Ok(found),
            Reply::Refusal(what) if what == "REFUSED" => ProviderError::Denied(told(&what)),
            Reply::Refusal(what) => ProviderError::Failed(told(&what)),
            Reply::Malformed(what) => ProviderError::Malformed(told(&what)),
            Reply::Truncated | Reply::Foreign => ProviderError::Malformed(told("no whole answer")),
        }))
    }

    fn id(&self) -> u16 {
        let [low, high, ..] = self.key.hash_one(self.asked.fetch_add(1, Ordering::Relaxed)).to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

/// The system's servers; as its own resolver does, the one on this machine if it names none.
fn system() -> Arc<[SocketAddr]> {
    let text = std::fs::read_to_string(SYSTEM).unwrap_or_default();
    let servers = nameservers(&text);
    if servers.is_empty() { [SocketAddr::from(([127, 0, 0, 1], 53))].into() } else { servers.into() }
}

fn nameservers(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next());
    words.filter_map(Server::parse).map(|server| server.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_servers_are_read() {
        let text =
            "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.2\n nameserver\tfd00::1\nnameserver x\noptions a";
        let read: Vec<_> = nameservers(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(read, ["10.0.0.2:53", "[fd00::1]:53"]);
        assert!(!system().is_empty());
    }

    #[test]
    fn ids_differ_from_source_to_source() {
        let settings = Settings::default();
        let ids = |servers: &Servers| (0..20).map(|_| servers.id()).collect::<Vec<_>>();
        let servers = || Servers::new(&settings, system(), None, Arc::default());
        assert_ne!(ids(&servers()), ids(&servers()));
    }

    #[tokio::test]
    async fn silence_is_reported_once_until_an_answer_comes_or_it_has_to_be_told_again() {
        let nobody = [SocketAddr::from(([127, 0, 0, 1], 1))];
        let servers = Servers::new(&Settings::default(), nobody.into(), None, Arc::default());
        assert!(servers.fell_silent(0).await && !servers.fell_silent(0).await);
        servers.report_again();
        assert!(servers.fell_silent(0).await);
        servers.heard.fetch_add(1, Ordering::Relaxed);
        assert!(!servers.fell_silent(0).await, "somebody was heard meanwhile");
        assert!(servers.fell_silent(1).await);
        assert_eq!(servers.silences(), 3);
    }
}
