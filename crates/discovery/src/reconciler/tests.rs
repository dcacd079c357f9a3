use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use model::{Exposure, Knowledge, ProviderError, Update, UpstreamKey};
use tokio::{task::JoinHandle, time::sleep};

use super::*;
use crate::{
    status::State,
    testing::{instance, policies, service},
};

mod first_use;
mod proving;
mod remembered;
mod told;

/// A reconciler with one source, number 7, whose words the test speaks.
struct Stage {
    cell: Arc<TableCell>,
    status: watch::Receiver<Arc<Status>>,
    interest: watch::Receiver<Arc<Interest>>,
    by_name: watch::Receiver<Arc<Interest>>,
    freshness: Arc<Freshness>,
    updates: Updates,
    history: Arc<History>,
    commands: mpsc::Sender<Command>,
    wants: mpsc::Sender<Want>,
    retired: Arc<Mutex<Vec<UpstreamKey>>>,
    task: JoinHandle<()>,
}

/// The way of all sources to the reconciler.
struct Updates(mpsc::Sender<Message>);

impl Updates {
    async fn send(&self, (source, update): (SourceId, Update)) -> Result<(), mpsc::error::SendError<Message>> {
        self.0.send(Message { source, update, seen: Instant::now(), pulse: Arc::default() }).await
    }
}

impl Stage {
    async fn new() -> Self {
        Self::with(policies(), None).await
    }

    async fn with(policies: Policies, memory: Option<Memory>) -> Self {
        let stage = Self::bare(policies.clone(), memory);
        stage.arrange(&[(7, "test")], policies).await;
        stage
    }

    /// Without any source.
    fn bare(policies: Policies, memory: Option<Memory>) -> Self {
        let cell = Arc::new(TableCell::new(Table::empty(Arc::new(policies))));
        let (status_sender, status) = watch::channel(Arc::default());
        let (whole, interest) = watch::channel(Arc::default());
        let (by_name_sender, by_name) = watch::channel(Arc::default());
        let (wants, wants_receiver) = mpsc::channel(WANTS);
        let (updates, updates_receiver) = mpsc::channel(MAILBOX);
        let (commands, commands_receiver) = mpsc::channel(MAILBOX);
        let history = Arc::new(History::default());
        let (freshness, retired) = (Arc::new(Freshness::default()), Arc::new(Mutex::new(Vec::new())));
        let keys = retired.clone();
        let retire = move |leaving: Vec<Leave>| {
            let gone = leaving.iter().filter(|leave| leave.how == How::Gone).map(|leave| leave.key);
            keys.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
        };
        let outlets = Outlets {
            cell: cell.clone(),
            status: status_sender,
            interests: Interests { whole, by_name: by_name_sender },
            freshness: freshness.clone(),
            history: history.clone(),
            retire: Arc::new(retire),
            dropped: Arc::default(),
        };
        let mailbox = Mailbox { updates: updates_receiver, commands: commands_receiver, wants: wants_receiver };
        let task = tokio::spawn(Reconciler::new(outlets, memory).run(mailbox));
        let updates = Updates(updates);
        Self { cell, status, interest, by_name, freshness, updates, history, commands, wants, retired, task }
    }

    async fn arrange(&self, sources: &[(SourceId, &str)], policies: Policies) {
        let sources = sources.iter().map(|(id, name)| (*id, (*name).into(), Kind::Etcd)).collect();
        let (done, arranged) = oneshot::channel();
        self.commands.send(Command::Arrange { sources, policies: Arc::new(policies), done }).await.unwrap();
        arranged.await.unwrap();
    }

    async fn says(&self, name: &str, numbers: &[u8]) {
        let list = numbers.iter().map(|n| instance(&n.to_string(), *n));
        let update =
            Update::Service { service: service(name), knowledge: Knowledge::of(list), deregistered: Vec::new() };
        self.updates.send((7, update)).await.unwrap();
    }

    /// Waits until the table has this generation.
    async fn generation(&self, wanted: u64) {
        let mut generations = self.cell.generations();
        generations.wait_for(|g| *g >= wanted).await.unwrap();
        assert_eq!(*generations.borrow(), wanted);
    }

    /// Numbers of the members of a service in the current table; suspects in brackets. `-` if it is not there.
    fn check(&self, name: &str, expected: &str) {
        let shown = |m: &Member| if m.resort { format!("({})", m.instance.id) } else { m.instance.id.to_string() };
        let members = self.cell.with(|t| t.service(name).map(|s| s.members.iter().map(shown).collect::<String>()));
        assert_eq!(members.as_deref().unwrap_or("-"), expected);
    }

    fn source(&self) -> Arc<crate::status::Source> {
        self.status.borrow().sources[0].clone()
    }

    fn retired(&self) -> usize {
        self.retired.lock().unwrap().len()
    }
}

