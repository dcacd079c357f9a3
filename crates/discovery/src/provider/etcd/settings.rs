//! What an operator writes about an etcd cluster.

use std::time::Duration;

use settings::{OneOrMany, SecretSource, Span};
use transport::client::{Client, ClientSettings, TlsSettings};

/// One etcd cluster: `etcd: { endpoints: "http://127.0.0.1:2379" }`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Client URLs of the members, `http://host:port` or `https://host:port`: one, or a list. One is used at a time;
    /// if it fails, the next.
    pub endpoints: OneOrMany<String>,
    /// Where instances are: `PREFIX/SERVICE/INSTANCE`. A `/` at its end makes no difference.
    #[serde(default = "services")]
    pub prefix: String,
    /// Who we are, and whom to trust.
    #[serde(rename = "$part", default)]
    pub access: Access,
    /// How long a watch lasts before it is made anew, 1s to 10m: a member that hangs is noticed within this and 5 s.
    #[serde(default = "fifteen_seconds")]
    pub wait: Span,
}

/// Who we are to etcd, and whom to trust: for those who read it and for those who register there.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// The user, if etcd checks users. Reading needs the right to read the prefix and no more.
    pub user: Option<String>,
    /// The user's password: text (`"${ETCD_PASSWORD:}"`) or `{ file: PATH }`, read at each log-in.
    pub password: Option<SecretSource>,
    /// Certificates, over TLS.
    #[serde(rename = "$part")]
    pub tls: TlsSettings,
}

/// Below, a watch is a poll.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Above, an etcd that hangs would be believed for too long.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

fn services() -> String {
    "/services".to_owned()
}

fn fifteen_seconds() -> Span {
    Span::from_secs(15)
}

impl Settings {
    /// Settings for these endpoints with every default.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: OneOrMany(endpoints.into_iter().map(Into::into).collect()),
            prefix: services(),
            access: Access::default(),
            wait: fifteen_seconds(),
        }
    }

    /// Whether these settings can work at all.
    pub(super) fn check(&self) -> Result<(), String> {
        let wait = self.wait.get();
        if !(SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait) {
            return Err(format!("wait: {} is not between 1s and 10m", self.wait));
        }
        if self.prefix.is_empty() {
            return Err("prefix: write the path under which services are, such as \"/services\"".to_owned());
        }
        self.access.check()?;
        if self.endpoints.0.is_empty() {
            return Err("endpoints: write at least one, such as \"http://127.0.0.1:2379\"".to_owned());
        }
        let check = |endpoint| Client::new(self.access.client(endpoint)).map(drop).map_err(|e| e.to_string());
        self.endpoints.0.iter().try_for_each(|endpoint| check(endpoint))
    }

    /// The first key that may name an instance, and all before which do; both as etcd wants a range.
    pub(super) fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let stem = self.prefix.trim_end_matches('/').as_bytes();
        // `0` is the character after `/`.
        ([stem, b"/"].concat(), [stem, b"0"].concat())
    }
}

impl Access {
    /// Whether this can work at all, without reading the certificates.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        if self.user.is_some() == self.password.is_some() {
            return Ok(());
        }
        Err("`user` and `password` belong together: write both, or neither".to_owned())
    }

    /// The settings of a client of this endpoint, without a token.
    #[must_use]
    pub fn client(&self, endpoint: &str) -> ClientSettings {
        ClientSettings { tls: self.tls.clone(), ..ClientSettings::new(endpoint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_it_is_written_in_a_file() {
        let text = "endpoints: [ 'https://10.0.0.1:2379', 'https://10.0.0.2:2379' ]\nprefix: /registry\nuser: router\n\
                    password: { file: secret }\nca: ca.pem\nclient_certificate: c.pem\nclient_key: k.pem\n\
                    server_name: etcd.internal\nwait: 1m\n";
        let read: Settings = ::settings::parse(text, std::path::Path::new("x.yml"), &|_| None).unwrap();
        let expected = Settings {
            prefix: "/registry".into(),
            access: Access {
                user: Some("router".into()),
                password: Some(SecretSource::File("secret".into())),
                tls: TlsSettings {
                    ca: Some("ca.pem".into()),
                    client_certificate: Some("c.pem".into()),
                    client_key: Some("k.pem".into()),
                    server_name: Some("etcd.internal".into()),
                },
            },
            wait: Span::from_secs(60),
            ..Settings::new(["https://10.0.0.1:2379", "https://10.0.0.2:2379"])
        };
        assert_eq!(read, expected);
        let one: Settings =
            ::settings::parse("endpoints: 'http://a:1'", std::path::Path::new("x.yml"), &|_| None).unwrap();
        assert_eq!(one, Settings::new(["http://a:1"]));
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |settings: Settings, part: &str| {
            let error = settings.check().unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        let good = || Settings::new(["http://127.0.0.1:2379"]);
        assert_eq!(good().check(), Ok(()));
        check(Settings::new([""; 0]), "at least one");
        check(Settings::new(["http://127.0.0.1:2379", "127.0.0.1:2379"]), "http://host:port");
        check(Settings { wait: Span::from_millis(500), ..good() }, "between 1s and 10m");
        check(Settings { prefix: String::new(), ..good() }, "\"/services\"");
        let access = Access { user: Some("router".into()), ..Access::default() };
        check(Settings { access, ..good() }, "belong together");
        let tls = TlsSettings { ca: Some("no/such.pem".into()), ..TlsSettings::default() };
        check(Settings { access: Access { tls, ..Access::default() }, ..Settings::new(["https://a"]) }, "no/such.pem");
    }

    #[test]
    fn a_range_holds_what_is_below_the_prefix_and_no_neighbour() {
        for prefix in ["/services", "/services/"] {
            let (from, to) = Settings { prefix: prefix.into(), ..Settings::new(["http://a:1"]) }.range();
            let within = |key: &[u8]| *key >= *from && *key < *to;
            assert!(within(b"/services/pets/1") && within(b"/services/\xff"));
            assert!(!within(b"/services") && !within(b"/services-old/pets/1") && !within(b"/servicesx"));
        }
        assert_eq!(
            Settings { prefix: "/".into(), ..Settings::new(["http://a:1"]) }.range(),
            (b"/".into(), b"0".into())
        );
    }
}
