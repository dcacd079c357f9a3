//! The URL of an instance: scheme, host, port, and light-router's `?environment=`; nothing else has a meaning here.

use std::str::FromStr;

use model::{Address, Endpoint, Instance, InstanceId, Protocol, Tag};
use serde::{Deserialize, Deserializer, de::Error};

use crate::provider::host;

/// A URL of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::provider) struct Url {
    endpoint: Endpoint,
    environment: Option<Tag>,
}

impl Url {
    /// The instance it names; its id is host and port.
    pub(in crate::provider) fn instance(self) -> Result<Instance, String> {
        let id = InstanceId::new(&self.endpoint.address.to_string()).map_err(|e| e.to_string())?;
        let mut instance = Instance::new(id, self.endpoint);
        instance.environments = self.environment.into_iter().collect();
        Ok(instance)
    }
}

/// The text as it may be shown: a password in it is nobody's business who reads a log.
fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://...@{host}"),
        None => text.to_owned(),
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("URL {:?}: {what}", without_user(text));
        let scheme = || wrong("write http://, h2c:// or https:// in front of host and port");
        let (protocol, rest) = text.split_once("://").ok_or_else(scheme)?;
        let protocol = match protocol {
            "http" => Protocol::Http,
            "h2c" => Protocol::H2c,
            "https" => Protocol::Https,
            _ => return Err(scheme()),
        };
        if rest.contains('#') {
            return Err(wrong("a fragment has no meaning here; remove it"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(wrong("an instance is host and port; rewrite paths in the route"));
        }
        if authority.contains('@') {
            return Err(wrong("user and password are not sent to instances; remove them"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| wrong("the port must be a number from 1 to 65535"))?;
        let address = Address {
            host: host::of_url(host).ok_or_else(|| wrong(&format!("the host {}", host::RULE)))?,
            port: port.unwrap_or_else(|| protocol.default_port()),
        };
        let environment = match query.map(|q| q.split_once('=')) {
            None => None,
            Some(Some(("environment", tag))) => Some(Tag::new(tag).map_err(|e| wrong(&e.to_string()))?),
            Some(_) => return Err(wrong("the only parameter with a meaning here is ?environment=NAME")),
        };
        Ok(Self { endpoint: Endpoint { address, protocol: Some(protocol) }, environment })
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Host and port; `None` if there is a port that is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[bracket..].rfind(':') {
        None => Some((authority, None)),
        Some(at) => {
            let (host, port) = authority.split_at(bracket + at);
            // `parse` alone would take a sign.
            let digits = &port[1..];
            let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
            (port > 0).then_some((host, Some(port)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, Option<&str>), &str>) {
        let url = text.parse::<Url>();
        match (&url, expected) {
            (Ok(url), Ok((address, environment))) => {
                assert_eq!(url.endpoint.address.to_string(), address, "{text}");
                assert_eq!(url.environment.as_ref().map(Tag::as_str), environment, "{text}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part) && error.contains(&without_user(text)), "{error}"),
            _ => panic!("{text}: {url:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in ["https://admin:s3cret@host", "ftp://admin:s3cret@host", "https://admin:s3cr@et@host/path"] {
            let error = text.parse::<Url>().err().unwrap();
            assert!(error.contains("host") && !error.contains("s3cr"), "{error}");
        }
    }

    #[test]
    fn urls_of_instances_are_read() {
        check("https://10.0.0.1:9443", Ok(("10.0.0.1:9443", None)));
        check("h2c://10.0.0.2:9080/", Ok(("10.0.0.2:9080", None)));
        check("http://Pets.Internal", Ok(("pets.internal:80", None)));
        check("https://[::1]", Ok(("[::1]:443", None)));
        check("https://[2001:db8::1]:8443", Ok(("[2001:db8::1]:8443", None)));
        check("https://localhost:7444?environment=0001", Ok(("localhost:7444", Some("0001"))));
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_the_reason() {
        check("10.0.0.1:80", Err("write http://"));
        check("ftp://a:80", Err("write http://"));
        check("http://a:0", Err("1 to 65535"));
        check("http://a:65536", Err("1 to 65535"));
        check("http://a:+80", Err("1 to 65535"));
        check("http://a:", Err("1 to 65535"));
        check("http://", Err("the host must be"));
        check("http://a b:80", Err("the host must be"));
        check("http://[::1", Err("the host must be"));
        check("http://::1", Err("the host must be"));
        check("http://u:p@a:80", Err("user and password"));
        check("http://a:80/v1", Err("rewrite paths"));
        check("http://a:80?env=x", Err("?environment=NAME"));
        check("http://a:80?environment=a|b", Err("without |"));
        check("http://a:80#x", Err("fragment"));
    }
}
