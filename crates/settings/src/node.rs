//! The tree between YAML and serde: each node knows where it stands.

use std::fmt;

use crate::error::shown;

/// A value and its position, both from 1.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// A value in a list, and the place it has in the file, from 0.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) node: Node,
}

/// Key and value of a map. The key is always a scalar, and unique in its map.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    pub(crate) value: Node,
}

/// Text after substitution. What type it has is decided when somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes, so it may be a number, a truth value or nothing.
    pub(crate) plain: bool,
}

/// What a scalar is by the core schema of YAML 1.2 (10.3.2): `yes` and `off` are words, not truth values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Typed<'a> {
    Nothing,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(&'a str),
}

/// The found value in the words of an error message.
pub(crate) struct Found<'a>(&'a Node);

/// Appends a map key to a path: `routes.timeout`, or `services."a.b"` where a dot would mislead.
pub(crate) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control() || ".[]\"".contains(c)) {
        path.push_str(&shown(key));
    } else {
        path.push_str(key);
    }
}

/// Appends a place in a list to a path: `routes[3]`.
pub(crate) fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

// === impl Node ===

impl Node {
    /// The text of a scalar, as every key is; empty for lists and maps.
    pub(crate) fn name(&self) -> &str {
        match &self.value {
            Value::Scalar(scalar) => &scalar.text,
            Value::List(_) | Value::Map(_) => "",
        }
    }

    /// The entries of a map; nothing has none.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Scalar(_) | Value::List(_) => self.is_nothing().then_some(&[]),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.typed() == Typed::Nothing)
    }

    pub(crate) fn found(&self) -> Found<'_> {
        Found(self)
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.value {
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a map"),
            Value::Scalar(scalar) => match scalar.typed() {
                Typed::Nothing => f.write_str("nothing"),
                Typed::Bool(value) => write!(f, "{value}"),
                Typed::Integer(_) | Typed::Float(_) => write!(f, "the number {}", scalar.text),
                Typed::Text(text) => f.write_str(&shown(text)),
            },
        }
    }
}

// === impl Scalar ===

impl Scalar {
    pub(crate) fn typed(&self) -> Typed<'_> {
        if !self.plain {
            return Typed::Text(&self.text);
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Typed::Nothing,
            "true" | "True" | "TRUE" => Typed::Bool(true),
            "false" | "False" | "FALSE" => Typed::Bool(false),
            text => {
                integer(text).map(Typed::Integer).or_else(|| float(text).map(Typed::Float)).unwrap_or(Typed::Text(text))
            }
        }
    }
}

fn integer(text: &str) -> Option<i128> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with(['+', '-']));
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i128::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with(['+', '-']));
    }
    text.parse().ok()
}

fn float(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        // Rust also reads "inf" and "nan", which are words in YAML.
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}
