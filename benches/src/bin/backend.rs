//! Instances for a comparison: canned answers over HTTP/2 and HTTP/1.1, in clear text or TLS.
#![allow(clippy::expect_used, reason = "a program that serves or ends")]

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use benches::canned::{Canned, serve};
use clap::Parser;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
};
use tokio_rustls::TlsAcceptor;
use transport::tls::{Identity, ServerTls, Tickets};

/// The router's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BACKLOG: u32 = 4096;

/// Answers every request with the same bytes.
#[derive(Debug, Parser)]
struct Options {
    /// Listens here in clear text: HTTP/1.1, and HTTP/2 by prior knowledge.
    #[arg(long)]
    clear: Vec<SocketAddr>,
    /// Listens here with TLS: HTTP/2 or HTTP/1.1 by ALPN.
    #[arg(long)]
    tls: Vec<SocketAddr>,
    /// Bytes of each answer.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// PEM file of the certificate.
    #[arg(long, required_unless_present = "clear")]
    chain: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, required_unless_present = "clear")]
    key: Option<PathBuf>,
}

fn main() {
    let options = Options::parse();
    let acceptor = options.chain.as_ref().zip(options.key.as_ref()).map(|(chain, key)| {
        let identity = Identity::from_files(chain, key).expect("a certificate and its key");
        let tickets = Tickets::new().expect("randomness");
        TlsAcceptor::from(ServerTls::new(&[identity], &tickets).expect("one certificate").0)
    });
    let canned = Arc::new(Canned::new(options.body));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for address in options.clear {
            tokio::spawn(accept(listen(address), None, canned.clone()));
        }
        for address in options.tls {
            let acceptor = acceptor.clone().expect("--tls needs --chain and --key");
            tokio::spawn(accept(listen(address), Some(acceptor), canned.clone()));
        }
        std::future::pending::<()>().await;
    });
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket.listen(BACKLOG).expect("a listener")
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, canned: Arc<Canned>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).ok();
        let (acceptor, canned) = (acceptor.clone(), canned.clone());
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, &canned).await,
                Some(acceptor) => {
                    let mut stream = acceptor.accept(stream).await?;
                    stream.get_mut().1.set_buffer_limit(Some(1 << 20));
                    Box::pin(serve(stream, &canned)).await
                }
            }
        });
    }
}
