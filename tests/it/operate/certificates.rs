//! Certificates that are renewed on disk, on both sides of the router.

use std::{fs, net::SocketAddr, sync::Arc};

use router::{
    Router, Start,
    control::{Origin, Overrides},
};
use rustls::{ClientConfig, HandshakeKind, pki_types::ServerName};
use testkit::{Certs, Client, Identity, Instance, bounded, get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::told;

/// The certificate a new connection is shown.
async fn shown(router: SocketAddr, certs: &Certs) -> Vec<u8> {
    let connector = TlsConnector::from(certs.client_config(&["h2"], None));
    let stream = TcpStream::connect(router).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = bounded("a handshake", connector.connect(name, stream)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Waits until new connections are shown this one.
async fn until_shown(router: SocketAddr, certs: &Certs, identity: &Identity) {
    let wanted = async {
        while shown(router, certs).await != identity.certificate().to_vec() {
            tokio::task::yield_now().await;
        }
    };
    bounded("new connections see the new certificate", wanted).await;
}

struct Stage {
    certs: Certs,
    own: Identity,
    router: Router,
    _folder: tempfile::TempDir,
}

/// A router whose file names a certificate, and an instance that shows one of the same authority.
async fn stage(instance: &str, certs: Certs) -> Stage {
    let own = certs.issue(&["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    let text = format!(
        "listeners: [ {{ address: 127.0.0.1:0, tls: {{ certificates: [ {{ chain: {:?}, key: {:?} }} ] }} }} ]\n\
         admin: {{ address: 127.0.0.1:0 }}\nthreads: 2\naccess_log: {{ format: off }}\n\
         registries: {{ direct: {{ static: {{ services: {{ pets: {instance:?} }} }} }} }}\n\
         services: {{ pets: {{ warm_hold: off, tls: {{ ca: {:?} }} }} }}\nroutes: [ {{ prefix: /, service: pets }} ]\n",
        own.chain,
        own.key,
        certs.ca()
    );
    fs::write(&file, text).unwrap();
    let origin = Origin::File(file);
    let router = Router::start(Start { origin, overrides: Overrides::default(), log: None }).unwrap();
    Stage { certs, own, router, _folder: folder }
}

#[tokio::test]
async fn new_connections_see_a_renewed_certificate_and_old_ones_live_on() {
    let certs = Certs::new();
    let instance = Instance::https(&certs).start().await;
    let Stage { certs, own, router, _folder } = stage(&instance.url(), certs).await;
    let address = router.addresses().clients[0].0;
    assert_eq!(shown(address, &certs).await, own.certificate().to_vec());
    let old = Client::https(address, &certs.client_config(&["h2"], None), "localhost").await;
    assert_eq!(old.send(get("/", &[])).await.status, 200);

    let renewed = certs.issue(&["localhost"]);
    own.overwrite_files_with(&renewed);
    until_shown(address, &certs, &renewed).await;
    assert_eq!(old.send(get("/", &[])).await.status, 200);

    // A key that does not fit, then a file that is none: the pair that works stays, and the error names the file.
    for broken in [fs::read(&certs.issue(&["localhost"]).key).unwrap(), b"no key".to_vec()] {
        fs::write(&own.key, broken).unwrap();
        let error = router.reload().await.unwrap_err().to_string();
        assert!(error.contains("listeners[0].tls.certificates[0]"), "{error}");
        assert!(error.contains(&*own.key.to_string_lossy()) || error.contains("does not fit"), "{error}");
        assert_eq!(shown(address, &certs).await, renewed.certificate().to_vec());
    }
    assert_eq!(old.send(get("/", &[])).await.status, 200);

    let last = certs.issue(&["localhost"]);
    own.overwrite_files_with(&last);
    until_shown(address, &certs, &last).await;
    assert_eq!(old.send(get("/", &[])).await.status, 200);
    assert_eq!(instance.counts().connections(), 1, "instances did not notice");
}

/// linkerd 10406.
#[tokio::test]
async fn a_renewed_authority_of_instances_is_followed() {
    let certs = Certs::new();
    let other = Certs::new();
    // The instance will show a certificate that the authority in the file did not sign.
    let instance = Instance::https(&other).start().await;
    let Stage { certs, router, _folder, .. } = stage(&instance.url(), certs).await;
    let address = router.addresses().clients[0].0;
    let config: Arc<_> = certs.client_config(&["h2"], None);
    let client = Client::https(address, &config, "localhost").await;
    let refused = client.send(get("/", &[])).await;
    assert_eq!(told(&refused), (502, Some("connect")));
    let bundle = [fs::read(certs.ca()).unwrap(), fs::read(other.ca()).unwrap()].concat();
    fs::write(certs.ca(), bundle).unwrap();
    let followed = async { while client.send(get("/", &[])).await.status != 200 {} };
    bounded("instances of the new authority are trusted", followed).await;
}

/// Connections go to the cores in turn: a ticket that only one core can read costs every second client that comes back a
/// whole handshake.
#[tokio::test]
async fn a_session_goes_on_at_whichever_core_and_after_a_certificate_was_renewed() {
    let certs = Certs::new();
    let instance = Instance::https(&certs).start().await;
    let Stage { certs, own, router, _folder } = stage(&instance.url(), certs).await;
    let address = router.addresses().clients[0].0;
    let client = certs.client_config(&["http/1.1"], None);
    let mut held = vec![session(address, &client, HandshakeKind::Full).await];
    for _ in 0..4 {
        held.push(session(address, &client, HandshakeKind::Resumed).await);
    }
    let renewed = certs.issue(&["localhost"]);
    own.overwrite_files_with(&renewed);
    until_shown(address, &certs, &renewed).await;
    for _ in 0..4 {
        held.push(session(address, &client, HandshakeKind::Resumed).await);
    }
}

/// Connects, and takes the ticket that comes with the first answer.
async fn session(router: SocketAddr, client: &Arc<ClientConfig>, expected: HandshakeKind) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(router).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::clone(client)).connect(name, stream);
    let mut stream = bounded("a handshake", connecting).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_ne!(bounded("an answer", stream.read(&mut [0; 4096])).await.unwrap(), 0);
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
    stream
}
