//! The credentials of a pod, as a kubelet mounts and renews them: a process in a mount namespace of its own, in front of a
//! recorded API server with TLS. Needs root.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::{Certs, Instance, Reply, eventually};

use super::replay::recorded;
use crate::{
    discover::rig::admin,
    operate::process::{Process, binary},
    registry::skipped,
};

/// Puts the folder `$1` where pods have their service account, and becomes the rest.
const POD: &str = "mount -t tmpfs none /var/run && mkdir -p /var/run/secrets/kubernetes.io && \
                   ln -s \"$1\" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec \"$@\"";

/// Whether we may make a mount namespace.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/var/run"]).output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        skipped("pod", "only root may mount its service account");
    }
    may
}

/// An API server that knows some tokens.
struct Server {
    instance: Instance,
    tokens: Arc<Mutex<Tokens>>,
}

#[derive(Default)]
struct Tokens {
    valid: BTreeSet<String>,
    /// Every one that was shown, and whether it was valid.
    shown: Vec<(String, bool)>,
}

impl Server {
    async fn start(certs: &Certs) -> Self {
        let tokens = Arc::<Mutex<Tokens>>::default();
        let known = Arc::clone(&tokens);
        let instance = Instance::https(certs).alpn(&["http/1.1"]).answer(move |seen| {
            let token = seen.header("authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned();
            let valid = known.lock().unwrap().shows(token);
            let json = |status| Reply::status(status).header("content-type", "application/json");
            if !valid {
                json(401).data(recorded("invalid token").body)
            } else if seen.uri.query().is_some_and(|query| query.contains("watch=1")) {
                // It says nothing, and ends in order.
                Reply::status(200).wait(Duration::from_millis(300))
            } else {
                assert!(
                    seen.path().contains("/namespaces/default/endpointslices"),
                    "the pod's own namespace: {seen:?}"
                );
                json(200).data(recorded("list").body)
            }
        });
        Self { instance: instance.start().await, tokens }
    }

    fn accepts(&self, tokens: &[&str]) {
        self.tokens.lock().unwrap().valid = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    fn took(&self, token: &str) -> bool {
        self.tokens.lock().unwrap().shown.iter().any(|(shown, valid)| *valid && shown == token)
    }

    fn refused(&self) -> usize {
        self.tokens.lock().unwrap().shown.iter().filter(|(_, valid)| !valid).count()
    }
}

impl Tokens {
    fn shows(&mut self, token: String) -> bool {
        let valid = self.valid.contains(&token);
        self.shown.push((token, valid));
        valid
    }
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
    let server = Server::start(&certs).await;
    let (account, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::copy(certs.ca(), account.path().join("ca.crt")).unwrap();
    fs::write(account.path().join("namespace"), "default").unwrap();
    fs::write(account.path().join("token"), "one\n").unwrap();
    server.accepts(&["one"]);
    let (place, own, address) = (account.path().to_owned(), folder.path().to_owned(), server.instance.addr());
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
