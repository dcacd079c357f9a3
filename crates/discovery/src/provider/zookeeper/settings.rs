//! What an operator writes about ZooKeeper.

use std::time::Duration;

use settings::{SecretSource, Span};
use transport::client::{TlsSettings, Wire};

use super::{
    layout::Layout,
    servers::{self, Servers},
};

/// One ensemble as a source: `zookeeper: { servers: "127.0.0.1:2181" }`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How to reach it, and where services stand.
    #[serde(rename = "$part")]
    pub ensemble: Ensemble,
    /// The session timeout we ask for, 1s to 5m; servers limit it (2 to 20 of their ticks). A server that hangs is
    /// noticed after two thirds of it.
    #[serde(default = "ten_seconds")]
    pub session_timeout: Span,
}

/// How to reach an ensemble, and where services stand in it: for those who read it and for those who register there.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ensemble {
    /// The connection string: `host:port` of each server, separated by commas, and perhaps a chroot
    /// (`zk1:2181,zk2:2181/prod`). Port 2181 without one.
    pub servers: String,
    /// Who wrote the records: `curator` (default) or `light_4j`.
    #[serde(default)]
    pub layout: LayoutKind,
    /// The node under which services stand: `/services` for `curator`, `/light` for `light_4j`.
    #[serde(default)]
    pub path: Option<String>,
    /// The group of `light_4j`'s services, the node below `path`; `default` without it.
    #[serde(default)]
    pub group: Option<String>,
    /// `user:password` for digest authentication: text (`"${ZK_AUTH:}"`) or `{ file: PATH }`, read for each connection.
    /// Empty or absent: none. What we make with it only the same user may change.
    #[serde(default)]
    pub auth: Option<SecretSource>,
    /// Whether to connect by TLS (a `secureClientPort`).
    #[serde(default)]
    pub tls: bool,
    /// Whom to trust and who we are, if so.
    #[serde(rename = "$part", default)]
    pub certificates: TlsSettings,
}

/// Whose records stand in ZooKeeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutKind {
    /// `PATH/SERVICE/ID` with JSON, as Curator's service discovery and Spring Cloud write it.
    #[default]
    Curator,
    /// `PATH/GROUP/SERVICE/server/HOST:PORT` with a URL.
    #[serde(rename = "light_4j")]
    Light4j,
}

fn ten_seconds() -> Span {
    Span::from_secs(10)
}

/// What a session timeout may be: below, a pause of a garbage collector ends it; above, nobody would notice a hang.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

impl Settings {
    /// Settings for these servers with every default.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Ensemble::new(servers).into()
    }

    /// Whether these settings can work at all.
    pub(super) fn check(&self) -> Result<(), String> {
        if !TIMEOUTS.contains(&self.session_timeout.get()) {
            return Err(format!("session_timeout: {} is not between 1s and 5m", self.session_timeout));
        }
        if let Some(SecretSource::Inline(secret)) = &self.ensemble.auth
            && !secret.is_empty()
            && !secret.expose().contains(':')
        {
            return Err("auth: write user:password".to_owned());
        }
        self.layout()?;
        self.wires().map(drop)
    }

    /// Where services stand.
    pub(super) fn layout(&self) -> Result<Layout, String> {
        let Ensemble { servers, layout, path, group, .. } = &self.ensemble;
        let chroot = Servers::parse(servers)?.chroot;
        let below = |default: &str| {
            let text = path.as_deref().unwrap_or(default);
            servers::path(text).map(|path| format!("{chroot}{path}")).map_err(|why| format!("path: {text:?} {why}"))
        };
        match layout {
            LayoutKind::Curator if group.is_some() => Err("group: is for `layout: light_4j` only".to_owned()),
            LayoutKind::Curator => Ok(Layout::curator(below("/services")?)),
            LayoutKind::Light4j => {
                let group = group.as_deref().unwrap_or("default");
                if group.is_empty() || group.contains('/') || servers::path(&format!("/{group}")).is_err() {
                    return Err(format!("group: {group:?} is not the name of one node"));
                }
                Ok(Layout::light_4j(format!("{}/{group}", below("/light")?)))
            }
        }
    }

    /// All servers, in the order written.
    pub(super) fn wires(&self) -> Result<Vec<Wire>, String> {
        let Ensemble { servers, tls, certificates, .. } = &self.ensemble;
        if !tls && *certificates != TlsSettings::default() {
            return Err("ca, client_certificate, client_key and server_name need `tls: true`".to_owned());
        }
        let tls = tls.then_some(certificates);
        let servers = Servers::parse(servers)?.authorities;
        servers.iter().map(|authority| Wire::new(authority, tls).map_err(|e| e.to_string())).collect()
    }
}

