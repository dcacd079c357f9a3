//! The source against servers that misbehave in ways a real one cannot be made to.

mod targets;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::settings::{OneOrMany, Span};
use domain::base::iana::Rcode;
use model::{Exposure, Knowledge, Update};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::watch,
};

use super::{
    wire::tests::{Line, address, cname, reply, srv},
    *,
};
use crate::provider::{Interest, testing, testing::routed};

/// What the fake does with a question: bytes to send back, several datagrams if there are several; none is silence.
type Answers = Arc<dyn Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync>;

/// A server on loopback, over UDP and TCP; the closure is told whether it is TCP.
async fn server(answers: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let answers: Answers = Arc::new(answers);
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let over_tcp = Arc::clone(&answers);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let answers = Arc::clone(&over_tcp);
            tokio::spawn(async move {
                let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut question).await.unwrap();
                for answer in answers(&question, true) {
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    tokio::spawn(async move {
        let mut question = vec![0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut question).await.unwrap();
            for answer in answers(&question[..length], false) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

struct Source(testing::Source);

impl Source {
    fn start(servers: &[SocketAddr], lookup: Lookup) -> Self {
        Self::with(servers, lookup, |settings| settings)
    }

    fn with(servers: &[SocketAddr], lookup: Lookup, change: impl FnOnce(Settings) -> Settings) -> Self {
        let settings = Settings {
            servers: OneOrMany(servers.iter().copied().map(Server).collect()),
            services: [(id("web"), lookup)].into(),
            timeout: Span::from_millis(300),
            min_ttl: Span::from_millis(100),
            ..Settings::default()
        };
        Self(testing::Source::start(Dns::new(change(settings)).unwrap(), routed(["web"])))
    }

    async fn next(&mut self) -> Update {
        self.0.next().await.update
    }

    async fn list(&mut self) -> Vec<String> {
        loop {
            match self.next().await {
                Update::Service { knowledge: Knowledge::Known(list), .. } => {
                    return list.iter().map(|i| i.id.to_string()).collect();
                }
                Update::Service { knowledge: Knowledge::KnownEmpty, .. } => return Vec::new(),
                _ => {}
            }
        }
    }

    async fn doubt(&mut self) -> String {
        loop {
            match self.next().await {
                Update::Service { knowledge: Knowledge::Unknown(error), .. } => return error.to_string(),
                Update::Service { knowledge, .. } => panic!("read as {knowledge:?}"),
                _ => {}
            }
        }
    }
}

fn id(text: &str) -> ServiceId {
    ServiceId::new(text).unwrap()
}

fn a() -> Lookup {
    Lookup { kind: Some(Kind::A), port: Some(80), ..Lookup::new("web.test") }
}

fn good(question: &[u8], lines: &[Line]) -> Vec<Vec<u8>> {
    vec![reply(question, Rcode::NOERROR, [lines, &[], &[]])]
}

fn one(question: &[u8]) -> Vec<Vec<u8>> {
    good(question, &[address("web.test", 0, "10.0.0.1")])
}

#[tokio::test]
async fn a_second_server_answers_where_the_first_fails() {
    let silent = server(|_, _| Vec::new()).await;
    let garbage = server(|_, _| vec![b"garbage".to_vec()]).await;
    let refusing = server(|question, _| vec![reply(question, Rcode::REFUSED, [&[]; 3])]).await;
    let well = server(|question, _| one(question)).await;
    for bad in [silent, garbage, refusing] {
        assert_eq!(Source::start(&[bad, well], a()).list().await, ["10.0.0.1:80"]);
    }
    for (bad, word) in [(silent, "no answer"), (garbage, "no message"), (refusing, "REFUSED")] {
        let told = Source::start(&[bad], a()).doubt().await;
        assert!(told.contains(word), "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_over_tcp_and_a_forged_one_is_passed_over() {
    let address = server(|question, tcp| {
        let mut whole = one(question);
        if !tcp {
            let mut forged = reply(question, Rcode::NXDOMAIN, [&[]; 3]);
            forged[0] ^= 1;
            whole[0][2] |= 2;
            whole.insert(0, forged);
        }
        whole
    })
    .await;
    assert_eq!(Source::start(&[address], a()).list().await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_no_answer() {
    let address = server(|question, tcp| {
        let mut whole = one(question);
        whole[0][2] |= 2;
        if tcp { Vec::new() } else { whole }
    })
    .await;
    let told = Source::start(&[address], a()).doubt().await;
    assert!(told.contains("over TCP"), "{told}");
}

#[tokio::test]
async fn aliases_are_followed_over_several_answers_but_not_for_ever() {
    let hops = |question: &[u8], _| {
        let asked = domain::base::Message::from_octets(question).unwrap().first_question().unwrap().qname().to_string();
        match &*asked {
            "web.test" => good(question, &[cname("web.test", 0, "b.test")]),
            "b.test" => good(question, &[cname("b.test", 0, "c.test")]),
            "c.test" => good(question, &[address("c.test", 0, "10.0.0.9")]),
            other => good(question, &[cname(other, 0, &format!("x{other}"))]),
        }
    };
    let address = server(hops).await;
    assert_eq!(Source::start(&[address], a()).list().await, ["10.0.0.9:80"]);
    let endless = Lookup { name: "endless.test".to_owned(), ..a() };
    assert!(Source::start(&[address], endless).doubt().await.contains("aliases in a row"));
}

#[tokio::test]
async fn one_family_that_fails_is_not_one_that_is_empty() {
    let address = server(|question, _| {
        let asked = domain::base::Message::from_octets(question).unwrap();
        let fails = asked.qtype() == Some(domain::base::Rtype::AAAA);
        if fails { vec![reply(question, Rcode::SERVFAIL, [&[]; 3])] } else { one(question) }
    })
    .await;
    let both = Lookup { kind: None, ..a() };
    let told = Source::start(&[address], both).doubt().await;
    assert!(told.contains("SERVFAIL") && told.contains("Aaaa"), "{told}");
}

#[tokio::test]
async fn a_target_that_cannot_be_looked_up_keeps_its_addresses() {
    let (fails, failing) = watch::channel(false);
    let address = server(move |question, _| {
        let asked = domain::base::Message::from_octets(question).unwrap();
        let name = asked.first_question().unwrap().qname().to_string();
        match &*name {
            "web.test" => {
                let more = failing.borrow().then(|| srv("web.test", 0, 1, 3, "new.test"));
                let lines = [srv("web.test", 0, 1, 1, "a.test"), srv("web.test", 0, 1, 2, "b.test")];
                good(question, &lines.into_iter().chain(more).collect::<Vec<_>>())
            }
            "b.test" if *failing.borrow() => vec![reply(question, Rcode::SERVFAIL, [&[]; 3])],
            _ if asked.qtype() == Some(domain::base::Rtype::AAAA) => good(question, &[]),
            _ => good(question, &[address(&name, 0, "10.0.0.1")]),
        }
    })
    .await;
    let mut source = Source::start(&[address], Lookup::new("web.test"));
    assert_eq!(source.list().await, ["10.0.0.1:1", "10.0.0.1:2"]);
    fails.send_replace(true);
    assert_eq!(source.list().await, ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"]);
    assert!(source.doubt().await.contains("SERVFAIL"), "they may be others by now");
    fails.send_replace(false);
    assert_eq!(source.list().await, ["10.0.0.1:1", "10.0.0.1:2"]);
}

#[tokio::test]
async fn addresses_that_come_with_the_answer_may_be_a_part_of_them() {
    let counted = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&counted);
    let address = server(move |question, _| {
        let message = domain::base::Message::from_octets(question).unwrap();
        let name = message.first_question().unwrap().qname().to_string();
        if name == "web.test" {
            let added = address("a.test", 0, "10.0.0.1");
            return vec![reply(question, Rcode::NOERROR, [&[srv("web.test", 0, 1, 1, "a.test")], &[], &[added]])];
        }
        asked.fetch_add(1, Ordering::SeqCst);
        match message.qtype() {
            Some(domain::base::Rtype::AAAA) => good(question, &[]),
            _ => good(question, &[address("a.test", 0, "10.0.0.1"), address("a.test", 0, "10.0.0.2")]),
        }
    })
    .await;
    let mut source = Source::start(&[address], Lookup::new("web.test"));
    assert_eq!(source.list().await, ["10.0.0.1:1", "10.0.0.2:1"]);
    assert_eq!(counted.load(Ordering::SeqCst), 2, "both families");
}

#[tokio::test]
async fn addresses_that_come_with_the_answer_do_where_the_target_cannot_be_looked_up() {
    let address = server(|question, _| {
        let message = domain::base::Message::from_octets(question).unwrap();
        if message.first_question().unwrap().qname().to_string() != "web.test" {
            return vec![reply(question, Rcode::SERVFAIL, [&[]; 3])];
        }
        let added = address("a.test", 0, "10.0.0.1");
        vec![reply(question, Rcode::NOERROR, [&[srv("web.test", 0, 1, 1, "a.test")], &[], &[added]])]
    })
    .await;
    assert_eq!(Source::start(&[address], Lookup::new("web.test")).list().await, ["10.0.0.1:1"]);
}

#[tokio::test]
async fn services_are_looked_up_as_they_become_of_interest() {
    let address = server(|question, _| one(question)).await;
    let mut source = Source::start(&[address], a());
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    source.0.wants(Interest { services: [id("other")].into(), exposure: Exposure::Everything });
    let Update::Catalogue(names) = source.next().await else { panic!("a catalogue") };
    assert_eq!(names, [id("other"), id("web")].into());
    let empty = |service| Update::Service { service, knowledge: Knowledge::KnownEmpty, deregistered: Vec::new() };
    assert_eq!(source.next().await, empty(id("other")));
    source.0.wants(routed(["other"]));
    assert_eq!(source.next().await, Update::Forgotten(id("web")));
}

/// The name a question asks for.
fn asked(question: &[u8]) -> String {
    domain::base::Message::from_octets(question).unwrap().first_question().unwrap().qname().to_string()
}

#[tokio::test]
async fn servers_that_are_silent_about_one_name_are_not_down() {
    let address = server(|question, _| match &*asked(question) {
        "dead.test" => Vec::new(),
        "web.test" => good(question, &[address("web.test", 60, "10.0.0.1")]),
        _ => good(question, &[]),
    })
    .await;
    let dead = Lookup { name: "dead.test".to_owned(), ..a() };
    let settings = |settings| Settings { services: [(id("web"), a()), (id("dead"), dead)].into(), ..settings };
    let mut source = Source::with(&[address], a(), settings);
    source.0.wants(routed(["web", "dead"]));
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    assert!(source.doubt().await.contains("no answer"));
    let said = tokio::time::timeout(Duration::from_secs(2), source.next()).await;
    assert!(said.is_err(), "{said:?}");
}

#[tokio::test]
async fn after_a_silence_of_all_servers_every_name_is_said_again() {
    let (hush, silent) = watch::channel(false);
    let address = server(move |question, _| match &*asked(question) {
        _ if *silent.borrow() => Vec::new(),
        "web.test" => good(question, &[address("web.test", 0, "10.0.0.1")]),
        "also.test" => good(question, &[address("also.test", 4, "10.0.0.2")]),
        _ => good(question, &[]),
    })
    .await;
    let also = Lookup { name: "also.test".to_owned(), ..a() };
    let settings = |settings| Settings { services: [(id("web"), a()), (id("also"), also)].into(), ..settings };
    let mut source = Source::with(&[address], a(), settings);
    source.0.wants(routed(["web", "also"]));
    let mut lists = [source.list().await, source.list().await].concat();
    lists.sort();
    assert_eq!(lists, ["10.0.0.1:80", "10.0.0.2:80"]);
    hush.send_replace(true);
    while !matches!(source.next().await, Update::Unreachable(_)) {}
    hush.send_replace(false);
    // This one was never in doubt itself.
    while source.list().await != ["10.0.0.2:80"] {}
}

#[tokio::test]
async fn what_no_server_said_ends_no_outage() {
    let address = server(|_, _| Vec::new()).await;
    let mut source = Source::start(&[address], a());
    while !matches!(source.next().await, Update::Unreachable(_)) {}
    source.0.wants(routed(["web", "other"]));
    assert_eq!(source.list().await, [""; 0], "nothing is looked up for it");
    while !matches!(source.next().await, Update::Unreachable(_)) {}
}
