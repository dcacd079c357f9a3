//! TLS settings of the client: read once, compiled into rustls' configuration.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::ClientError;

/// Whom to trust and who we are, as an operator writes it: a part of the settings of all that we connect to. The default
/// trusts the system's certificate authorities and shows no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM file with the certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate chain; needs `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the key of the client certificate.
    pub client_key: Option<PathBuf>,
    /// The name the server's certificate must carry; the host of the URL without it.
    pub server_name: Option<String>,
}

impl TlsSettings {
    /// Reads the files and offers these protocols.
    pub(super) fn compile(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, ClientError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| ClientError::Settings(format!("TLS: {e}")))?
            .with_root_certificates(self.roots()?);
        let mut config = match (&self.client_certificate, &self.client_key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let certificates = certificates(chain)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("client key", key, &e))?;
                builder.with_client_auth_cert(certificates, secret).map_err(|e| {
                    ClientError::Settings(format!(
                        "client certificate {} and key {} do not work together: {e}",
                        chain.display(),
                        key.display()
                    ))
                })?
            }
            (Some(_), None) => return Err(ClientError::Settings("client_certificate needs client_key".into())),
            (None, Some(_)) => return Err(ClientError::Settings("client_key needs client_certificate".into())),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.ca {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| unreadable("CA", file, &e))?;
            }
        } else {
            // Single broken files in the system's store are the system's affair; an empty store shows itself as
            // `UnknownIssuer` with its remedy.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(roots)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable("certificate file", file, &e))?;
    if found.is_empty() {
        return Err(ClientError::Settings(format!("{} holds no PEM certificate", file.display())));
    }
    Ok(found)
}

fn unreadable(what: &str, file: &Path, cause: &dyn std::error::Error) -> ClientError {
    ClientError::Settings(format!("cannot use {what} {}: {}", file.display(), super::error::chain(cause)))
}

/// What to do about a failed handshake.
pub(super) fn remedy(error: &std::io::Error) -> &'static str {
    use rustls::{CertificateError as Bad, Error};
    match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            "name the certificate authority that signed the server's certificate as `ca`"
        }
        Some(Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
            "set `server_name` to a name the server's certificate carries"
        }
        Some(Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "renew the server's certificate, or set this machine's clock"
        }
        Some(Error::InvalidMessage(_)) => {
            "the server does not speak TLS on this port: check the port, or connect without TLS (http://)"
        }
        _ => "check that the server speaks TLS on this port, and its log",
    }
}
