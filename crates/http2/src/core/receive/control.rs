//! Everything in that is neither head nor body.

use super::super::{ALIVE, Core, PART, Role};
use crate::{
    Error, Reason,
    error::Fault,
    frame::{ACK, Head, LARGEST_WINDOW, PING, number},
    stream::{Place, Stream, Way},
};

impl Core {
    pub(super) fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let &[a, b, c, d] = payload else { return Err(Fault::size("RST_STREAM of a wrong size")) };
        let reason = Reason(u32::from_be_bytes([a, b, c, d]));
        let Some(place) = self.streams.find(head.stream) else {
            // Both ends may well end a stream at once.
            return self.of_no_stream(head.stream).map(drop);
        };
        if let Some(stream) = self.streams.get(place) {
            stream.fail(Error::Reset(reason));
        }
        self.close(place);
        Ok(())
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if head.has(ACK) {
            self.work_for_nothing();
            return if payload.is_empty() {
                Ok(())
            } else {
                Err(Fault::size("an answer to SETTINGS that says something"))
            };
        }
        self.work_for_nothing();
        let peer = self.peer.with(payload, self.role == Role::Client)?;
        let wider = peer.window - self.peer.window;
        if wider != 0 {
            let too_wide =
                |stream: &Stream| stream.send.state == Way::Open && stream.send.window + wider > LARGEST_WINDOW;
            if self.streams.each().any(|(_, stream)| too_wide(stream)) {
                return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "a window above 2^31-1"));
            }
            for (_, stream) in self.streams.each() {
                let was = stream.send.window;
                stream.send.window += wider;
                if was <= 0 && stream.send.window > 0 {
                    stream.wake_send();
                }
            }
            // It costs what there are streams.
            (0..self.streams.open()).for_each(|_| self.work_for_nothing());
        }
        if let Some((smallest, last)) = peer.table {
            self.encoder.resize(smallest);
            self.encoder.resize(last);
        }
        self.peer = peer;
        self.is_settled = true;
        self.settings_ack();
        Ok(())
    }

    pub(super) fn pinged(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() != 8 {
            return Err(Fault::size("PING of a wrong size"));
        }
        self.work_for_nothing();
        if !head.has(ACK) {
            self.control(PING, ACK, 0, payload);
        } else if *payload == PART {
            self.parted();
        } else if *payload == ALIVE {
            self.is_ponged = true;
        }
        Ok(())
    }

    pub(super) fn goes_away(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let (Some(last), Some(code)) = (number(payload), payload.get(4..).and_then(number)) else {
            return Err(Fault::size("GOAWAY that is too short"));
        };
        self.work_for_nothing();
        let (last, reason) = (last & 0x7fff_ffff, Reason(code));
        self.gone = Some(reason);
        if self.role == Role::Client {
            let unprocessed: Vec<Place> = self
                .streams
                .each()
                .filter(|(_, stream)| stream.is_open && stream.id > last)
                .map(|(at, _)| at)
                .collect();
            for place in unprocessed {
                if let Some(stream) = self.streams.get(place) {
                    stream.fail(Error::GoAway(reason));
                }
                self.close(place);
            }
        }
        Ok(())
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let &[a, b, c, d] = payload else { return Err(Fault::size("WINDOW_UPDATE of a wrong size")) };
        let wider = i64::from(u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff);
        self.work_for_nothing();
        if head.stream == 0 {
            if wider == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE of nothing"));
            }
            self.window += wider;
            if self.window > LARGEST_WINDOW {
                return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "a window above 2^31-1"));
            }
            self.next_turn();
            return Ok(());
        }
        let Some(place) = self.streams.find(head.stream) else {
            // It may well come behind the end.
            return self.of_no_stream(head.stream).map(drop);
        };
        if wider == 0 {
            return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR, "WINDOW_UPDATE of nothing"));
        }
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        stream.send.window += wider;
        if stream.send.window > LARGEST_WINDOW {
            return Err(Fault::Stream(head.stream, Reason::FLOW_CONTROL_ERROR, "a window above 2^31-1"));
        }
        stream.wake_send();
        Ok(())
    }

    /// Of no use to us, but it must be well formed. The stream may not even exist, so it cannot be reset.
    pub(super) fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        self.work_for_nothing();
        let &[a, b, c, d, _] = payload else { return Err(Fault::size("PRIORITY of a wrong size")) };
        if u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff == head.stream {
            return Err(Fault::protocol("a stream that depends on itself"));
        }
        Ok(())
    }
}
