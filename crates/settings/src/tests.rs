//! The whole way from text to struct: `check(text, struct)` reads, `refuse(text, message)` does not.

mod errors;
mod mistakes;
mod parts;
mod properties;
mod shapes;
mod substitution;
mod yaml;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Entries, Located, Mistakes, OrOff, SecretSource, Size};

/// A small router, with one of everything that the real ones use.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Router {
    listeners: Vec<Listener>,
    admin: Option<SocketAddr>,
    registries: Entries<Registry>,
    routes: Vec<Route>,
    services: BTreeMap<String, Service>,
    threads: u16,
    ratio: f64,
    trusted: Vec<IpAddr>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listener {
    address: SocketAddr,
    #[serde(default)]
    tls: Option<Tls>,
    #[serde(default)]
    head_limit: Size,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    ca_file: Option<Located<String>>,
    verify: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Registry {
    Consul(Consul),
    Embedded { directory: String },
    Pair(u8, u8),
    None,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Consul {
    url: Located<String>,
    token: Option<SecretSource>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    prefix: Located<String>,
    service: String,
    #[serde(default)]
    timeout: Option<OrOff>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    #[serde(default)]
    balance: Balance,
    #[serde(default)]
    tls: Tls,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Balance {
    #[default]
    LeastRequests,
    RoundRobin,
    ConsistentHash(Key),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    Header(String),
    ClientAddress,
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Mistakes> {
    let env = |name: &str| match name {
        "PORT" => Some("9443".to_owned()),
        "EMPTY" => Some(String::new()),
        "EVIL" => Some("x\nadmin: 0.0.0.0:1 # ${PORT}".to_owned()),
        "YES" => Some("true".to_owned()),
        _ => None,
    };
    crate::parse(text, Path::new("r.yml"), &env)
}

#[track_caller]
fn check<T: DeserializeOwned + std::fmt::Debug + PartialEq>(text: &str, expected: T) {
    assert_eq!(read::<T>(text), Ok(expected), "{text}");
}

/// Reads a `T` and expects this message after the name of the file.
#[track_caller]
fn refuse_as<T: DeserializeOwned + std::fmt::Debug>(text: &str, expected: &str) {
    match read::<T>(text) {
        Ok(value) => panic!("{text}\nwas read as {value:?}"),
        Err(error) => assert_eq!(error.to_string(), format!("r.yml:{expected}"), "{text}"),
    }
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    refuse_as::<Router>(text, expected);
}
