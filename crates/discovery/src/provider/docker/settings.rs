//! What an operator writes about a container engine.

use std::{net::IpAddr, time::Duration};

use model::Host;
use settings::Span;
use transport::client::{Client, ClientSettings, TlsSettings};

use crate::provider::host;

/// One engine: `docker: {}` for the one of this machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The engine's API: `unix:///path/to/socket`, `http://host:port` or `https://host:port`.
    #[serde(default = "socket")]
    pub url: String,
    /// Whom to trust and who we are, over TLS.
    #[serde(rename = "$part", default)]
    pub tls: TlsSettings,
    /// Where containers are connected to.
    #[serde(default)]
    pub address: Address,
    /// The network whose addresses count, for containers that are on several and do not say which.
    #[serde(default)]
    pub network: Option<String>,
    /// Where published ports, and containers on the host's network, are reached; without it the host of `url`, which is
    /// this machine for a socket.
    #[serde(default)]
    pub host: Option<String>,
    /// Whether containers that are unhealthy, or still starting, take requests too.
    #[serde(default)]
    pub ignore_health: bool,
    /// How often everything is read anew, 5s to 1h: what a silent stream of events kept from us is found then.
    #[serde(default = "one_minute")]
    pub resync: Span,
}

/// Where a container is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// At its own address, on a network this router reaches.
    #[default]
    Container,
    /// At the port of the host that is published for it.
    Published,
}

fn socket() -> String {
    "unix:///var/run/docker.sock".to_owned()
}

fn one_minute() -> Span {
    Span::from_secs(60)
}

const RESYNC: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);

impl Default for Settings {
    fn default() -> Self {
        Self::new(socket())
    }
}

impl Settings {
    /// Settings for this URL with every default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsSettings::default(),
            address: Address::default(),
            network: None,
            host: None,
            ignore_health: false,
            resync: one_minute(),
        }
    }

    /// Whether these settings can work at all.
    pub(super) fn check(&self) -> Result<(), String> {
        if !RESYNC.contains(&self.resync.get()) {
            return Err(format!("resync: {} is not between 5s and 1h", self.resync));
        }
        if self.url.starts_with("tcp://") {
            return Err(format!("url {:?}: write http:// in place of tcp://, or https:// with TLS", self.url));
        }
        if let Some(text) = self.host.as_deref().filter(|text| host::alone(text).is_none()) {
            return Err(format!("host: {text:?} {}", host::RULE));
        }
        Client::new(self.client()).map(drop).map_err(|e| e.to_string())
    }

    pub(super) fn client(&self) -> ClientSettings {
        ClientSettings { tls: self.tls.clone(), ..ClientSettings::new(&*self.url) }
    }

    /// The engine's machine, as this router reaches it.
    pub(super) fn engine(&self) -> Host {
        let url = || self.url.parse::<http::Uri>().ok().and_then(|uri| host::of_url(uri.host()?));
        let here = || Host::Ip(IpAddr::from([127, 0, 0, 1]));
        self.host.as_deref().and_then(host::alone).or_else(url).unwrap_or_else(here)
    }

    /// Whether the engine runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.url.starts_with("unix:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        settings::parse(text, std::path::Path::new("x.yml"), &|_| None).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key_is_read_as_it_is_written_in_a_file() {
        assert_eq!(read("{}").unwrap(), Settings::default());
        let text = "url: https://10.0.0.1:2376\nca: ca.pem\nclient_certificate: c.pem\nclient_key: k.pem\n\
                    server_name: engine\naddress: published\nnetwork: shop\nhost: 10.0.0.9\nignore_health: true\n\
                    resync: 5m\n";
        let expected = Settings {
            url: "https://10.0.0.1:2376".into(),
            tls: TlsSettings {
                ca: Some("ca.pem".into()),
                client_certificate: Some("c.pem".into()),
                client_key: Some("k.pem".into()),
                server_name: Some("engine".into()),
            },
            address: Address::Published,
            network: Some("shop".into()),
            host: Some("10.0.0.9".into()),
            ignore_health: true,
            resync: Span::from_secs(300),
        };
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |text: &str, part: &str| {
            let error = read(text).and_then(|settings| settings.check()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        assert_eq!(Settings::default().check(), Ok(()));
        check("url: tcp://127.0.0.1:2375", "write http://");
        check("url: unix://docker.sock", "unix:///path");
        check("url: /var/run/docker.sock", "http://host:port");
        check("resync: 1s", "between 5s and 1h");
        check("host: 0.0.0.0", "other than the unspecified");
        check("address: host", "container");
        check("url: https://a:2376\nclient_key: k.pem", "client_certificate");
    }

    #[test]
    fn published_ports_are_on_the_engines_machine() {
        let engine = |url: &str| Settings::new(url).engine().to_string();
        assert_eq!(engine("unix:///var/run/docker.sock"), "127.0.0.1");
        assert_eq!(engine("http://10.0.0.1:2375"), "10.0.0.1");
        assert_eq!(engine("https://[fd00::1]:2376"), "[fd00::1]");
        let told = Settings { host: Some("node1".into()), ..Settings::new("http://10.0.0.1:2375") };
        assert_eq!(told.engine().to_string(), "node1");
    }
}
