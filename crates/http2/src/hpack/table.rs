//! Fields, and the tables both ends index them by (RFC 7541, 2.3 and appendix A).

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

/// A field of a head as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) value: Value,
}

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Pseudo(Pseudo),
    Plain(HeaderName),
    /// No name HTTP allows. It still takes its place in the table, with this length.
    Malformed(usize),
}

/// The fields that stand for the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pseudo {
    Authority,
    Method,
    Path,
    Scheme,
    Status,
}

/// The value of a field, in the form its name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Plain(HeaderValue),
    /// Of a pseudo field: what it may hold, who reads it says.
    Raw(Bytes),
    /// No value HTTP allows.
    Malformed(usize),
}

impl Name {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        if let Some(pseudo) = bytes.strip_prefix(b":") {
            return match pseudo {
                b"authority" => Self::Pseudo(Pseudo::Authority),
                b"method" => Self::Pseudo(Pseudo::Method),
                b"path" => Self::Pseudo(Pseudo::Path),
                b"scheme" => Self::Pseudo(Pseudo::Scheme),
                b"status" => Self::Pseudo(Pseudo::Status),
                _ => Self::Malformed(bytes.len()),
            };
        }
        HeaderName::from_lowercase(bytes).map_or(Self::Malformed(bytes.len()), Self::Plain)
    }

    fn len(&self) -> usize {
        match self {
            Self::Pseudo(Pseudo::Authority) => 10,
            Self::Pseudo(Pseudo::Method | Pseudo::Scheme | Pseudo::Status) => 7,
            Self::Pseudo(Pseudo::Path) => 5,
            Self::Plain(name) => name.as_str().len(),
            Self::Malformed(length) => *length,
        }
    }
}

impl Field {
    pub(crate) fn read(name: Name, value: &[u8]) -> Self {
        let value = match &name {
            Name::Pseudo(_) => Value::Raw(Bytes::copy_from_slice(value)),
            // Nothing around a value belongs to it, and HTTP/2 forbids it (RFC 9113, 8.2.1).
            _ if is_padded(value) => Value::Malformed(value.len()),
            _ => HeaderValue::from_bytes(value).map_or(Value::Malformed(value.len()), Value::Plain),
        };
        Self { name, value }
    }

    /// Whoever sends it on must not index it either (RFC 7541, 6.2.3).
    pub(super) fn keep_secret(&mut self) {
        if let Value::Plain(value) = &mut self.value {
            value.set_sensitive(true);
        }
    }

    /// Its size as tables and limits count it (RFC 7541, 4.1).
    pub(crate) fn size(&self) -> usize {
        let value = match &self.value {
            Value::Plain(value) => value.len(),
            Value::Raw(bytes) => bytes.len(),
            Value::Malformed(length) => *length,
        };
        self.name.len() + value + 32
    }
}

fn is_padded(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    blank(value.first()) || blank(value.last())
}

/// What one side remembers of earlier heads: the newest first, the oldest dropped when it grows too large.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: VecDeque<(T, usize)>,
    size: usize,
    /// How large it may be.
    pub(super) limit: usize,
    /// Entries that were ever added: each has its number, the first is 1.
    pub(super) added: u64,
}

impl<T> Table<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, limit, added: 0 }
    }

    /// The entry at this place; the newest is at 0.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.entries.get(place).map(|(entry, _)| entry)
    }

    /// The place of the entry with this number, if it is still there.
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(self.added.checked_sub(number)?).ok()?;
        (number > 0 && place < self.entries.len()).then_some(place)
    }

    pub(super) fn add(&mut self, entry: T, size: usize) {
        self.shrink(self.limit.saturating_sub(size));
        self.added += 1;
        if size <= self.limit {
            self.entries.push_front((entry, size));
            self.size += size;
        }
    }

    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink(limit);
    }

    fn shrink(&mut self, most: usize) {
        while self.size > most {
            let Some((_, size)) = self.entries.pop_back() else { break };
            self.size -= size;
        }
    }
}

/// The field at an index of the static table, from 1 on.
pub(super) fn fixed(index: usize) -> Option<Field> {
    let (name, value) = FIXED.get(index.checked_sub(1)?)?;
    Some(match name {
        Fixed::Pseudo(pseudo) => {
            Field { name: Name::Pseudo(*pseudo), value: Value::Raw(Bytes::from_static(value.as_bytes())) }
        }
        Fixed::Plain(name) => {
            Field { name: Name::Plain(name.clone()), value: Value::Plain(HeaderValue::from_static(value)) }
        }
    })
}

/// The index of a name in the static table; what is not there is sent as text.
pub(super) fn fixed_name(name: &HeaderName) -> Option<usize> {
    // By length first: a look-up costs a comparison or two.
    const NAMES: [&str; 46] = [
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "accept",
        "access-control-allow-origin",
        "age",
        "allow",
        "authorization",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "link",
        "location",
        "max-forwards",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "referer",
        "refresh",
        "retry-after",
        "server",
        "set-cookie",
        "strict-transport-security",
        "transfer-encoding",
        "user-agent",
        "vary",
        "via",
    ];
    const FIRST: usize = 15;
    let name = name.as_str();
    NAMES.iter().position(|known| *known == name).map(|at| at + FIRST)
}

enum Fixed {
    Pseudo(Pseudo),
    Plain(HeaderName),
}

