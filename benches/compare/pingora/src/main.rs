//! The least reverse proxy on Pingora: TLS in, round robin over a fixed list of instances out.
//!
//! `pingora-ref --listen IP:PORT --cert FILE --key FILE --up h2c|h2|h1 --backend IP:PORT...`

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use pingora::{
    listeners::tls::TlsSettings, prelude::*, protocols::ALPN, server::configuration::ServerConf,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Proxy {
    backends: Vec<SocketAddr>,
    next: AtomicUsize,
    up: String,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.backends.len();
        let mut peer = HttpPeer::new(self.backends[number], self.up == "h2", "localhost".to_owned());
        peer.options.alpn = if self.up == "h1" { ALPN::H1 } else { ALPN::H2 };
        peer.options.max_h2_streams = 256;
        peer.options.verify_cert = false;
        peer.options.verify_hostname = false;
        Ok(Box::new(peer))
    }
}

fn main() {
    let (mut listen, mut cert, mut key) = (String::new(), String::new(), String::new());
    let (mut backends, mut up) = (Vec::new(), String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().expect("a value for each option");
        match option.as_str() {
            "--listen" => listen = value,
            "--cert" => cert = value,
            "--key" => key = value,
            "--up" => up = value,
            "--backend" => backends.push(value.parse().expect("IP:PORT")),
            _ => panic!("unknown option {option}"),
        }
    }
    let settings = ServerConf { threads: 1, upstream_keepalive_pool_size: 512, ..Default::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let proxy = Proxy { backends, next: AtomicUsize::new(0), up };
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), proxy);
    let mut tls = TlsSettings::intermediate(&cert, &key).expect("a certificate and its key");
    tls.enable_h2();
    service.add_tls_with_settings(&listen, None, tls);
    server.add_service(service);
    server.run_forever();
}
