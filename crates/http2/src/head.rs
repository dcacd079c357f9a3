//! hot path
//!
//! Heads: from fields as they came to requests and responses, under the rules of RFC 9113, sections 8.2 and 8.3.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{self, CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE},
    request, response,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use crate::hpack::{Field, Name, Pseudo, Value};

/// A head while its fields come in.
#[derive(Debug)]
pub(crate) struct Heading {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    status: Option<Bytes>,
    headers: HeaderMap,
    pseudo_is_over: bool,
    /// What is left of the largest head.
    room: usize,
    /// The first rule it broke.
    fault: Option<&'static str>,
    is_too_large: bool,
}

/// What a head turned out to be.
#[derive(Debug)]
pub(crate) enum Read<T> {
    Head(T),
    Malformed(&'static str),
    TooLarge,
}

/// Fields of a usual request, with room for what a proxy adds.
const REQUEST: usize = 20;
/// The same of a response.
const RESPONSE: usize = 12;

impl Heading {
    pub(crate) fn new(largest: usize) -> Self {
        Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            status: None,
            headers: HeaderMap::new(),
            pseudo_is_over: false,
            room: largest,
            fault: None,
            is_too_large: false,
        }
    }

    pub(crate) fn take(&mut self, field: Cow<'_, Field>) {
        let size = field.size();
        if size > self.room {
            self.is_too_large = true;
            self.room = 0;
            return;
        }
        self.room -= size;
        let Field { name, value } = field.into_owned();
        let result = match (name, value) {
            (Name::Pseudo(pseudo), Value::Raw(value)) => self.pseudo(pseudo, value),
            (Name::Plain(name), Value::Plain(value)) => self.plain(name, value),
            (Name::Malformed(_), _) => Err("a name that HTTP does not allow"),
            _ => Err("a value that HTTP does not allow"),
        };
        if let Err(fault) = result {
            self.fault.get_or_insert(fault);
        }
    }

