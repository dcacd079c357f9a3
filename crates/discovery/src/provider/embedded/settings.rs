//! The section `embedded`: `{ address: 127.0.0.1:8400, directory: data }`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use settings::{Entries, OneOrMany, SecretSource};

use super::{Registration, rights::Token};

/// What an operator writes about the registry.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the HTTP API listens.
    pub address: SocketAddr,
    /// Where registrations are kept. `null`: nowhere, and a restart forgets them.
    pub directory: Option<PathBuf>,
    /// What those who register must present. Required, or `tokens`, unless only this machine can connect.
    pub token: Option<SecretSource>,
    /// Further tokens, by name, each with rights of its own.
    pub tokens: Entries<Token>,
    /// Whether reading needs a token too.
    pub protect_reads: bool,
    /// What the registry may look at by itself.
    pub checks: Checks,
}

/// The section `checks`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Looks at once.
    pub concurrency: usize,
    /// Hosts a check may name besides the `ip` of its own instance; `"*"` for any.
    pub hosts: OneOrMany<String>,
    /// PEM file of the authorities that https checks trust; the system's without it.
    pub ca: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8400)),
            directory: Some("data".into()),
            token: None,
            tokens: Entries::default(),
            protect_reads: false,
            checks: Checks::default(),
        }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self { concurrency: 32, hosts: OneOrMany::default(), ca: None }
    }
}

impl Settings {
    /// The token that may do everything, if there is one. An empty text, as `${TOKEN:}` without a variable gives, is
    /// none.
    #[must_use]
    pub fn master(&self) -> Option<&SecretSource> {
        self.token.as_ref().filter(|source| !is_empty(source))
    }

    /// Whether anybody who can connect may write.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.master().is_none() && self.tokens.is_empty()
    }

    /// Whether these settings are safe to use.
    ///
    /// # Errors
    /// If others than this machine could register without a token, and so take over any service; or if a token cannot
    /// be told from another.
    pub fn check(&self) -> Result<(), String> {
        if self.is_open() && !self.address.ip().is_loopback() {
            return Err(format!(
                "address {} can be reached from other machines, which could then register instances of any service; \
                 set `token` or `tokens`, or listen on 127.0.0.1",
                self.address
            ));
        }
        if self.is_open() && self.protect_reads {
            return Err("protect_reads wants a token of readers, and there is none: set `token` or `tokens`".to_owned());
        }
        if self.checks.concurrency == 0 {
            return Err("checks: concurrency 0 would never look at anything; write at least 1".to_owned());
        }
        let mut seen: Vec<&SecretSource> = self.master().into_iter().collect();
        for (name, token) in &self.tokens {
            let name = &**name;
            if is_empty(&token.secret) {
                return Err(format!("tokens: {name}: secret is empty; is its environment variable set?"));
            }
            if token.write.0.is_empty() && token.read.0.is_empty() {
                return Err(format!("tokens: {name} may do nothing; name services in `write` or `read`, or \"*\""));
            }
            if seen.contains(&&token.secret) {
                return Err(format!("tokens: {name} has the secret of another token; give each its own"));
            }
            seen.push(&token.secret);
        }
        Ok(())
    }

    /// Whether checks of this registration may go where it says.
    ///
    /// # Errors
    /// What to do about it.
    pub fn allows(&self, registration: &Registration) -> Result<(), String> {
        let own = &registration.ip;
        registration.checks.iter().try_for_each(|check| self.checks.allows_host(own, check.host.as_deref()))
    }

    /// Whether the certificates they name can be used.
    ///
    /// # Errors
    /// Which cannot, and why.
    pub fn check_files(&self) -> Result<(), String> {
        super::probe::check(&self.checks)
    }
}

impl Checks {
    /// Whether a check may be addressed to this host, as a registration names it.
    ///
    /// # Errors
    /// What to do about it.
    pub(super) fn allows_host(&self, own: &str, host: Option<&str>) -> Result<(), String> {
        match host {
            Some(host) if host != own && !self.hosts.0.iter().any(|allowed| allowed == host || allowed == "*") => Err(
                format!("checks: host {host:?} is not the instance's own; the registry's `checks.hosts` must allow it"),
            ),
            _ => Ok(()),
        }
    }

    /// Whether this address may be connected to. Addresses of the link itself are not instances: cloud providers have
    /// their credentials there.
    pub(super) fn allows_address(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let link = match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let odd = link || ip.is_unspecified() || ip.is_multicast();
        !odd || self.hosts.0.iter().any(|allowed| allowed.parse() == Ok(ip))
    }
}

fn is_empty(source: &SecretSource) -> bool {
    // A token file may still come; that it is not there yet lets nobody in.
    matches!(source, SecretSource::Inline(secret) if secret.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Settings {
        settings::parse(yaml, std::path::Path::new("router.yml"), &|_| None).unwrap()
    }

    fn check(yaml: &str, expected: Result<(), &str>) {
        match (read(yaml).check(), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (result, _) => panic!("{yaml}: {result:?}"),
        }
    }

    #[test]
    fn only_this_machine_may_register_without_a_token() {
        check("{}", Ok(()));
        check("{ address: \"[::1]:8400\", directory: null }", Ok(()));
        check("address: 0.0.0.0:8400", Err("set `token`"));
        check("{ address: 0.0.0.0:8400, token: \"${TOKEN:}\" }", Err("set `token`"));
        check("{ address: 0.0.0.0:8400, token: secret }", Ok(()));
        check("{ address: 0.0.0.0:8400, token: { file: /run/token } }", Ok(()));
        check("{ address: 0.0.0.0:8400, tokens: { a: { secret: x, write: pets } } }", Ok(()));
    }

    #[test]
    fn tokens_that_cannot_work_are_told() {
        check("tokens: { a: { secret: \"${NONE:}\", write: \"*\" } }", Err("a: secret is empty"));
        check("tokens: { a: { secret: x } }", Err("a may do nothing"));
        check("tokens: { a: { secret: x, write: b }, c: { secret: x, read: b } }", Err("c has the secret"));
        check("{ token: x, tokens: { a: { secret: x, write: b } } }", Err("a has the secret"));
        check("protect_reads: true", Err("protect_reads"));
        check("checks: { concurrency: 0 }", Err("concurrency"));
    }

    #[test]
    fn checks_reach_the_instance_itself_and_what_is_allowed() {
        let (own, some, any) = (
            read("{}").checks,
            read("checks: { hosts: [ b, 169.254.0.7 ] }").checks,
            read("checks: { hosts: '*' }").checks,
        );
        for (checks, host, allowed) in [
            (&own, None, true),
            (&own, Some("a"), true),
            (&own, Some("b"), false),
            (&some, Some("b"), true),
            (&some, Some("c"), false),
            (&any, Some("c"), true),
        ] {
            assert_eq!(checks.allows_host("a", host).is_ok(), allowed, "{host:?}");
        }
        for (checks, ip, allowed) in [
            (&own, "10.0.0.1", true),
            (&own, "127.0.0.1", true),
            (&own, "169.254.169.254", false),
            (&own, "::ffff:169.254.169.254", false),
            (&own, "fe80::1", false),
            (&own, "0.0.0.0", false),
            (&any, "169.254.169.254", false),
            (&some, "169.254.0.7", true),
        ] {
            assert_eq!(checks.allows_address(ip.parse().unwrap()), allowed, "{ip}");
        }
    }
}
