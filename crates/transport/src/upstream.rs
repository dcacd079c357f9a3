//! One instance of one service as the data path sees it: shared by all cores, kept over table swaps.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use balancer::{ServiceVitals, Vitals};
use http::{HeaderValue, uri::Authority};
use model::{Address, Host, InstanceId, Protocol, ServiceId, Tick, UpstreamKey};

use crate::ClientTls;

/// One instance of one service. Identity is (service id, instance id, address, protocol, TLS settings): while those
/// stay, the same `Upstream` lives on in every new table with all that was learned.
#[derive(Debug)]
pub struct Upstream {
    /// Never used again for another upstream; the key of the connection pools of each core.
    pub key: UpstreamKey,
    /// The service it belongs to.
    pub service: ServiceId,
    /// Its name within the service.
    pub id: InstanceId,
    /// Where to connect.
    pub address: Address,
    /// What to speak.
    pub protocol: Protocol,
    /// How to do TLS, for `https`.
    pub tls: Option<Arc<ClientTls>>,
    /// What we learned. Shared with its successor if only TLS settings change.
    pub vitals: Arc<Vitals>,
    /// What we learned of its service, and so of its peers.
    pub service_vitals: Arc<ServiceVitals>,
    /// When we saw it first. Inherited likewise.
    pub since: Tick,
    /// Made at first use, because most of many instances get no request for long.
    names: OnceLock<Box<Names>>,
    learned: AtomicU8,
}

/// What an upstream begins with: what is known of it from before, if anything is.
#[derive(Debug, Default)]
pub struct Learned {
    /// See [`Upstream::vitals`].
    pub vitals: Arc<Vitals>,
    /// See [`Upstream::service_vitals`].
    pub service_vitals: Arc<ServiceVitals>,
    /// See [`Upstream::since`].
    pub since: Tick,
}

/// What the address is written as.
#[derive(Debug)]
struct Names {
    label: Box<str>,
    authority: Authority,
    host: HeaderValue,
    /// Why no connection could be made last.
    trouble: Mutex<Option<Arc<str>>>,
}

/// What an `https` instance chose by ALPN, once known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

impl Upstream {
    /// A new upstream with a key of its own.
    #[must_use]
    pub fn new(
        service: ServiceId,
        id: InstanceId,
        address: Address,
        protocol: Protocol,
        tls: Option<Arc<ClientTls>>,
        Learned { vitals, service_vitals, since }: Learned,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let key = UpstreamKey(NEXT.fetch_add(1, Ordering::Relaxed));
        let (names, learned) = (OnceLock::new(), AtomicU8::new(0));
        Self { key, service, id, address, protocol, tls, vitals, service_vitals, since, names, learned }
    }

    /// `host:port` for logs.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.names().label
    }

    /// What it is called in `Host` and `:authority` unless the configuration says otherwise: the name its certificate
    /// is checked for if one is configured, else its host; the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.names().authority
    }

    /// The same as a header.
    #[must_use]
    pub fn host(&self) -> &HeaderValue {
        &self.names().host
    }

    /// Why no connection could be made to it, if the last one tried could not.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.names.get()?.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers, for who asks, why no connection could be made; `None`: one was.
    pub(crate) fn note_trouble(&self, why: Option<String>) {
        *self.names().trouble.lock().unwrap_or_else(PoisonError::into_inner) = why.map(Arc::from);
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let authority = authority(&self.address, self.protocol, self.tls.as_deref());
            let host = HeaderValue::from_str(authority.as_str()).unwrap_or(UNKNOWN);
            Box::new(Names { label: self.address.to_string().into(), authority, host, trouble: Mutex::default() })
        })
    }

    /// The HTTP version to expect: fixed by `http` and `h2c`, for `https` what ALPN chose last.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.protocol {
            Protocol::Http => Some(Version::H1),
            Protocol::H2c => Some(Version::H2),
            Protocol::Https => match self.learned.load(Ordering::Relaxed) {
                1 => Some(Version::H1),
                2 => Some(Version::H2),
                _ => None,
            },
        }
    }

    /// Remembers what ALPN chose.
    pub fn learn(&self, version: Version) {
        self.learned.store(if version == Version::H1 { 1 } else { 2 }, Ordering::Relaxed);
    }
}

/// What is at this address is called so, unless the configuration says otherwise.
pub(crate) fn authority(address: &Address, protocol: Protocol, tls: Option<&ClientTls>) -> Authority {
    let named = tls.filter(|_| protocol == Protocol::Https).and_then(|tls| tls.server_name.as_ref());
    let host = named.map_or_else(|| address.host.clone(), |name| Host::parse(&name.to_str()));
    let text =
        if address.port == protocol.default_port() { host.to_string() } else { format!("{host}:{}", address.port) };
    // Host names come from registries, which accept more than an authority does.
    text.parse().unwrap_or(Authority::from_static("unknown"))
}

const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_has_two_cache_lines_with_its_counts() {
        assert!(size_of::<Upstream>() + 2 * size_of::<usize>() <= 128);
    }
}
