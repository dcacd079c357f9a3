//! A router in this process, on ports the kernel chooses, with an authority of its own.

use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use router::{
    Router, Start,
    control::{Addresses, Origin, Overrides},
};
use serde_json::Value;
use testkit::{Answer, Certs, Client, Instance, Reply, Seen, get};

/// A configuration to start a router with: the sections every test needs, each to be replaced by [`Config::set`].
///
/// Unless told otherwise: one listener in cleartext and one with TLS (a certificate for `localhost`), one core (so that
/// requests to one instance share its connections), every service exposed, `https` instances trusted if their
/// certificate is of [`Config::certs`], no access log, nothing remembered on disk.
#[derive(Debug)]
pub(crate) struct Config {
    certs: Certs,
    sections: Vec<(String, String)>,
    services: Vec<(String, Vec<String>)>,
}

/// A running router; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its authority, also that of its `https` instances.
    pub(crate) certs: Certs,
    /// The router itself.
    pub(crate) router: Router,
    addresses: Addresses,
}

/// How a client talks to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// HTTP/1.1 in cleartext.
    H1,
    /// HTTP/2 in cleartext.
    H2c,
    /// HTTP/1.1 over TLS.
    H1Tls,
    /// HTTP/2 over TLS.
    H2Tls,
}

/// What an instance speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// HTTP/1.1 in cleartext.
    H1,
    /// HTTP/2 in cleartext.
    H2c,
    /// HTTP/1.1 over TLS.
    H1Tls,
    /// HTTP/2 over TLS.
    H2Tls,
}

impl Front {
    pub(crate) const ALL: [Self; 4] = [Self::H1, Self::H2c, Self::H1Tls, Self::H2Tls];

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::H1Tls | Self::H2Tls)
    }
}

impl Back {
    pub(crate) const ALL: [Self; 4] = [Self::H1, Self::H2c, Self::H1Tls, Self::H2Tls];

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }

    /// The service of the instance of this kind in a [`Matrix`].
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2c => "h2c",
            Self::H1Tls => "h1tls",
            Self::H2Tls => "h2tls",
        }
    }

    /// An instance that speaks this.
    pub(crate) fn instance(self, certs: &Certs) -> testkit::instance::Builder<'_> {
        match self {
            Self::H1 => Instance::http(),
            Self::H2c => Instance::h2c(),
            Self::H1Tls => Instance::https(certs).alpn(&["http/1.1"]),
            Self::H2Tls => Instance::https(certs),
        }
    }
}

// === Config ===
impl Config {
    pub(crate) fn new() -> Self {
        let certs = Certs::new();
        let own = certs.issue(&["localhost", "127.0.0.1"]);
        let certificate = format!("{{ chain: {:?}, key: {:?} }}", own.chain, own.key);
        let config = Self { sections: Vec::new(), services: Vec::new(), certs };
        let ca = format!(r#"{{ "*": {{ tls: {{ ca: {:?} }} }} }}"#, config.certs.ca());
        config
            .set(
                "listeners",
                &format!(
                    "[ {{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, tls: {{ certificates: [ {certificate} ] }} }} ]"
                ),
            )
            .set("admin", "{ address: 127.0.0.1:0 }")
            .set("threads", "1")
            .set("access_log", "{ format: off }")
            .set("discovery", "{ directory: null }")
            .set("expose", "{ all: true }")
            .set("services", &ca)
    }

    /// The authority whose certificates the router trusts.
    pub(crate) fn certs(&self) -> &Certs {
        &self.certs
    }

    /// Sets a top-level section, in the place of an earlier one of this name. `value` is YAML in its flow form, or a
    /// block that begins with a newline.
    pub(crate) fn set(mut self, section: &str, value: &str) -> Self {
        self.sections.retain(|(name, _)| name != section);
        self.sections.push((section.to_owned(), value.to_owned()));
        self
    }

    /// Lists a service with these URLs in a static registry; the name may be `service|tag`.
    pub(crate) fn service(mut self, name: &str, urls: &[String]) -> Self {
        self.services.push((name.to_owned(), urls.to_vec()));
        self
    }

    /// The whole file.
    pub(crate) fn yaml(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.sections {
            writeln!(text, "{name}: {value}").unwrap();
        }
        if !self.services.is_empty() {
            text.push_str("registries:\n  fixed:\n    static:\n      services:\n");
            for (name, urls) in &self.services {
                writeln!(text, "        {name:?}: {urls:?}").unwrap();
            }
        }
        text
    }

    /// Starts the router.
    pub(crate) fn start(self) -> Running {
        let yaml = self.yaml();
        let settings = settings::parse(&yaml, Path::new("test.yml"), &|_| None)
            .unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"));
        let origin = Origin::Given(Box::new(settings));
        let router = Router::start(Start { origin, overrides: Overrides::default(), log: None })
            .unwrap_or_else(|error| panic!("{error}\nwith\n{yaml}"));
        let addresses = router.addresses().clone();
        Running { certs: self.certs, router, addresses }
    }
}

// === Running ===
impl Running {
    /// The first listener without TLS.
    pub(crate) fn clear(&self) -> SocketAddr {
        self.client_address(false)
    }

