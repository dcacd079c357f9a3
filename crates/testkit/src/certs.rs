//! Certificates, made anew for every test: a CA, what it signs, and the rustls configurations that trust it.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;

/// A certificate authority with a directory of its own, which is removed with it. Keys are ECDSA P-256.
///
/// ```
/// let certs = testkit::Certs::new();
/// let identity = certs.issue(&["petstore.internal", "127.0.0.1"]);
/// assert!(identity.chain.exists() && identity.key.exists() && certs.ca().exists());
/// ```
#[derive(Debug)]
pub struct Certs {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    issued: AtomicUsize,
}

/// A certificate with its key, in memory and as PEM files.
#[derive(Debug)]
pub struct Identity {
    /// The PEM file of the certificate.
    pub chain: PathBuf,
    /// The PEM file of the private key (PKCS#8).
    pub key: PathBuf,
    certificate: CertificateDer<'static>,
    key_der: Vec<u8>,
}

/// The names every [`crate::Instance`] with TLS has, whatever else it is given.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Certs {
    /// A new authority.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("pointsman-certs-").tempdir().expect("a temporary directory");
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a CA certificate");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("ca.pem is written");
        let root = certificate.der().clone();
        Self { directory, issuer: Issuer::new(params, key), root, issued: AtomicUsize::new(0) }
    }

    /// The PEM file of the authority, for a `ca` key in a configuration.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The directory of all files of this authority.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A server certificate for these DNS names and IP addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, |_| {})
    }

    /// A client certificate for this name.
    #[must_use]
    pub fn issue_client(&self, name: &str) -> Identity {
        self.sign(&[name], ExtendedKeyUsagePurpose::ClientAuth, |_| {})
    }

    /// A server certificate that ceased to be valid years ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        })
    }

    /// A client configuration that trusts this authority alone, offers `alpn` in that order (none: no ALPN) and shows
    /// `identity` to a server that asks.
    #[must_use]
    pub fn client_config(&self, alpn: &[&str], identity: Option<&Identity>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(self.roots());
        let mut config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(vec![identity.certificate.clone()], identity.private_key())
                .expect("the client's key fits its certificate"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// A server configuration; with `client_certificates`, a client without one of this authority is refused.
    #[must_use]
    pub fn server_config(&self, identity: &Identity, alpn: &[&str], client_certificates: bool) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3");
        let builder = if client_certificates {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
            builder.with_client_cert_verifier(verifier.build().expect("one root"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(vec![identity.certificate.clone()], identity.private_key())
            .expect("the server's key fits its certificate");
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// The root store with this authority alone.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("our own root");
        roots
    }

    fn sign(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let key = KeyPair::generate().expect("a P-256 key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let common_name = names.first().cloned().unwrap_or_else(|| format!("certificate {number}"));
        let mut params = CertificateParams::new(names).expect("DNS names or IP addresses");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        adjust(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        let chain = self.directory.path().join(format!("{number}.pem"));
        let key_file = self.directory.path().join(format!("{number}-key.pem"));
        std::fs::write(&chain, certificate.pem()).expect("the certificate is written");
        std::fs::write(&key_file, key.serialize_pem()).expect("the key is written");
        Identity { chain, key: key_file, certificate: certificate.der().clone(), key_der: key.serialize_der() }
    }
}

impl Default for Certs {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// The certificate, to compare with what a peer showed.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Puts the files of `other` in the place of ours, each by an atomic rename, as a certificate agent does. What
    /// [`Identity::certificate`] says stays as it was.
    pub fn overwrite_files_with(&self, other: &Self) {
        for (from, to) in [(&other.key, &self.key), (&other.chain, &self.chain)] {
            let staged = to.with_extension("next");
            std::fs::copy(from, &staged).expect("the new file is copied");
            std::fs::rename(&staged, to).expect("the new file takes its place");
        }
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }
}

/// The server name to verify: an IP address if it reads as one, else a DNS name.
pub(crate) fn server_name(name: &str) -> rustls::pki_types::ServerName<'static> {
    match name.parse::<IpAddr>() {
        Ok(ip) => rustls::pki_types::ServerName::IpAddress(ip.into()),
        Err(_) => name.to_owned().try_into().expect("a DNS name"),
    }
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
