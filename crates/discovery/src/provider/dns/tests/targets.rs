//! Targets of `SRV` records: those that are missing at first, and what comes with them.

use std::sync::Mutex;

use domain::base::{Message, Rtype};

use super::*;

/// What a question asks for: the name, and whether IPv6.
fn asked(question: &[u8]) -> (String, bool) {
    let message = Message::from_octets(question).unwrap();
    (message.first_question().unwrap().qname().to_string(), message.qtype() == Some(Rtype::AAAA))
}

/// The records live for an hour, of which half a minute counts, and the test has not so long.
const HOUR: u32 = 3600;

/// `late.test` answers in this way at first, and has its address from the third question on.
async fn late(at_first: fn(&[u8]) -> Vec<Vec<u8>>) {
    let count = AtomicUsize::new(0);
    let address = server(move |question, _| match asked(question) {
        (name, _) if name == "web.test" => {
            good(question, &[srv("web.test", HOUR, 1, 1, "a.test"), srv("web.test", HOUR, 1, 2, "late.test")])
        }
        (name, false) if name == "a.test" => good(question, &[address("a.test", HOUR, "10.0.0.1")]),
        (name, false) if name == "late.test" => match count.fetch_add(1, Ordering::SeqCst) {
            0..2 => at_first(question),
            _ => good(question, &[address("late.test", HOUR, "10.0.0.2")]),
        },
        _ => good(question, &[]),
    })
    .await;
    let settings = |settings: Settings| Settings { min_ttl: Span::from_secs(30), ..settings };
    let mut source = Source::with(&[address], Lookup::new("web.test"), settings);
    assert_eq!(source.list().await, ["10.0.0.1:1"], "the others serve meanwhile");
    assert_eq!(source.list().await, ["10.0.0.1:1", "10.0.0.2:2"]);
}

#[tokio::test]
async fn a_target_that_fails_at_first_is_asked_for_again_soon() {
    late(|question| vec![reply(question, Rcode::SERVFAIL, [&[]; 3])]).await;
}

#[tokio::test]
async fn a_target_that_is_not_there_yet_is_asked_for_again_soon() {
    late(|question| vec![reply(question, Rcode::NXDOMAIN, [&[]; 3])]).await;
}

#[tokio::test]
async fn an_address_of_the_other_family_is_found_though_the_answer_always_brings_the_first() {
    let six = Arc::new(Mutex::new(false));
    let has_six = Arc::clone(&six);
    let address = server(move |question, _| match asked(question) {
        (name, _) if name == "web.test" => {
            let added = address("a.test", 0, "10.0.0.1");
            vec![reply(question, Rcode::NOERROR, [&[srv("web.test", 0, 1, 1, "a.test")], &[], &[added]])]
        }
        (_, true) if *has_six.lock().unwrap() => good(question, &[address("a.test", 0, "::1")]),
        (_, true) => good(question, &[]),
        (_, false) => good(question, &[address("a.test", 0, "10.0.0.1")]),
    })
    .await;
    let mut source = Source::start(&[address], Lookup::new("web.test"));
    assert_eq!(source.list().await, ["10.0.0.1:1"]);
    *six.lock().unwrap() = true;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(source.list().await, ["10.0.0.1:1", "[::1]:1"]);
}
