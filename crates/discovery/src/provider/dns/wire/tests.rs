use domain::{
    base::{MessageBuilder, Record as Row, Serial, Ttl},
    rdata::{AllRecordData, Cname, Ns},
};
use proptest::prelude::*;

use super::*;

type Data = AllRecordData<Vec<u8>, Name>;
pub(in super::super) type Line = Row<Name, Data>;

fn line(owner: &str, ttl: u32, data: impl Into<Data>) -> Line {
    Row::new(name(owner).unwrap(), Class::IN, Ttl::from_secs(ttl), data.into())
}

pub(in super::super) fn address(owner: &str, ttl: u32, ip: &str) -> Line {
    match ip.parse().unwrap() {
        IpAddr::V4(ip) => line(owner, ttl, A::new(ip)),
        IpAddr::V6(ip) => line(owner, ttl, Aaaa::new(ip)),
    }
}

pub(in super::super) fn srv(owner: &str, ttl: u32, priority: u16, port: u16, target: &str) -> Line {
    line(owner, ttl, Srv::new(priority, 1, port, target.parse().unwrap()))
}

pub(in super::super) fn cname(owner: &str, ttl: u32, target: &str) -> Line {
    line(owner, ttl, Cname::new(name(target).unwrap()))
}

fn soa(ttl: u32, minimum: u32) -> Line {
    let (seconds, name) = (Ttl::from_secs, || name("ns.test").unwrap());
    let soa = Soa::new(name(), name(), Serial(1), seconds(1), seconds(1), seconds(1), seconds(minimum));
    line("test", ttl, soa)
}

/// A reply with these answers, authorities and additional records.
pub(in super::super) fn reply(question: &[u8], rcode: Rcode, sections: [&[Line]; 3]) -> Vec<u8> {
    let question = Message::from_octets(question).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(&question, rcode).unwrap();
    sections[0].iter().for_each(|line| answer.push(line).unwrap());
    let mut authority = answer.authority();
    sections[1].iter().for_each(|line| authority.push(line).unwrap());
    let mut additional = authority.additional();
    sections[2].iter().for_each(|line| additional.push(line).unwrap());
    additional.finish()
}

fn asked(kind: Kind) -> Vec<u8> {
    question(7, &name("web.test").unwrap(), kind)
}

