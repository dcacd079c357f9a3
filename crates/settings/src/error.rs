//! What every refusal of a file consists of: place, problem, remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de;

use crate::Located;
use crate::nearest::did_you_mean;

/// Longest piece of a found value that a message repeats: enough to recognise it, short enough for one line.
const SHOWN_CHARS: usize = 60;

/// Messages of the standard library, and what the reader should be told instead.
const TERSE: [(&str, &str); 4] = [
    ("invalid socket address syntax", "an address and a port, such as 127.0.0.1:8443 or \"[::1]:8443\""),
    ("invalid IP address syntax", "an IP address, such as 127.0.0.1 or \"::1\""),
    ("invalid IPv4 address syntax", "an IPv4 address, such as 127.0.0.1"),
    ("invalid IPv6 address syntax", "an IPv6 address, such as \"::1\""),
];

/// Where a value stands: file, position, and path in the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named; empty for a value that no file gave (a default).
    pub file: PathBuf,
    /// Line, from 1; 0 if the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 if the whole file is meant.
    pub column: usize,
    /// Path in the tree, as `routes[3].timeout`; empty for the root.
    pub path: String,
}

/// Why a file cannot be used. Its text is one line: `FILE:LINE:COLUMN: PATH: PROBLEM; REMEDY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    place: Place,
    problem: String,
    remedy: Option<String>,
}

// === impl Place ===

impl Place {
    /// The file as a whole.
    #[must_use]
    pub fn file(file: &Path) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unknown() {
            return f.write_str("default value");
        }
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, ": {}", self.path) }
    }
}

// === impl SettingsError ===

impl SettingsError {
    /// A problem at `place`, in words that follow a colon: `certificate file not found`.
    #[must_use]
    pub fn new(place: Place, problem: impl Into<String>) -> Self {
        Self { place, problem: problem.into(), remedy: None }
    }

    /// A problem with a value that was read, for checks that follow deserialization.
    #[must_use]
    pub fn at<T>(value: &Located<T>, problem: impl Into<String>) -> Self {
        Self::new(value.place().clone(), problem)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Where.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong, without place and remedy.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Puts the error at `place` unless a deeper value already claimed it.
    pub(crate) fn or_at(mut self, place: impl FnOnce() -> Place) -> Self {
        if self.place.is_unknown() {
            self.place = place();
        }
        self
    }

    /// Completes the terse errors of the standard library's parsers, which do not tell what they read.
    pub(crate) fn about(self, text: &str) -> Self {
        match TERSE.iter().find(|(terse, _)| *terse == self.problem) {
            Some((_, expected)) if self.place.is_unknown() => Self::mismatch(shown(text), expected),
            _ => self,
        }
    }

    /// A name that is not among the allowed ones; `what` is `key` or `value`.
    pub(crate) fn unknown(what: &str, name: &str, allowed: &[&str]) -> Self {
        de::Error::custom(format_args!("unknown {what} {}{}", shown(name), did_you_mean(name, allowed)))
    }

    /// A value of the wrong kind.
    pub(crate) fn mismatch(found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        de::Error::custom(format_args!("found {found}, expected {expected}"))
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for SettingsError {}

/// The errors of serde, in our words. They get their place from the deserializer they pass through.
impl de::Error for SettingsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Place::default(), message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::mismatch(found_words(&found), expected)
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::mismatch(found_words(&found), expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::mismatch(format_args!("{length} items"), expected)
    }

    fn unknown_variant(variant: &str, allowed: &'static [&'static str]) -> Self {
        Self::unknown("value", variant, allowed)
    }

    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        Self::unknown("key", field, allowed)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("missing key {field:?}")).remedy(format!("add `{field}: ...` here"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom(format_args!("duplicate key {field:?}")).remedy("keep one of the two")
    }
}

/// Quotes what was found: on one line, and not longer than a reader needs.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn found_words(found: &de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Str(text) => shown(text),
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        de::Unexpected::Bool(value) => value.to_string(),
        de::Unexpected::Unsigned(value) => format!("the number {value}"),
        de::Unexpected::Signed(value) => format!("the number {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        other => other.to_string(),
    }
}
