//! hot path
//!
//! Where the messages of a gRPC stream begin and end.

/// Bytes before each message: a flag, and how long it is.
const PREFIX: u8 = 5;

/// Follows the messages of one direction.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Bytes of the prefix that have come; 0 between two messages.
    prefix: u8,
    /// The length, as far as it has come; behind the prefix what is left of the message.
    left: u32,
}

impl Messages {
    /// These bytes come next.
    pub(super) fn pass(&mut self, mut data: &[u8]) {
        while let Some((first, rest)) = data.split_first() {
            if self.prefix < PREFIX {
                self.prefix += 1;
                // The flag is shifted out by the four that follow.
                self.left = self.left << 8 | u32::from(*first);
                data = rest;
            } else {
                let part = data.len().min(self.left as usize);
                self.left -= part as u32;
                data = &data[part..];
            }
            if self.prefix == PREFIX && self.left == 0 {
                self.prefix = 0;
            }
        }
    }

    /// Whether all messages that began are complete.
    pub(super) fn are_whole(&self) -> bool {
        self.prefix == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A compressed one, an empty one, and one longer than a byte can count.
    fn stream() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for (flag, length) in [(1, 3_u32), (0, 0), (0xFF, 300)] {
            bytes.push(flag);
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![7; length as usize]);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn it_is_between_messages_where_they_end_however_they_are_cut() {
        let (bytes, ends) = stream();
        for size in [1, 2, 5, 7, bytes.len()] {
            let (mut messages, mut passed) = (Messages::default(), 0);
            assert!(messages.are_whole());
            for piece in bytes.chunks(size) {
                messages.pass(piece);
                passed += piece.len();
                assert_eq!(messages.are_whole(), ends.contains(&passed), "{size}: {passed}");
            }
        }
    }
}
