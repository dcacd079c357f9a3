//! A client that notices at once when routing changes: one request after the other over an open HTTP/2 connection.

use std::{net::SocketAddr, sync::mpsc as blocking, thread::JoinHandle};

use http::StatusCode;
use testkit::{Client, get};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::registry::GUEST;

/// What to wait for, and where to say when it was there.
type Order = (bool, oneshot::Sender<Instant>);

/// The client, on a thread of its own: nobody else's work delays what it sees.
#[derive(Debug)]
pub struct Probe {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// A client of the router's cleartext listener.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connect(router: SocketAddr) -> Self {
        let (orders, inbox) = mpsc::channel(1);
        let (connected, waiting) = blocking::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let client = Client::h2c(router).await;
                connected.send(()).expect("the measurement waits");
                follow(&client, inbox).await;
            });
        });
        waiting.recv().expect("the router takes the connection");
        Self { orders: Some(orders), thread: Some(thread) }
    }

    /// Begins to ask for the guest. The answer is when the first response was complete that came from it, or, if it
    /// shall be `absent`, the first that did not.
    ///
    /// # Panics
    /// If the client is gone.
    pub async fn until(&self, present: bool) -> oneshot::Receiver<Instant> {
        let (found, answer) = oneshot::channel();
        let orders = self.orders.as_ref().expect("there while it lives");
        orders.send((present, found)).await.expect("the client lives");
        answer
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the client ends in order");
        }
    }
}

async fn follow(client: &Client, mut orders: mpsc::Receiver<Order>) {
    while let Some((present, found)) = orders.recv().await {
        while reaches_guest(client).await != present {}
        // A measurement that failed meanwhile does not listen.
        found.send(Instant::now()).ok();
    }
}

async fn reaches_guest(client: &Client) -> bool {
    let answer = client.send(get("/", &[("env_tag", GUEST)])).await;
    match answer.status {
        StatusCode::OK => true,
        StatusCode::SERVICE_UNAVAILABLE => false,
        _ => panic!("neither the guest nor its absence: {answer:?}"),
    }
}
