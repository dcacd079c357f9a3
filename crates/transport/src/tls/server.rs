//! TLS from clients: several certificates by server name, tickets shared by all cores and kept over reloads.

use std::{collections::HashMap, path::Path, sync::Arc, time::SystemTime};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{TlsError, chain, expiry, key, provider};

/// One certificate with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    expires: Option<SystemTime>,
}

impl Identity {
    /// Reads chain and key from PEM files.
    ///
    /// # Errors
    /// If a file cannot be read, or the two do not belong together.
    pub fn from_files(chain_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        Self::new(chain(chain_file)?, key(key_file)?).map_err(|e| {
            TlsError(format!("{} and {} cannot be used together: {e}", chain_file.display(), key_file.display()))
        })
    }

    /// A certificate made in this process.
    ///
    /// # Errors
    /// If the two do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        let expires = chain.first().and_then(|certificate| expiry::not_after(certificate));
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| TlsError(words(&e)))?;
        let names = match certified.end_entity_cert() {
            Ok(certificate) => webpki::EndEntityCert::try_from(certificate)
                .map_err(|e| TlsError(format!("not a usable certificate: {}", words_of_certificate(&e))))?
                .valid_dns_names()
                .map(str::to_ascii_lowercase)
                .collect(),
            Err(error) => return Err(TlsError(error.to_string())),
        };
        Ok(Self { certified: Arc::new(certified), names, expires })
    }

    /// Until when the certificate holds, if that can be read.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }
}

/// What a library's error means, where its words are those of a programmer.
fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key is not the one the certificate was made for; name the two that were made together".to_owned()
        }
        rustls::Error::InvalidCertificate(_) => {
            format!("not a usable certificate: {error}; it must be X.509 version 3")
        }
        other => other.to_string(),
    }
}

fn words_of_certificate(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnsupportedCertVersion => {
            "it is not of X.509 version 3, as clients want it; make one with subjectAltName".to_owned()
        }
        other => other.to_string(),
    }
}

/// Encrypts session tickets. One for the whole process: a client may come back to any core, also after a reload.
#[derive(Debug, Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// Fresh keys, which rotate by themselves.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new() -> Result<Self, TlsError> {
        rustls::crypto::aws_lc_rs::Ticketer::new().map(Self).map_err(|e| TlsError(e.to_string()))
    }
}

/// TLS settings of one listener.
#[derive(Debug, Clone)]
pub struct ServerTls(pub Arc<ServerConfig>);

impl ServerTls {
    /// Serves these certificates; the first also serves clients that name none or an unknown server.
    ///
    /// # Errors
    /// If there is no certificate.
    pub fn new(identities: &[Identity], tickets: &Tickets) -> Result<Self, TlsError> {
        let store = Store::new(identities)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(store));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(&tickets.0);
        // One ticket: each costs an encryption and a record per handshake, and clients use one.
        config.send_tls13_tickets = 1;
        Ok(Self(Arc::new(config)))
    }
}

/// Certificates by server name: exact, then one wildcard label, then the first.
#[derive(Debug)]
struct Store {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl Store {
    fn new(identities: &[Identity]) -> Result<Self, TlsError> {
        let Some(first) = identities.first() else { return Err(TlsError("a TLS listener needs a certificate".into())) };
        let mut by_name = HashMap::new();
        for identity in identities {
            for name in &identity.names {
                by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&identity.certified));
            }
        }
        Ok(Self { by_name, first: Arc::clone(&first.certified) })
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        // rustls hands the name over in lower case.
        self.by_name.get(name).or_else(|| {
            let (_, domain) = name.split_once('.')?;
            self.by_name.get(&format!("*.{domain}"))
        })
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(named.unwrap_or(&self.first)))
    }
}
