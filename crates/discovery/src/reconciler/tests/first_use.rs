//! Subscription on first use. Source 7 is asked by name; source 8, where there is one, holds all it knows itself.

use std::collections::HashSet;

use super::*;
use crate::{history::Filter, subscriptions::OnFirstUse};

fn lazy() -> Policies {
    let first_use = OnFirstUse {
        at_most: 3,
        idle: Duration::from_secs(600),
        rate: 10,
        unknown: Duration::from_secs(60),
        wait: Duration::from_secs(1),
    };
    let exposure = Exposure::Matching {
        services: BTreeSet::new(),
        prefixes: vec!["com.".into()],
        tags: [crate::testing::tag("public")].into(),
    };
    Policies { exposure, first_use: Some(first_use), routed: [service("routed")].into(), ..policies() }
}

impl Stage {
    async fn lazy(others: bool) -> Self {
        let stage = Self::bare(lazy(), None);
        stage.arrange_lazy(others, lazy()).await;
        stage
    }

    async fn arrange_lazy(&self, others: bool, policies: Policies) {
        let mut sources = vec![(7, "consul".into(), Kind::Consul)];
        if others {
            sources.push((8, "etcd".into(), Kind::Etcd));
        }
        let (done, arranged) = oneshot::channel();
        self.commands.send(Command::Arrange { sources, policies: Arc::new(policies), done }).await.unwrap();
        arranged.await.unwrap();
    }

