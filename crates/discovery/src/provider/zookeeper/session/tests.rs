//! A session over a pipe in memory, with time that waits for nobody.

use bytes::{BufMut as _, BytesMut};
use tokio::io::{DuplexStream, duplex};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(9);

/// The other end: reads frames, writes what the test says.
struct Server(DuplexStream);

impl Server {
    async fn frame(&mut self) -> Vec<u8> {
        let length = self.0.read_u32().await.unwrap();
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    async fn say(&mut self, body: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(body.len()).unwrap());
        frame.put_slice(body);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Grants a session of this timeout.
    async fn grant(&mut self, timeout_ms: i32) {
        let mut body = BytesMut::new();
        body.put_i32(0);
        body.put_i32(timeout_ms);
        body.put_i64(7);
        body.put_i32(3);
        body.put_slice(b"key");
        self.say(&body).await;
    }

    /// An answer without a body.
    async fn answer(&mut self, xid: i32, zxid: i64, code: i32) {
        let mut body = BytesMut::new();
        body.put_i32(xid);
        body.put_i64(zxid);
        body.put_i32(code);
        self.say(&body).await;
    }
}

async fn open(resume: &mut Resume, timeout_ms: i32) -> (Result<Session<DuplexStream>, ProviderError>, Server) {
    let (ours, theirs) = duplex(4096);
    let mut server = Server(theirs);
    let deadline = Instant::now() + Duration::from_secs(3);
    let (opened, ()) = tokio::join!(Session::open(ours, "zk:1", resume, TIMEOUT, deadline), async {
        server.frame().await;
        server.grant(timeout_ms).await;
    });
    (opened, server)
}

/// A session and its server.
async fn opened() -> (Session<DuplexStream>, Server) {
    let (session, server) = open(&mut Resume::default(), 9_000).await;
    (session.unwrap(), server)
}

#[tokio::test(start_paused = true)]
async fn a_session_is_taken_up_with_all_that_was_seen() {
    let (mut session, mut server) = opened().await;
    server.answer(1, 42, 0).await;
    session.next().await.unwrap();
    let mut resume = session.resume().clone();
    drop(session);
    let (ours, theirs) = duplex(4096);
    let mut server = Server(theirs);
    let deadline = Instant::now() + Duration::from_secs(3);
    let (_, greeting) =
        tokio::join!(Session::open(ours, "zk:1", &mut resume, TIMEOUT, deadline), async { server.frame().await });
    let expected = b"\0\0\0\0\0\0\0\0\0\0\0\x2a\0\0\x23\x28\0\0\0\0\0\0\0\x07\0\0\0\x03key\0";
    assert_eq!(greeting, expected, "zxid 42, 9000 ms, session 7 and its password");
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_is_forgotten_and_a_silent_greeting_is_not_waited_for() {
    let mut resume = Resume::default();
    resume.granted(7, b"key");
    resume.zxid = 42;
    let (opened, _server) = open(&mut resume, 0).await;
    assert!(opened.unwrap_err().to_string().contains("expired"));
    assert_eq!((resume.id, resume.zxid), (0, 42));

    let (ours, _theirs) = duplex(4096);
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(3);
    let error = Session::open(ours, "zk:1", &mut resume, TIMEOUT, deadline).await.unwrap_err();
    assert_eq!(error.reason(), "unreachable");
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_kept_by_pings() {
    let (mut session, mut server) = opened().await;
    let begun = Instant::now();
    let serve = async {
        for _ in 0..10 {
            assert_eq!(server.frame().await, b"\xff\xff\xff\xfe\0\0\0\x0b");
            server.answer(-2, 0, 0).await;
        }
    };
    tokio::select! {
        message = session.next() => panic!("{message:?}"),
        () = serve => {}
    }
    assert_eq!(begun.elapsed().as_secs(), 10, "a ping a second");
}

#[tokio::test(start_paused = true)]
async fn silence_and_single_bytes_end_a_session_within_its_timeout() {
    for drip in [false, true] {
        let (mut session, mut server) = opened().await;
        let begun = Instant::now();
        let serve = async {
            server.0.write_all(&1_000u32.to_be_bytes()).await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if drip {
                    server.0.write_all(b"x").await.unwrap();
                }
            }
        };
        let error = tokio::select! {
            message = session.next() => message.unwrap_err(),
            () = serve => unreachable!("it never ends"),
        };
        assert!(error.to_string().contains("silent"), "{error}");
        assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_garbage_and_an_end_are_told_apart() {
    let (mut session, mut server) = opened().await;
    session.authenticate(b"user:password");
    let (error, ()) = tokio::join!(session.next(), async {
        assert_eq!(server.frame().await, b"\xff\xff\xff\xfc\0\0\0\x64\0\0\0\0\0\0\0\x06digest\0\0\0\x0duser:password");
        server.answer(-4, 0, -115).await;
    });
    assert_eq!(error.unwrap_err().reason(), "denied");

    let (mut session, mut server) = opened().await;
    server.0.write_all(b"HTTP/1.1 400 Bad Request").await.unwrap();
    assert_eq!(session.next().await.unwrap_err().reason(), "malformed");

    let (mut session, mut server) = opened().await;
    server.say(b"short").await;
    assert_eq!(session.next().await.unwrap_err().reason(), "malformed");

    let (mut session, server) = opened().await;
    drop(server);
    assert_eq!(session.next().await.unwrap_err().reason(), "unreachable");
}

#[tokio::test(start_paused = true)]
async fn waiting_may_be_given_up_at_any_time() {
    let (mut session, mut server) = opened().await;
    let question = Question::Data("/a".into());
    let serve = async {
        for xid in 1..=20 {
            let asked = server.frame().await;
            assert_eq!(asked[..8], [0, 0, 0, xid, 0, 0, 0, 4]);
            // Byte by byte, each in a moment of its own.
            for byte in [&16u32.to_be_bytes()[..], &[0, 0, 0, xid], &[0; 12]].concat() {
                server.0.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let ask = async {
        for xid in 1..=20 {
            assert_eq!(session.ask(&question), xid);
            loop {
                if let Ok(message) = timeout_at(Instant::now() + Duration::from_micros(700), session.next()).await {
                    assert_eq!(message, Ok(Message::Answer { xid, zxid: 0, body: Ok(Bytes::new()) }));
                    break;
                }
            }
        }
    };
    tokio::join!(serve, ask);
}
