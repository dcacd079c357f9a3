//! Clients and instances that are gone, where nobody reads from them who would notice.

use std::time::Duration;

use testkit::{Gate, Instance, Reply, Socket, bounded, eventually};

use crate::support::{Config, Running};

/// A stream of events that says one thing and then nothing.
fn events() -> Reply {
    Reply::script().head(200).header("content-type", "text/event-stream").data("data: 1\n\n").hang()
}

async fn connect(router: &Running, tls: bool) -> Socket {
    if tls {
        let config = router.certs.client_config(&["http/1.1"], None);
        Socket::connect_tls(router.tls(), &config, "localhost").await
    } else {
        Socket::connect(router.clear()).await
    }
}

#[tokio::test]
async fn a_client_that_sent_a_byte_ahead_is_seen_to_go() {
    let instance = Instance::http().on("/events", events()).on("/silent", Reply::silence()).start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    let ways = [
        (false, "GET /events HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\nG"),
        (true, "GET /events HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\nG"),
        (false, "POST /events HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\nContent-Length: 1\r\n\r\naG"),
        (false, "GET /silent HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\nG"),
    ];
    for (gone, (tls, request)) in (1..).zip(ways) {
        let mut socket = connect(&router, tls).await;
        socket.send(request).await.unwrap();
        if request.contains("/events") {
            assert_eq!(socket.read_head().await.expect("a head").status(), 200);
        } else {
            eventually("a request", || instance.counts().in_flight() == 1).await;
        }
        drop(socket);
        eventually("the instance hears of it", || instance.counts().aborted() == gone).await;
        router.settled("pets").await;
    }
}

#[tokio::test]
async fn a_client_that_sent_a_byte_ahead_and_stays_gets_both_answers() {
    let gate = Gate::new();
    let instance = Instance::http().on("/held", Reply::script().gate(&gate).head(200).data("held")).start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    let mut socket = Socket::connect(router.clear()).await;
    let (held, next) = (
        "GET /held HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n",
        " / HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n",
    );
    socket.send(format!("{held}GET")).await.unwrap();
    // Two looks at it.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    gate.open();
    assert_eq!(socket.read_response().await.expect("an answer").text(), "held");
    socket.send(next).await.unwrap();
    assert_eq!(bounded("the next answer", socket.read_response()).await.expect("an answer").status(), 200);
}

/// Of each connection with this port on this side that the system knows: whether it will ask the silent peer
/// (`proc_pid_net(5)`: field `tr`, 2).
#[cfg(target_os = "linux")]
fn asked(port: u16, side: usize) -> Vec<bool> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row[side].ends_with(&format!(":{port:04X}")) && row[3] == ESTABLISHED);
    ours.map(|row| row[5].starts_with("02:")).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn silent_clients_and_instances_are_asked_by_the_system() {
    const LOCAL: usize = 1;
    const REMOTE: usize = 2;
    let instance = Instance::http().on("/events", events()).start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    let mut socket = Socket::connect(router.clear()).await;
    socket.send("GET /events HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n").await.unwrap();
    socket.read_head().await.expect("a head");
    eventually("the client is asked", || asked(router.clear().port(), LOCAL) == [true]).await;
    eventually("the instance is asked", || asked(instance.addr().port(), REMOTE) == [true]).await;
}
