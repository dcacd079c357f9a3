//! A name server that can be made to fail.

use std::{net::SocketAddr, time::Duration};

use discovery::provider::dns::{Kind, Lookup, Server, Settings};
use model::ServiceId;
use settings::{OneOrMany, Span};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::watch,
    time::sleep,
};

use super::{
    cells::Fault,
    rig::{Calls, Subject, World, refuses},
    table::table,
};

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

/// Whom the datagrams are told to come again to, over TCP.
const CUT: u8 = 2;

/// An answer to this question (RFC 1035, 4.1); `None` is silence.
fn answer(question: &[u8], now: &World, tcp: bool) -> Option<Vec<u8>> {
    let (code, drips) = match now.fault {
        Some(Fault::Hangs | Fault::Refuses) => return None,
        Some(Fault::Garbage) => return Some(b"what is this".to_vec()),
        Some(Fault::ServerError) => (SERVFAIL, false),
        Some(Fault::AuthLost) => (REFUSED, false),
        Some(Fault::RestartEmpty) => (NXDOMAIN, false),
        Some(Fault::SlowDrip) => (NOERROR, true),
        _ => (NOERROR, false),
    };
    let asked = 12 + question[12..].iter().position(|byte| *byte == 0)? + 5;
    let count = if code == NOERROR { now.instances } else { 0 };
    let cut = if drips && !tcp { CUT } else { 0 };
    let mut message = vec![question[0], question[1], 0x85 | cut, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    message.extend_from_slice(&question[12..asked]);
    for n in 1..=count {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 0, n]);
    }
    if now.fault == Some(Fault::Truncated) {
        message.truncate(message.len() - 5);
    }
    Some(message)
}

async fn datagrams(address: SocketAddr, mut world: watch::Receiver<World>, calls: Calls) {
    let (mut question, state) = (vec![0; 4096], world.clone());
    loop {
        drop(world.wait_for(|world| world.fault != Some(Fault::Refuses)).await);
        let socket = UdpSocket::bind(address).await.unwrap();
        loop {
            tokio::select! {
                received = socket.recv_from(&mut question) => {
                    let Ok((length, from)) = received else { continue };
                    calls.note();
                    let answer = answer(&question[..length], &state.borrow(), false);
                    if let Some(answer) = answer {
                        drop(socket.send_to(&answer, from).await);
                    }
                }
                () = refuses(&mut world) => break,
            }
        }
    }
}

async fn streams(listener: TcpListener, world: watch::Receiver<World>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let world = world.clone();
        tokio::spawn(async move {
            let mut question = vec![0; stream.read_u16().await.unwrap_or_default().into()];
            if stream.read_exact(&mut question).await.is_err() {
                return;
            }
            let whole = answer(&question, &world.borrow(), true).unwrap_or_default();
            let length = u16::try_from(whole.len()).unwrap().to_be_bytes();
            for byte in length.iter().chain(&whole) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

async fn subject() -> Subject {
    let serve = |listener: TcpListener, world: watch::Receiver<World>, calls| {
        let address = listener.local_addr().unwrap();
        vec![tokio::spawn(datagrams(address, world.clone(), calls)), tokio::spawn(streams(listener, world))]
    };
    let lookup = Lookup { kind: Some(Kind::A), port: Some(80), ..Lookup::new("pets.test") };
    let settings = |address| Settings {
        servers: OneOrMany(vec![Server(address)]),
        services: [(ServiceId::new("pets").unwrap(), lookup)].into(),
        timeout: Span::from_millis(300),
        min_ttl: Span::from_millis(300),
        ..Settings::default()
    };
    Subject::listening(serve, |address| (discovery::Settings::Dns(settings(address)), Vec::new())).await
}

/// HAProxy 841, 793, 971.
/// Kong 11713.
/// Envoy 2691.
#[tokio::test]
async fn faults_of_the_dns() {
    table("dns", "faults_of_the_dns", subject).await;
}
