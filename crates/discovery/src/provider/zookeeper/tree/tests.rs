use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use model::{Instance, Knowledge, Standing};
use proptest::prelude::*;

use super::*;

mod rights;

/// What is asked when nothing is wrong and what answers it: a server in miniature.
#[derive(Default)]
struct Server {
    /// Data by path; a directory has none.
    nodes: BTreeMap<String, String>,
    /// Paths we may not read.
    forbidden: BTreeSet<String>,
    reads: usize,
}

const FORBIDDEN: Code = Code(-102);

fn name(text: &str) -> ServiceId {
    ServiceId::new(text).unwrap()
}

fn wanted(names: &[&str]) -> BTreeSet<ServiceId> {
    names.iter().map(|text| name(text)).collect()
}

fn tree() -> Tree {
    Tree::new(Layout::curator("/services".into()))
}

fn record(port: u16, status: &str) -> String {
    format!(r#"{{"address":"h","port":{port},"payload":{{"instance_status":"{status}"}}}}"#)
}

impl Server {
    fn with(nodes: &[(&str, u16)]) -> Self {
        let nodes = nodes.iter().map(|(path, port)| ((*path).to_owned(), record(*port, "UP"))).collect();
        Self { nodes, ..Self::default() }
    }

    fn answer(&mut self, ask: &Ask, question: &Question) -> Result<Bytes, Code> {
        let (Question::Watch(path) | Question::Exists(path) | Question::Children(path) | Question::Data(path)) =
            question
        else {
            panic!("a tree only reads")
        };
        // A watch needs no rights.
        if self.forbidden.contains(path) && !matches!(ask, Ask::Watch(_)) {
            return Err(FORBIDDEN);
        }
        let mut body = BytesMut::new();
        match ask {
            Ask::Watch(_) | Ask::Base => {}
            Ask::Catalogue | Ask::List { .. } => {
                let below = |other: &String| {
                    other.strip_prefix(path)?.strip_prefix('/').map(|rest| rest.split('/').next().unwrap().to_owned())
                };
                let names: BTreeSet<_> = self.nodes.keys().filter_map(below).collect();
                if names.is_empty() {
                    return Err(Code::NO_NODE);
                }
                body.put_i32(i32::try_from(names.len()).unwrap());
                for name in names {
                    body.put_i32(i32::try_from(name.len()).unwrap());
                    body.put_slice(name.as_bytes());
                }
            }
            Ask::Read { .. } => {
                self.reads += 1;
                let data = self.nodes.get(path).ok_or(Code::NO_NODE)?;
                body.put_i32(i32::try_from(data.len()).unwrap());
                body.put_slice(data.as_bytes());
            }
        }
        Ok(body.freeze())
    }

    /// Answers all questions; what is said then.
    fn settle(&mut self, tree: &mut Tree) -> Vec<Update> {
        let mut said = Vec::new();
        loop {
            said.extend(updates(tree));
            let Some(ask) = tree.ask() else { return said };
            let answer = self.answer(&ask, &tree.question(&ask));
            tree.answer(ask, answer, Instant::now()).unwrap();
        }
    }
}

fn updates(tree: &mut Tree) -> Vec<Update> {
    tree.updates(Instant::now()).into_iter().map(|(update, _)| update).collect()
}

/// What is said of instances, in short: their ids, `-` for none, `?` for unknown.
fn words(updates: &[Update]) -> Vec<String> {
    let word = |update: &Update| match update {
        Update::Service { service, knowledge, deregistered } => {
            let list = match knowledge {
                Knowledge::Known(list) | Knowledge::Part(list) => {
                    list.iter().map(|i| i.id.as_str()).collect::<Vec<_>>().join(",")
                }
                Knowledge::KnownEmpty => "-".to_owned(),
                Knowledge::Unknown(error) => format!("? {}", error.reason()),
            };
            let left = deregistered.iter().map(|id| format!(" left {}", id.as_str())).collect::<String>();
            format!("{service}: {list}{left}")
        }
        Update::Skipped { service, .. } => format!("{} skipped", service.as_ref().map_or("*", |s| s.as_str())),
        other => format!("{other:?}"),
    };
    updates.iter().map(word).collect()
}

#[test]
fn a_list_is_said_once_it_is_complete_and_a_change_costs_one_read() {
    let mut server = Server::with(&[("/services/pets/1", 1), ("/services/pets/2", 2), ("/services/other/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&["pets", "none"]), false);
    assert_eq!(words(&server.settle(&mut tree)), ["none: -", "pets: 1,2"]);
    assert_eq!(server.reads, 2);

    for (path, expected) in [("/services/pets/3", &["pets: 1,2,3"][..]), ("/services/other/2", &[])] {
        server.nodes.insert(path.into(), record(3, "UP"));
        tree.event(&Event::Created(path.into()), Instant::now());
        assert_eq!(words(&server.settle(&mut tree)), expected);
    }
    assert_eq!(server.reads, 3);

    server.nodes.remove("/services/pets/1");
    tree.event(&Event::Deleted("/services/pets/1".into()), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), ["pets: 2,3"]);
    // A directory that comes and goes says nothing.
    tree.event(&Event::Created("/services/pets".into()), Instant::now());
    // What was written anew says the same.
    tree.event(&Event::Changed("/services/pets/2".into()), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), [""; 0]);
    assert_eq!(server.reads, 4);
    // Everything is listed again, and nothing read.
    tree.resync();
    assert_eq!(words(&server.settle(&mut tree)), [""; 0]);
    assert_eq!(server.reads, 4);
}

/// Traefik 2068, 566.
/// linkerd 6842.
#[test]
fn a_listing_again_finds_what_no_event_told() {
    let mut server = Server::with(&[("/services/pets/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&["pets"]), false);
    server.settle(&mut tree);
    server.nodes = Server::with(&[("/services/pets/2", 2)]).nodes;
    tree.resync();
    assert_eq!(words(&server.settle(&mut tree)).last().unwrap(), "pets: 2");
}

#[test]
fn who_takes_no_requests_before_it_leaves_has_left_on_its_own_word() {
    let mut server = Server::with(&[("/services/pets/1", 1), ("/services/pets/2", 2)]);
    let mut tree = tree();
    tree.want(&wanted(&["pets"]), false);
    server.settle(&mut tree);
    server.nodes.insert("/services/pets/1".into(), record(1, "OUT_OF_SERVICE"));
    tree.event(&Event::Changed("/services/pets/1".into()), Instant::now());
    let said = server.settle(&mut tree);
    let drains = |i: &std::sync::Arc<Instance>| i.standing == Standing::Draining;
    assert!(matches!(&said[..], [Update::Service { knowledge: Knowledge::Known(list), .. }] if drains(&list[0])));
    server.nodes.clear();
    for path in ["/services/pets/1", "/services/pets/2"] {
        tree.event(&Event::Deleted(path.into()), Instant::now());
    }
    assert_eq!(words(&server.settle(&mut tree)), ["pets: - left 1"]);
}

#[test]
fn garbage_is_skipped_one_by_one_and_never_read_as_nothing() {
    let mut server = Server::with(&[("/services/pets/1", 1), ("/services/pets/2", 2)]);
    server.nodes.insert("/services/pets/1".into(), "{".into());
    let mut tree = tree();
    tree.want(&wanted(&["pets"]), false);
    assert_eq!(words(&server.settle(&mut tree)), ["pets skipped", "pets: 2"]);
    // Written again as it was: said once.
    tree.event(&Event::Changed("/services/pets/1".into()), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), [""; 0]);
    server.nodes.remove("/services/pets/2");
    tree.event(&Event::Deleted("/services/pets/2".into()), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), ["pets: ? malformed"]);
    server.nodes.insert("/services/pets/1".into(), record(1, "UP"));
    tree.event(&Event::Changed("/services/pets/1".into()), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), ["pets: 1"]);
}

#[test]
fn the_catalogue_needs_one_watch_and_follows_names() {
    let mut server = Server::with(&[("/services/pets/1", 1), ("/services/a b/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&[]), true);
    assert_eq!(words(&server.settle(&mut tree)), ["* skipped"]);
    assert!(tree.news() && !tree.news());
    assert_eq!(tree.names(), Some(&wanted(&["pets"])));
    tree.want(&wanted(&["pets"]), true);
    let mut asked = Vec::new();
    while let Some(ask) = tree.ask() {
        asked.push(tree.question(&ask));
    }
    assert_eq!(asked, [Question::Children("/services/pets".into())]);

    tree.event(&Event::Created("/services/orders".into()), Instant::now());
    assert!(tree.news());
    assert_eq!(tree.names(), Some(&wanted(&["orders", "pets"])));
    tree.event(&Event::Deleted("/services/pets".into()), Instant::now());
    assert_eq!(tree.names(), Some(&wanted(&["orders"])));
    tree.want(&wanted(&[]), false);
    assert_eq!(tree.names(), None);
}

#[test]
fn a_catalogue_that_may_not_be_read_is_told_once_and_is_not_empty() {
    let mut server = Server { forbidden: ["/services".to_owned()].into(), ..Server::default() };
    let mut tree = tree();
    tree.want(&wanted(&[]), true);
    assert_eq!(words(&server.settle(&mut tree)), ["* skipped"]);
    tree.retry();
    assert_eq!(words(&server.settle(&mut tree)), [""; 0]);
    assert_eq!(tree.names(), None);
    server.forbidden.clear();
    tree.retry();
    server.settle(&mut tree);
    assert_eq!(tree.names(), Some(&wanted(&[])));
}

#[test]
fn what_concerns_the_connection_ends_it() {
    let mut tree = tree();
    for (ask, code) in
        [(Ask::Watch("/services/a".into()), Code::UNIMPLEMENTED), (Ask::Watch("/services/a".into()), Code(-1))]
    {
        assert!(tree.answer(ask, Err(code), Instant::now()).is_err(), "{code:?}");
    }
    let list = || Ask::List { service: name("a"), directory: "/services/a".into() };
    assert!(tree.answer(list(), Err(Code(-112)), Instant::now()).is_err());
    assert!(tree.answer(list(), Ok(Bytes::from_static(b"\xff")), Instant::now()).is_err());
    assert!(tree.answer(list(), Err(Code(-7)), Instant::now()).is_ok());
}

#[test]
fn in_light_4j_an_instance_that_moves_between_directories_stays_one() {
    let mut server = Server::default();
    let path = |directory: &str| format!("/light/default/pets/{directory}/10.0.0.1:80");
    server.nodes.insert(path("server"), String::new());
    let mut tree = Tree::new(Layout::light_4j("/light/default".into()));
    tree.want(&wanted(&["pets"]), false);
    assert_eq!(words(&server.settle(&mut tree)), ["pets: 10.0.0.1:80"]);
    server.nodes.insert(path("unavailableServer"), String::new());
    tree.event(&Event::Created(path("unavailableServer")), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), [""; 0], "it serves still");
    server.nodes.remove(&path("server"));
    tree.event(&Event::Deleted(path("server")), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), ["pets: 10.0.0.1:80"], "it drains");
    server.nodes.clear();
    tree.event(&Event::Deleted(path("unavailableServer")), Instant::now());
    assert_eq!(words(&server.settle(&mut tree)), ["pets: - left 10.0.0.1:80"]);
}

#[test]
fn a_change_counts_from_its_event_and_not_from_the_answer_that_says_what_it_is() {
    let mut server = Server::with(&[("/services/pets/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&["pets"]), false);
    server.settle(&mut tree);
    let event = Instant::now();
    let later = |seconds| event + Duration::from_secs(seconds);
    server.nodes.insert("/services/pets/2".into(), record(2, "UP"));
    tree.event(&Event::Created("/services/pets/2".into()), event);
    let ask = tree.ask().unwrap();
    let answer = server.answer(&ask, &tree.question(&ask));
    tree.answer(ask, answer, later(1)).unwrap();
    // Another one goes before anything is said: both are as old as the older.
    tree.event(&Event::Deleted("/services/pets/1".into()), later(2));
    let [(_, seen)] = tree.updates(later(3))[..] else { panic!("one update") };
    assert_eq!(seen, event);
    tree.event(&Event::Deleted("/services/pets/2".into()), later(4));
    let [(_, seen)] = tree.updates(later(5))[..] else { panic!("one update") };
    assert_eq!(seen, later(4));
}

proptest! {
    /// However changes, events and answers interleave, what is said last is what is there; nothing is said that was
    /// never there. An event comes before any answer that shows its change, as servers promise.
    #[test]
    fn the_last_word_is_the_truth(steps in prop::collection::vec((0u16..4, 0u8..4), 1..80)) {
        let mut server = Server::with(&[("/services/pets/0", 1)]);
        let mut tree = tree();
        tree.want(&wanted(&["pets"]), false);
        let mut last = Knowledge::KnownEmpty;
        let mut answered = VecDeque::new();
        let hear = |updates: Vec<Update>, last: &mut Knowledge| {
            for update in updates {
                if let Update::Service { knowledge, .. } = update {
                    *last = knowledge;
                }
            }
        };
        for (node, action) in steps {
            let path = format!("/services/pets/{node}");
            match action {
                // Something changes; its event queues behind answers that were made before.
                0 => {
                    let event = match server.nodes.insert(path.clone(), record(node + 1, "UP")) {
                        None => Event::Created(path),
                        Some(_) => Event::Changed(path),
                    };
                    answered.push_back(Err(event));
                }
                1 => if server.nodes.remove(&path).is_some() {
                    answered.push_back(Err(Event::Deleted(path)));
                },
                // The server answers a question.
                2 => if let Some(ask) = tree.ask() {
                    let answer = server.answer(&ask, &tree.question(&ask));
                    answered.push_back(Ok((ask, answer)));
                },
                // We read a message.
                _ => match answered.pop_front() {
                    Some(Ok((ask, answer))) => tree.answer(ask, answer, Instant::now()).unwrap(),
                    Some(Err(event)) => tree.event(&event, Instant::now()),
                    None => {}
                },
            }
            hear(updates(&mut tree), &mut last);
        }
        for message in answered {
            match message {
                Ok((ask, answer)) => tree.answer(ask, answer, Instant::now()).unwrap(),
                Err(event) => tree.event(&event, Instant::now()),
            }
        }
        hear(server.settle(&mut tree), &mut last);
        let there: Vec<_> = server.nodes.keys().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
        let said: Vec<_> = match last {
            Knowledge::Known(list) | Knowledge::Part(list) => list.iter().map(|i| i.id.as_str().to_owned()).collect(),
            Knowledge::KnownEmpty => Vec::new(),
            Knowledge::Unknown(error) => panic!("{error}"),
        };
        prop_assert_eq!(said, there);
    }
}

#[test]
fn what_is_odd_about_a_listing_is_told_once_and_again_when_it_comes_back() {
    let mut server = Server::with(&[("/services/a b/1", 1)]);
    let mut tree = tree();
    tree.want(&wanted(&[]), true);
    let mut look = |server: &mut Server| {
        tree.resync();
        words(&server.settle(&mut tree))
    };
    assert_eq!(look(&mut server), ["* skipped"]);
    assert_eq!(look(&mut server), [""; 0]);
    let odd = std::mem::take(&mut server.nodes);
    assert_eq!(look(&mut server), [""; 0]);
    server.nodes = odd;
    assert_eq!(look(&mut server), ["* skipped"]);
}

#[test]
fn those_that_nobody_wants_any_longer_are_named() {
    let mut tree = tree();
    assert!(!tree.want(&wanted(&["a", "b"]), false));
    assert!(tree.want(&wanted(&["b"]), false), "it looks at another no longer");
}