/// Traefik 1107.
#[tokio::test(start_paused = true)]
async fn a_lone_change_is_published_at_once() {
    let stage = Stage::new().await;
    sleep(Duration::from_secs(1)).await;
    let before = Instant::now();
    stage.says("a", &[1, 2]).await;
    stage.generation(1).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    stage.check("a", "12");
    assert_eq!(stage.freshness.counts().map(|(_, n)| n).sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_gathered_and_nothing_of_it_is_lost() {
    let stage = Stage::new().await;
    let before = Instant::now();
    for round in 0..100_u8 {
        stage.says("a", &[round]).await;
        stage.says("b", &[round, round + 1]).await;
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(20)).await;
    stage.check("a", "99");
    stage.check("b", "10099");
    let tables = stage.cell.load().generation;
    let fair = u64::try_from(before.elapsed().as_millis()).unwrap() / 10;
    assert!(tables <= fair + 4, "{tables} tables in {:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn suspects_are_held_and_then_retired() {
    let stage = Stage::new().await;
    stage.says("a", &[1, 2]).await;
    stage.says("a", &[]).await;
    sleep(Duration::from_secs(29)).await;
    stage.check("a", "(1)(2)");
    assert_eq!(stage.retired(), 0);
    sleep(Duration::from_secs(2)).await;
    stage.check("a", "");
    assert_eq!(stage.retired(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_ends_a_suspect_early() {
    let stage = Stage::new().await;
    stage.says("a", &[1, 2]).await;
    stage.says("a", &[]).await;
    sleep(Duration::from_secs(1)).await;
    let upstream = stage.cell.load().service("a").unwrap().members[0].upstream.clone();
    stage.commands.send(Command::ConnectFailed(upstream.clone())).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    stage.check("a", "(2)");
    assert_eq!(*stage.retired.lock().unwrap(), [upstream.key]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_keeps_its_word() {
    let mut stage = Stage::new().await;
    let routed = Policies { routed: [service("a")].into(), exposure: Exposure::Routed, ..policies() };
    stage.arrange(&[(7, "test")], routed).await;
    assert!(!stage.status.borrow().is_ready());
    assert_eq!(stage.source().state, State::Starting);
    stage.says("a", &[1]).await;
    stage.updates.send((7, Update::Unreachable(ProviderError::Denied("token".into())))).await.unwrap();
    stage.updates.send((7, Update::Skipped { service: None, reason: "no port".into() })).await.unwrap();
    stage.status.wait_for(|s| s.sources[0].skipped.count == 1).await.unwrap();
    let source = stage.source();
    assert_eq!(source.state, State::Down(ProviderError::Denied("token".into())));
    assert!(source.answered && source.skipped.reasons == ["no port"]);
    stage.check("a", "1");
    stage.updates.send((7, Update::Everything(HashMap::new()))).await.unwrap();
    stage.status.wait_for(|s| s.sources[0].state == State::Live).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reload_moves_interest_and_forgets_removed_sources() {
    let stage = Stage::new().await;
    stage.says("a", &[1]).await;
    stage.generation(1).await;
    let routed = Policies { routed: [service("b")].into(), ..policies() };
    stage.arrange(&[(8, "other")], routed).await;
    stage.check("a", "-");
    stage.check("b", "");
    assert!(stage.interest.borrow().services.contains("b"));
    assert_eq!(stage.retired(), 1);
    stage.says("a", &[1]).await;
    sleep(Duration::from_secs(1)).await;
    stage.check("a", "-");
    assert!(!stage.status.borrow().is_ready(), "the new source has not answered");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_instances_leaves_the_table_in_the_end_and_a_routed_one_stays() {
    let stage = Stage::with(Policies { routed: [service("r")].into(), ..policies() }, None).await;
    for name in ["a", "r"] {
        stage.says(name, &[1]).await;
        stage.says(name, &[]).await;
    }
    // The hold of its suspects, and then its time.
    sleep(Duration::from_secs(629)).await;
    stage.check("a", "");
    stage.check("r", "");
    sleep(Duration::from_secs(2)).await;
    stage.check("a", "-");
    stage.check("r", "");
    stage.says("a", &[2]).await;
    sleep(Duration::from_secs(1)).await;
    stage.check("a", "2");
}

/// APISIX 12398.
#[tokio::test(start_paused = true)]
async fn readiness_waits_for_every_routed_service() {
    let mut stage = Stage::new().await;
    let routed = [service("a"), service("b")].into();
    let routed = Policies { routed, exposure: Exposure::Routed, ..policies() };
    stage.arrange(&[(7, "test")], routed).await;
    stage.says("a", &[1]).await;
    stage.status.wait_for(|s| s.sources[0].updates == 1).await.unwrap();
    assert!(!stage.status.borrow().is_ready());
    stage.says("b", &[]).await;
    stage.status.wait_for(|s| s.is_ready()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_a_catalogue_and_for_what_it_holds() {
    let mut stage = Stage::new().await;
    stage.says("a", &[1]).await;
    stage.status.wait_for(|s| s.sources[0].updates == 1).await.unwrap();
    assert!(!stage.status.borrow().is_ready(), "the catalogue was not read yet");
    let found = [service("a"), service("b")].into();
    stage.updates.send((7, Update::Catalogue(found))).await.unwrap();
    stage.status.wait_for(|s| s.sources[0].updates == 2).await.unwrap();
    assert!(!stage.status.borrow().is_ready(), "b was found and not spoken of");
    stage.says("b", &[2]).await;
    stage.status.wait_for(|s| s.is_ready()).await.unwrap();

    stage.arrange(&[(8, "other")], policies()).await;
    stage.updates.send((8, Update::Catalogue(BTreeSet::new()))).await.unwrap();
    stage.status.wait_for(|s| s.is_ready()).await.expect("an empty catalogue is an answer");
}

#[tokio::test(start_paused = true)]
async fn replaced_tables_are_dropped_once_no_reader_holds_them() {
    let stage = Stage::new().await;
    stage.says("a", &[1]).await;
    stage.generation(1).await;
    let held = stage.cell.load();
    let weak = Arc::downgrade(&held);
    stage.says("a", &[2]).await;
    stage.generation(2).await;
    drop(held);
    sleep(Duration::from_secs(2)).await;
    assert!(weak.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_can_command_it() {
    let Stage { commands, task, .. } = Stage::new().await;
    drop(commands);
    task.await.unwrap();
}
