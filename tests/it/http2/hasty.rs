//! Clients that give up, or leave no time to answer: work for nothing. It is held against their own connection, and kept
//! away from the connections of others to instances.

use testkit::{Client, Gate, Instance, Reply, Socket, eventually, frame::Frame, get, hpack::Block};

use super::talk::{CALM, CANCEL, Talk};
use crate::support::{Back, Config, Front, Running};

/// Requests at once.
const ROUND: u32 = 50;

/// A router with one instance, which says nothing at `/silent`.
async fn start(back: Back, settings: &str) -> (Running, Instance) {
    let config = Config::new();
    let instance = back.instance(config.certs()).on("/silent", Reply::silence()).start().await;
    let config = config.service("pets", &[instance.url()]).set("services", &format!("{{ pets: {{ {settings} }} }}"));
    (config.set("routes", "[ { prefix: /, service: pets } ]").start(), instance)
}

/// A client with room for all the answers.
async fn talk(router: &Running) -> Talk {
    let mut talk = Talk::open(router.clear(), &[]).await;
    talk.send(&[Frame::window_update(0, 1 << 20)]).await;
    talk
}

/// A round of requests, from this stream on.
fn round(first: u32, block: &Block) -> Vec<Frame> {
    (0..ROUND).map(|at| Frame::head(first + 2 * at, block, true)).collect()
}

async fn closed(router: &Running, cause: &str) -> u64 {
    let text = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    let name = format!("pointsman_connections_closed_total{{cause=\"{cause}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).expect("a counter").parse().unwrap()
}

#[tokio::test]
async fn a_client_whose_deadlines_nobody_can_meet_is_sent_away() {
    for back in [Back::H1, Back::H2c] {
        let (router, instance) = start(back, "").await;
        let mut talk = talk(&router).await;
        let block = Block::get("/silent").plain("x-request-deadline", "30");
        let mut rounds = 0;
        while !talk.closed && rounds < 12 {
            talk.send(&round(1 + 2 * ROUND * rounds, &block)).await;
            rounds += 1;
            let last = 2 * ROUND * rounds - 1;
            talk.until(|talk| talk.closed || talk.is_over(last)).await;
        }
        assert_eq!(talk.away.map(|(_, code)| code), Some(CALM), "{back:?}: {rounds} rounds");
        assert!((5..=6).contains(&rounds), "{back:?}: after more than 200, not {rounds} rounds");
        assert_eq!(talk.streams[&1].status(), 504, "{back:?}");
        eventually("it is let go", || instance.counts().in_flight() == 0).await;
        assert_eq!(closed(&router, "hasty").await, 1, "{back:?}");
        let client = router.client(Front::H2c).await;
        assert_eq!(client.send(get("/", &[("x-request-deadline", "5000")])).await.status, 200, "{back:?}");
        router.settled("pets").await;
    }
}

#[tokio::test]
async fn what_comes_too_late_to_be_sent_costs_nobody_anything() {
    let (router, instance) = start(Back::H2c, "").await;
    let mut talk = talk(&router).await;
    for (number, deadline) in ["0", "1"].repeat(5).into_iter().enumerate() {
        let block = Block::get("/").plain("x-request-deadline", deadline);
        let first = 1 + 2 * ROUND * number as u32;
        talk.send(&round(first, &block)).await;
        assert_eq!(talk.answer(first + 2 * (ROUND - 1)).await.status(), 504);
    }
    assert!(talk.away.is_none() && !talk.closed);
    let client = router.client(Front::H1).await;
    for _ in 0..2 {
        assert_eq!(client.send(get("/", &[("x-request-deadline", "1")])).await.status, 504);
    }
    assert_eq!(instance.counts().requests(), 0);
}

#[tokio::test]
async fn an_http_1_client_pays_with_its_connection() {
    let (router, _instance) = start(Back::H1, "timeouts: { total: 300ms }").await;
    for (deadline, costs) in [("30", true), ("5000", false)] {
        let mut socket = Socket::connect(router.clear()).await;
        let head = |path, deadline| format!("GET {path} HTTP/1.1\r\nHost: a\r\nx-request-deadline: {deadline}\r\n\r\n");
        socket.send(head("/silent", deadline)).await.unwrap();
        let answer = socket.read_response().await.expect("an answer");
        assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (504, Some("deadline")));
        assert_eq!(answer.header("connection"), costs.then_some("close"), "{deadline}");
        if costs {
            assert!(socket.is_closed_by_peer().await);
            eventually_closed(&router).await;
        } else {
            // It was the route's limit.
            socket.send(head("/", "5000")).await.unwrap();
            assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
        }
    }
}

async fn eventually_closed(router: &Running) {
    testkit::bounded("it is counted", async {
        while closed(router, "hasty").await != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Clients that reset what they asked for are right now and then; there are many, and they share a connection.
#[tokio::test]
async fn an_instance_gets_no_more_resets_on_one_connection_than_servers_bear() {
    let gate = Gate::new();
    let (router, instance) = start(Back::H2c, "").await;
    instance.on("/held", Reply::script().gate(&gate).head(204));
    let client = router.client(Front::H2c).await;
    let held = client.open(http::Request::get("/held").body(()).unwrap(), true).await.unwrap();
    eventually("one is at the instance", || instance.counts().in_flight() == 1).await;
    for _ in 0..6 {
        let mut talk = talk(&router).await;
        talk.send(&round(1, &Block::get("/silent"))).await;
        let all = 1 + u64::from(ROUND);
        eventually("a round is at the instance", || instance.counts().in_flight() == all).await;
        talk.send(&(0..ROUND).map(|at| Frame::reset(1 + 2 * at, CANCEL)).collect::<Vec<_>>()).await;
        eventually("it is let go", || instance.counts().in_flight() == 1).await;
    }
    assert_eq!(instance.counts().requests(), 301);
    assert_eq!(instance.counts().connections(), 3, "a hundred on each");
    gate.open();
    assert_eq!(held.answer().await.expect("what else was there goes on").status, 204);
    eventually("those that are used up end", || instance.counts().open() == 0).await;
    assert_eq!(client.send(get("/", &[])).await.status, 200);
}
