//! Which port of a slice takes requests, and what is spoken there. Pure.

use std::fmt;

use model::Protocol;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::settings::is_dns_label;

/// A port as operators name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChoice {
    /// By its name in the Service.
    Name(String),
    /// By the number that instances listen on (the target port).
    Number(u16),
}

impl PortChoice {
    /// Reads a name or a number.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<u16>() {
            Ok(0) => {}
            Ok(number) => return Ok(Self::Number(number)),
            Err(_) if is_dns_label(text) && !text.bytes().all(|b| b.is_ascii_digit()) => {
                return Ok(Self::Name(text.to_owned()));
            }
            Err(_) => {}
        }
        Err(format!("{text:?} is neither a port's name (lowercase letters, digits, hyphens) nor a number up to 65535"))
    }
}

impl fmt::Display for PortChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl<'de> Deserialize<'de> for PortChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = PortChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or number of a port")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<PortChoice, E> {
                PortChoice::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<PortChoice, E> {
                PortChoice::parse(&number.to_string()).map_err(E::custom)
            }
        }
        from.deserialize_any(NameOrNumber)
    }
}

/// One port of a slice, as far as we can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Empty if the service has one nameless port.
    pub(super) name: String,
    /// `None`: any port.
    pub(super) number: Option<u16>,
    pub(super) app: Option<String>,
}

impl Port {
    /// What is spoken there: by the application protocol, else by the name as Istio reads it (`http`, `grpc-web`).
    pub(super) fn protocol(&self) -> Option<Protocol> {
        let known = |word: &str| match word {
            "http2" => Some(Protocol::H2c),
            word => Protocol::parse(word),
        };
        let app = self.app.as_deref().map(str::to_ascii_lowercase);
        match &app {
            Some(app) => known(app.strip_prefix("kubernetes.io/").unwrap_or(app)),
            None => known(self.name.split('-').next().unwrap_or_default()),
        }
    }
}

/// The port to use. `None` for `ports` is a slice that leaves them open: any port.
///
/// With a choice: that one. Without: the only one, else the one that says it speaks what we speak, the more secure one
/// if there are several.
///
/// # Errors
/// Which ports there are, and what to write.
pub(super) fn choose(ports: Option<&[Port]>, choice: Option<&PortChoice>) -> Result<(u16, Option<Protocol>), String> {
    let ports = ports.unwrap_or_default();
    let found = match choice {
        Some(PortChoice::Name(name)) => ports.iter().find(|port| port.name == *name),
        Some(PortChoice::Number(number)) => {
            let open = ports.is_empty() || ports.iter().any(|port| port.number.is_none());
            match ports.iter().find(|port| port.number == Some(*number)) {
                None if open => return Ok((*number, None)),
                found => found,
            }
        }
        None if ports.len() == 1 => ports.first(),
        None => ports.iter().filter(|port| port.protocol().is_some()).max_by_key(|port| port.protocol()),
    };
    match found {
        Some(Port { number: Some(number), .. }) => Ok((*number, found.and_then(Port::protocol))),
        Some(Port { number: None, .. }) => Err("leaves its port open: set `port` to a number".into()),
        None => Err(none_of(ports, choice)),
    }
}

fn none_of(ports: &[Port], choice: Option<&PortChoice>) -> String {
    let named = |port: &Port| match port.number {
        Some(number) => format!("{:?} ({number})", port.name),
        None => format!("{:?} (any)", port.name),
    };
    let names: Vec<_> = ports.iter().take(8).map(named).collect();
    let names = if names.is_empty() { "no ports over TCP".to_owned() } else { format!("ports {}", names.join(", ")) };
    match choice {
        Some(choice) => format!("has {names}, and none is {choice}: set `port`, or label the service pointsman/port"),
        None if ports.is_empty() => format!("has {names}: set `port` to a number"),
        None => format!("has {names}: say by `port`, or by the label pointsman/port of the service, which one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, number: u16, app: Option<&str>) -> Port {
        Port { name: name.into(), number: Some(number), app: app.map(Into::into) }
    }

    fn check(ports: &[Port], choice: Option<&str>, expected: Result<(u16, Option<Protocol>), &str>) {
        let choice = choice.map(|text| PortChoice::parse(text).unwrap());
        match (choose(Some(ports), choice.as_ref()), expected) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen, expected, "{ports:?} {choice:?}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (result, _) => panic!("{ports:?} {choice:?}: {result:?}"),
        }
    }

    #[test]
    fn one_port_needs_no_choice_and_several_are_told_by_name() {
        let (web, metrics) = (port("web", 8080, None), port("metrics", 9090, None));
        check(&[port("", 80, None)], None, Ok((80, None)));
        check(&[web.clone(), metrics.clone()], None, Err("say by `port`"));
        check(&[web.clone(), metrics.clone()], Some("web"), Ok((8080, None)));
        check(&[web.clone(), metrics], Some("9090"), Ok((9090, None)));
        check(std::slice::from_ref(&web), Some("http"), Err("none is \"http\""));
        check(&[web], Some("81"), Err("none is 81"));
        check(&[], None, Err("no ports over TCP"));
    }

    #[test]
    fn the_more_secure_of_the_ports_we_speak_is_taken() {
        let (http, https) = (port("http", 80, None), port("https", 443, None));
        check(&[http.clone(), https, port("metrics", 9, None)], None, Ok((443, Some(Protocol::Https))));
        check(&[http, port("admin", 9, None)], None, Ok((80, Some(Protocol::Http))));
        check(&[port("grpc-pets", 50051, None), port("x", 9, None)], None, Ok((50051, Some(Protocol::H2c))));
    }

    #[test]
    fn the_application_protocol_comes_before_the_name() {
        let protocol = |name, app| port(name, 1, app).protocol();
        assert_eq!(protocol("http", Some("https")), Some(Protocol::Https));
        assert_eq!(protocol("web", Some("kubernetes.io/h2c")), Some(Protocol::H2c));
        assert_eq!(protocol("http", Some("mysql")), None);
        assert_eq!(protocol("http2-api", None), Some(Protocol::H2c));
        assert_eq!(protocol("web", None), None);
    }

    #[test]
    fn open_ports_need_a_number() {
        assert!(choose(None, None).unwrap_err().contains("to a number"));
        assert!(choose(None, Some(&PortChoice::Name("http".into()))).is_err());
        assert_eq!(choose(None, Some(&PortChoice::Number(81))), Ok((81, None)));
        let open = [Port { name: "any".into(), number: None, app: None }];
        assert_eq!(choose(Some(&open), Some(&PortChoice::Number(81))), Ok((81, None)));
        assert!(choose(Some(&open), None).unwrap_err().contains("open"));
    }

    #[test]
    fn a_port_is_a_name_or_a_number() {
        let read = |text: &str| serde_json::from_str::<PortChoice>(text);
        assert_eq!(read("8080").unwrap(), PortChoice::Number(8080));
        assert_eq!(read(r#""8080""#).unwrap(), PortChoice::Number(8080));
        assert_eq!(read(r#""web""#).unwrap(), PortChoice::Name("web".into()));
        for bad in ["0", "65536", r#""""#, r#""Web""#, "true"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