macro_rules! plain {
    ($name:ident) => {
        (Fixed::Plain(header::$name), "")
    };
}

static FIXED: [(Fixed, &str); 61] = [
    (Fixed::Pseudo(Pseudo::Authority), ""),
    (Fixed::Pseudo(Pseudo::Method), "GET"),
    (Fixed::Pseudo(Pseudo::Method), "POST"),
    (Fixed::Pseudo(Pseudo::Path), "/"),
    (Fixed::Pseudo(Pseudo::Path), "/index.html"),
    (Fixed::Pseudo(Pseudo::Scheme), "http"),
    (Fixed::Pseudo(Pseudo::Scheme), "https"),
    (Fixed::Pseudo(Pseudo::Status), "200"),
    (Fixed::Pseudo(Pseudo::Status), "204"),
    (Fixed::Pseudo(Pseudo::Status), "206"),
    (Fixed::Pseudo(Pseudo::Status), "304"),
    (Fixed::Pseudo(Pseudo::Status), "400"),
    (Fixed::Pseudo(Pseudo::Status), "404"),
    (Fixed::Pseudo(Pseudo::Status), "500"),
    plain!(ACCEPT_CHARSET),
    (Fixed::Plain(header::ACCEPT_ENCODING), "gzip, deflate"),
    plain!(ACCEPT_LANGUAGE),
    plain!(ACCEPT_RANGES),
    plain!(ACCEPT),
    plain!(ACCESS_CONTROL_ALLOW_ORIGIN),
    plain!(AGE),
    plain!(ALLOW),
    plain!(AUTHORIZATION),
    plain!(CACHE_CONTROL),
    plain!(CONTENT_DISPOSITION),
    plain!(CONTENT_ENCODING),
    plain!(CONTENT_LANGUAGE),
    plain!(CONTENT_LENGTH),
    plain!(CONTENT_LOCATION),
    plain!(CONTENT_RANGE),
    plain!(CONTENT_TYPE),
    plain!(COOKIE),
    plain!(DATE),
    plain!(ETAG),
    plain!(EXPECT),
    plain!(EXPIRES),
    plain!(FROM),
    plain!(HOST),
    plain!(IF_MATCH),
    plain!(IF_MODIFIED_SINCE),
    plain!(IF_NONE_MATCH),
    plain!(IF_RANGE),
    plain!(IF_UNMODIFIED_SINCE),
    plain!(LAST_MODIFIED),
    plain!(LINK),
    plain!(LOCATION),
    plain!(MAX_FORWARDS),
    plain!(PROXY_AUTHENTICATE),
    plain!(PROXY_AUTHORIZATION),
    plain!(RANGE),
    plain!(REFERER),
    plain!(REFRESH),
    plain!(RETRY_AFTER),
    plain!(SERVER),
    plain!(SET_COOKIE),
    plain!(STRICT_TRANSPORT_SECURITY),
    plain!(TRANSFER_ENCODING),
    plain!(USER_AGENT),
    plain!(VARY),
    plain!(VIA),
    plain!(WWW_AUTHENTICATE),
];

/// How many fields the static table has.
pub(super) const FIXED_FIELDS: usize = FIXED.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_is_the_rfcs() {
        for (index, name, value) in
            [(1, ":authority", ""), (2, ":method", "GET"), (8, ":status", "200"), (61, "www-authenticate", "")]
        {
            let expected = Field::read(Name::read(name.as_bytes()), value.as_bytes());
            assert_eq!(fixed(index), Some(expected), "{index}");
        }
        assert_eq!((fixed(0), fixed(62)), (None, None));
    }

    #[test]
    fn names_are_found_at_their_index() {
        for index in 15..=60 {
            let Some(Field { name: Name::Plain(name), .. }) = fixed(index) else { panic!("{index}") };
            assert_eq!(fixed_name(&name), Some(index), "{name}");
        }
        assert_eq!(fixed_name(&HeaderName::from_static("x-unknown")), None);
    }

    #[test]
    fn the_oldest_go_when_the_table_is_full() {
        let mut table = Table::new(100);
        for n in 1..=3 {
            table.add(n, 40);
        }
        assert_eq!((table.get(0), table.get(1), table.get(2)), (Some(&3), Some(&2), None));
        assert_eq!(
            (table.place(3), table.place(2), table.place(1), table.place(0), table.place(4)),
            (Some(0), Some(1), None, None, None)
        );
        table.add(4, 101);
        assert_eq!(table.get(0), None, "larger than the table: it is empty");
        assert_eq!(table.place(4), None);
        table.add(5, 40);
        assert_eq!(table.place(5), Some(0));
        table.resize(0);
        assert_eq!(table.get(0), None);
    }

    #[test]
    fn what_is_malformed_keeps_its_size() {
        for (name, value) in
            [("Upper", "v"), ("a b", "v"), (":unknown", "v"), ("a", " v"), ("a", "v\t"), ("a", "v\0"), ("", "")]
        {
            let field = Field::read(Name::read(name.as_bytes()), value.as_bytes());
            assert!(
                matches!(field, Field { name: Name::Malformed(_), .. } | Field { value: Value::Malformed(_), .. }),
                "{field:?}"
            );
            assert_eq!(field.size(), name.len() + value.len() + 32);
        }
    }
}
