//! hot path
//!
//! Frames out. They are written into the output at once, so what is handed over is in order and costs nothing more.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};

use super::Core;
use crate::{
    Error, RequestHead,
    frame::{DATA, END_STREAM, HEADERS, Head},
    head::may_be_sent,
    hpack::Encoder,
    stream::{Place, Way},
};

/// Frames are never larger, whatever the peer takes: others on the connection want their turn.
const LARGEST: usize = 64 * 1024;

impl Core {
    /// The head of a request, on a stream just opened.
    pub(crate) fn send_request(&mut self, place: Place, head: &RequestHead<'_>, end: bool) -> Result<(), Error> {
        self.send_head(place, end, head.headers, |encoder, out| {
            encoder.method(out, head.method);
            encoder.scheme(out, head.scheme);
            encoder.authority(out, head.authority);
            encoder.path(out, head.path);
        })
    }

    /// The final head of a response.
    pub(crate) fn send_response(&mut self, place: Place, head: &response::Parts, end: bool) -> Result<(), Error> {
        self.send_head(place, end, &head.headers, |encoder, out| encoder.status(out, head.status))
    }

    /// An interim response.
    pub(crate) fn send_interim(&mut self, place: Place, status: StatusCode, headers: &HeaderMap) -> Result<(), Error> {
        self.send_head(place, false, headers, |encoder, out| encoder.status(out, status))
    }

    /// Trailers, and with them the end.
    pub(crate) fn send_trailers(&mut self, place: Place, trailers: &HeaderMap) -> Result<(), Error> {
        self.send_head(place, true, trailers, |_, _| {})
    }

    fn send_head(
        &mut self,
        place: Place,
        end: bool,
        headers: &HeaderMap,
        pseudo: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> Result<(), Error> {
        let stream = self.sending(place)?;
        let flags = if end { END_STREAM } else { 0 };
        let head = Head { length: 0, kind: HEADERS, flags, stream };
        let encoder = &mut self.encoder;
        self.out.head(head, self.peer.frame.min(LARGEST), |out| {
            encoder.begin(out);
            pseudo(encoder, out);
            for (name, value) in headers {
                if may_be_sent(name) {
                    encoder.field(out, name, value);
                }
            }
        });
        self.progress();
        self.sent(place, end);
        Ok(())
    }

    /// Payload, no more than [`Core::poll_room`] last admitted.
    pub(crate) fn send_data(&mut self, place: Place, mut data: Bytes, end: bool) -> Result<(), Error> {
        let id = self.sending(place)?;
        self.window -= data.len() as i64;
        if let Some(stream) = self.streams.get(place) {
            stream.send.window -= data.len() as i64;
        }
        let largest = self.peer.frame.min(LARGEST);
        loop {
            let part = data.split_to(data.len().min(largest));
            let last = data.is_empty();
            let flags = if end && last { END_STREAM } else { 0 };
            self.out.data(Head { length: part.len(), kind: DATA, flags, stream: id }, part);
            self.progress();
            if last {
                break;
            }
        }
        self.sent(place, end);
        self.next_turn();
        Ok(())
    }

    fn sending(&mut self, place: Place) -> Result<u32, Error> {
        let stream = self.streams.get(place).ok_or(Error::Ended)?;
        match stream.send.state {
            Way::Open => Ok(stream.id),
            Way::Ended => Err(Error::Ended),
            Way::Failed(error) => Err(error),
        }
    }

    fn sent(&mut self, place: Place, end: bool) {
        if end {
            if let Some(stream) = self.streams.get(place) {
                stream.send.state = Way::Ended;
            }
            self.leave_queue(place);
            self.close_if_over(place);
        }
        self.wake_task();
    }
}
