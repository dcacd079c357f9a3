//! ZooKeeper's bytes: frames of a length and big-endian fields. Pure.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use model::ProviderError;

use super::{failure::Code, resume::Resume};

/// The longest frame that is read. A server's answer about 100,000 names is a tenth of it; what claims to be longer is
/// no ZooKeeper.
const LONGEST: usize = 16 << 20;

const PING: i32 = -2;
const AUTH: i32 = -4;
const EVENT: i32 = -1;

/// What we ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// Set a watch on the node and all below it, whether it exists or not.
    Watch(String),
    /// Does the node exist?
    Exists(String),
    /// The names of its children.
    Children(String),
    /// Its data.
    Data(String),
    /// Make the node, with its data.
    Create { path: String, data: Bytes, ephemeral: bool, rights: Rights },
    /// Take it away, whatever its version.
    Delete(String),
    /// End the session, and with it its ephemeral nodes.
    Close,
}

/// Who may do what with a new node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rights {
    /// Everybody everything.
    Open,
    /// Who shows our credentials everything, others reading.
    Ours,
}

/// What a server says after the hand-shake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// To the oldest question without one.
    Answer {
        xid: i32,
        zxid: i64,
        body: Result<Bytes, Code>,
    },
    Event(Event),
    /// To a ping or our credentials, or an event that we did not ask for.
    Sign,
}

/// A change of a node under a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Created(String),
    Deleted(String),
    Changed(String),
}

/// What a server grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Milliseconds; 0 or less: there is no such session.
    pub(super) timeout: i32,
    pub(super) id: i64,
    pub(super) password: Vec<u8>,
}

impl Question {
    pub(super) fn write(&self, xid: i32, out: &mut BytesMut) {
        frame(out, |out| {
            out.put_i32(xid);
            out.put_i32(self.kind());
            match self {
                Self::Close => {}
                Self::Watch(path) => {
                    put_path(out, path);
                    out.put_i32(1);
                }
                Self::Exists(path) | Self::Children(path) | Self::Data(path) => {
                    put_path(out, path);
                    out.put_u8(0);
                }
                Self::Delete(path) => {
                    put_path(out, path);
                    out.put_i32(-1);
                }
                Self::Create { path, data, ephemeral, rights } => {
                    put_path(out, path);
                    put(out, data);
                    rights.write(out);
                    out.put_i32(i32::from(*ephemeral));
                }
            }
        });
    }

    fn kind(&self) -> i32 {
        match self {
            Self::Create { .. } => 1,
            Self::Delete(_) => 2,
            Self::Exists(_) => 3,
            Self::Data(_) => 4,
            Self::Children(_) => 8,
            Self::Watch(_) => 106,
            Self::Close => -11,
        }
    }
}

impl Rights {
    fn write(self, out: &mut BytesMut) {
        const READ: i32 = 1;
        const ALL: i32 = 31;
        let entries: &[(i32, &str, &str)] = match self {
            Self::Open => &[(ALL, "world", "anyone")],
            Self::Ours => &[(ALL, "auth", ""), (READ, "world", "anyone")],
        };
        out.put_u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        for (rights, scheme, who) in entries {
            out.put_i32(*rights);
            put(out, scheme.as_bytes());
            put(out, who.as_bytes());
        }
    }
}

/// The first word of a connection: the session we have, or that we want one.
pub(super) fn connect(resume: &Resume, timeout_ms: i32, out: &mut BytesMut) {
    frame(out, |out| {
        out.put_i32(0);
        out.put_i64(resume.zxid);
        out.put_i32(timeout_ms);
        out.put_i64(resume.id);
        put(out, if resume.id == 0 { &[0; 16] } else { &resume.password });
        // No server that lost its ensemble: it would show the past.
        out.put_u8(0);
    });
}

pub(super) fn ping(out: &mut BytesMut) {
    frame(out, |out| {
        out.put_i32(PING);
        out.put_i32(11);
    });
}

/// `user:password`.
pub(super) fn auth(credentials: &[u8], out: &mut BytesMut) {
    frame(out, |out| {
        out.put_i32(AUTH);
        out.put_i32(100);
        out.put_i32(0);
        put(out, b"digest");
        put(out, credentials);
    });
}

