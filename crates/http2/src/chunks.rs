//! hot path
//!
//! Payload that came and is not yet taken. A frame gets a chunk of its size; small frames join, so that however many
//! there are, they weigh little more than their bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::Buffers;

/// What small frames are gathered in, at most.
const LARGEST: usize = 16 * 1024;

/// Chunks in the order they came.
#[derive(Debug)]
pub(crate) struct Chunks {
    full: VecDeque<BytesMut>,
    last: BytesMut,
    size: usize,
    /// Knows what all of the thread hold together.
    buffers: Buffers,
}

impl Chunks {
    pub(crate) fn new(buffers: Buffers) -> Self {
        Self { full: VecDeque::new(), last: BytesMut::new(), size: 0, buffers }
    }

    /// So much will come in one frame.
    pub(crate) fn expect(&mut self, size: usize) {
        if self.last.capacity() - self.last.len() >= size {
            return;
        }
        let mut capacity = size;
        if !self.last.is_empty() {
            // They come quicker than they are taken: make room for more of their kind.
            capacity = size.max((2 * self.last.len()).min(LARGEST));
            self.full.push_back(std::mem::take(&mut self.last));
        }
        self.last = BytesMut::with_capacity(capacity);
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        self.size += bytes.len();
        self.buffers.hold(bytes.len());
    }

    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let chunk = self.full.pop_front().unwrap_or_else(|| std::mem::take(&mut self.last));
        self.size -= chunk.len();
        self.buffers.let_go(chunk.len());
        (!chunk.is_empty()).then(|| chunk.freeze())
    }

    /// Nobody will take them.
    pub(crate) fn clear(&mut self) {
        self.full = VecDeque::new();
        self.last = BytesMut::new();
        self.buffers.let_go(std::mem::take(&mut self.size));
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.size
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.buffers.let_go(self.size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_octets_weigh_little_more_than_they_are() {
        let mut chunks = Chunks::new(Buffers::default());
        for _ in 0..100_000 {
            chunks.expect(1);
            chunks.add(b"x");
        }
        let memory: usize = chunks.full.iter().chain([&chunks.last]).map(BytesMut::capacity).sum();
        assert!(memory < 2 * 100_000 && chunks.full.len() < 100, "{memory} in {}", chunks.full.len());
    }

    proptest! {
        #[test]
        fn what_comes_is_taken_in_order(frames in proptest::collection::vec((0_usize..20_000, any::<bool>()), 0..50)) {
            let (mut chunks, mut sent, mut taken) = (Chunks::new(Buffers::default()), Vec::new(), Vec::new());
            for (number, (size, takes)) in frames.into_iter().enumerate() {
                let frame = vec![number as u8; size];
                chunks.expect(size);
                let (first, second) = frame.split_at(size / 3);
                chunks.add(first);
                if takes {
                    taken.extend(chunks.take().into_iter().flatten());
                }
                chunks.add(second);
                sent.extend(frame);
                prop_assert_eq!(chunks.len(), sent.len() - taken.len());
                prop_assert_eq!(chunks.buffers.held(), chunks.len());
            }
            while let Some(chunk) = chunks.take() {
                taken.extend(chunk);
            }
            prop_assert!(chunks.len() == 0 && taken == sent);
        }
    }
}
