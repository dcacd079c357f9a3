//! A ZooKeeper server that can be made to fail.

use std::{collections::HashSet, io, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use discovery::provider::zookeeper::Settings;
use serde_json::json;
use settings::Span;

use super::{
    cells::Fault,
    rig::World,
    table::table,
    wire::{Serves, Wire, subject},
};

struct Server;

/// What it grants.
const SESSION: Duration = Duration::from_secs(1);

const PING: i32 = 11;
const ADD_WATCH: i32 = 106;
const EXISTS: i32 = 3;
const DATA: i32 = 4;
const CHILDREN: i32 = 8;

const NO_NODE: i32 = -101;
const NO_RIGHT: i32 = -102;

impl Serves for Server {
    async fn serve(&self, wire: &mut Wire) -> io::Result<()> {
        let over = || Err(io::ErrorKind::ConnectionReset.into());
        let (mut seen, mut watched) = (wire.now(), HashSet::new());
        let greeting = frame(wire).await?;
        wire.asked();
        if !greets(wire, greeting).await? {
            return over();
        }
        let mut changes = wire.world.clone();
        loop {
            let changed = changes.wait_for(|world| world.index != seen.index || leaderless(world));
            let changed = tokio::select! {
                read = wire.readable() => read.map(|()| None)?,
                changed = changed => changed.ok().map(|world| world.clone()),
            };
            let Some(now) = changed else {
                let question = frame(wire).await?;
                answer(wire, question, &mut watched).await?;
                continue;
            };
            // One that starts anew, or finds no leader, lets go of everybody.
            if now.era != seen.era || leaderless(&now) {
                return over();
            }
            for (kind, n) in events(&seen, &now) {
                tell(wire, kind, &format!("/services/pets/{n}"), &watched).await?;
            }
            seen = now;
        }
    }
}

fn leaderless(world: &World) -> bool {
    world.fault == Some(Fault::LeaderLoss)
}

/// Nodes made (1) and deleted (2) in between.
fn events(before: &World, after: &World) -> Vec<(i32, u8)> {
    let came = (before.instances + 1..=after.instances).map(|n| (1, n));
    let left = (after.instances + 1..=before.instances).map(|n| (2, n));
    came.chain(left).collect()
}

/// Whether it takes the client: not one that saw more than it knows itself, which would go back in time. A session of
/// another era is not known.
async fn greets(wire: &mut Wire, mut greeting: Bytes) -> io::Result<bool> {
    let now = wire.now();
    greeting.advance(4);
    let zxid = greeting.get_u64();
    greeting.advance(4);
    let session = greeting.get_u64();
    if leaderless(&now) || zxid > now.index {
        return Ok(false);
    }
    let known = session == 0 || session == now.era;
    let mut body = BytesMut::new();
    body.put_i32(0);
    body.put_i32(if known { i32::try_from(SESSION.as_millis()).unwrap() } else { 0 });
    body.put_u64(now.era);
    put(&mut body, &[7; 16]);
    say(wire, &body).await?;
    Ok(known)
}

async fn answer(wire: &mut Wire, mut question: Bytes, watched: &mut HashSet<String>) -> io::Result<()> {
    let (xid, kind) = (question.get_i32(), question.get_i32());
    let (mut body, now) = (BytesMut::new(), wire.now());
    let code = if kind == PING {
        0
    } else {
        wire.asked();
        let length = question.get_u32() as usize;
        let path = String::from_utf8(question.split_to(length).to_vec()).unwrap();
        if kind == ADD_WATCH {
            watched.insert(path);
            0
        } else {
            look(&now, kind, &path, &mut body)
        }
    };
    let mut head = BytesMut::new();
    head.put_i32(xid);
    head.put_u64(now.index);
    head.put_i32(code);
    head.extend(body);
    say(wire, &head).await
}

/// What stands in the tree: `/services/pets/1` and so on, after Curator.
fn look(now: &World, kind: i32, path: &str, body: &mut BytesMut) -> i32 {
    let reads = matches!(kind, DATA | CHILDREN);
    if reads && now.fault == Some(Fault::AuthLost) {
        return NO_RIGHT;
    }
    let all: Vec<_> = (1..=now.instances).map(|n| n.to_string()).collect();
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    match (kind, &parts[..]) {
        (EXISTS, ["services"]) => body.put_bytes(0, 68),
        (CHILDREN, ["services"]) => list(body, if all.is_empty() { &[] } else { &["pets"] }),
        (CHILDREN, ["services", "pets"]) if !all.is_empty() => list(body, &all),
        (DATA, ["services", "pets", n]) if all.iter().any(|one| one == n) => {
            let record = json!({ "name": "pets", "id": n, "address": format!("10.0.0.{n}"), "port": 80 });
            put(body, record.to_string().as_bytes());
        }
        _ => return NO_NODE,
    }
    0
}

/// An event, to those who watch.
async fn tell(wire: &mut Wire, kind: i32, path: &str, watched: &HashSet<String>) -> io::Result<()> {
    if !watched.iter().any(|above| path.starts_with(above)) {
        return Ok(());
    }
    let mut body = BytesMut::new();
    body.put_i32(-1);
    body.put_i64(-1);
    body.put_i32(0);
    body.put_i32(kind);
    body.put_i32(3);
    put(&mut body, path.as_bytes());
    say(wire, &body).await
}

fn list(body: &mut BytesMut, names: &[impl AsRef<str>]) {
    body.put_u32(u32::try_from(names.len()).unwrap());
    names.iter().for_each(|name| put(body, name.as_ref().as_bytes()));
}

fn put(body: &mut BytesMut, bytes: &[u8]) {
    body.put_u32(u32::try_from(bytes.len()).unwrap());
    body.put_slice(bytes);
}

async fn say(wire: &mut Wire, body: &[u8]) -> io::Result<()> {
    let mut whole = BytesMut::new();
    put(&mut whole, body);
    wire.send(&whole).await
}

async fn frame(wire: &mut Wire) -> io::Result<Bytes> {
    let mut length = [0; 4];
    wire.read(&mut length).await?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    wire.read(&mut body).await?;
    Ok(body.into())
}

/// Traefik 2068, 566.
/// Traefik 515.
#[tokio::test]
async fn faults_of_zookeeper() {
    let settings = |at: std::net::SocketAddr| Settings {
        session_timeout: Span::from_millis(u64::try_from(SESSION.as_millis()).unwrap()),
        ..Settings::new(at.to_string())
    };
    table("zookeeper", "faults_of_zookeeper", || {
        subject(Server, move |at| (discovery::Settings::ZooKeeper(settings(at)), Vec::new()))
    })
    .await;
}
