//! A client that comes for one request: a TLS 1.3 handshake, the request over HTTP/2, the answer.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use testkit::frame::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::canned::{FRAME_HEAD, PREFACE, begin_frame, whole_frame};

const HOST: &str = "localhost";
/// For a handshake and an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects again and again.
#[derive(Clone)]
pub struct Visitor {
    connector: TlsConnector,
    to: SocketAddr,
}

impl std::fmt::Debug for Visitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visitor").field("to", &self.to).finish_non_exhaustive()
    }
}

/// An open connection over which one answer came.
#[derive(Debug)]
pub struct Visit(TlsStream<TcpStream>);

impl Visitor {
    /// A client of this server. It offers X25519 alone, so that all servers do the same key exchange, and presents the
    /// ticket of an earlier visit if it may `resume`.
    ///
    /// # Panics
    /// Never: the provider has TLS 1.3.
    #[must_use]
    pub fn new(to: SocketAddr, resume: bool) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3 is there")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Self { connector: Arc::new(config).into(), to }
    }

    /// One connection, one request, one answer.
    ///
    /// # Errors
    /// If there is no whole answer in time.
    pub async fn visit(&self) -> io::Result<Visit> {
        timeout(PATIENCE, self.ask()).await?
    }

    async fn ask(&self) -> io::Result<Visit> {
        let tcp = TcpStream::connect(self.to).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let mut tls = self.connector.connect(name, tcp).await?;
        tls.write_all(&request()).await?;
        tls.flush().await?;
        let mut input = BytesMut::with_capacity(4096);
        loop {
            while let Some((length, kind, flags, stream)) = whole_frame(&input) {
                input.advance(FRAME_HEAD + length);
                match kind {
                    HEADERS | DATA if stream == 1 && flags & END_STREAM != 0 => return Ok(Visit(tls)),
                    RST_STREAM | GOAWAY => return Err(io::ErrorKind::ConnectionReset.into()),
                    _ => {}
                }
            }
            if tls.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Visit {
    /// Whether its handshake was shortened by a ticket.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Says goodbye.
    pub async fn end(mut self) {
        // The server may have closed first; the visit is over either way.
        self.0.shutdown().await.ok();
    }
}

/// The preface and `GET /` on stream 1, in HPACK's static table but for the authority.
fn request() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    begin_frame(&mut bytes, 0, SETTINGS, 0, 0);
    let fields = [&[0x82, 0x87, 0x84, 0x41, HOST.len() as u8], HOST.as_bytes()].concat();
    begin_frame(&mut bytes, fields.len(), HEADERS, END_STREAM | END_HEADERS, 1);
    bytes.extend_from_slice(&fields);
    bytes
}

/// Verifies nothing: the client shall not spend the machine's time on it.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