    fn pseudo(&mut self, pseudo: Pseudo, value: Bytes) -> Result<(), &'static str> {
        if self.pseudo_is_over {
            return Err("a pseudo field behind others");
        }
        let place = match pseudo {
            Pseudo::Method => &mut self.method,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
            Pseudo::Status => &mut self.status,
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err("a pseudo field twice"),
        }
    }

    fn plain(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), &'static str> {
        self.pseudo_is_over = true;
        if is_of_a_connection(&name) {
            return Err("a field about one connection");
        }
        if name == TE && !value.as_bytes().eq_ignore_ascii_case(b"trailers") {
            return Err("TE that is not trailers");
        }
        if self.headers.capacity() == 0 {
            self.headers.reserve(if self.status.is_some() { RESPONSE } else { REQUEST });
        }
        // Fails only above 32,768 fields, which no limit admits.
        match self.headers.try_append(name, value) {
            Ok(_) => Ok(()),
            Err(_) => Err("too many fields"),
        }
    }

    /// As a request.
    pub(crate) fn request(mut self) -> Read<request::Parts> {
        if self.is_too_large {
            return Read::TooLarge;
        }
        if let Some(fault) = self.fault.or_else(|| self.status.is_some().then_some(":status in a request")) {
            return Read::Malformed(fault);
        }
        let Some(method) = self.method.as_deref().and_then(|method| Method::from_bytes(method).ok()) else {
            return Read::Malformed("no :method");
        };
        let uri = match self.target(&method) {
            Ok(uri) => uri,
            Err(fault) => return Read::Malformed(fault),
        };
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = method;
        head.uri = uri;
        head.version = Version::HTTP_2;
        head.headers = self.headers;
        Read::Head(head)
    }

    fn target(&mut self, method: &Method) -> Result<Uri, &'static str> {
        let mut parts = uri::Parts::default();
        if let Some(authority) = self.authority.take() {
            parts.authority = Some(Authority::from_maybe_shared(authority).map_err(|_| "a malformed :authority")?);
        }
        let (scheme, path) = (self.scheme.take(), self.path.take());
        if *method == Method::CONNECT {
            if scheme.is_some() || path.is_some() || parts.authority.is_none() {
                return Err("CONNECT with more or less than :authority");
            }
            return Uri::from_parts(parts).map_err(|_| "a malformed :authority");
        }
        let (scheme, path) = (scheme.ok_or("no :scheme")?, path.ok_or("no :path")?);
        if path.first() != Some(&b'/') && !(path == "*" && *method == Method::OPTIONS) {
            return Err("a malformed :path");
        }
        let length = path.len();
        let path = PathAndQuery::from_maybe_shared(path).map_err(|_| "a malformed :path")?;
        if path.as_str().len() != length {
            // `http` cuts it off; whoever logs or checks the target elsewhere may not.
            return Err("a fragment in :path");
        }
        let scheme = match &*scheme {
            b"https" => Scheme::HTTPS,
            b"http" => Scheme::HTTP,
            other => Scheme::try_from(other).map_err(|_| "a malformed :scheme")?,
        };
        // Without an authority a URI is just a path.
        parts.scheme = parts.authority.is_some().then_some(scheme);
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| "a malformed target")
    }

    /// As a response.
    pub(crate) fn response(self) -> Read<response::Parts> {
        if self.is_too_large {
            return Read::TooLarge;
        }
        let only_status =
            self.method.is_none() && self.scheme.is_none() && self.authority.is_none() && self.path.is_none();
        if let Some(fault) = self.fault.or_else(|| (!only_status).then_some("a request's field in a response")) {
            return Read::Malformed(fault);
        }
        let Some(status) = self.status.as_deref().and_then(|status| StatusCode::from_bytes(status).ok()) else {
            return Read::Malformed("no :status");
        };
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = status;
        head.version = Version::HTTP_2;
        head.headers = self.headers;
        Read::Head(head)
    }

    /// As trailers.
    pub(crate) fn trailers(self) -> Read<HeaderMap> {
        if self.is_too_large {
            return Read::TooLarge;
        }
        let pseudo =
            [&self.method, &self.scheme, &self.authority, &self.path, &self.status].iter().any(|p| p.is_some());
        match self.fault.or_else(|| pseudo.then_some("a pseudo field in trailers")) {
            Some(fault) => Read::Malformed(fault),
            None => Read::Head(self.headers),
        }
    }
}

/// The body's length as the head says it.
///
/// # Errors
/// If it says it in a way that has no meaning.
pub(crate) fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    const WRONG: &str = "a content-length that is no number";
    let mut said = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| WRONG)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(WRONG);
        }
        let length: u64 = text.parse().map_err(|_| WRONG)?;
        if said.is_some_and(|earlier| earlier != length) {
            return Err("two lengths");
        }
        said = Some(length);
    }
    Ok(said)
}

/// RFC 9113, 8.2.2.
pub(crate) fn is_of_a_connection(name: &HeaderName) -> bool {
    match name.as_str().len() {
        7 => *name == UPGRADE,
        10 => *name == CONNECTION || name.as_str() == "keep-alive",
        16 => name.as_str() == "proxy-connection",
        17 => *name == TRANSFER_ENCODING,
        _ => false,
    }
}

