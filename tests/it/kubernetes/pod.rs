//! The credentials of a pod, as a kubelet mounts and renews them: a process in a mount namespace of its own, in front of a
//! recorded API server with TLS. Needs root.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::{Certs, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::replay::recorded;
use crate::{
    discover::rig::admin,
    operate::process::{Process, binary},
};

/// Puts the folder `$1` where pods have their service account, and becomes the rest.
const POD: &str = "mount -t tmpfs none /var/run && mkdir -p /var/run/secrets/kubernetes.io && \
                   ln -s \"$1\" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec \"$@\"";

/// Whether we may make a mount namespace.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/var/run"]).output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        // Past the test harness, which hides what passing tests print.
        drop(writeln!(std::io::stderr(), "skipped: the service account of a pod; root may mount one"));
    }
    may
}

/// An API server that knows some tokens.
#[derive(Debug, Default)]
struct Server {
    valid: Mutex<BTreeSet<String>>,
    /// Every token that was shown, and whether it was valid.
    shown: Mutex<Vec<(String, bool)>>,
}

impl Server {
    async fn start(certs: &Certs) -> (Arc<Self>, SocketAddr) {
        let server = Arc::<Self>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(certs.server_config(&certs.issue(&["127.0.0.1"]), &["http/1.1"], false));
        let all = Arc::clone(&server);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, server) = (acceptor.clone(), Arc::clone(&all));
                tokio::spawn(async move { drop(server.serve(acceptor, stream).await) });
            }
        });
        (server, address)
    }

    async fn serve(&self, acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = acceptor.accept(stream).await?;
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap();
            let token = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("authorization").then(|| value.trim_start_matches("Bearer ").to_owned())
            });
            let token = token.unwrap_or_default();
            let valid = self.valid.lock().unwrap().contains(&token);
            self.shown.lock().unwrap().push((token, valid));
            let text = if !valid {
                whole(401, &recorded("invalid token").body)
            } else if head.contains("watch=1") {
                // It says nothing, and ends in order.
                tokio::time::sleep(Duration::from_millis(300)).await;
                "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()
            } else {
                assert!(head.contains("/namespaces/default/endpointslices"), "the pod's own namespace: {head}");
                whole(200, &recorded("list").body)
            };
            stream.write_all(text.as_bytes()).await?;
        }
    }

    fn accepts(&self, tokens: &[&str]) {
        *self.valid.lock().unwrap() = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    fn took(&self, token: &str) -> bool {
        self.shown.lock().unwrap().iter().any(|(shown, valid)| *valid && shown == token)
    }

    fn refused(&self) -> usize {
        self.shown.lock().unwrap().iter().filter(|(_, valid)| !valid).count()
    }
}

fn whole(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// As a kubelet does: in one step.
fn renew(account: &Path, token: &str) {
    fs::write(account.join("next"), token).unwrap();
    fs::rename(account.join("next"), account.join("token")).unwrap();
}

fn start(account: &Path, folder: &Path, server: SocketAddr) -> Process {
    let file = folder.join("router.yml");
    let text = "listeners: [ { address: 127.0.0.1:0 } ]\nadmin: { address: 127.0.0.1:0 }\n\
                discovery: { directory: null }\nregistries: { cluster: { kubernetes: { wait: 5s } } }\n\
                routes: [ { prefix: /, service: orders } ]\n";
    fs::write(&file, text).unwrap();
    let mut pod = Command::new("unshare");
    pod.args(["-m", "sh", "-c", POD, "sh"]).args([account, binary()]).args(["run", "--config"]).arg(file);
    pod.env("KUBERNETES_SERVICE_HOST", server.ip().to_string());
    pod.env("KUBERNETES_SERVICE_PORT", server.port().to_string());
    Process::spawn(pod.current_dir(folder))
}

#[tokio::test]
async fn the_service_account_of_a_pod_is_used_and_its_new_tokens_are_followed() {
    if !may_mount() {
        return;
    }
    let certs = Certs::new();
    let (server, address) = Server::start(&certs).await;
    let (account, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::copy(certs.ca(), account.path().join("ca.crt")).unwrap();
    fs::write(account.path().join("namespace"), "default").unwrap();
    fs::write(account.path().join("token"), "one\n").unwrap();
    server.accepts(&["one"]);
    let (place, own) = (account.path().to_owned(), folder.path().to_owned());
    let router = tokio::task::spawn_blocking(move || start(&place, &own, address)).await.unwrap();
    let reached = router.ready().await;
    let instance = async || {
        let table = admin(reached.admin, "/table/orders").await.json();
        table["members"][0]["address"].as_str().map(str::to_owned)
    };
    let expected = Some("10.2.0.1:8443".to_owned());
    assert_eq!(instance().await, expected);

    // A token is replaced long before the old one ends.
    server.accepts(&["one", "two"]);
    renew(account.path(), "two");
    eventually("the new token is shown", || server.took("two")).await;
    assert_eq!(server.refused(), 0, "nobody noticed");

    // This one ended before, and so did the connections.
    renew(account.path(), "three");
    server.accepts(&["three"]);
    eventually("the next token is shown", || server.took("three")).await;
    assert_eq!(instance().await, expected);
}
