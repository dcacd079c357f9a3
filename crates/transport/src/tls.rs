//! TLS on both sides of the data path. Compiled per plan: a new certificate is a new plan.

mod client;
mod expiry;
mod server;

use std::{path::Path, sync::Arc, sync::OnceLock};

use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

pub use client::{ClientTls, Trust};
pub use server::{Identity, ServerTls, Tickets};

/// A TLS setting that cannot be used: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// aws-lc-rs, the only crypto provider; X25519MLKEM768 is preferred where the peer has it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|e| TlsError(format!("cannot read certificates from {}: {e}", file.display())))?;
    if found.is_empty() {
        return Err(TlsError(format!("{} holds no certificate; it must be a PEM file", file.display())));
    }
    Ok(found)
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|e| {
        TlsError(format!("cannot read a private key from {}: {e}; it must be an unencrypted PEM file", file.display()))
    })
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in chain(file)? {
                roots
                    .add(certificate)
                    .map_err(|e| TlsError(format!("{} is not a usable CA certificate: {e}", file.display())))?;
            }
        }
        // A single unreadable file of the system's is not ours to judge; an empty store fails every handshake with
        // UnknownIssuer.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}