    /// The first listener with TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.client_address(true)
    }

    /// The admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.addresses.admin.expect("an admin listener")
    }

    /// The HTTP API of the embedded registry of this name.
    pub(crate) fn registry(&self, name: &str) -> SocketAddr {
        let found = self.addresses.registries.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no embedded registry {name}")).1
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        testkit::until("it is ready", async || self.router.readiness().await, Result::is_ok).await.unwrap();
    }

    /// A client that talks to the router this way.
    pub(crate) async fn client(&self, front: Front) -> Client {
        match front {
            Front::H1 => Client::http(self.clear()).await,
            Front::H2c => Client::h2c(self.clear()).await,
            Front::H1Tls => {
                Client::https(self.tls(), &self.certs.client_config(&["http/1.1"], None), "localhost").await
            }
            Front::H2Tls => Client::https(self.tls(), &self.certs.client_config(&["h2"], None), "localhost").await,
        }
    }

    /// What the admin listener says of this service.
    pub(crate) async fn table(&self, service: &str) -> Value {
        Client::http(self.admin()).await.send(get(&format!("/table/{service}"), &[])).await.json()
    }

    /// Requests under way to all instances of a service, as the admin listener says.
    pub(crate) async fn in_flight(&self, service: &str) -> u64 {
        let table = self.table(service).await;
        table["members"].as_array().expect("members").iter().map(|m| m["in_flight"].as_u64().expect("a number")).sum()
    }

    /// Waits until no request to this service is under way.
    pub(crate) async fn settled(&self, service: &str) {
        testkit::bounded("no request is under way", async {
            while self.in_flight(service).await > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn client_address(&self, tls: bool) -> SocketAddr {
        let found = self.addresses.clients.iter().find(|(_, speaks_tls)| *speaks_tls == tls);
        found.unwrap_or_else(|| panic!("no listener with tls: {tls}")).0
    }
}

/// An address where nobody listens: connecting is refused at once.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    listener.local_addr().expect("a bound socket")
}

/// The status and the reason of an answer.
pub(crate) fn told(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status.as_u16(), answer.header("x-pointsman-reason"))
}

// === Matrix ===
/// One instance of every kind behind one router: [`Back::service`] names them.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) router: Running,
    instances: [Instance; 4],
}

impl Matrix {
    /// All instances answer alike.
    pub(crate) async fn start(config: Config, answer: impl Fn(&Seen) -> Reply + Clone + Send + Sync + 'static) -> Self {
        let start = async |back: Back| back.instance(config.certs()).answer(answer.clone()).start().await;
        let instances =
            [start(Back::H1).await, start(Back::H2c).await, start(Back::H1Tls).await, start(Back::H2Tls).await];
        let listed = Back::ALL.iter().zip(&instances);
        let urls: Vec<_> = listed.map(|(back, instance)| (back.service(), instance.url())).collect();
        let config =
            urls.iter().fold(config, |config, (service, url)| config.service(service, std::slice::from_ref(url)));
        Self { router: config.start(), instances }
    }

    pub(crate) fn instance(&self, back: Back) -> &Instance {
        &self.instances[Back::ALL.iter().position(|kind| *kind == back).expect("one of each")]
    }

    /// Every way in with every way out.
    pub(crate) fn pairs() -> impl Iterator<Item = (Front, Back)> {
        Front::ALL.into_iter().flat_map(|front| Back::ALL.into_iter().map(move |back| (front, back)))
    }
}
