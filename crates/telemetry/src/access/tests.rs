use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::{entry::Rfc3339, *};
use crate::ids::Ids;

fn ids() -> Ids {
    let mut headers = HeaderMap::new();
    headers.insert("x-correlation-id", HeaderValue::from_static("c-1"));
    Ids::of(&headers, model::Fields::of(&headers), UNIX_EPOCH)
}

fn entry<'a>(ids: &'a Ids, path: &'a str) -> Entry<'a> {
    Entry {
        time: UNIX_EPOCH + Duration::from_millis(1_795_244_400_123),
        client: "::ffff:10.0.0.9".parse().unwrap(),
        protocol: "h2",
        method: &Method::GET,
        host: Some("a.example"),
        path,
        query: Some("token=secret"),
        route: None,
        service: Some("pets"),
        instance: Some("pets-1"),
        instance_protocol: Some("h2"),
        attempts: 2,
        status: Some(StatusCode::OK),
        reason: None,
        fallback: None,
        request_bytes: 0,
        response_bytes: 17,
        connect: None,
        head: Some(Duration::from_micros(812)),
        total: Duration::from_micros(1001),
        ids,
        user_agent: None,
    }
}

fn line(entry: &Entry<'_>, json: bool, query: bool) -> String {
    let mut out = String::new();
    entry.write(Line::new(&mut out, json), query);
    out
}

#[test]
fn a_line_says_what_happened_in_either_format() {
    let ids = ids();
    let entry = entry(&ids, "/v1/pets");
    assert_eq!(
        line(&entry, false, false),
        "time=2026-11-21T07:00:00.123Z client=10.0.0.9 protocol=h2 method=GET host=a.example path=/v1/pets service=pets \
         instance=pets-1 instance_protocol=h2 status=200 attempts=2 request_bytes=0 response_bytes=17 head_us=812 \
         total_us=1001 correlation_id=c-1\n"
    );
    let json: serde_json::Value = serde_json::from_str(&line(&entry, true, true)).unwrap();
    assert_eq!(json["time"], "2026-11-21T07:00:00.123Z");
    assert_eq!(json["query"], "token=secret");
    assert_eq!((json["status"].as_u64(), json["total_us"].as_u64()), (Some(200), Some(1001)));
    assert!(json.get("reason").is_none() && json.get("connect_us").is_none());
    assert!(!line(&entry, true, false).contains("secret"));
}

#[test]
fn days_of_the_calendar_are_right() {
    for (second, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (951_868_800, "2000-03-01T00:00:00.000Z"),
        (4_107_542_399, "2100-02-28T23:59:59.000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000Z"),
    ] {
        assert_eq!(Rfc3339(UNIX_EPOCH + Duration::from_secs(second)).to_string(), text);
    }
    assert_eq!(Rfc3339(UNIX_EPOCH - Duration::from_secs(1)).to_string(), "1970-01-01T00:00:00.000Z");
}

proptest! {
    #[test]
    fn nothing_a_client_sends_breaks_the_line(path in ".{0,20}", agent in proptest::collection::vec(32..=255_u8, 0..20)) {
        let ids = ids();
        let agent = HeaderValue::from_bytes(&agent.into_iter().filter(|b| *b != 127).collect::<Vec<_>>()).unwrap();
        let entry = Entry { user_agent: Some(&agent), ..entry(&ids, &path) };
        let json = line(&entry, true, false);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(read["path"].as_str(), Some(path.as_str()));
        prop_assert_eq!(read["user_agent"].as_str().unwrap(), String::from_utf8_lossy(agent.as_bytes()));
        let text = line(&entry, false, false);
        for line in [json, text] {
            prop_assert!(line.strip_suffix('\n').is_some_and(|l| !l.chars().any(char::is_control)), "{:?}", line);
        }
    }
}

#[test]
fn every_line_of_every_pen_is_in_the_file_once_the_log_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let dropped = Counter::default();
    let settings = Settings { file: Some(file.clone()), ..Settings::default() };
    let log = AccessLog::open(settings, dropped.clone()).unwrap();
    let pens = [log.pen(), log.pen()];
    std::thread::scope(|scope| {
        for (core, pen) in pens.into_iter().enumerate() {
            scope.spawn(move || {
                let ids = ids();
                (0..500).for_each(|n| pen.write(&entry(&ids, &format!("/{core}/{n}"))));
            });
        }
    });
    drop(log);
    let text = std::fs::read_to_string(&file).unwrap();
    let paths: Vec<String> = text
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    for core in 0..2 {
        let of_core: Vec<_> = paths.iter().filter(|p| p.starts_with(&format!("/{core}/"))).collect();
        assert!(of_core.iter().enumerate().all(|(n, p)| **p == format!("/{core}/{n}")), "order is lost");
        assert_eq!(of_core.len(), 500);
    }
    assert_eq!(dropped.get(), 0);
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let settings = Settings { file: Some(file.clone()), ..Settings::default() };
    let log = AccessLog::open(settings, Counter::default()).unwrap();
    let (pen, ids) = (log.pen(), ids());
    pen.write(&entry(&ids, "/before"));
    std::fs::rename(&file, &old).unwrap();
    log.reopen();
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    pen.write(&entry(&ids, "/after"));
    drop(log);
    assert!(std::fs::read_to_string(old).unwrap().contains("/before"));
    assert!(std::fs::read_to_string(file).unwrap().contains("/after"));
}

#[test]
fn a_full_queue_drops_and_counts_and_no_log_writes_nothing() {
    let (orders, _inbox) = mpsc::channel();
    let dropped = Counter::default();
    // No thread empties the queue: as if writing stood still.
    let stuck = std::thread::spawn(|| ());
    let log = AccessLog { settings: Settings::default(), orders, dropped: dropped.clone(), thread: Some(stuck) };
    let (pen, ids) = (log.pen_for(3), ids());
    (0..5).for_each(|_| pen.write(&entry(&ids, "/")));
    assert_eq!(dropped.get(), 2);

    let off = AccessLog::open(Settings { format: Format::Off, ..Settings::default() }, dropped.clone()).unwrap();
    let pen = off.pen();
    (0..5).for_each(|_| pen.write(&entry(&ids, "/")));
    assert!(pen.to.is_none() && dropped.get() == 2);
}

/// A file on a full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_their_buffers_come_back() {
    let (lines, full) = mpsc::sync_channel(8);
    let (back, empty) = mpsc::sync_channel(8);
    let dropped = Counter::default();
    let pen = Pen { to: Some(Queue { json: true, query: false, lines, empty }), dropped: dropped.clone() };
    let (ids, mut wells) = (ids(), vec![Well { lines: full, empty: back }]);
    (0..3).for_each(|_| pen.write(&entry(&ids, "/")));
    drain(&mut wells, &mut Full, &mut Lost::new(dropped.clone()));
    assert_eq!(dropped.get(), 3);
    assert_eq!(pen.to.unwrap().empty.try_iter().filter(|buffer| buffer.capacity() > 0).count(), 3);
}
