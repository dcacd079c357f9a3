//! What each end tells the other of itself (RFC 9113, 6.5).

use crate::{
    error::{Fault, Reason},
    frame::{DEFAULT_FRAME, DEFAULT_WINDOW, LARGEST_FRAME, LARGEST_WINDOW, number},
};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// What we tell a peer.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What a peer may send ahead in each stream at first, in bytes. At least 65,535, which is what a peer may send before
    /// it has read this.
    pub window: u32,
    /// What it may send ahead in a stream whose receiver keeps up; also the most that a stream holds in memory.
    pub widest: u32,
    /// The largest head, as RFC 9113 (6.5.2) counts it. A larger request is answered with a bare 431, the stream of a larger
    /// response is reset.
    pub head: usize,
    /// Streams a client may have open at once; a client says nothing here.
    pub streams: u32,
}

impl Settings {
    /// The payload of the frame.
    pub(crate) fn payload(&self, client: bool) -> Vec<u8> {
        let mut payload = Vec::with_capacity(24);
        let mut say = |id: u16, value: u32| {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        };
        if client {
            say(ENABLE_PUSH, 0);
        } else {
            say(MAX_CONCURRENT_STREAMS, self.streams);
        }
        say(INITIAL_WINDOW_SIZE, self.window);
        say(MAX_HEADER_LIST_SIZE, u32::try_from(self.head).unwrap_or(u32::MAX));
        payload
    }
}

/// What a peer told us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The window of each new stream.
    pub(crate) window: i64,
    /// The largest payload it takes.
    pub(crate) frame: usize,
    /// Streams we may have open at once.
    pub(crate) streams: usize,
    /// The largest head it takes, as RFC 9113 (6.5.2) counts it.
    pub(crate) head: usize,
    /// How large our header table may be, if it said so in this frame: the smallest size, and the last.
    pub(crate) table: Option<(usize, usize)>,
}

impl Peer {
    /// Before it said anything. `streams`: what is assumed until then.
    pub(crate) fn new(streams: usize) -> Self {
        Self { window: DEFAULT_WINDOW, frame: DEFAULT_FRAME, streams, head: usize::MAX, table: None }
    }

    /// With what this frame says. `server`: the peer is one, and must not speak of push.
    pub(crate) fn with(mut self, payload: &[u8], server: bool) -> Result<Self, Fault> {
        if !payload.len().is_multiple_of(6) {
            return Err(Fault::size("SETTINGS that are no multiple of six bytes"));
        }
        self.table = None;
        for setting in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            let value = number(&setting[2..]).unwrap_or(0);
            match id {
                HEADER_TABLE_SIZE => {
                    let (smallest, _) = self.table.unwrap_or((usize::MAX, 0));
                    self.table = Some((smallest.min(value as usize), value as usize));
                }
                ENABLE_PUSH if value > u32::from(!server) => {
                    return Err(Fault::protocol("SETTINGS_ENABLE_PUSH that is not allowed"));
                }
                MAX_CONCURRENT_STREAMS => self.streams = value as usize,
                INITIAL_WINDOW_SIZE if i64::from(value) > LARGEST_WINDOW => {
                    let what = "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1";
                    return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, what));
                }
                INITIAL_WINDOW_SIZE => self.window = i64::from(value),
                MAX_FRAME_SIZE if !(DEFAULT_FRAME..=LARGEST_FRAME).contains(&(value as usize)) => {
                    return Err(Fault::protocol("SETTINGS_MAX_FRAME_SIZE out of bounds"));
                }
                MAX_FRAME_SIZE => self.frame = value as usize,
                MAX_HEADER_LIST_SIZE => self.head = value as usize,
                _ => {}
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_end_says_the_other_reads() {
        let ours = Settings { window: 1000, widest: 1000, head: 2000, streams: 30 };
        let read = Peer::new(100).with(&ours.payload(false), true).unwrap();
        assert_eq!(read, Peer { window: 1000, frame: DEFAULT_FRAME, streams: 30, head: 2000, table: None });
        assert_eq!(Peer::new(100).with(&ours.payload(true), false).unwrap().streams, 100);
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        let with = |id: u16, value: u32| {
            let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
            (Peer::new(1).with(&payload, false).is_ok(), Peer::new(1).with(&payload, true).is_ok())
        };
        assert_eq!(with(2, 0), (true, true));
        assert_eq!(with(2, 1), (true, false));
        assert_eq!(with(2, 2), (false, false));
        assert_eq!(with(4, 1 << 31), (false, false));
        assert_eq!(with(4, (1 << 31) - 1), (true, true));
        assert_eq!(with(5, 16_383), (false, false));
        assert_eq!(with(5, 1 << 24), (false, false));
        assert_eq!(with(5, (1 << 24) - 1), (true, true));
        assert_eq!(with(99, 7), (true, true), "unknown ones are nothing");
        assert!(Peer::new(1).with(&[0; 7], true).is_err());
    }
}
