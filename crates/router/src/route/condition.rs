//! What a rule asks of a request.

use std::fmt;

use http::{HeaderName, HeaderValue, Method};

use super::Ask;
use crate::{authority::Authority, query};

/// The conditions of a rule, as typed. All are required; an empty one asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// `api.example.com`, or `*.example.com` for every host below it. Without port.
    pub host: Option<String>,
    /// The path and everything below it, on segment borders: `/v1/pets`, `/v1/{tenant}/pets`.
    pub prefix: Option<String>,
    /// The whole path: `/v1/orders/{id}`. Not together with `prefix`.
    pub path: Option<String>,
    /// One of these methods.
    pub methods: Vec<Method>,
    /// Each of these headers, with this value or with any.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Each of these query parameters (names and values decoded), with this value or with any.
    pub query: Vec<(String, Option<String>)>,
}

impl When {
    /// Method, headers and query: what the tree does not know.
    pub(super) fn allows(&self, ask: &Ask<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(ask.method))
            && self.headers.iter().all(|(name, value)| match value {
                None => ask.headers.contains_key(name),
                Some(value) => ask.headers.get_all(name).iter().any(|v| v == value),
            })
            && self
                .query
                .iter()
                .all(|(name, value)| ask.query.is_some_and(|query| query::has(query, name, value.as_deref())))
    }

    /// How many conditions there are besides host and path.
    pub(super) fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len()
    }

    /// Whether every request that `other` allows is allowed here too. Host and path are not looked at.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty() && other.methods.iter().all(|m| self.methods.contains(m)));
        methods && all_implied(&self.headers, &other.headers) && all_implied(&self.query, &other.query)
    }

    /// The host as the tree keeps it: `api.example.com`, `.example.com` for `*.example.com`, empty for none.
    pub(super) fn host_key(&self) -> Result<String, String> {
        let Some(host) = &self.host else { return Ok(String::new()) };
        let (dot, name) = host.strip_prefix("*.").map_or(("", host.as_str()), |name| (".", name));
        match Authority::parse(name) {
            Ok(Authority { host, port: None }) => Ok(format!("{dot}{host}")),
            Ok(_) => Err(format!("host {host:?} names a port; routes match hosts only, remove it")),
            Err(_) => Err(format!("host {host:?} is no host name; write api.example.com or *.example.com")),
        }
    }
}

/// Whether each condition here follows from one there.
fn all_implied<N: PartialEq, V: PartialEq>(here: &[(N, Option<V>)], there: &[(N, Option<V>)]) -> bool {
    here.iter().all(|(name, value)| there.iter().any(|(n, v)| n == name && (value.is_none() || v == value)))
}

/// For reports: `GET api.example.com/v1/orders/{id} header x-beta query debug`.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if at == 0 { "" } else { "," })?;
        }
        if !self.methods.is_empty() {
            f.write_str(" ")?;
        }
        f.write_str(self.host.as_deref().unwrap_or(""))?;
        match (&self.path, &self.prefix) {
            (Some(path), _) => f.write_str(path)?,
            (None, Some(prefix)) => write!(f, "{}/...", prefix.strip_suffix('/').unwrap_or(prefix))?,
            (None, None) => f.write_str("/...")?,
        }
        for (name, value) in &self.headers {
            write!(f, " header {name}")?;
            if let Some(value) = value {
                write!(f, "={value:?}")?;
            }
        }
        for (name, value) in &self.query {
            write!(f, " query {name}")?;
            if let Some(value) = value {
                write!(f, "={value:?}")?;
            }
        }
        Ok(())
    }
}
