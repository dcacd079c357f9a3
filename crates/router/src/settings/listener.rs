//! `listeners:`

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use settings::Located;

/// One address clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port; `[::]:8443` takes IPv4 too.
    pub address: Located<SocketAddr>,
    /// TLS; clear text without it.
    pub tls: Option<Located<Tls>>,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Chosen by the name a client asks for; the first is for all others. Without any, one is made on the spot.
    #[serde(default)]
    pub certificates: Vec<Located<Certificate>>,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate, then the ones that signed it.
    pub chain: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// Loopback, with a certificate made on the spot: what a file without listeners gets.
impl Default for Listener {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8443)).into(), tls: Some(Tls::default().into()) }
    }
}
