//! The kit tried on itself: each instance against each client, and each way to misbehave once.

mod misbehaviour;
mod round_trips;
mod wires;

use crate::{Certs, Client, Instance, instance::Builder};

/// An instance and a client for each way to speak; the name says which.
async fn every_way<'a>(
    certs: &'a Certs,
    tune: impl Fn(Builder<'a>) -> Builder<'a>,
) -> Vec<(&'static str, Instance, Client)> {
    let h1 = tune(Instance::http()).start().await;
    let h2c = tune(Instance::h2c()).start().await;
    let tls_h1 = tune(Instance::https(certs)).start().await;
    let tls_h2 = tune(Instance::https(certs)).start().await;
    let only_h1 = certs.client_config(&["http/1.1"], None);
    let both = certs.client_config(&["h2", "http/1.1"], None);
    let clients = [
        Client::http(h1.addr()).await,
        Client::h2c(h2c.addr()).await,
        Client::https(tls_h1.addr(), &only_h1, "localhost").await,
        Client::https(tls_h2.addr(), &both, "localhost").await,
    ];
    let instances = [("h1", h1), ("h2c", h2c), ("h1 over TLS", tls_h1), ("h2 over TLS", tls_h2)];
    instances.into_iter().zip(clients).map(|((name, instance), client)| (name, instance, client)).collect()
}
