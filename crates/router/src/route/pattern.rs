//! Path patterns: segments that are literal or `{named}`.

use super::When;
use crate::path;

/// A compiled `path` or `prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The whole path, or everything below too.
    pub(super) whole: bool,
    pub(super) segments: Box<[Segment]>,
}

/// The order of the variants is the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// Any one segment that is not empty. Its name is for readers only.
    Parameter,
}

impl Pattern {
    pub(super) fn of(when: &When) -> Result<Self, String> {
        match (&when.path, &when.prefix) {
            (Some(_), Some(_)) => Err("path and prefix exclude each other; keep one".to_owned()),
            (Some(path), None) => Self::compile("path", path, true),
            (None, Some(prefix)) => Self::compile("prefix", prefix, false),
            (None, None) => Ok(Self { whole: false, segments: Box::default() }),
        }
    }

    fn compile(key: &str, text: &str, whole: bool) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("{key} {text:?} must begin with a slash"));
        }
        // A slash at the end of a prefix says nothing: `/v1/` and `/v1` are the same prefix.
        let bare = if whole { text } else { text.strip_suffix('/').unwrap_or(text) };
        let segments: Vec<Segment> =
            path::segments(bare).map(|segment| Segment::compile(key, segment)).collect::<Result<_, _>>()?;
        let literals: Vec<&str> = segments.iter().map(Segment::as_str).collect();
        must_be_normal(key, &format!("/{}", literals.join("/")))?;
        Ok(Self { whole, segments: segments.into() })
    }
}

impl Segment {
    fn compile(key: &str, text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            return match name {
                _ if name.ends_with("...") || name.starts_with('*') => {
                    Err(format!("{key}: {text} cannot match several segments; use prefix with what stands before it"))
                }
                "" => Err(format!("{key}: {{}} needs a name, such as {{id}}")),
                name if name.bytes().all(word) => Ok(Self::Parameter),
                _ => Err(format!("{key}: the name in {text} may hold letters, digits, - and _ only")),
            };
        }
        if text.contains(['{', '}']) {
            return Err(format!(
                "{key}: {text:?} mixes text and braces; a parameter is a whole segment, such as {{id}}"
            ));
        }
        if text.contains('*') {
            return Err(format!(
                "{key}: {text:?} holds a *; write {{name}} for one segment, or use prefix for the rest"
            ));
        }
        Ok(Self::Literal(text.into()))
    }

    /// A stand-in for parameters, so that the rest of the path can be checked.
    fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Parameter => "x",
        }
    }
}

/// Requests are matched in their normal form, so nothing else could ever match.
pub(super) fn must_be_normal(key: &str, text: &str) -> Result<(), String> {
    match path::normalise(text) {
        Ok(normal) if normal == text => Ok(()),
        Ok(normal) => Err(format!("{key} {text:?} is not in normal form; write {normal:?}")),
        Err(refusal) => Err(format!("{key} {text:?}: {}", refusal.description())),
    }
}
