//! One exchange with an instance on a connection of its own: for those who want to know how it does.
//!
//! Nothing is kept and nothing is shared with requests: a look sees what a new client would see, from the name and the
//! accept queue to the handshake. Heads and bodies are bounded, redirects are not followed. Every future here ends
//! what it began when it is dropped, so whoever waits decides for how long.
//!
//! | File | |
//! |---|---|
//! | `look.rs` | where, and the connection |
//! | `look/exchange.rs` | one request and its answer, by HTTP/1.1 or HTTP/2 |

mod exchange;
#[cfg(test)]
mod tests;

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use model::{Address, Protocol};
use tokio::time::Instant;

use crate::{
    ClientTls,
    client::Duplex,
    dial::{self, DialError},
    upstream::{self, Version},
};

pub use exchange::{Answer, exchange};

/// Where an instance is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot<'a> {
    /// Where to connect.
    pub address: &'a Address,
    /// What is spoken there.
    pub protocol: Protocol,
    /// How to do TLS there.
    pub tls: &'a ClientTls,
    /// When who looks gives up: a name that is not resolved by then is no fault of the instance.
    pub deadline: Instant,
}

impl Spot<'_> {
    /// Connects by TCP, whatever is spoken there.
    ///
    /// # Errors
    /// If that does not work.
    pub async fn tcp(&self) -> Result<Box<dyn Duplex>, DialError> {
        dial::tcp(self.address, self.deadline).await.map(|stream| Box::new(stream) as Box<dyn Duplex>)
    }

    /// Connects and does TLS, whatever is spoken there; what ALPN chose.
    ///
    /// # Errors
    /// If that does not work, or the certificate is not as the settings want it.
    pub async fn tls(&self) -> Result<(Box<dyn Duplex>, Version), DialError> {
        let stream =
            dial::handshake(self.tls, &self.address.host, dial::tcp(self.address, self.deadline).await?).await?;
        let version = dial::chosen(&stream);
        Ok((Box::new(stream), version))
    }

    /// Connects as a request would.
    ///
    /// # Errors
    /// As [`Spot::tcp`] and [`Spot::tls`].
    pub async fn open(&self) -> Result<(Box<dyn Duplex>, Version), DialError> {
        match self.protocol {
            Protocol::Http => Ok((self.tcp().await?, Version::H1)),
            Protocol::H2c => Ok((self.tcp().await?, Version::H2)),
            Protocol::Https => self.tls().await,
        }
    }

    /// The target of a request for this path: of this host, else of what the instance is called by requests.
    #[must_use]
    pub fn target(&self, path: &PathAndQuery, host: Option<&Authority>) -> Uri {
        let own = || upstream::authority(self.address, self.protocol, Some(self.tls));
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.protocol == Protocol::Https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(host.cloned().unwrap_or_else(own));
        parts.path_and_query = Some(path.clone());
        // All three are there, which is all it takes.
        Uri::from_parts(parts).unwrap_or_default()
    }
}