/// Whether a response of this status to this method can have a body at all.
pub(crate) fn has_body(status: StatusCode, to_head: bool) -> bool {
    !to_head && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Whether a field may be written: what HTTP/2 forbids is dropped rather than sent.
pub(crate) fn may_be_sent(name: &HeaderName) -> bool {
    !is_of_a_connection(name) && *name != header::HOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(fields: &[(&str, &str)]) -> Heading {
        let mut heading = Heading::new(1000);
        for (name, value) in fields {
            heading.take(Cow::Owned(Field::read(Name::read(name.as_bytes()), value.as_bytes())));
        }
        heading
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

    fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        GET.iter().chain(more).copied().collect()
    }

    #[test]
    fn a_request_is_read() {
        let Read::Head(head) = heading(&with(&[("x-a", "1"), ("x-a", "2"), ("te", "trailers")])).request() else {
            panic!()
        };
        assert_eq!(head.uri, "https://a.example/x?y");
        assert_eq!((head.method, head.version), (Method::GET, Version::HTTP_2));
        assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        let without = heading(&[GET[0], GET[1], GET[3], ("host", "b")]).request();
        assert!(matches!(without, Read::Head(head) if head.uri == "/x?y"));
        let options = heading(&[(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")]).request();
        assert!(matches!(options, Read::Head(head) if head.uri.path() == "*"));
        let connect = heading(&[(":method", "CONNECT"), GET[2]]).request();
        assert!(matches!(connect, Read::Head(head) if head.uri.authority().is_some()));
    }

    #[test]
    fn malformed_requests_are_refused() {
        for fields in [
            vec![],
            GET[1..].to_vec(),
            vec![GET[0], GET[2], GET[3]],
            GET[..3].to_vec(),
            with(&[(":path", "/")]),
            with(&[("x-a", "1"), (":path", "/")]),
            with(&[(":status", "200")]),
            with(&[(":protocol", "websocket")]),
            with(&[("connection", "close")]),
            with(&[("keep-alive", "1")]),
            with(&[("transfer-encoding", "chunked")]),
            with(&[("upgrade", "h2c")]),
            with(&[("proxy-connection", "x")]),
            with(&[("te", "gzip")]),
            with(&[("X-Upper", "1")]),
            with(&[("x-a", " padded")]),
            with(&[("x-a", "nul\0")]),
            vec![GET[0], GET[1], GET[2], (":path", "")],
            vec![GET[0], GET[1], GET[2], (":path", "x")],
            vec![GET[0], GET[1], GET[2], (":path", "*")],
            vec![GET[0], GET[1], GET[2], (":path", "/x#/../y")],
            vec![GET[0], GET[1], GET[2], (":path", "/x?y#z")],
            vec![GET[0], GET[1], (":authority", "a b"), GET[3]],
            vec![(":method", "CONNECT"), GET[1], GET[2], GET[3]],
            vec![(":method", "G T"), GET[1], GET[2], GET[3]],
        ] {
            assert!(matches!(heading(&fields).request(), Read::Malformed(_)), "{fields:?}");
        }
    }

    #[test]
    fn responses_and_trailers_are_read_and_refused() {
        assert!(matches!(heading(&[(":status", "204")]).response(), Read::Head(head) if head.status == 204));
        for fields in [
            &[][..],
            &[(":status", "2xx")],
            &[(":status", "200"), (":path", "/")],
            &[(":status", "200"), (":status", "200")],
        ] {
            assert!(matches!(heading(fields).response(), Read::Malformed(_)), "{fields:?}");
        }
        assert!(matches!(heading(&[("grpc-status", "0")]).trailers(), Read::Head(trailers) if trailers.len() == 1));
        assert!(matches!(heading(&[(":status", "200")]).trailers(), Read::Malformed(_)));
    }

    #[test]
    fn a_head_that_is_too_large_says_so_whatever_else_it_is() {
        let many = vec![("x-a", "0123456789"); 30];
        assert!(matches!(heading(&many).request(), Read::TooLarge));
        assert!(matches!(heading(&many).response(), Read::TooLarge));
        assert!(matches!(heading(&many).trailers(), Read::TooLarge));
    }

    #[test]
    fn lengths_are_numbers() {
        let said = |values: &[&str]| {
            let headers = values.iter().map(|v| (CONTENT_LENGTH, HeaderValue::from_str(v).unwrap())).fold(
                HeaderMap::new(),
                |mut headers, (name, value)| {
                    headers.append(name, value);
                    headers
                },
            );
            length(&headers)
        };
        assert_eq!((said(&[]), said(&["12"]), said(&["7", "7"])), (Ok(None), Ok(Some(12)), Ok(Some(7))));
        for wrong in [&["-1"][..], &["+1"], &[""], &["1,1"], &["1", "2"], &["99999999999999999999"]] {
            assert!(said(wrong).is_err(), "{wrong:?}");
        }
    }
}
