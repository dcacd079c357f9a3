//! TLS to instances.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{TlsError, chain, key, provider, roots};

/// How the instances of one service prove who they are, and how we do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trust {
    /// PEM file of the certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name to send and verify instead of the instance's host.
    pub server_name: Option<String>,
    /// PEM files of our certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// False accepts any certificate. For development only.
    pub verify: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self { ca: None, server_name: None, identity: None, verify: true }
    }
}

/// TLS to the instances of one service. Equal if settings and file contents are, so that an unchanged service keeps
/// its connections over a reload.
#[derive(Debug)]
pub struct ClientTls {
    /// The rustls configuration; ALPN offers `h2` and `http/1.1`.
    pub config: Arc<ClientConfig>,
    /// The name to verify and send; `None` takes the instance's host.
    pub server_name: Option<ServerName<'static>>,
    /// Equal settings and equal file contents give equal fingerprints, within one process.
    pub fingerprint: u64,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}
impl Eq for ClientTls {}

impl ClientTls {
    /// Reads the files and compiles the configuration.
    ///
    /// # Errors
    /// If a file cannot be read or used; the text says which and what to do.
    pub fn new(trust: &Trust) -> Result<Self, TlsError> {
        let server_name = trust.server_name.as_ref().map(|name| {
            ServerName::try_from(name.clone())
                .map_err(|_| TlsError(format!("{name:?} is not a host name or IP address a certificate can carry")))
        });
        let server_name = server_name.transpose()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(e.to_string()))?;
        let builder = if trust.verify {
            builder.with_root_certificates(roots(trust.ca.as_deref())?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone))
        };
        let mut config = match &trust.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, secret)) => {
                builder.with_client_auth_cert(chain(certificate)?, key(secret)?).map_err(|e| {
                    TlsError(format!("{} and {} do not belong together: {e}", certificate.display(), secret.display()))
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), server_name, fingerprint: fingerprint(trust) })
    }
}

/// Hashes settings and file contents with keys drawn once per process.
fn fingerprint(trust: &Trust) -> u64 {
    static KEYS: std::sync::OnceLock<std::collections::hash_map::RandomState> = std::sync::OnceLock::new();
    let mut hasher = KEYS.get_or_init(Default::default).build_hasher();
    trust.hash(&mut hasher);
    let identity = trust.identity.as_ref();
    for file in trust.ca.iter().chain(identity.map(|i| &i.0)).chain(identity.map(|i| &i.1)) {
        std::fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

/// Accepts any certificate, but still checks that the peer has its key.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