/// With every default.
impl From<Ensemble> for Settings {
    fn from(ensemble: Ensemble) -> Self {
        Self { ensemble, session_timeout: ten_seconds() }
    }
}

impl Ensemble {
    /// These servers, with every default.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            layout: LayoutKind::default(),
            path: None,
            group: None,
            auth: None,
            tls: false,
            certificates: TlsSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::settings::Secret;

    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        ::settings::parse(text, std::path::Path::new("x.yml"), &|_| None).map_err(|e| e.to_string())
    }

    #[test]
    fn servers_are_enough_and_unknown_keys_are_refused() {
        assert_eq!(read("servers: 127.0.0.1:2181"), Ok(Settings::new("127.0.0.1:2181")));
        assert!(read("{ servers: a, watch: true }").unwrap_err().contains("unknown key \"watch\""));
        assert!(read("session_timeout: 5s").unwrap_err().contains("missing key \"servers\""));
    }

    #[test]
    fn every_key_is_read_as_it_is_written_in_a_file() {
        let text = "servers: 'zk1:2281,zk2:2281/prod'\nlayout: light_4j\npath: /light\ngroup: blue\nauth: { file: zk }\n\
                    tls: true\nca: ca.pem\nclient_certificate: c.pem\nclient_key: k.pem\nserver_name: zk.internal\n\
                    session_timeout: 20s\n";
        let ensemble = Ensemble {
            servers: "zk1:2281,zk2:2281/prod".into(),
            layout: LayoutKind::Light4j,
            path: Some("/light".into()),
            group: Some("blue".into()),
            auth: Some(SecretSource::File("zk".into())),
            tls: true,
            certificates: TlsSettings {
                ca: Some("ca.pem".into()),
                client_certificate: Some("c.pem".into()),
                client_key: Some("k.pem".into()),
                server_name: Some("zk.internal".into()),
            },
        };
        let read = read(text).unwrap();
        assert_eq!(read.layout().unwrap(), Layout::light_4j("/prod/light/blue".into()));
        assert_eq!(read, Settings { ensemble, session_timeout: Span::from_secs(20) });
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |ensemble: Ensemble, part: &str| {
            let error = Settings::from(ensemble).check().unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        let good = || Ensemble::new("127.0.0.1:2181");
        assert_eq!(Settings::from(good()).check(), Ok(()));
        let hasty = Settings { session_timeout: Span::from_secs(301), ..good().into() };
        assert!(hasty.check().unwrap_err().contains("between 1s and 5m"));
        check(Ensemble::new("http://127.0.0.1"), "without a scheme");
        check(Ensemble { path: Some("services".into()), ..good() }, "/services");
        check(Ensemble { group: Some("a".into()), ..good() }, "light_4j");
        let certificates = TlsSettings { ca: Some("no/such.pem".into()), ..TlsSettings::default() };
        check(Ensemble { certificates: certificates.clone(), ..good() }, "tls: true");
        check(Ensemble { tls: true, certificates, ..good() }, "no/such.pem");
        let certificates = TlsSettings { client_key: Some("key.pem".into()), ..TlsSettings::default() };
        check(Ensemble { tls: true, certificates, ..good() }, "client_certificate");
        let secret = SecretSource::Inline(Secret::from("secret".to_owned()));
        check(Ensemble { auth: Some(secret), ..good() }, "user:password");
        for group in ["a/b", "", ".."] {
            check(Ensemble { layout: LayoutKind::Light4j, group: Some(group.into()), ..good() }, "group");
        }
    }
}
