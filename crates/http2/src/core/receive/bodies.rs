//! hot path
//!
//! Bodies in.

use super::{super::Core, Over};
use crate::{
    Reason,
    error::Fault,
    frame::{END_STREAM, HEAD, Head, LARGEST_WINDOW, PADDED, WINDOW_UPDATE},
    stream::Way,
};

/// The payload of a DATA frame of which only a part has come.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Payload {
    stream: u32,
    content: usize,
    padding: usize,
    end: bool,
}

impl Core {
    /// The head of a DATA frame; its payload may come in parts.
    pub(super) fn data(&mut self, head: Head, after: &[u8], rest: &mut &[u8]) -> Result<bool, Fault> {
        let (mut content, mut padding, mut skip) = (head.length, 0, HEAD);
        if head.has(PADDED) {
            content = content.checked_sub(1).ok_or(Fault::size("DATA without its pad length"))?;
            let Some(length) = after.first() else { return Ok(false) };
            padding = usize::from(*length);
            content = content.checked_sub(padding).ok_or(Fault::protocol("more padding than frame"))?;
            skip += 1;
        }
        *rest = &rest[skip..];
        let payload = Payload { stream: head.stream, content, padding, end: head.has(END_STREAM) };
        // Whatever becomes of it, its bytes come.
        self.payload = Some(payload);
        self.count(head.length);
        if content + padding == 0 {
            self.payload = None;
        }
        let Some(place) = self.streams.find(head.stream) else {
            return match self.of_no_stream(head.stream)? {
                Over::Expected => Ok(true),
                Over::Unexpected => {
                    Err(Fault::Stream(head.stream, Reason::STREAM_CLOSED, "a body on a stream that is over"))
                }
            };
        };
        if content == 0 && !payload.end {
            self.work_for_nothing();
        }
        let Some(stream) = self.streams.get(place) else { return Ok(true) };
        if !stream.recv.has_head {
            return Err(Fault::protocol("a body before its head"));
        }
        if stream.recv.state != Way::Open {
            return Err(Fault::Stream(head.stream, Reason::STREAM_CLOSED, "a body behind its end"));
        }
        stream.recv.window -= head.length as i64;
        if stream.recv.window < 0 {
            let what = "more than the stream's window admits";
            return Err(Fault::Stream(head.stream, Reason::FLOW_CONTROL_ERROR, what));
        }
        if let Some(promised) = &mut stream.recv.promised {
            let Some(left) = promised.checked_sub(content as u64) else {
                let what = "a body longer than its content-length";
                return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR, what));
            };
            *promised = left;
        }
        if !stream.recv.is_unwanted {
            stream.recv.buffer.expect(content);
        }
        if content < head.length && !payload.end {
            // Padding is taken at once, and may be all that comes.
            self.give_back(place, head.length - content);
        }
        if content + padding == 0 {
            self.content(payload, rest)?;
        }
        Ok(true)
    }

    /// As much of a payload as came.
    pub(super) fn content(&mut self, mut payload: Payload, rest: &mut &[u8]) -> Result<(), Fault> {
        let (content, after) = rest.split_at(payload.content.min(rest.len()));
        payload.content -= content.len();
        let padding = payload.padding.min(after.len());
        payload.padding -= padding;
        *rest = &after[padding..];
        let is_whole = payload.content == 0 && payload.padding == 0;
        self.payload = (!is_whole).then_some(payload);
        let Some(place) = self.streams.find(payload.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        if !content.is_empty() && !stream.recv.is_unwanted {
            stream.recv.buffer.add(content);
            stream.wake_recv();
        }
        if is_whole && payload.end {
            self.ended(place)?;
            if let Some(stream) = self.streams.get(place) {
                stream.wake_recv();
            }
            self.close_if_over(place);
        }
        if !content.is_empty() {
            self.progress();
        }
        Ok(())
    }

    /// The window over all streams is filled long before it is empty.
    fn count(&mut self, bytes: usize) {
        self.received += bytes as u32;
        if i64::from(self.received) > LARGEST_WINDOW / 2 {
            let received = std::mem::take(&mut self.received);
            self.control(WINDOW_UPDATE, 0, 0, &received.to_be_bytes());
        }
    }
}
