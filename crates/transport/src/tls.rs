//! TLS on both sides. The only file that knows rustls' configuration types.

use std::sync::Arc;

/// How to do TLS to the instances of one service: trust, name, client certificate. Compared by settings, so that an
/// unchanged service keeps its connections over a reload.
#[derive(Debug)]
pub struct ClientTls {
    /// The rustls configuration; ALPN offers `h2` and `http/1.1`.
    pub config: Arc<rustls::ClientConfig>,
    /// The name to verify and send; `None` takes the instance's host.
    pub server_name: Option<rustls::pki_types::ServerName<'static>>,
    /// Equal settings and equal file contents give equal fingerprints.
    pub fingerprint: u64,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}
impl Eq for ClientTls {}
