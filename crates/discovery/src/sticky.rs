//! Clients that stay with their instance: what they carry, and how it is made.

use aws_lc_rs::hmac;
use http::HeaderName;
use model::{InstanceId, ServiceId};
use settings::Secret;

/// How the clients of one service are kept at the instance that answered them first.
#[derive(Debug, Clone, PartialEq)]
pub struct Sticky {
    /// Where they carry its token.
    pub carrier: Carrier,
    /// What tokens are made with. Without one, who can guess an instance's id can tell whether a token is of it.
    pub secret: Option<Secret>,
}

/// Where a client carries the token of its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// In a cookie that we set.
    Cookie(Cookie),
    /// In a header of its requests. It learns it from the answer's header of the same name.
    Header(HeaderName),
}

/// A cookie that we set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name, a token.
    pub name: Box<str>,
    /// What stands behind its value in `Set-Cookie`, but for `Secure`: `; Path=/; HttpOnly`.
    pub attributes: Box<str>,
    /// Whether clients are to send it over TLS only; `None`: if they came by TLS.
    pub secure: Option<bool>,
}

/// The key of services that have no secret. Not secret: it keeps tokens apart from other hashes of the same ids.
const PUBLIC: &[u8] = b"pointsman sticky 1";

impl Sticky {
    /// The tokens of the instances of a service.
    #[must_use]
    pub fn tokens(&self, service: &ServiceId) -> Tokens {
        let secret = self.secret.as_ref().map_or(PUBLIC, |secret| secret.expose().as_bytes());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
        context.update(service.as_str().as_bytes());
        // No name has a NUL.
        context.update(&[0]);
        Tokens(context)
    }
}

/// Makes tokens: the beginning of HMAC-SHA-256 over service and instance id. The same on every router with the same secret,
/// before and after a restart, and silent about the instance.
#[derive(Debug)]
pub struct Tokens(hmac::Context);

impl Tokens {
    /// The token of this instance.
    #[must_use]
    pub fn of(&self, instance: &InstanceId) -> u64 {
        let mut context = self.0.clone();
        context.update(instance.as_str().as_bytes());
        let tag = context.sign();
        tag.as_ref().iter().take(8).fold(0, |token, byte| token << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;

    fn token(secret: Option<&str>, name: &str, instance: &str) -> u64 {
        let secret = secret.map(|text| text.to_owned().into());
        let sticky = Sticky { carrier: Carrier::Header(HeaderName::from_static("x-instance")), secret };
        sticky.tokens(&service(name)).of(&InstanceId::new(instance).unwrap())
    }

    /// If this fails, a release would move the clients of every sticky service.
    #[test]
    fn tokens_are_the_same_in_every_version_and_on_every_router() {
        // Python: hmac.new(b"pointsman sticky 1", b"pets\0a", "sha256").hexdigest()[:16]
        assert_eq!(token(None, "pets", "a"), 0x8857_C446_BE8B_F926);
    }

    #[test]
    fn tokens_differ_by_service_instance_and_secret() {
        let all = [
            token(None, "pets", "a"),
            token(None, "pets", "b"),
            token(None, "petsa", "b"),
            token(Some("x"), "pets", "a"),
            token(Some("y"), "pets", "a"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{all:x?}");
        }
    }
}
