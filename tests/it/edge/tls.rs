//! TLS: which certificate, which version, which protocol; and what is said to those who speak none.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use testkit::{Client, Identity, Instance, Socket, get};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Config, Running};

#[tokio::test]
async fn alpn_chooses_http_2_then_http_1_and_none_means_http_1() {
    let router = Config::new().start();
    let offers = [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..]), true),
        (&["http/1.1", "h2"], Some(b"h2"), true),
        (&["http/1.1"], Some(b"http/1.1"), false),
        (&[], None, false),
    ];
    for (offer, expected, h2) in offers {
        let config = router.certs.client_config(offer, None);
        let stream = shake(&router, &config, "localhost").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), expected, "{offer:?}");
        let client = Client::https(router.tls(), &config, "localhost").await;
        assert_eq!(client.is_h2(), h2, "{offer:?}");
        assert_eq!(client.send(get("/", &[])).await.status, 404, "{offer:?}");
    }
}

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name_asked_for_else_the_first() {
    let config = Config::new();
    let first = config.certs().issue(&["first.test"]);
    let exact = config.certs().issue(&["shop.wild.test"]);
    let wild = config.certs().issue(&["*.wild.test"]);
    let router = config.set("listeners", &listeners(&[&first, &exact, &wild])).start();
    for (name, expected) in [
        ("first.test", &first),
        ("shop.wild.test", &exact),
        ("SHOP.wild.test", &exact),
        ("other.wild.test", &wild),
        ("a.other.wild.test", &first),
        ("wild.test", &first),
        ("unknown.test", &first),
        ("127.0.0.1", &first), // an address is no server name: none is sent
    ] {
        let stream = shake(&router, &curious(&rustls::version::TLS13), name).await;
        let shown = &stream.get_ref().1.peer_certificates().expect("a certificate")[0];
        assert!(shown == expected.certificate(), "{name} got another certificate");
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let router = Config::new().start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = shake(&router, &curious(version), "localhost").await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
}

#[tokio::test]
async fn plain_http_to_the_tls_port_gets_one_readable_answer() {
    let instance = Instance::http().start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    // Longer than what the router looks at: what is left unread must not cost the client the answer.
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\nX-Long: {}\r\n\r\n", "x".repeat(4000));
    for request in [&*long, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = Socket::connect(router.tls()).await;
        socket.send(request).await.unwrap();
        let answer = socket.read_response().await.expect("an answer");
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.header("x-pointsman-reason"), Some("plain_text"));
        assert!(answer.text().contains("https://"), "{}", answer.text());
        assert!(socket.is_closed_by_peer().await, "and nothing behind it");
    }
    assert_eq!(instance.counts().requests(), 0);
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_gets_no_answer() {
    let router = Config::new().start();
    let mut socket = Socket::connect(router.tls()).await;
    socket.send([0x00, 0x01, 0x02]).await.unwrap();
    assert!(socket.is_closed_by_peer().await);
}

fn listeners(identities: &[&Identity]) -> String {
    let pairs: Vec<_> = identities.iter().map(|i| format!("{{ chain: {:?}, key: {:?} }}", i.chain, i.key)).collect();
    format!("[ {{ address: 127.0.0.1:0, tls: {{ certificates: [ {} ] }} }} ]", pairs.join(", "))
}

async fn shake(router: &Running, config: &Arc<ClientConfig>, name: &str) -> TlsStream<TcpStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(router.tls()).await.unwrap();
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    testkit::bounded("a TLS handshake", handshake).await.unwrap()
}

/// A client that takes any certificate, to look at it.
fn curious(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]);
    let verifier = Arc::new(Anything(provider));
    let config = builder.unwrap().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
