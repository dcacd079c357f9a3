//! Talks: TLS, dialling, HTTP/1 and HTTP/2 connections, pools, bodies, leases.

pub mod client;
pub mod clock;
pub mod tls;
pub mod upstream;

pub use tls::ClientTls;
pub use upstream::Upstream;
