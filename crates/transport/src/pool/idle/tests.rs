use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Request};
use model::{Address, Host, InstanceId, Protocol, ServiceId};
use tokio::{task::LocalSet, time::sleep};

use super::*;
use crate::{
    Body, Learned, Upstream,
    dial::DialError,
    pool::{Pools, Ready},
};

const LIMIT: Duration = Duration::from_secs(1);
/// So long a connection is not idle by chance, and not too long for a request that must not be repeated.
const A_WHILE: Duration = Duration::from_millis(100);

fn pool(address: SocketAddr) -> Rc<Pool> {
    let address = Address { host: Host::Ip(address.ip()), port: address.port() };
    let (service, id) = (ServiceId::new("pets").unwrap(), InstanceId::new("a").unwrap());
    Pools::default().of(&Arc::new(Upstream::new(service, id, address, Protocol::Http, None, Learned::default())))
}

/// An instance of system calls that block: between two of them this thread, which is the router's too, hears of nothing.
fn instance() -> (TcpListener, Rc<Pool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = pool(listener.local_addr().unwrap());
    (listener, pool)
}

async fn ready(pool: &Rc<Pool>, repeatable: bool) -> Result<h1::Connection, DialError> {
    match pool.ready(repeatable, || true, LIMIT).await? {
        Some(Ready::H1(connection)) => Ok(connection),
        other => panic!("no HTTP/1.1 connection: {other:?}"),
    }
}

fn payment() -> Request<Body> {
    let body = Body::Full(Bytes::from_static(b"pay 1"));
    Request::builder()
        .method(Method::POST)
        .uri("/")
        .header("host", "a")
        .header("content-length", "5")
        .body(body)
        .unwrap()
}

/// Takes one request and answers it.
fn serve(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"pay 1") {
        let mut octets = [0; 1024];
        let got = socket.read(&mut octets).unwrap();
        assert!(got > 0, "the router closed");
        request.extend_from_slice(&octets[..got]);
    }
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn a_close_that_only_the_system_knows_of_gives_the_request_back_unsent() {
    let test = async {
        let (listener, pool) = instance();
        let connection = ready(&pool, false).await.unwrap();
        let (socket, _) = listener.accept().unwrap();
        pool.give_back(connection);
        sleep(A_WHILE).await;
        // Nothing is awaited that would let the router hear of it.
        drop(socket);
        let mut connection = ready(&pool, false).await.unwrap();
        let mut error = connection.send.try_send_request(payment()).await.map(drop).unwrap_err();
        assert!(error.take_message().is_some(), "nothing of it was sent");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_connection_that_is_still_there_is_used_again() {
    let test = async {
        let (listener, pool) = instance();
        pool.give_back(ready(&pool, false).await.unwrap());
        let (mut socket, _) = listener.accept().unwrap();
        sleep(A_WHILE).await;
        let mut connection = ready(&pool, false).await.unwrap();
        let served = std::thread::spawn(move || serve(&mut socket));
        let answer = connection.send.try_send_request(payment()).await.map_err(|error| error.into_error()).unwrap();
        assert_eq!(answer.status(), 204);
        assert!(served.join().unwrap().starts_with("POST / "));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_connection_with_another_limit_of_fields_is_not_used_again() {
    let test = async {
        let (_listener, pool) = instance();
        let old = ready(&pool, true).await.unwrap();
        pool.give_back(ready(&pool, true).await.unwrap());
        pool.admit_fields(200);
        assert!(pool.h1.borrow().is_empty(), "those that are idle go");
        pool.give_back(old);
        assert!(pool.h1.borrow().is_empty(), "and those that were in use");
        let new = ready(&pool, true).await.unwrap();
        assert_eq!(new.fields, 200);
        pool.give_back(new);
        pool.admit_fields(200);
        assert_eq!(pool.h1.borrow().len(), 1);
    };
    LocalSet::new().run_until(test).await;
}
