//! What of a request's body is read before an instance is asked, where a connection is too dear to wait for a client on it.

use bytes::Bytes;
use http_body::Frame;

use super::{BodyError, Room};

/// So much of a body, or all of it, has to come before it is worth a connection that others want too. As much as HAProxy waits
/// for by default where it is told to.
pub(super) const ENOUGH: usize = 16 * 1024;

/// Read ahead, and not yet taken.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Small pieces, put together lest each of them keeps the buffer it was read into.
    joined: Vec<u8>,
    /// What ended the reading ahead: a piece that is too much to be copied, trailers, or that there is no more to come.
    last: Option<Result<Frame<Bytes>, BodyError>>,
    ended: bool,
    /// Where the bytes are counted; `None` if there was no room for them.
    room: Option<Room>,
}

impl Ahead {
    /// Nothing yet. It may hold as much as is worth a connection, if there is room for that.
    pub(super) fn new(room: &Room) -> Self {
        let room = room.take(ENOUGH).then(|| room.clone());
        Self { joined: Vec::new(), last: None, ended: false, room }
    }

    /// One more piece; `None` is the end.
    pub(super) fn add(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) {
        match frame {
            None => self.ended = true,
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) if self.room.is_some() && self.joined.len() + data.len() < ENOUGH => {
                    self.joined.extend_from_slice(data);
                }
                _ => self.last = Some(Ok(frame)),
            },
            error => self.last = error,
        }
    }

    /// No more is read before all of this is taken: it is enough, there is no room for more, or there is no more.
    pub(super) fn is_enough(&self) -> bool {
        self.ended || self.last.is_some()
    }

    /// Bytes at hand, without the piece that is not copied.
    pub(super) fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether all of it was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.last.is_none()
    }

    /// Why the client's body is none.
    pub(super) fn failed(&self) -> Option<BodyError> {
        self.last.as_ref()?.as_ref().err().copied()
    }

    /// The next piece.
    pub(super) fn take(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        if self.joined.is_empty() {
            self.last.take()
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut self.joined).into())))
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(ENOUGH);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn all(mut ahead: Ahead) -> Vec<usize> {
        std::iter::from_fn(|| ahead.take()).map(|frame| frame.unwrap().data_ref().map_or(0, Bytes::len)).collect()
    }

    fn data(size: usize) -> Option<Result<Frame<Bytes>, BodyError>> {
        Some(Ok(Frame::data(vec![7; size].into())))
    }

    #[test]
    fn small_pieces_are_joined_until_they_are_enough() {
        let room = Room::of(ENOUGH);
        let mut ahead = Ahead::new(&room);
        for _ in 0..3 {
            ahead.add(data(1));
            assert!(!ahead.is_enough());
        }
        assert_eq!((ahead.len(), room.free()), (3, 0));
        ahead.add(data(ENOUGH));
        assert!(ahead.is_enough());
        assert_eq!(all(ahead), [3, ENOUGH]);
        assert_eq!(room.free(), ENOUGH);
    }

    #[test]
    fn without_room_the_first_piece_is_enough() {
        let mut ahead = Ahead::new(&Room::of(ENOUGH - 1));
        ahead.add(data(1));
        assert!(ahead.is_enough());
        assert_eq!(all(ahead), [1]);
    }

    #[test]
    fn what_ends_the_body_is_enough() {
        for end in [None, Some(Ok(Frame::trailers(HeaderMap::new()))), Some(Err(BodyError::Client))] {
            let mut ahead = Ahead::new(&Room::default());
            ahead.add(data(1));
            let (is_end, failed) = (end.is_none(), matches!(end, Some(Err(_))));
            ahead.add(end);
            assert!(ahead.is_enough());
            assert_eq!(ahead.failed(), failed.then_some(BodyError::Client));
            assert_eq!(ahead.take().unwrap().unwrap().into_data().unwrap().len(), 1);
            assert_eq!((ahead.is_empty(), ahead.take().is_none()), (is_end, is_end));
            assert!(ahead.is_empty());
        }
    }
}
