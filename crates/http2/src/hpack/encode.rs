//! hot path
//!
//! Header blocks out. A field is put into the table when it is sent for the second time: what is different in every
//! message (ids, dates, paths) never pushes out what is the same.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use super::{
    TABLE, integer,
    table::{FIXED_FIELDS, Table, fixed_name},
};

/// What the peer remembers of our heads.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table<Entry>,
    /// A guess at the place of a field, by a quick hash; what it guesses is compared.
    seen: Box<[Seen; SEEN]>,
    /// The peer changed its table's size: the smallest and the last since the last block.
    resized: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    value: HeaderValue,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Authority,
    Plain(HeaderName),
}

/// The last field with some hash.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    hash: u32,
    /// Its number in the table; 0 if it was seen only once.
    number: u64,
}

const SEEN: usize = 128;
/// Fields beyond this stay outside: one of them would push out all others.
const LARGE: usize = 512;

/// Literals by what the peer shall do with them (RFC 7541, 6.2).
#[derive(Clone, Copy)]
enum Literal {
    Indexed,
    Plain,
    /// Also not by anybody further on.
    Never,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(TABLE), seen: Box::new([Seen::default(); SEEN]), resized: None }
    }

    /// The peer says how large its table may be. Told to it at the next block.
    pub(crate) fn resize(&mut self, size: usize) {
        let size = size.min(TABLE);
        let smallest = self.resized.map_or(size, |(smallest, _)| smallest.min(size));
        self.resized = Some((smallest, size));
        self.table.resize(smallest);
        self.table.resize(size);
    }

    /// To be called once before the fields of a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, last)) = self.resized.take() {
            if smallest < last {
                integer::write(out, 0x20, 5, smallest);
            }
            integer::write(out, 0x20, 5, last);
        }
    }

    pub(crate) fn status(&mut self, out: &mut Vec<u8>, status: http::StatusCode) {
        const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match KNOWN.iter().position(|known| *known == status.as_u16()) {
            Some(at) => out.push(0x80 | (8 + at) as u8),
            None => literal(out, Literal::Plain, 8, b"", status.as_str().as_bytes()),
        }
    }

    pub(crate) fn method(&mut self, out: &mut Vec<u8>, method: &http::Method) {
        match *method {
            http::Method::GET => out.push(0x82),
            http::Method::POST => out.push(0x83),
            _ => literal(out, Literal::Plain, 2, b"", method.as_str().as_bytes()),
        }
    }

    pub(crate) fn scheme(&mut self, out: &mut Vec<u8>, scheme: &str) {
        match scheme {
            "http" => out.push(0x86),
            "https" => out.push(0x87),
            other => literal(out, Literal::Plain, 6, b"", other.as_bytes()),
        }
    }

    pub(crate) fn path(&mut self, out: &mut Vec<u8>, path: &str) {
        match path {
            "/" => out.push(0x84),
            other => literal(out, Literal::Plain, 4, b"", other.as_bytes()),
        }
    }

    pub(crate) fn authority(&mut self, out: &mut Vec<u8>, authority: &str) {
        let bytes = authority.as_bytes();
        let hash = quick_hash(b":authority", bytes);
        let same = |entry: &Entry| entry.name == Name::Authority && entry.value == authority;
        match self.known(hash, same) {
            Known::At(index) => integer::write(out, 0x80, 7, index),
            Known::Again(at) if bytes.len() <= LARGE => {
                literal(out, Literal::Indexed, 1, b"", bytes);
                if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(bytes)) {
                    self.remember(at, Entry { name: Name::Authority, value }, 10 + bytes.len() + 32);
                }
            }
            _ => literal(out, Literal::Plain, 1, b"", bytes),
        }
    }

    pub(crate) fn field(&mut self, out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
        let text = name.as_str().as_bytes();
        let size = text.len() + value.len() + 32;
        if value.is_sensitive() || is_secret(name) || size > LARGE {
            let kind =
                if size > LARGE && !is_secret(name) && !value.is_sensitive() { Literal::Plain } else { Literal::Never };
            return literal(out, kind, fixed_name(name).unwrap_or(0), text, value.as_bytes());
        }
        let hash = quick_hash(text, value.as_bytes());
        let same = |entry: &Entry| entry.value == *value && matches!(&entry.name, Name::Plain(known) if known == name);
        match self.known(hash, same) {
            Known::At(index) => integer::write(out, 0x80, 7, index),
            Known::Again(at) => {
                literal(out, Literal::Indexed, fixed_name(name).unwrap_or(0), text, value.as_bytes());
                self.remember(at, Entry { name: Name::Plain(name.clone()), value: value.clone() }, size);
            }
            Known::First => literal(out, Literal::Plain, fixed_name(name).unwrap_or(0), text, value.as_bytes()),
        }
    }

    fn known(&mut self, hash: u32, same: impl FnOnce(&Entry) -> bool) -> Known {
        let pair = [hash as usize % SEEN, (hash as usize % SEEN) ^ 1];
        let Some(at) = pair.into_iter().find(|at| self.seen[*at].hash == hash) else {
            // Noted where nothing is lost by it: what is different in every message shall not push out what is the same.
            if let Some(at) = pair.into_iter().find(|at| self.table.place(self.seen[*at].number).is_none()) {
                self.seen[at] = Seen { hash, number: 0 };
            }
            return Known::First;
        };
        match self.table.place(self.seen[at].number) {
            Some(place) if self.table.get(place).is_some_and(same) => Known::At(FIXED_FIELDS + 1 + place),
            // Another field of the same hash.
            Some(_) => Known::First,
            None => Known::Again(at),
        }
    }

    fn remember(&mut self, at: usize, entry: Entry, size: usize) {
        self.table.add(entry, size);
        self.seen[at].number = self.table.added;
    }
}

