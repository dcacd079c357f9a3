//! A certificate made on the spot, for listeners that name none.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use transport::tls::{Identity, TlsError};

/// A self-signed certificate for this process. Browsers and `curl` trust it only if told to.
#[derive(Debug)]
pub struct Ephemeral {
    /// For the listener.
    pub identity: Identity,
    /// The certificate as PEM, for `curl --cacert`.
    pub pem: Arc<str>,
}

impl Ephemeral {
    /// Makes one for `localhost` and the loopback addresses.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new() -> Result<Self, TlsError> {
        let failed = |error: rcgen::Error| TlsError(format!("cannot make a certificate: {error}"));
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "Pointsman, made on the spot");
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| TlsError(e.to_owned()))?;
        let identity = Identity::new(vec![certificate.der().clone()], secret)?;
        Ok(Self { identity, pem: certificate.pem().into() })
    }
}
