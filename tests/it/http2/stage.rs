//! A router and an instance, and rows of what a client may send it.

use std::time::Duration;

use testkit::{
    Instance, Reply,
    frame::{self, Frame},
    hpack::Block,
};

use super::talk::{PROTOCOL, Talk, octets};
use crate::support::{Config, Running};

/// The stream of the good request behind each row.
pub(super) const PROBE: u32 = 1001;
/// How long a row may take: less than any deadline of the testkit, so that its name is told.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// The connection ends; with GOAWAY, if the client still gets it, and one of these codes.
    Ends(&'static [u32]),
    /// A stream is reset with one of these codes, and the next request served; or [`Due::Ends`].
    Stream(&'static [u32]),
    /// A malformed head: an answer of the 400s, or a reset, or the end; and no instance hears of it.
    Malformed,
    /// Stream 1 is answered with 200, and the next request too.
    Served,
    /// Nothing: the next request is served.
    Ignored,
    /// The standard leaves it open: [`Due::Ignored`] or [`Due::Stream`].
    Open(&'static [u32]),
}

/// What a client sends, and what is due.
#[derive(Debug)]
pub(super) struct Row {
    what: String,
    octets: Vec<u8>,
    after: Option<Vec<Frame>>,
    bare: bool,
    due: Due,
}

/// These frames, behind the preface and SETTINGS.
pub(super) fn row(what: impl Into<String>, frames: &[Frame], due: Due) -> Row {
    Row { what: what.into(), octets: octets(frames), after: None, bare: false, due }
}

/// These octets and nothing before.
pub(super) fn bare(what: impl Into<String>, octets: impl Into<Vec<u8>>, due: Due) -> Row {
    Row { what: what.into(), octets: octets.into(), after: None, bare: true, due }
}

impl Row {
    /// Then, when stream 1 is over, these.
    pub(super) fn then(self, frames: &[Frame]) -> Self {
        Self { after: Some(frames.to_vec()), ..self }
    }
}

/// A GET of `/row`, whole.
pub(super) fn get(stream: u32) -> Frame {
    Frame::head(stream, &Block::get("/row"), true)
}

/// The block of a POST to `/row`.
pub(super) fn post_block() -> Block {
    Block::new().indexed(3).indexed(6).plain(":path", "/row").plain(":authority", "a")
}

/// A POST to `/row` whose body is to come.
pub(super) fn post(stream: u32) -> Frame {
    Frame::head(stream, &post_block(), false)
}

/// The router and its instance, which answers `/row` and `/probe` with an echo.
pub(super) struct Stage {
    pub(super) router: Running,
    pub(super) instance: Instance,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(Config::new()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        let held = || Reply::unread().hang();
        let instance = Instance::http()
            .on("/held", Reply::silence())
            .on("/unread", held())
            .on("/large", Reply::ok("").stream(1 << 20))
            .on("/small", Reply::ok("a body of 24 octets here"))
            .start()
            .await;
        let config = config.service("pets", &[instance.url()]);
        Self { router: config.set("routes", "[ { prefix: /, service: pets } ]").start(), instance }
    }

    pub(super) async fn open(&self, settings: &[(u16, u32)]) -> Talk {
        Talk::open(self.router.clear(), settings).await
    }

    /// How many requests other than those behind the rows came.
    pub(super) fn arrived(&self) -> usize {
        self.instance.seen().iter().filter(|seen| seen.path() != "/probe").count()
    }

    /// A new client is served.
    pub(super) async fn serves(&self) {
        let mut talk = self.open(&[]).await;
        talk.send(&[Frame::head(PROBE, &Block::get("/probe"), true)]).await;
        assert_eq!(talk.answer(PROBE).await.status(), 200, "{talk:?}");
    }

    /// Plays all rows, each on a connection of its own, and tells of all that went wrong.
    pub(super) async fn check(&self, rows: Vec<Row>) {
        let mut failures = Vec::new();
        for row in rows {
            let before = self.arrived();
            let Ok(talk) = tokio::time::timeout(PATIENCE, self.play(&row)).await else {
                failures.push(format!("{}: nothing came of it", row.what));
                continue;
            };
            let arrived = self.arrived() - before;
            if !row.due.is_met(&talk, arrived) {
                let Talk { away, closed, resets, .. } = &talk;
                let streams: Vec<_> = talk.streams.iter().map(|(at, came)| (at, came.status(), came.ended)).collect();
                failures.push(format!(
                    "{}: due {:?}, but GOAWAY {away:?}, closed {closed}, resets {resets:?}, answers {streams:?}, \
                     {arrived} arrived",
                    row.what, row.due
                ));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        self.serves().await;
    }

    async fn play(&self, row: &Row) -> Talk {
        let mut talk = if row.bare { Talk::connect(self.router.clear()).await } else { self.open(&[]).await };
        if let Some(after) = &row.after {
            talk.write(&row.octets).await;
            talk.answer(1).await;
            talk.send(after).await;
        } else {
            talk.write(&row.octets).await;
        }
        if matches!(row.due, Due::Ends(_)) {
            talk.end().await;
            return talk;
        }
        talk.send(&[Frame::head(PROBE, &Block::get("/probe"), true)]).await;
        let waits_for_one = matches!(row.due, Due::Served | Due::Malformed);
        talk.until(|talk| talk.is_over(PROBE) && (!waits_for_one || talk.is_over(1))).await;
        if talk.away.is_some() {
            talk.end().await;
        }
        talk
    }
}

impl Due {
    fn is_met(self, talk: &Talk, arrived: usize) -> bool {
        let status = |stream| talk.streams.get(&stream).filter(|came| came.ended).map_or(0, |came| came.status());
        let served = talk.away.is_none() && !talk.closed && status(PROBE) == 200;
        let ends = |codes: &[u32]| talk.closed && talk.away.is_none_or(|(_, code)| codes.contains(&code));
        let reset = |codes: &[u32]| {
            !talk.resets.is_empty()
                && talk.resets.iter().all(|(stream, code)| *stream != PROBE && codes.contains(code))
                && served
        };
        match self {
            Self::Ends(codes) => ends(codes),
            Self::Stream(codes) => ends(codes) || reset(codes),
            Self::Malformed => {
                let refused = (400..500).contains(&status(1)) && served;
                (ends(&[PROTOCOL]) || reset(&[PROTOCOL]) || refused) && arrived == 0
            }
            Self::Served => served && status(1) == 200 && talk.resets.is_empty(),
            Self::Ignored => served && talk.resets.is_empty(),
            Self::Open(codes) => ends(codes) || reset(codes) || served,
        }
    }
}

/// A field block in one HEADERS frame that is not the last of its block.
pub(super) fn begun(stream: u32, block: &Block) -> Frame {
    Frame::raw(frame::HEADERS, frame::END_STREAM, stream, block.to_bytes())
}

/// The last part of a block.
pub(super) fn ended(stream: u32, block: &Block) -> Frame {
    Frame::raw(frame::CONTINUATION, frame::END_HEADERS, stream, block.to_bytes())
}