/// What is known of a field.
enum Known {
    /// In the table, at this index.
    At(usize),
    /// Not in the table, but not the first time; where it is noted.
    Again(usize),
    First,
}

/// Fields that nobody may learn by trying what compresses well (RFC 7541, 7.1).
fn is_secret(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE, header::PROXY_AUTHORIZATION].contains(name)
}

fn literal(out: &mut Vec<u8>, kind: Literal, index: usize, name: &[u8], value: &[u8]) {
    let (first, bits) = match kind {
        Literal::Indexed => (0x40, 6),
        Literal::Plain => (0x00, 4),
        Literal::Never => (0x10, 4),
    };
    integer::write(out, first, bits, index);
    if index == 0 {
        string(out, name);
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer::write(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Of the lengths, the ends and the middle: enough to tell fields apart in one connection, and much quicker than all
/// bytes.
fn quick_hash(name: &[u8], value: &[u8]) -> u32 {
    let mixed = [name, value].iter().fold(0, |hash, text| {
        let middle = text.get(text.len() / 2..).unwrap_or_default();
        let words = match text.first_chunk() {
            Some(first) => [Some(first), middle.first_chunk(), text.last_chunk()]
                .map(|word| word.map_or(0, |w| u64::from_le_bytes(*w))),
            None => [text.iter().fold(0, |sum, &b| sum << 8 | u64::from(b)), 0, 0],
        };
        words.iter().fold(hash ^ text.len() as u64, |hash, word| mix(hash ^ word))
    });
    (mixed >> 32) as u32 | 1
}

fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0xa076_1d64_78bd_642f) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Decoder, Field, table},
        *,
    };

    fn field(name: &str, value: &str) -> (HeaderName, HeaderValue) {
        (name.parse().unwrap(), value.parse().unwrap())
    }

    fn block(encoder: &mut Encoder, fields: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in fields {
            encoder.field(&mut out, name, value);
        }
        out
    }

    #[test]
    fn what_is_sent_again_and_again_becomes_one_byte() {
        let mut encoder = Encoder::new();
        let fields = [field("user-agent", "curl"), field("x-client", "mobile")];
        let sizes: Vec<usize> = (0..4).map(|_| block(&mut encoder, &fields).len()).collect();
        assert!(sizes[0] > 20 && sizes[1] > 20, "{sizes:?}");
        assert_eq!(sizes[2..], [2, 2]);
    }

    #[test]
    fn what_is_different_every_time_pushes_nothing_out() {
        let mut encoder = Encoder::new();
        let same = field("x-client", "mobile");
        for n in 0..500 {
            let fields = [same.clone(), field("x-correlation-id", &format!("0199-{n:08}-{}", n * 7919))];
            block(&mut encoder, &fields);
        }
        assert_eq!(encoder.table.added, 1);
        assert_eq!(block(&mut encoder, &[same]).len(), 1);
    }

    #[test]
    fn secrets_are_never_indexed() {
        let mut encoder = Encoder::new();
        let mut sensitive = field("x-key", "secret");
        sensitive.1.set_sensitive(true);
        for _ in 0..3 {
            let out =
                block(&mut encoder, &[field("authorization", "Bearer x"), field("cookie", "a=b"), sensitive.clone()]);
            assert_eq!(out[0] & 0xf0, 0x10);
        }
        assert_eq!(encoder.table.added, 0);
    }

    #[test]
    fn a_peer_that_wants_no_table_gets_none_and_is_told() {
        let mut encoder = Encoder::new();
        let fields = [field("x-client", "mobile")];
        (0..3).for_each(|_| drop(block(&mut encoder, &fields)));
        encoder.resize(0);
        encoder.resize(100);
        let out = block(&mut encoder, &fields);
        assert_eq!(out[..3], [0x20, 0x3f, 100 - 31], "both sizes");
        let mut decoder = Decoder::new(100);
        decoder.decode(&out, |_| ()).unwrap();
        encoder.resize(0);
        assert_eq!(block(&mut encoder, &fields)[0], 0x20);
        (0..5).for_each(|_| assert!(block(&mut encoder, &fields).len() > 10));
    }

    fn fields() -> impl Strategy<Value = Vec<Vec<(String, String)>>> {
        // Few names and values, so that many repeat; some large ones, so that the table overflows.
        let one = ("[a-c]{1,3}|content-type|cookie", "[x-z]{0,2}|[a-z]{0,600}");
        proptest::collection::vec(proptest::collection::vec(one, 0..12), 0..40)
    }

    proptest! {
        #[test]
        fn a_decoder_reads_what_was_meant(blocks in fields(), sizes in proptest::collection::vec(0_usize..5000, 40)) {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(2000));
            for (fields, size) in blocks.iter().zip(sizes) {
                if size % 3 == 0 {
                    encoder.resize(size);
                }
                let mut out = Vec::new();
                encoder.begin(&mut out);
                encoder.authority(&mut out, if size % 2 == 0 { "a.example" } else { "b.example:8443" });
                let fields: Vec<_> = fields.iter().map(|(name, value)| field(name, value)).collect();
                fields.iter().for_each(|(name, value)| encoder.field(&mut out, name, value));
                let mut read = Vec::new();
                decoder.decode(&out, |field| read.push(field.into_owned())).map_err(|_| TestCaseError::fail("unreadable"))?;
                let plain = fields.iter().map(|(name, value)| Field {
                    name: table::Name::Plain(name.clone()), value: table::Value::Plain(value.clone()) });
                prop_assert_eq!(&read[1..], &plain.collect::<Vec<_>>()[..]);
            }
        }
    }
}
