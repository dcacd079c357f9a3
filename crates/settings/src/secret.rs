//! Text that is never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

/// A password, token or key. Neither `Debug` nor `Display` shows it, and it has no `Serialize`.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Where a secret comes from: the text itself, or `{ file: PATH }`, which is read when it is needed and can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Given in the settings, usually by `${NAME}`.
    Inline(Secret),
    /// Stands in a file, as mounted secrets do.
    File(PathBuf),
}

// === impl Secret ===

impl Secret {
    /// The text, for the one place that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it, as `${TOKEN:}` without a variable gives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a caller presented this secret. The time taken tells a guesser the length only, not how many bytes were
    /// right.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(presented).fold(0, |bits, (a, b)| std::hint::black_box(bits | (a ^ b)));
        own.len() == presented.len() && differing == 0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl SecretSource ===

impl SecretSource {
    /// The secret as it is now. Line ends at the end of a file, which editors leave, do not belong to it.
    ///
    /// # Errors
    /// If the file cannot be read; the error names it.
    pub fn read(&self) -> std::io::Result<Secret> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let mut text = std::fs::read_to_string(path).map_err(|error| {
                    std::io::Error::new(error.kind(), format!("secret file {}: {error}", path.display()))
                })?;
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                Ok(Secret(text))
            }
        }
    }

    /// The file to watch, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Text, not `any`: a token of digits must keep its leading zeros.
        deserializer.deserialize_str(SourceVisitor)
    }
}

/// The long form of a [`SecretSource`].
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    file: PathBuf,
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret itself, such as \"${TOKEN}\", or `{ file: PATH }`")
    }

    fn visit_str<E>(self, text: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Inline(Secret(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
        Stored::deserialize(MapAccessDeserializer::new(map)).map(|Stored { file }| SecretSource::File(file))
    }
}