fn told(kind: Kind, rcode: Rcode, sections: [&[Line]; 3]) -> Reply {
    let question = asked(kind);
    read(&reply(&question, rcode, sections), &question, kind)
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Found(Found::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_of_the_name_and_kind_are_read_with_the_shortest_life() {
    let lines = [
        address("WEB.test", 60, "10.0.0.1"),
        address("web.test", 30, "10.0.0.2"),
        address("other.test", 1, "10.0.0.3"),
        address("web.test", 1, "::1"),
    ];
    let found = answer(told(Kind::A, Rcode::NOERROR, [&lines, &[], &[]]));
    let expected = ["10.0.0.1", "10.0.0.2"].map(|ip| Record::Address(ip.parse().unwrap()));
    assert_eq!((&found.records[..], found.ttl), (&expected[..], Duration::from_secs(30)));
}

#[test]
fn targets_may_come_with_their_addresses() {
    let lines = [srv("web.test", 5, 1, 8080, "a.test"), srv("web.test", 5, 2, 8081, "b.test")];
    let more = [address("a.test", 5, "10.0.0.1"), address("a.test", 5, "::1")];
    let found = answer(told(Kind::Srv, Rcode::NOERROR, [&lines, &[], &more]));
    assert_eq!((found.records.len(), found.additional.len()), (2, 2));
    let expected = Record::Service { priority: 1, weight: 1, port: 8080, target: name("A.test").unwrap() };
    assert_eq!(found.records[0], expected);
}

#[test]
fn aliases_are_followed_in_the_answer_and_handed_out_where_it_ends() {
    let chain = [cname("web.test", 9, "b.test"), cname("b.test", 4, "c.test")];
    let whole = [&chain[..], &[address("c.test", 60, "10.0.0.1")]].concat();
    let found = answer(told(Kind::A, Rcode::NOERROR, [&whole, &[], &[]]));
    assert_eq!((found.records.len(), found.ttl), (1, Duration::from_secs(4)));

    let alias = Found::Alias { name: name("c.test").unwrap(), ttl: Duration::from_secs(4) };
    assert_eq!(told(Kind::A, Rcode::NOERROR, [&chain, &[], &[]]), Reply::Found(alias));
    // The server knows the end of the chain, and that it has no such records.
    let found = answer(told(Kind::A, Rcode::NOERROR, [&chain, &[soa(9, 9)], &[]]));
    assert!(found.records.is_empty());
    let found = answer(told(Kind::A, Rcode::NXDOMAIN, [&chain, &[], &[]]));
    assert!(found.records.is_empty());

    let circle = [cname("web.test", 9, "b.test"), cname("b.test", 9, "web.test")];
    assert!(matches!(told(Kind::A, Rcode::NOERROR, [&circle, &[], &[]]), Reply::Malformed(_)));
}

#[test]
fn none_is_told_from_not_knowing() {
    let ns = line("test", 9, Ns::new(name("ns.test").unwrap()));
    for (rcode, authority) in [
        (Rcode::NXDOMAIN, vec![soa(60, 5)]),
        (Rcode::NOERROR, vec![soa(5, 60)]),
        (Rcode::NOERROR, vec![soa(5, 60), ns.clone()]),
    ] {
        let found = answer(told(Kind::A, rcode, [&[], &authority, &[]]));
        assert_eq!((found.records.len(), found.ttl), (0, Duration::from_secs(5)), "{rcode}");
    }
    assert_eq!(answer(told(Kind::A, Rcode::NOERROR, [&[]; 3])), Answer::default());
    let referral = told(Kind::A, Rcode::NOERROR, [&[], &[ns], &[]]);
    assert!(matches!(&referral, Reply::Refusal(why) if why.contains("referral")), "{referral:?}");
    for (rcode, word) in [(Rcode::SERVFAIL, "SERVFAIL"), (Rcode::REFUSED, "REFUSED"), (Rcode::NOTIMP, "NOTIMP")] {
        assert_eq!(told(Kind::A, rcode, [&[]; 3]), Reply::Refusal(word.to_owned()));
    }
}

#[test]
fn what_answers_another_question_is_passed_over() {
    let question = asked(Kind::A);
    let lines: [&[Line]; 3] = [&[address("web.test", 9, "10.0.0.1")], &[], &[]];
    for other in [asked(Kind::Aaaa), super::question(8, &name("web.test").unwrap(), Kind::A)] {
        assert_eq!(read(&reply(&other, Rcode::NOERROR, lines), &question, Kind::A), Reply::Foreign);
    }
    assert_eq!(read(&question, &question, Kind::A), Reply::Foreign, "a question is no answer");
}

#[test]
fn a_bad_record_is_skipped_and_a_bad_message_refused() {
    let question = asked(Kind::A);
    let lines: [&[Line]; 3] = [&[address("web.test", 9, "10.0.0.1"), address("web.test", 9, "10.0.0.2")], &[], &[]];
    let good = reply(&question, Rcode::NOERROR, lines);
    // The first record says that it has five bytes, and has.
    let at = question.len() + 2 + 2 + 2 + 4 + 8;
    let mut bad = good.clone();
    let length = bad[at..].windows(6).position(|w| w == [0, 4, 10, 0, 0, 1]).unwrap() + at;
    bad[length + 1] = 5;
    bad.insert(length + 6, 0);
    let found = answer(read(&bad, &question, Kind::A));
    assert_eq!((found.records.len(), found.skipped.len()), (1, 1), "{found:?}");

    assert!(matches!(read(&good[..good.len() - 1], &question, Kind::A), Reply::Malformed(_)));
    let mut cut = good;
    cut[2] |= 2;
    assert_eq!(read(&cut, &question, Kind::A), Reply::Truncated);
}

#[test]
fn names_are_checked() {
    for good in ["petstore.example", "petstore.example.", "_http._tcp.web", "x"] {
        assert!(name(good).is_some(), "{good}");
    }
    for bad in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
        assert!(name(bad).is_none(), "{bad}");
    }
}

proptest! {
    /// Whatever bytes come: no panic, and no answer that is read as "none" out of noise.
    #[test]
    fn noise_is_never_an_empty_list(noise in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..60, bit in 0u8..8) {
        let question = asked(Kind::Srv);
        let is_none = |reply: &Reply| matches!(reply, Reply::Found(Found::Answer(a)) if a.records.is_empty() && a.skipped.is_empty());
        prop_assert!(!is_none(&read(&noise, &question, Kind::Srv)));
        // One bit of a good message turned in transit, past the header and the question.
        let lines: [&[Line]; 3] = [&[srv("web.test", 5, 1, 8080, "a.test")], &[], &[]];
        let mut message = reply(&question, Rcode::NOERROR, lines);
        let at = question.len() + at % (message.len() - question.len());
        message[at] ^= 1 << bit;
        let _whatever = read(&message, &question, Kind::Srv);
        message.truncate(at);
        prop_assert!(!is_none(&read(&message, &question, Kind::Srv)));
    }
}