    /// A request names a service that it did not find.
    async fn want(&self, name: &str) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        self.wants.send(Want { service: service(name), asker: 0, answer }).await.unwrap();
        answered
    }

    async fn asked(&mut self, name: &str) {
        self.by_name.wait_for(|interest| interest.services.contains(name)).await.unwrap();
    }

    async fn speaks(&self, source: SourceId, name: &str, knowledge: Knowledge) {
        let update = Update::Service { service: service(name), knowledge, deregistered: Vec::new() };
        self.updates.send((source, update)).await.unwrap();
    }

    /// Asks for a service, and the source says that these are its instances.
    async fn use_first(&mut self, name: &str, numbers: &[u8]) {
        let answer = self.want(name).await;
        self.asked(name).await;
        self.says(name, numbers).await;
        assert_eq!(answer.await.unwrap(), Answer::Look);
    }

    /// A request is served by the first instance.
    fn request(&self, name: &str) {
        let table = self.cell.load();
        let vitals = &table.service(name).unwrap().members[0].upstream.vitals;
        let now = clock::tick();
        vitals.begin();
        vitals.end(model::Outcome::Answered(200), now, Duration::ZERO, now, &balancer::Peers::default());
    }

    fn subscribed(&self) -> Vec<String> {
        self.by_name.borrow().services.iter().map(ToString::to_string).filter(|name| name != "routed").collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_asked_by_name_sees_no_pattern_and_the_others_do() {
    let stage = Stage::lazy(true).await;
    assert_eq!(stage.by_name.borrow().exposure, Exposure::Routed);
    assert!(stage.interest.borrow().exposure.needs_catalog());
    assert_eq!(stage.by_name.borrow().services, [service("routed")].into());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_and_the_request_is_told_once_the_table_has_it() {
    let mut stage = Stage::lazy(false).await;
    let (first, second) = (stage.want("com.a").await, stage.want("com.a").await);
    stage.asked("com.a").await;
    stage.says("com.a", &[1]).await;
    assert_eq!(first.await.unwrap(), Answer::Look);
    stage.check("com.a", "1");
    assert_eq!(second.await.unwrap(), Answer::Look);
    let told = stage.history.select(&Filter::default()).last().map(|event| event.event);
    assert_eq!(told, Some(What::Subscribed));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_rule_permits_is_never_asked_for() {
    let mut lazy = lazy();
    lazy.exposure =
        Exposure::Matching { services: BTreeSet::new(), prefixes: vec!["com.".into()], tags: BTreeSet::new() };
    let stage = Stage::lazy(false).await;
    stage.arrange_lazy(false, lazy).await;
    assert_eq!(stage.want("org.a").await.await.unwrap(), Answer::Look);
    assert_eq!(stage.subscribed(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_name_nobody_knows_leaves_nothing_behind_and_costs_nothing_a_second_time() {
    let mut stage = Stage::lazy(false).await;
    let generation = *stage.cell.generations().borrow();
    let answer = stage.want("com.none").await;
    stage.asked("com.none").await;
    stage.says("com.none", &[]).await;
    assert_eq!(answer.await.unwrap(), Answer::Look);
    assert_eq!(stage.subscribed(), [""; 0]);
    stage.by_name.mark_unchanged();
    assert_eq!(stage.want("com.none").await.await.unwrap(), Answer::Look);
    assert!(!stage.by_name.has_changed().unwrap());
    // The source did not see the change of its interest yet.
    stage.says("com.none", &[1]).await;
    sleep(Duration::from_secs(5)).await;
    stage.check("com.none", "-");
    assert_eq!(*stage.cell.generations().borrow(), generation, "no table was made for it");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_the_tag_that_exposes_is_let_go() {
    let mut stage = Stage::lazy(false).await;
    stage.use_first("plain", &[1]).await;
    assert_eq!(stage.subscribed(), [""; 0]);
    stage.updates.send((7, Update::Forgotten(service("plain")))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    stage.check("plain", "-");
}

#[tokio::test(start_paused = true)]
async fn a_name_without_answer_is_given_up_and_no_doubt_of_it_is_kept() {
    let mut stage = Stage::lazy(false).await;
    let answer = stage.want("com.a").await;
    stage.asked("com.a").await;
    stage.speaks(7, "com.a", Knowledge::Unknown(ProviderError::Denied("no right".into()))).await;
    sleep(Duration::from_secs(9)).await;
    assert_eq!(stage.subscribed(), ["com.a"]);
    assert_eq!(answer.await.unwrap(), Answer::Unanswered);
    assert_eq!(stage.subscribed(), [""; 0]);
    assert!(stage.source().doubts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_its_sources_are_down_a_request_is_told_at_once() {
    let mut stage = Stage::lazy(false).await;
    stage.updates.send((7, Update::Unreachable(ProviderError::Failed("gone".into())))).await.unwrap();
    stage.status.wait_for(|s| matches!(s.sources[0].state, State::Down(_))).await.unwrap();
    let before = Instant::now();
    assert_eq!(stage.want("com.a").await.await.unwrap(), Answer::Unanswered);
    assert_eq!(before.elapsed(), Duration::ZERO);
    stage.asked("com.a").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_is_let_go_and_leaves_the_table_with_its_connections() {
    let mut stage = Stage::lazy(false).await;
    stage.use_first("com.a", &[1]).await;
    stage.use_first("com.b", &[2]).await;
    for _ in 0..70 {
        sleep(Duration::from_secs(10)).await;
        stage.request("com.b");
    }
    assert_eq!(stage.subscribed(), ["com.b"]);
    stage.check("com.a", "1");
    assert_eq!(stage.retired(), 0, "it stands until its source takes it back");
    stage.updates.send((7, Update::Forgotten(service("com.a")))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    stage.check("com.a", "-");
    stage.check("com.b", "2");
    assert_eq!(stage.retired(), 1);
    // And it comes back.
    stage.use_first("com.a", &[3]).await;
    stage.check("com.a", "3");
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_a_use() {
    let mut stage = Stage::lazy(false).await;
    stage.use_first("com.a", &[1]).await;
    stage.cell.load().service("com.a").unwrap().members[0].upstream.vitals.begin();
    sleep(Duration::from_secs(6_000)).await;
    assert_eq!(stage.subscribed(), ["com.a"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_missed_the_release_goes_on_with_what_it_said() {
    let mut stage = Stage::lazy(false).await;
    stage.use_first("com.a", &[1]).await;
    sleep(Duration::from_secs(610)).await;
    assert_eq!(stage.subscribed(), [""; 0]);
    // Found in the table still: nobody needs to ask.
    assert_eq!(stage.want("com.a").await.await.unwrap(), Answer::Look);
    stage.check("com.a", "1");
    stage.request("com.a");
    sleep(Duration::from_secs(31)).await;
    assert_eq!(stage.subscribed(), ["com.a"], "its use is seen");
}

#[tokio::test(start_paused = true)]
async fn what_other_sources_serve_is_asked_for_once_it_is_used() {
    let mut stage = Stage::lazy(true).await;
    stage.speaks(8, "com.a", Knowledge::of([instance("1", 1)])).await;
    stage.speaks(8, "com.b", Knowledge::of([instance("2", 2)])).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.subscribed(), [""; 0]);
    stage.request("com.a");
    stage.asked("com.a").await;
    // The other source alone has it, and may have it for good.
    stage.says("com.a", &[]).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(stage.subscribed(), ["com.a"]);
    stage.says("com.a", &[3]).await;
    sleep(Duration::from_secs(1)).await;
    stage.check("com.a", "13");
}

#[tokio::test(start_paused = true)]
async fn an_empty_word_of_another_source_does_not_hide_a_service() {
    let mut stage = Stage::lazy(true).await;
    stage.speaks(8, "com.a", Knowledge::KnownEmpty).await;
    sleep(Duration::from_secs(1)).await;
    stage.check("com.a", "");
    stage.use_first("com.a", &[1]).await;
    stage.check("com.a", "1");
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_it_still_permits() {
    let mut stage = Stage::lazy(false).await;
    stage.use_first("com.a", &[1]).await;
    stage.use_first("com.b", &[2]).await;
    let narrower =
        Exposure::Matching { services: BTreeSet::new(), prefixes: vec!["com.a".into()], tags: BTreeSet::new() };
    stage.arrange_lazy(false, Policies { exposure: narrower, ..lazy() }).await;
    assert_eq!(stage.subscribed(), ["com.a"]);
    stage.updates.send((7, Update::Forgotten(service("com.b")))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    stage.check("com.b", "-");
    stage.check("com.a", "1");
    // Off: the catalogue decides, and nothing is lost until it was read.
    stage.arrange_lazy(false, Policies { first_use: None, ..lazy() }).await;
    stage.check("com.a", "1");
    assert!(stage.by_name.borrow().exposure.needs_catalog());
    stage.arrange_lazy(false, lazy()).await;
    assert_eq!(stage.subscribed(), ["com.a"], "what is known goes on");
}

#[tokio::test(start_paused = true)]
async fn what_was_in_use_before_a_restart_is_served_and_asked_for_as_far_as_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let remembering = || Some(Memory::open(directory.path()));
    let mut stage = Stage::bare(lazy(), remembering());
    stage.arrange_lazy(false, lazy()).await;
    for name in ["com.a", "com.b"] {
        stage.use_first(name, &[1]).await;
    }
    sleep(Duration::from_millis(100)).await;
    drop(stage.commands);
    stage.task.await.unwrap();

    let mut narrow = lazy();
    narrow.first_use.as_mut().unwrap().at_most = 1;
    let stage = Stage::bare(narrow.clone(), remembering());
    stage.arrange_lazy(false, narrow).await;
    let kept = stage.subscribed();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let other = if kept == ["com.a"] { "com.b" } else { "com.a" };
    stage.check(&kept[0], "1");
    stage.check(other, "-");
    assert_eq!(stage.source().inherited.keys().map(ToString::to_string).collect::<Vec<_>>(), kept);
    // Nobody uses it, and the source never answers.
    sleep(Duration::from_secs(610)).await;
    stage.check(&kept[0], "-");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_asks_registries_for_few_and_keeps_none() {
    let mut stage = Stage::lazy(false).await;
    stage.use_first("com.real", &[1]).await;
    let (mut seen, begun) = (HashSet::new(), Instant::now());
    let mut answers = Vec::new();
    for n in 0..100_000 {
        let name = format!("com.x{n}");
        answers.push(stage.want(&name).await);
        if stage.by_name.has_changed().unwrap() {
            for name in stage.by_name.borrow_and_update().services.iter().filter(|name| name.as_str().contains(".x")) {
                seen.insert(name.clone());
            }
            for name in seen.iter() {
                stage.speaks(7, name.as_str(), Knowledge::KnownEmpty).await;
            }
        }
    }
    sleep(Duration::from_secs(11)).await;
    let allowed = 10 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 1);
    assert!((1..=allowed).contains(&seen.len()), "{} of {allowed}", seen.len());
    assert_eq!(stage.subscribed(), ["com.real"]);
    assert_eq!(stage.cell.load().len(), 2, "the routed one and the real one");
    for answer in answers {
        answer.await.expect("every request is told");
    }
}