/// Writes what `body` writes, with its length before it.
fn frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The root is the only path that ends with a slash.
fn put_path(out: &mut BytesMut, path: &str) {
    put(out, if path.is_empty() { b"/" } else { path.as_bytes() });
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// Takes a whole frame off the front; `None` if there is none yet.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, ProviderError> {
    let Some(length) = buffer.first_chunk().map(|four| u32::from_be_bytes(*four) as usize) else { return Ok(None) };
    if length > LONGEST {
        return Err(malformed(
            "a frame longer than any of ZooKeeper's; is this a ZooKeeper port, and is TLS as it says?",
        ));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Reads the answer to [`connect`].
pub(super) fn grant(mut frame: Bytes) -> Result<Grant, ProviderError> {
    let read = |frame: &mut Bytes| {
        frame.try_get_i32().ok()?;
        let (timeout, id) = (frame.try_get_i32().ok()?, frame.try_get_i64().ok()?);
        Some(Grant { timeout, id, password: buffer(frame)?.to_vec() })
    };
    read(&mut frame).ok_or_else(|| malformed("the answer to our greeting is none of ZooKeeper's"))
}

/// Reads any later frame.
pub(super) fn message(mut frame: Bytes) -> Result<Message, ProviderError> {
    let head = |frame: &mut Bytes| {
        Some((frame.try_get_i32().ok()?, frame.try_get_i64().ok()?, Code(frame.try_get_i32().ok()?)))
    };
    let (xid, zxid, code) = head(&mut frame).ok_or_else(|| malformed("an answer without a head"))?;
    match xid {
        EVENT => event(&mut frame),
        PING | AUTH if code == Code(0) => Ok(Message::Sign),
        PING | AUTH => Err(code.error("the session")),
        _ => Ok(Message::Answer { xid, zxid, body: if code == Code(0) { Ok(frame) } else { Err(code) } }),
    }
}

fn event(frame: &mut Bytes) -> Result<Message, ProviderError> {
    let read = |frame: &mut Bytes| {
        let kind = frame.try_get_i32().ok()?;
        frame.try_get_i32().ok()?;
        let path = text(&buffer(frame)?)?;
        Some((kind, path))
    };
    let (kind, path) = read(frame).ok_or_else(|| malformed("an event that cannot be read"))?;
    Ok(match kind {
        1 => Message::Event(Event::Created(path)),
        2 => Message::Event(Event::Deleted(path)),
        3 => Message::Event(Event::Changed(path)),
        // Recursive watches know no others; what a later server adds is none of ours.
        _ => Message::Sign,
    })
}

/// The names in an answer to [`Question::Children`].
pub(super) fn children(mut body: Bytes) -> Option<Vec<String>> {
    let count = body.try_get_i32().ok()?;
    // Not reserved: the count is only what the peer says.
    (0..count).map(|_| text(&buffer(&mut body)?)).collect()
}

/// The data in an answer to [`Question::Data`].
pub(super) fn data(mut body: Bytes) -> Option<Bytes> {
    buffer(&mut body)
}

/// The session that an ephemeral node belongs to, 0 for a node that stays; in an answer to [`Question::Exists`].
pub(super) fn owner(mut body: Bytes) -> Option<i64> {
    // Before it: two changes, two times, three versions.
    const BEFORE: usize = 4 * 8 + 3 * 4;
    if body.len() < BEFORE {
        return None;
    }
    body.advance(BEFORE);
    body.try_get_i64().ok()
}

/// Bytes with their length before them; a null is empty.
fn buffer(from: &mut Bytes) -> Option<Bytes> {
    let length = from.try_get_i32().ok()?.max(0);
    let length = usize::try_from(length).ok().filter(|length| *length <= from.len())?;
    Some(from.split_to(length))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn malformed(what: &str) -> ProviderError {
    ProviderError::Malformed(what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_question_is_the_bytes_of_the_protocol() {
        let mut out = BytesMut::new();
        Question::Watch("/a".into()).write(7, &mut out);
        Question::Data(String::new()).write(8, &mut out);
        assert_eq!(
            &out[..],
            b"\0\0\0\x12\0\0\0\x07\0\0\0\x6a\0\0\0\x02/a\0\0\0\x01\0\0\0\x0e\0\0\0\x08\0\0\0\x04\0\0\0\x01/\0"
        );
    }

    #[test]
    fn what_is_written_to_a_tree_is_the_bytes_of_the_protocol() {
        let mut out = BytesMut::new();
        let (path, data) = ("/a".to_owned(), Bytes::from_static(b"x"));
        Question::Create { path, data, ephemeral: true, rights: Rights::Ours }.write(1, &mut out);
        let body = b"\0\0\0\x01\0\0\0\x01\0\0\0\x02/a\0\0\0\x01x\0\0\0\x02\0\0\0\x1f\0\0\0\x04auth\0\0\0\0\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x01";
        assert_eq!(
            (out[..4].to_vec(), &out[4..]),
            (u32::try_from(body.len()).unwrap().to_be_bytes().to_vec(), &body[..])
        );
        out.clear();
        Question::Delete("/a".into()).write(2, &mut out);
        Question::Close.write(3, &mut out);
        assert_eq!(
            &out[..],
            b"\0\0\0\x12\0\0\0\x02\0\0\0\x02\0\0\0\x02/a\xff\xff\xff\xff\0\0\0\x08\0\0\0\x03\xff\xff\xff\xf5"
        );
    }

    #[test]
    fn names_and_data_are_read_and_lies_about_lengths_are_not() {
        assert_eq!(
            children(Bytes::from_static(b"\0\0\0\x02\0\0\0\x01a\0\0\0\0")),
            Some(vec!["a".into(), String::new()])
        );
        assert_eq!(children(Bytes::from_static(b"\x7f\xff\xff\xff\0\0\0\x01a")), None);
        assert_eq!(children(Bytes::from_static(b"\0\0\0\x01\0\0\0\x01\xff")), None);
        assert_eq!(data(Bytes::from_static(b"\xff\xff\xff\xff")), Some(Bytes::new()));
        assert_eq!(data(Bytes::from_static(b"\0\0\0\x09abc")), None);
    }

    #[test]
    fn frames_wait_until_they_are_whole_and_have_a_limit() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x02a"[..]);
        assert_eq!(take(&mut buffer), Ok(None));
        buffer.put_slice(b"b\0");
        assert_eq!(take(&mut buffer), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(take(&mut buffer), Ok(None));
        // The beginning of an answer in HTTP.
        assert!(take(&mut BytesMut::from(&b"HTTP/1.1 400"[..])).is_err());
    }

    proptest! {
        /// Whatever bytes come, reading them ends, without a panic.
        #[test]
        fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _unused = (grant(bytes.clone()), message(bytes.clone()), children(bytes.clone()), owner(bytes.clone()), data(bytes));
        }
    }
}
