//! A body as it comes, cut into lines. Pieces and lines do not align.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

/// Lines so far, and the beginning of the next one. Blank lines are none.
#[derive(Debug)]
pub struct Lines {
    open: BytesMut,
    whole: VecDeque<Bytes>,
    longest: usize,
}

/// A line is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// No lines yet, and none longer than so many bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { open: BytesMut::new(), whole: VecDeque::new(), longest }
    }

    /// Takes in the next piece of the body.
    ///
    /// # Errors
    /// [`TooLong`] if the end of a line does not come.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), TooLong> {
        // What was there before holds no line end: it is looked for in the new part only.
        let mut from = self.open.len();
        self.open.extend_from_slice(chunk);
        while let Some(at) = self.open[from..].iter().position(|&b| b == b'\n') {
            let line = self.open.split_to(from + at).freeze();
            self.open.advance(1);
            from = 0;
            if !line.trim_ascii().is_empty() {
                self.whole.push_back(line);
            }
        }
        if self.open.len() > self.longest { Err(TooLong) } else { Ok(()) }
    }

    /// The next whole line, without its end.
    #[must_use]
    pub fn pop(&mut self) -> Option<Bytes> {
        self.whole.pop_front()
    }

    /// Whether what came ends within a line.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.open.trim_ascii().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_without_end_is_found_before_memory_is() {
        let mut lines = Lines::new(16 << 10);
        let chunk = vec![b'x'; 1 << 10];
        assert!((0..16).all(|_| lines.push(&chunk).is_ok()));
        assert_eq!(lines.push(b"x"), Err(TooLong));
    }

    proptest! {
        /// However the bytes are cut, the same lines come out.
        #[test]
        fn cuts_do_not_matter(parts in prop::collection::vec("[a-c\n]{0,6}", 0..20)) {
            let whole = parts.concat();
            let mut lines = Lines::new(1 << 20);
            for part in &parts {
                lines.push(part.as_bytes()).unwrap();
            }
            let mut found = Vec::new();
            while let Some(line) = lines.pop() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
            let ended = whole.rfind('\n').map_or("", |at| &whole[..at]);
            let expected: Vec<_> = ended.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(lines.is_cut(), !whole.is_empty() && !whole.ends_with('\n'));
        }
    }
}
