//! hot path
//!
//! What waits to be written: small frames one behind the other in a borrowed buffer, large payloads as they came.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::{
    Buffers,
    frame::{HEAD, Head},
};

/// Payloads from this size on are not copied.
const LARGE: usize = 4 * 1024;
/// Parts handed over in one call.
const PARTS: usize = 32;

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Output {
    /// Without capacity while nothing waits.
    buffer: Vec<u8>,
    /// How much of the buffer is gone.
    sent: usize,
    /// Payloads, and where in the buffer each comes: before the byte of this number.
    large: VecDeque<(usize, Bytes)>,
    /// Bytes in `large`.
    large_size: usize,
    buffers: Buffers,
}

impl Output {
    pub(crate) fn new(buffers: Buffers) -> Self {
        Self { buffer: Vec::new(), sent: 0, large: VecDeque::new(), large_size: 0, buffers }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.sent + self.large_size
    }

    /// Those of them that are no large payloads.
    pub(crate) fn small(&self) -> usize {
        self.buffer.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// To append to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = self.buffers.take();
        }
        &mut self.buffer
    }

    /// A frame with a small payload.
    pub(crate) fn frame(&mut self, head: Head, payload: &[u8]) {
        let buffer = self.buffer();
        buffer.extend_from_slice(&head.bytes());
        buffer.extend_from_slice(payload);
    }

    /// A frame with any payload.
    pub(crate) fn data(&mut self, head: Head, payload: Bytes) {
        if payload.len() < LARGE {
            return self.frame(head, &payload);
        }
        let buffer = self.buffer();
        buffer.extend_from_slice(&head.bytes());
        let at = buffer.len();
        self.large_size += payload.len();
        self.large.push_back((at, payload));
    }

    /// A block of header fields, as HEADERS and as many CONTINUATION as it needs. `write` appends the block.
    pub(crate) fn head(&mut self, head: Head, largest: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let buffer = self.buffer();
        let at = buffer.len();
        buffer.extend_from_slice(&[0; HEAD]);
        write(buffer);
        let block = buffer.len() - at - HEAD;
        if block <= largest {
            let whole = Head { length: block, flags: head.flags | crate::frame::END_HEADERS, ..head };
            buffer[at..at + HEAD].copy_from_slice(&whole.bytes());
            return;
        }
        // Rare: the block is taken out again and put back in pieces.
        let block = buffer.split_off(at + HEAD);
        buffer.truncate(at);
        let pieces = block.chunks(largest);
        let last = pieces.len() - 1;
        for (number, piece) in pieces.enumerate() {
            let kind = if number == 0 { head.kind } else { crate::frame::CONTINUATION };
            let mut flags = if number == 0 { head.flags } else { 0 };
            if number == last {
                flags |= crate::frame::END_HEADERS;
            }
            self.frame(Head { length: piece.len(), kind, flags, stream: head.stream }, piece);
        }
    }

    /// Writes as much as the stream takes. Ready when all is written.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.large.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.buffer[self.sent..]))?
            } else {
                let mut parts = [IoSlice::new(&[]); PARTS];
                let count = self.parts(&mut parts);
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &parts[..count]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        if self.buffer.capacity() > 0 {
            self.sent = 0;
            self.buffers.give(std::mem::take(&mut self.buffer));
        }
        Poll::Ready(Ok(()))
    }

    fn parts<'a>(&'a self, parts: &mut [IoSlice<'a>; PARTS]) -> usize {
        let (mut count, mut from) = (0, self.sent);
        for (at, payload) in &self.large {
            if count + 2 > PARTS {
                return count;
            }
            if *at > from {
                parts[count] = IoSlice::new(&self.buffer[from..*at]);
                count += 1;
                from = *at;
            }
            parts[count] = IoSlice::new(payload);
            count += 1;
        }
        if count < PARTS && from < self.buffer.len() {
            parts[count] = IoSlice::new(&self.buffer[from..]);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        while let Some((at, payload)) = self.large.front_mut() {
            let before = (*at - self.sent).min(written);
            self.sent += before;
            written -= before;
            let taken = written.min(payload.len());
            payload.advance(taken);
            self.large_size -= taken;
            written -= taken;
            if !payload.is_empty() {
                break;
            }
            self.large.pop_front();
        }
        self.sent += written;
        if self.sent > LARGE * 16 {
            // A peer that never takes all of it: what is gone must not pile up.
            self.buffer.drain(..self.sent);
            for (at, _) in &mut self.large {
                *at -= self.sent;
            }
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{DATA, HEADERS};

    /// Takes so many bytes in each call.
    struct Drip(Vec<u8>, Vec<usize>);

    impl AsyncWrite for Drip {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let n = self.1.pop().unwrap_or(usize::MAX).min(bytes.len()).max(1);
            self.0.extend_from_slice(&bytes[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            let n = self.1.pop().unwrap_or(usize::MAX).min(all.len()).max(1);
            self.0.extend_from_slice(&all[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_large_head_goes_out_in_pieces() {
        let mut out = Output::new(Buffers::default());
        let head = Head { length: 0, kind: HEADERS, flags: 1, stream: 3 };
        out.head(head, 4, |buffer| buffer.extend_from_slice(b"123456789"));
        let expected = [
            &[0, 0, 4, 1, 1, 0, 0, 0, 3][..],
            b"1234",
            &[0, 0, 4, 9, 0, 0, 0, 0, 3],
            b"5678",
            &[0, 0, 1, 9, 4, 0, 0, 0, 3],
            b"9",
        ];
        assert_eq!(out.buffer, expected.concat());
    }

    #[test]
    fn what_is_gone_does_not_pile_up_behind_a_peer_that_never_takes_all() {
        let mut out = Output::new(Buffers::default());
        let head = |length| Head { length, kind: DATA, flags: 0, stream: 1 };
        for _ in 0..1000 {
            out.data(head(LARGE), vec![0; LARGE].into());
            out.data(head(LARGE - 1), vec![0; LARGE - 1].into());
            while out.len() > LARGE * 4 {
                out.advance(1000);
            }
        }
        assert!(out.buffer.len() < LARGE * 32, "{} bytes are kept", out.buffer.len());
    }

    proptest! {
        #[test]
        fn all_bytes_come_out_in_order(payloads in proptest::collection::vec(0_usize..20_000, 0..40), steps in proptest::collection::vec(1_usize..30_000, 0..200)) {
            let mut out = Output::new(Buffers::default());
            let mut expected = Vec::new();
            let mut drip = Drip(Vec::new(), steps);
            for (n, size) in payloads.iter().enumerate() {
                let head = Head { length: *size, kind: DATA, flags: 0, stream: n as u32 };
                let payload = vec![n as u8; *size];
                expected.extend_from_slice(&head.bytes());
                expected.extend_from_slice(&payload);
                out.data(head, payload.into());
                prop_assert_eq!(out.len() + drip.0.len(), expected.len());
                if n % 7 == 0 {
                    prop_assert!(out.poll_write(&mut drip, &mut Context::from_waker(Waker::noop())).is_ready());
                }
            }
            prop_assert!(out.poll_write(&mut drip, &mut Context::from_waker(Waker::noop())).is_ready());
            prop_assert_eq!(out.buffer.capacity(), 0);
            prop_assert!(drip.0 == expected);
        }
    }
}
