//! Instances that speak frame by frame, and rows of what they may answer.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::{Failure, Raw, Socket, frame::Frame, get, wait_for};

use super::talk::{CANCEL, NO_ERROR, Talk, octets};
use crate::support::{Config, Front, Running};

/// Longer than a router needs to end a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is due to the client, and to the instance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// 200 and `body`.
    Whole,
    /// 502 with a reason. The instance may hear one of these codes, or that it is given up.
    Refused(&'static [u32]),
    /// 502, because the head is too large; the connection goes on.
    TooLarge,
    /// 200, and an end that is no end of an answer; or [`Due::Refused`].
    Broken(&'static [u32]),
    /// The connection to the instance ends, with one of these codes if any. The client has any answer, or none.
    Ends(&'static [u32]),
    /// The standard leaves it open, but an answer is whole or fails.
    Open(&'static [u32]),
}

/// What an instance sends when it has read a request on this stream.
pub(super) type Say = fn(u32) -> Vec<Frame>;

/// One instance's answer, and what is due.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) say: Say,
    /// Octets behind the frames, and then the end of the connection.
    pub(super) cut: Option<&'static [u8]>,
    pub(super) due: Due,
}

pub(super) fn row(what: &'static str, say: Say, due: Due) -> Row {
    Row { what, say, cut: None, due }
}

/// The same, and then these octets and the end of the connection.
pub(super) fn cut(what: &'static str, say: Say, octets: &'static [u8], due: Due) -> Row {
    Row { what, say, cut: Some(octets), due }
}

/// A head and `body`.
pub(super) fn whole(stream: u32) -> Vec<Frame> {
    vec![ok(stream), Frame::data(stream, "body", true)]
}

/// A head with a body to come.
pub(super) fn ok(stream: u32) -> Frame {
    Frame::headers(stream, &[(":status", "200")], false)
}

/// What an instance heard on all its connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// Codes of RST_STREAM and GOAWAY.
    codes: Vec<u32>,
    /// Connections the router ended.
    ended: usize,
}

/// An instance that answers `/row` with a row, and all else with 204.
struct Origin {
    raw: Raw,
    heard: Arc<Mutex<Heard>>,
}

impl Origin {
    async fn start(row: &Row) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (kept, say, cut) = (Arc::clone(&heard), row.say, row.cut);
        let raw = Raw::start(move |socket| speak(socket, say, cut, Arc::clone(&kept))).await;
        Self { raw, heard }
    }
}

async fn speak(socket: Socket, say: Say, cut: Option<&'static [u8]>, heard: Arc<Mutex<Heard>>) {
    let mut talk = Talk::accept(socket, &[]).await;
    let (mut answered, mut known, mut away) = (Vec::new(), 0, false);
    while talk.turn().await {
        heard.lock().unwrap().codes.extend(talk.resets[known..].iter().map(|(_, code)| *code));
        known = talk.resets.len();
        if let Some((_, code)) = talk.away
            && !away
        {
            away = true;
            heard.lock().unwrap().codes.push(code);
        }
        let asked: Vec<u32> = talk.streams.keys().copied().filter(|stream| !answered.contains(stream)).collect();
        for stream in asked {
            answered.push(stream);
            if talk.streams[&stream].field(":path") != Some("/row") {
                talk.send(&[Frame::headers(stream, &[(":status", "204")], true)]).await;
                continue;
            }
            talk.write(&octets(&say(stream))).await;
            if let Some(rest) = cut {
                return talk.write(rest).await;
            }
        }
    }
    heard.lock().unwrap().ended += 1;
}

/// What the client had.
#[derive(Debug, PartialEq, Eq)]
enum Had {
    Whole,
    Refused(String),
    Broken,
    Other(u16, String),
}

async fn ask(router: &Running, front: Front, service: &str) -> Had {
    match router.client(front).await.try_send(get("/row", &[("service_id", service)])).await {
        Ok(answer) if answer.status == 200 && answer.text() == "body" => Had::Whole,
        Ok(answer) if answer.status == 502 => {
            Had::Refused(answer.header("x-pointsman-reason").unwrap_or_default().to_owned())
        }
        Ok(answer) => Had::Other(answer.status.as_u16(), answer.text()),
        Err(Failure::Reset(_) | Failure::GoAway(_) | Failure::Closed(_)) => Had::Broken,
    }
}

/// Plays all rows, each for a client of either protocol, and tells of all that went wrong.
pub(super) async fn check(rows: Vec<Row>) {
    let mut config = Config::new();
    let mut origins = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let origin = Origin::start(row).await;
        config = config.service(&format!("row{at}"), &[format!("h2c://{}", origin.raw.addr())]);
        origins.push(origin);
    }
    let router = config.start();
    let mut failures = Vec::new();
    for (at, (row, origin)) in rows.iter().zip(&origins).enumerate() {
        let service = format!("row{at}");
        for front in [Front::H1, Front::H2c] {
            let asked = tokio::time::timeout(PATIENCE, ask(&router, front, &service)).await;
            let Ok(had) = asked else {
                failures.push(format!("{}, {front:?}: no answer", row.what));
                continue;
            };
            let ends = matches!(row.due, Due::Ends(_));
            if ends && !wait_for(|| origin.heard.lock().unwrap().ended > 0, PATIENCE).await {
                failures.push(format!("{}, {front:?}: the connection stays, {had:?}", row.what));
            }
            let heard = origin.heard.lock().unwrap().clone();
            if !row.due.is_met(&had, &heard.codes) {
                failures.push(format!("{}, {front:?}: due {:?}, but {had:?}, {heard:?}", row.what, row.due));
            }
        }
        let answer = router.client(Front::H2c).await.send(get("/good", &[("service_id", &service)])).await;
        if answer.status != 204 {
            failures.push(format!("{}: then {} {}", row.what, answer.status, answer.text()));
        }
        router.settled(&service).await;
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

impl Due {
    fn is_met(self, had: &Had, heard: &[u32]) -> bool {
        let said = |codes: &[u32]| heard.iter().all(|code| codes.contains(code) || [CANCEL, NO_ERROR].contains(code));
        let refused = matches!(had, Had::Refused(reason) if reason == "protocol" || reason == "reset");
        match self {
            Self::Whole => *had == Had::Whole && said(&[]),
            Self::Refused(codes) => refused && said(codes),
            Self::TooLarge => *had == Had::Refused("answer_too_large".into()) && said(&[]),
            Self::Broken(codes) => (refused || *had == Had::Broken) && said(codes),
            Self::Ends(codes) => heard.iter().all(|code| codes.contains(code) || *code == CANCEL),
            Self::Open(codes) => (refused || matches!(had, Had::Whole | Had::Broken)) && said(codes),
        }
    }
}

// === Instances with a script of their own ===
/// A router with this instance, of the service `pets`.
pub(super) fn router(raw: &Raw) -> Running {
    Config::new().service("pets", &[format!("h2c://{}", raw.addr())]).start()
}

/// Streams whose head came and that are not in `answered`.
pub(super) fn asked(talk: &Talk, answered: &BTreeSet<u32>) -> Vec<u32> {
    talk.streams.iter().filter(|(at, came)| !answered.contains(at) && !came.reset).map(|(at, _)| *at).collect()
}

/// Reads and answers whatever is asked, until the connection ends.
pub(super) async fn serve(mut talk: Talk, mut answered: BTreeSet<u32>) {
    loop {
        for stream in asked(&talk, &answered) {
            answered.insert(stream);
            talk.send(&whole(stream)).await;
        }
        if !talk.turn().await {
            return;
        }
    }
}
