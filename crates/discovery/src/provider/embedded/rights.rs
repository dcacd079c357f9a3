//! Who may read and write what. Pure.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de::Error};
use settings::{OneOrMany, SecretSource};

/// Names of services: one, those with a beginning (`com.example.*`), or all (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(Arc<str>),
    /// All that begin so; the empty beginning is all.
    Prefix(Arc<str>),
}

/// One entry of `tokens`: a secret, and what its holder may do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What is presented.
    pub secret: SecretSource,
    /// Services whose instances it may register, change and take out; and read.
    #[serde(default)]
    pub write: OneOrMany<Pattern>,
    /// Services it may read, where reading needs a token.
    #[serde(default)]
    pub read: OneOrMany<Pattern>,
}

/// What one caller may do.
#[derive(Debug, Clone, Copy)]
pub enum Rights<'a> {
    /// Everything.
    All,
    /// Read everything, write nothing.
    Read,
    /// What a token says.
    Of(&'a Token),
}

impl Pattern {
    /// Whether it stands for this service.
    #[must_use]
    pub fn matches(&self, service: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *service,
            Self::Prefix(beginning) => service.starts_with(&**beginning),
        }
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (beginning, is_prefix) = text.strip_suffix('*').map_or((text, false), |rest| (rest, true));
        // Names of services are lowercase: another pattern would match nothing, silently.
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if !beginning.bytes().all(letters) || (beginning.is_empty() && !is_prefix) {
            return Err(format!("{text:?} is not a service name, nor the beginning of one with * behind it, nor *"));
        }
        Ok(if is_prefix { Self::Prefix(beginning.into()) } else { Self::Exact(beginning.into()) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(beginning) => write!(f, "{beginning}*"),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(Error::custom)
    }
}

impl Rights<'_> {
    /// Whether instances of this service may be registered, changed and taken out.
    #[must_use]
    pub fn may_write(self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Read => false,
            Self::Of(token) => token.write.0.iter().any(|p| p.matches(service)),
        }
    }

    /// Whether this service may be seen. Who may write may read.
    #[must_use]
    pub fn may_read(self, service: &str) -> bool {
        match self {
            Self::All | Self::Read => true,
            Self::Of(token) => token.read.0.iter().chain(token.write.0.iter()).any(|p| p.matches(service)),
        }
    }

    /// Whether any service may be written at all.
    #[must_use]
    pub fn may_write_any(self) -> bool {
        match self {
            Self::All => true,
            Self::Read => false,
            Self::Of(token) => !token.write.0.is_empty(),
        }
    }

    /// Whether every service may be written, also those nobody has thought of yet.
    #[must_use]
    pub fn may_write_all(self) -> bool {
        match self {
            Self::All => true,
            Self::Read => false,
            Self::Of(token) => {
                token.write.0.iter().any(|p| matches!(p, Pattern::Prefix(beginning) if beginning.is_empty()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(yaml: &str) -> Token {
        settings::parse(yaml, std::path::Path::new("router.yml"), &|_| None).unwrap()
    }

    #[test]
    fn a_token_reaches_what_its_patterns_name() {
        let token = token("{ secret: x, write: [ pets, 'com.example.*' ], read: orders }");
        let rights = Rights::Of(&token);
        for (service, read, write) in [
            ("pets", true, true),
            ("pets2", false, false),
            ("com.example.a", true, true),
            ("com.example", false, false),
            ("orders", true, false),
        ] {
            assert_eq!((rights.may_read(service), rights.may_write(service)), (read, write), "{service}");
        }
        assert!(!rights.may_write_all());
    }

    #[test]
    fn one_star_is_everything_and_nothing_is_nothing() {
        let (all, none) = (token("{ secret: x, write: '*' }"), token("secret: x"));
        assert!(Rights::Of(&all).may_write_all() && Rights::Of(&all).may_write("anything"));
        assert!(!Rights::Of(&none).may_read("anything") && !Rights::Of(&none).may_write("anything"));
        for bad in ["", "Pets", "a*b", "a|b", "**"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Writing implies reading, for every token and service.
        #[test]
        fn who_writes_may_read(patterns in prop::collection::vec("[a-c]{1,2}\\*?", 0..4), service in "[a-c]{1,3}") {
            let token = token(&format!("{{ secret: x, write: {patterns:?} }}"));
            let rights = Rights::Of(&token);
            prop_assert!(!rights.may_write(&service) || rights.may_read(&service));
        }
    }
}
