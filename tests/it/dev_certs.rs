//! `certs/make-dev-certs`: what it writes is what both sides of a TLS connection accept.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn run(arguments: &[&str], directory: &Path) -> Option<Output> {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl is not installed");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs/make-dev-certs");
    Some(Command::new(script).arg("-d").arg(directory).args(arguments).output().expect("the script runs"))
}

#[tokio::test]
async fn both_sides_accept_what_the_script_makes() {
    let directory = tempfile::tempdir().unwrap();
    let Some(output) = run(&["petstore", "orders"], directory.path()) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (server, name) in [("router", "localhost"), ("petstore", "petstore.internal"), ("orders", "127.0.0.1")] {
        shake_hands(directory.path(), server, name).await.unwrap_or_else(|error| panic!("{server} as {name}: {error}"));
    }
    assert!(shake_hands(directory.path(), "orders", "petstore.internal").await.is_err(), "a name of another service");
}

#[tokio::test]
async fn a_second_run_keeps_the_authority_and_renews_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let files =
        || ["ca.pem", "ca-key.pem", "router.pem"].map(|name| std::fs::read(directory.path().join(name)).unwrap());
    if run(&[], directory.path()).is_none() {
        return;
    }
    let before = files();
    assert!(run(&[], directory.path()).is_some_and(|output| output.status.success()));
    let after = files();
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
    shake_hands(directory.path(), "petstore", "petstore").await.unwrap();
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["Petstore", "../petstore", "router", ""] {
        let Some(output) = run(&[name], directory.path()) else { return };
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(name), "the message names it");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A handshake in memory between `server` and a client that verifies `name` and shows `client.pem`.
async fn shake_hands(directory: &Path, server: &str, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("ca.pem"))?)?;
    let pair = |who: &str| -> Result<_, Box<dyn std::error::Error>> {
        let certificate = CertificateDer::from_pem_file(directory.join(format!("{who}.pem")))?;
        Ok((vec![certificate], PrivateKeyDer::from_pem_file(directory.join(format!("{who}-key.pem")))?))
    };
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider)).build()?;
    let (chain, key) = pair(server)?;
    let accepting = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let (chain, key) = pair("client")?;
    let connecting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    /// More than a handshake.
    const BUFFER: usize = 64 * 1024;
    let (near, far) = tokio::io::duplex(BUFFER);
    let name = ServerName::try_from(name.to_owned())?;
    let (connected, accepted) = tokio::join!(
        TlsConnector::from(Arc::new(connecting)).connect(name, near),
        TlsAcceptor::from(Arc::new(accepting)).accept(far),
    );
    connected?;
    accepted?;
    Ok(())
}
