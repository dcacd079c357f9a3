//! One client's connection, as its requests see it.

use std::net::SocketAddr;

use crate::rewrite::Connection;

/// Facts of a client's connection.
#[derive(Debug)]
pub struct Client {
    /// The client's address, as the socket has it.
    pub peer: SocketAddr,
    /// Whether the client came by TLS.
    pub tls: bool,
    /// What instances are told about it.
    pub told: Connection,
}
