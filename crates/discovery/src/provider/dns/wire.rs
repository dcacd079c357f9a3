//! Messages of the DNS (RFC 1035, 2308, 2782): a question to bytes, bytes to what they say. Pure.

use std::{net::IpAddr, time::Duration};

use domain::{
    base::{
        Message, MessageBuilder, ParsedName, ParsedRecord, Rtype, ToName as _,
        iana::{Class, Rcode},
    },
    rdata::{A, Aaaa, Soa, Srv},
};

/// A name of the DNS. Compares without regard to case.
pub(super) type Name = domain::base::Name<Vec<u8>>;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Found(Found),
    /// It does not fit into a datagram: ask over TCP.
    Truncated,
    /// The server does not know: it failed, refuses, or sends us to others. Says what.
    Refusal(String),
    /// Nobody can read it.
    Malformed(String),
    /// No answer to this question; to be passed over.
    Foreign,
}

/// What a server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// These are the records, all of them. Without any there is none: no such name, or no such records (RFC 2308).
    Answer(Answer),
    /// The name is another's alias, of which the server has not said more.
    Alias { name: Name, ttl: Duration },
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    pub(super) records: Vec<Record>,
    /// Addresses of other names, which the server added unasked.
    pub(super) additional: Vec<(Name, IpAddr)>,
    /// How long it is true.
    pub(super) ttl: Duration,
    /// What is wrong with records that were left out.
    pub(super) skipped: Vec<String>,
}

/// One record of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Address(IpAddr),
    Service { priority: u16, weight: u16, port: u16, target: Name },
}

/// Reads a name, complete with or without its final dot; not the root.
pub(super) fn name(text: &str) -> Option<Name> {
    let name: Name = text.parse().ok()?;
    (!name.is_root()).then_some(name)
}

/// A query that asks for recursion.
///
/// Without EDNS: an answer above 512 bytes comes over TCP then, which every server speaks (RFC 7766), instead of in a
/// datagram that networks may drop in pieces.
pub(super) fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut message = message.question();
    // A name has at most 255 bytes, which a vector takes.
    let pushed = message.push((name, kind.rtype()));
    debug_assert!(pushed.is_ok(), "{pushed:?}");
    message.finish()
}

/// Reads what came in reply to this question.
pub(super) fn read(reply: &[u8], question: &[u8], kind: Kind) -> Reply {
    let (Ok(message), Ok(question)) = (Message::from_octets(reply), Message::from_octets(question)) else {
        return Reply::Malformed(format!("{} bytes are no message", reply.len()));
    };
    let header = message.header();
    // Some servers leave the question out when they cannot read it.
    let answers = message.is_answer(&question)
        || (header.qr() && header.id() == question.header().id() && header.rcode() == Rcode::FORMERR);
    if !answers {
        return Reply::Foreign;
    }
    match header.rcode() {
        _ if header.tc() => Reply::Truncated,
        Rcode::NOERROR | Rcode::NXDOMAIN => {
            content(&message, kind).unwrap_or_else(|e| Reply::Malformed(format!("message: {e}")))
        }
        rcode => Reply::Refusal(rcode.to_string()),
    }
}

fn content(message: &Message<&[u8]>, kind: Kind) -> Result<Reply, domain::base::wire::ParseError> {
    let (Some(asked), Some(name)) = (message.first_question(), message.canonical_name()) else {
        return Ok(Reply::Malformed("aliases that lead nowhere".to_owned()));
    };
    let mut answer = Answer::default();
    let mut ttl = None;
    for record in message.answer()? {
        let record = record?;
        let is_alias = record.rtype() == Rtype::CNAME;
        if record.class() != Class::IN || !(is_alias || (record.rtype() == kind.rtype() && record.owner() == name)) {
            continue;
        }
        let own = record.ttl().into_duration();
        ttl = Some(ttl.map_or(own, |least: Duration| least.min(own)));
        match kind.read(&record) {
            _ if is_alias => {}
            Ok(Some(record)) => answer.records.push(record),
            Ok(None) => {}
            Err(why) => answer.skipped.push(format!("a record of {name} cannot be read: {why}")),
        }
    }
    for record in message.additional()? {
        let record = record?;
        for kind in [Kind::A, Kind::Aaaa] {
            if let Ok(Some(Record::Address(address))) = kind.read(&record) {
                answer.additional.push((record.owner().to_name(), address));
            }
        }
    }
    answer.ttl = ttl.unwrap_or_default();
    if answer.records.is_empty() && answer.skipped.is_empty() {
        let aliased = (name != *asked.qname()).then(|| name.to_name());
        return nothing(message, aliased, answer);
    }
    Ok(Reply::Found(Found::Answer(answer)))
}

/// An answer without records: what does it say?
fn nothing(
    message: &Message<&[u8]>,
    alias: Option<Name>,
    mut answer: Answer,
) -> Result<Reply, domain::base::wire::ParseError> {
    let (mut negative, mut refers) = (None, false);
    for record in message.authority()? {
        let record = record?;
        refers |= record.rtype() == Rtype::NS;
        if let Some(soa) = record.to_record::<Soa<ParsedName<_>>>()? {
            negative = Some(soa.ttl().min(soa.data().minimum()).into_duration());
        }
    }
    let denied = message.header().rcode() == Rcode::NXDOMAIN || negative.is_some();
    if let (Some(name), false) = (alias, denied) {
        return Ok(Reply::Found(Found::Alias { name, ttl: answer.ttl }));
    }
    if refers && !denied && !message.header().aa() {
        return Ok(Reply::Refusal("a referral: this server does not resolve; name one that does".to_owned()));
    }
    answer.ttl = negative.unwrap_or_default();
    Ok(Reply::Found(Found::Answer(answer)))
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }

    /// The record, if it is of this kind.
    fn read(self, record: &ParsedRecord<'_, &[u8]>) -> Result<Option<Record>, domain::base::wire::ParseError> {
        Ok(match self {
            Self::A => record.to_record::<A>()?.map(|r| Record::Address(r.data().addr().into())),
            Self::Aaaa => record.to_record::<Aaaa>()?.map(|r| Record::Address(r.data().addr().into())),
            Self::Srv => record.to_record::<Srv<ParsedName<_>>>()?.map(|r| Record::Service {
                priority: r.data().priority(),
                weight: r.data().weight(),
                port: r.data().port(),
                target: r.data().target().to_name(),
            }),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
