//! A ZooKeeper server, with Curator's records. It tells by an event to another session that watches the same service.

use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    GUEST, Registry, SERVICE, Told,
    server::{PATIENCE, Server},
};

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const CHILDREN: i32 = 8;
const EVENT: i32 = -1;
/// Milliseconds; no session here is silent for so long.
const SESSION: i32 = 60_000;

/// A server: that of `ZOOKEEPER`, or one of its own.
#[derive(Debug)]
pub struct ZooKeeper {
    server: Server,
    path: String,
    writer: Mutex<Session>,
    watcher: Mutex<Session>,
}

impl ZooKeeper {
    /// Starts it, if need be, and makes the nodes above the instances.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        let server = Server::find("zookeeper", "single", "ZOOKEEPER");
        let path = format!("/pointsman-freshness-{}", std::process::id());
        let (mut writer, watcher) = (Session::open(&server.address).await, Session::open(&server.address).await);
        writer.create(&path, b"").await;
        writer.create(&format!("{path}/{SERVICE}"), b"").await;
        Self { server, path, writer: Mutex::new(writer), watcher: Mutex::new(watcher) }
    }

    /// Where it is.
    ///
    /// # Panics
    /// If it is not named by number.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address.parse().expect("HOST:PORT")
    }

    fn node(&self, id: &str) -> String {
        format!("{}/{SERVICE}/{id}", self.path)
    }
}

impl Registry for ZooKeeper {
    const NAME: &'static str = "zookeeper";

    fn section(&self) -> String {
        format!("zookeeper: {{ servers: '{}', path: '{}' }}", self.server.address, self.path)
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let tags = if id == GUEST { GUEST } else { "" };
        let (path, record) = (
            self.node(id),
            json!({ "name": SERVICE, "id": id, "address": address.ip(), "port": address.port(),
            "payload": { "metadata": { "protocol": "h2c", "tags": tags } } })
            .to_string(),
        );
        let (mut writer, mut watcher) = (self.writer.lock().await, self.watcher.lock().await);
        watcher.watch(&format!("{}/{SERVICE}", self.path)).await;
        let asked = Instant::now();
        let (told, ()) = tokio::join!(watcher.event(), writer.create(&path, record.as_bytes()));
        Told { asked, told }
    }

    async fn deregister(&self, id: &'static str) -> Told {
        let (mut writer, mut watcher) = (self.writer.lock().await, self.watcher.lock().await);
        watcher.watch(&format!("{}/{SERVICE}", self.path)).await;
        let (path, asked) = (self.node(id), Instant::now());
        let (told, ()) = tokio::join!(watcher.event(), writer.delete(&path));
        Told { asked, told }
    }
}

/// A session with a server: one question after the other.
#[derive(Debug)]
struct Session {
    stream: TcpStream,
    xid: i32,
}

impl Session {
    async fn open(server: &str) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server is there");
        stream.set_nodelay(true).expect("an option");
        let mut session = Self { stream, xid: 0 };
        let mut greeting = Vec::new();
        greeting.put_i32(0);
        greeting.put_i64(0);
        greeting.put_i32(SESSION);
        greeting.put_i64(0);
        text(&mut greeting, &[0; 16]);
        greeting.put_u8(0);
        session.send(&greeting).await;
        session.receive().await;
        session
    }

    async fn create(&mut self, path: &str, data: &[u8]) {
        let mut body = Vec::new();
        text(&mut body, path.as_bytes());
        text(&mut body, data);
        // Everybody may do everything.
        body.put_i32(1);
        body.put_i32(31);
        text(&mut body, b"world");
        text(&mut body, b"anyone");
        // Not ephemeral.
        body.put_i32(0);
        self.ask(CREATE, &body).await;
    }

    async fn delete(&mut self, path: &str) {
        let mut body = Vec::new();
        text(&mut body, path.as_bytes());
        // Whatever its version.
        body.put_i32(-1);
        self.ask(DELETE, &body).await;
    }

    /// Wants to be told once of the next change of the node's children.
    async fn watch(&mut self, path: &str) {
        let mut body = Vec::new();
        text(&mut body, path.as_bytes());
        body.put_u8(1);
        self.ask(CHILDREN, &body).await;
    }

    /// When the next event was at hand.
    async fn event(&mut self) -> Instant {
        let frame = self.receive().await;
        let at = Instant::now();
        assert_eq!(frame.as_slice().get_i32(), EVENT, "nothing was asked");
        at
    }

    async fn ask(&mut self, kind: i32, body: &[u8]) {
        self.xid += 1;
        let mut frame = Vec::new();
        frame.put_i32(self.xid);
        frame.put_i32(kind);
        frame.put_slice(body);
        self.send(&frame).await;
        let answer = self.receive().await;
        let mut answer = answer.as_slice();
        let (xid, _zxid, fault) = (answer.get_i32(), answer.get_i64(), answer.get_i32());
        assert_eq!((xid, fault), (self.xid, 0), "ZooKeeper does what it is asked");
    }

    async fn send(&mut self, frame: &[u8]) {
        let mut bytes = Vec::new();
        text(&mut bytes, frame);
        self.stream.write_all(&bytes).await.expect("the server lives");
    }

    async fn receive(&mut self) -> Vec<u8> {
        let read = async {
            let mut frame = vec![0; usize::try_from(self.stream.read_i32().await?).unwrap_or_default()];
            self.stream.read_exact(&mut frame).await.map(|_| frame)
        };
        timeout(PATIENCE, read).await.expect("the server answers").expect("the server lives")
    }
}

/// Bytes behind their length, as ZooKeeper has everything.
fn text(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_i32(i32::try_from(bytes.len()).expect("short"));
    to.put_slice(bytes);
}
