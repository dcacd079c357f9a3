//! What an operator writes about a Consul agent.

use std::time::Duration;

use model::Tag;
use settings::{SecretSource, Span};
use transport::client::{Client, ClientSettings, TlsSettings};

/// One Consul agent: `consul: { url: "http://127.0.0.1:8500" }`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The agent's HTTP API, `http://host:port` or `https://host:port`. Over `https` all watches share few HTTP/2
    /// connections; in clear text each takes a connection of its own, and agents allow 200 for one client.
    pub url: String,
    /// Access token: text (`"${CONSUL_TOKEN:}"`) or `{ file: PATH }`. Needs `service:read` on the services and
    /// `node:read` on their nodes. A file is read at each (re)connect. Empty or absent: the anonymous token.
    #[serde(default)]
    pub token: Option<SecretSource>,
    /// Whom to trust and who we are, over TLS.
    #[serde(rename = "$part", default)]
    pub tls: TlsSettings,
    /// Another datacentre than the agent's own.
    #[serde(default)]
    pub datacenter: Option<String>,
    /// Near which node: its name, or `_agent` for that of the agent. Instances on the node of the shortest round-trip time
    /// from there come first, then those of the next one, by the metadata `priority`; what a registration says of that
    /// counts before.
    #[serde(default)]
    pub near: Option<String>,
    /// Whether any server may answer, not only the leader (default). Goes on without a leader; an answer may lag by
    /// some milliseconds.
    #[serde(default = "yes")]
    pub stale: bool,
    /// How long a blocking query waits for a change, 1s to 10m. An agent that hangs is noticed after this and a
    /// sixteenth more. Proxies on the way must allow silence of this length.
    #[serde(default = "one_minute")]
    pub wait: Span,
    /// Only instances that carry all of these tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Below, a watch is a poll.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Consul's own limit.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

fn yes() -> bool {
    true
}

fn one_minute() -> Span {
    Span::from_secs(60)
}

impl Settings {
    /// Settings for this URL with every default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            tls: TlsSettings::default(),
            datacenter: None,
            near: None,
            stale: yes(),
            wait: one_minute(),
            tags: Vec::new(),
        }
    }

    /// Whether these settings can work at all.
    pub(super) fn check(&self) -> Result<(), String> {
        let wait = self.wait.get();
        if !(SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait) {
            return Err(format!("wait: {} is not between 1s and 10m", self.wait));
        }
        if self.near.as_deref() == Some("") {
            return Err("near: write _agent, or the name of a node".to_owned());
        }
        Client::new(self.client()).map(drop).map_err(|e| e.to_string())
    }

    /// The client's settings, without the token.
    pub(super) fn client(&self) -> ClientSettings {
        ClientSettings { tls: self.tls.clone(), ..ClientSettings::new(&*self.url) }
    }

    /// Whether the agent is asked over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// Whether the agent runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = self.url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        host.is_some_and(|host| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_enough_and_unknown_keys_are_refused() {
        let read = |text: &str| serde_json::from_str::<Settings>(text);
        assert_eq!(read(r#"{"url":"http://127.0.0.1:8500"}"#).unwrap(), Settings::new("http://127.0.0.1:8500"));
        assert!(read(r#"{"url":"http://a","passing":true}"#).unwrap_err().to_string().contains("passing"));
    }

    #[test]
    fn every_key_is_read_as_it_is_written_in_a_file() {
        let text = "url: 'https://127.0.0.1:8501'\ntoken: { file: token }\nca: ca.pem\nclient_certificate: c.pem\n\
                    client_key: k.pem\nserver_name: server.dc1.consul\ndatacenter: dc2\nnear: _agent\nstale: false\nwait: 2m\n\
                    tags: [prod]\n";
        let read: Settings = ::settings::parse(text, std::path::Path::new("x.yml"), &|_| None).unwrap();
        let expected = Settings {
            url: "https://127.0.0.1:8501".into(),
            token: Some(SecretSource::File("token".into())),
            tls: TlsSettings {
                ca: Some("ca.pem".into()),
                client_certificate: Some("c.pem".into()),
                client_key: Some("k.pem".into()),
                server_name: Some("server.dc1.consul".into()),
            },
            datacenter: Some("dc2".into()),
            near: Some("_agent".into()),
            stale: false,
            wait: Span::from_secs(120),
            tags: vec![Tag::new("prod").unwrap()],
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |settings: Settings, part: &str| {
            let error = settings.check().unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        let good = || Settings::new("https://127.0.0.1:8501");
        assert_eq!(good().check(), Ok(()));
        check(Settings::new("127.0.0.1:8500"), "http://host:port");
        check(Settings { wait: Span::from_secs(601), ..good() }, "between 1s and 10m");
        check(Settings { near: Some(String::new()), ..good() }, "_agent");
        let tls = TlsSettings { ca: Some("no/such.pem".into()), ..TlsSettings::default() };
        check(Settings { tls, ..good() }, "no/such.pem");
        let tls = TlsSettings { client_key: Some("key.pem".into()), ..TlsSettings::default() };
        check(Settings { tls, ..good() }, "client_certificate");
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for (url, local) in [
            ("http://127.0.0.1:8500", true),
            ("https://[::1]:8501", true),
            ("http://localhost:8500", true),
            ("http://10.0.0.1:8500", false),
            ("https://consul.internal", false),
            ("", false),
        ] {
            assert_eq!(Settings::new(url).is_local(), local, "{url}");
        }
    }
}
