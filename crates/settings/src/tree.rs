//! YAML events to the tree: bounds, duplicates, aliases, substitution.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::error::shown;
use crate::node::{Entry, Item, Node, Scalar, Value, push_index, push_key};
use crate::substitute::substitute;
use crate::{Mistakes, Place, SettingsError};

/// Our own files are eight levels deep; more than this is an accident or an attack on the stack.
const MAX_DEPTH: usize = 64;
/// Nodes that aliases may add in all. Aliases of aliases grow exponentially ("billion laughs"); real files re-use a
/// handful of lines.
const MAX_COPIED: usize = 10_000;

/// Builds the tree of the one document in `text`. An empty document is an empty scalar.
pub(crate) fn build(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Node, Mistakes> {
    // Comments are no events for us, whatever another user of the parser in this build has switched on in it.
    let mut options = Options::default();
    options.set_emit_comments(false);
    let builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        text,
        file,
        env,
        path: String::new(),
        anchors: HashMap::new(),
        copied: 0,
        mistakes: Mistakes::default(),
    };
    builder.built()
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    text: &'a str,
    file: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    /// Path of the node being built.
    path: String,
    /// Finished nodes that an alias may name.
    anchors: HashMap<usize, Node>,
    copied: usize,
    /// What is wrong with values, which ends nothing.
    mistakes: Mistakes,
}

impl<'a> Builder<'a> {
    fn built(mut self) -> Result<Node, Mistakes> {
        let root = self.document();
        let mut mistakes = std::mem::take(&mut self.mistakes);
        match mistakes.keep(root) {
            Some(root) => mistakes.unless(root),
            None => Err(mistakes.sorted()),
        }
    }

    fn document(&mut self) -> Result<Node, SettingsError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(self
                        .error(span, "a second document begins here")
                        .remedy("keep one document in a file: remove `---`"));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let nothing = Value::Scalar(Scalar { text: String::new(), plain: true });
        Ok(root.unwrap_or(Node { line: 1, column: 1, value: nothing }))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SettingsError> {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.untagged(span, tag.as_deref())?;
                (anchor, Value::Scalar(self.scalar(&text, style, span)))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.untagged(span, tag.as_deref())?;
                self.not_too_deep(span, depth)?;
                (anchor, Value::List(self.list(depth + 1)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.untagged(span, tag.as_deref())?;
                self.not_too_deep(span, depth)?;
                (anchor, Value::Map(self.map(depth + 1)?))
            }
            _ => return Err(self.error(span, "a value was expected here")),
        };
        let (line, column) = position(span);
        let node = Node { line, column, value };
        if anchor != 0 {
            // The copy kept for later is work too, so it counts.
            self.count_copy(&node, span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Scalar {
        let plain = style == ScalarStyle::Plain;
        match substitute(text, self.env) {
            Ok(Cow::Borrowed(text)) => Scalar { text: text.to_owned(), plain },
            // An empty variable or default is the empty string, not an absent value.
            Ok(Cow::Owned(text)) => Scalar { plain: plain && !text.is_empty(), text },
            Err(refused) => {
                self.mistakes.note(self.error(span, refused.problem).remedy(refused.remedy));
                Scalar { text: text.to_owned(), plain }
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Item>, SettingsError> {
        let mut items = Vec::new();
        let parent = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            let index = items.len();
            push_index(&mut self.path, index);
            items.push(Item { index, node: self.node(event, span, depth)? });
            self.path.truncate(parent);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, SettingsError> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        let parent = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.key(event, span)?;
            push_key(&mut self.path, key.name());
            if !seen.insert(key.name().to_owned()) {
                let twice = self.error(span, format!("duplicate key {}", shown(key.name())));
                self.mistakes.note(twice.remedy("keep one of the two"));
            }
            let (event, span) = self.next()?;
            entries.push(Entry { key, value: self.node(event, span, depth)? });
            self.path.truncate(parent);
        }
    }

    fn key(&self, event: Event<'a>, span: Span) -> Result<Node, SettingsError> {
        let Event::Scalar(text, style, _, tag) = event else {
            return Err(self.error(span, "a key must be plain text").remedy("write `key: value`"));
        };
        self.untagged(span, tag.as_deref())?;
        if text == "<<" && style == ScalarStyle::Plain {
            return Err(self.error(span, "merge keys (`<<`) are not supported").remedy("repeat the keys"));
        }
        if text.contains("${") {
            return Err(self
                .error(span, "`${...}` is not substituted in keys")
                .remedy("write the key itself, and `${...}` in values only"));
        }
        let (line, column) = position(span);
        // Quoted or not, a key is its text: `"8080"` and `8080` are one key.
        Ok(Node { line, column, value: Value::Scalar(Scalar { text: text.into_owned(), plain: true }) })
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Node, SettingsError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.error(span, "this alias stands inside the value it names").remedy("repeat the lines"));
        };
        self.count_copy(&node, span)?;
        self.not_too_deep(span, depth + levels(&node))?;
        Ok(node)
    }

    fn count_copy(&mut self, node: &Node, span: Span) -> Result<(), SettingsError> {
        self.copied += size(node);
        if self.copied <= MAX_COPIED {
            return Ok(());
        }
        Err(self
            .error(span, format!("anchors and aliases repeat more than {MAX_COPIED} values"))
            .remedy("write the values out"))
    }

    fn not_too_deep(&self, span: Span, depth: usize) -> Result<(), SettingsError> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        Err(self.error(span, format!("nested deeper than {MAX_DEPTH} levels")).remedy("check the brackets"))
    }

    fn untagged(&self, span: Span, tag: Option<&Tag>) -> Result<(), SettingsError> {
        let Some(tag) = tag else { return Ok(()) };
        let remedy = "remove it; quote a value that shall be text";
        Err(self.error(span, format!("the YAML tag `{}` is not supported", tag.original())).remedy(remedy))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), SettingsError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(SettingsError::new(Place::file(self.file), "the file ends too early")),
        }
    }

    fn syntax(&self, error: &ScanError) -> SettingsError {
        let line = error.marker().line();
        let place = self.place(line, error.marker().col() + 1);
        let told = SettingsError::new(place, format!("not valid YAML: {}", error.info().replace('\n', " ")));
        let source = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        match remedy(error.kind(), source) {
            Some(remedy) => told.remedy(remedy),
            None => told,
        }
    }

    fn error(&self, span: Span, problem: impl Into<String>) -> SettingsError {
        let (line, column) = position(span);
        SettingsError::new(self.place(line, column), problem)
    }

    fn place(&self, line: usize, column: usize) -> Place {
        Place { file: self.file.to_owned(), line, column, path: self.path.clone() }
    }
}

/// What usually helps. `source` is the line of the error.
fn remedy(kind: &ErrorKind, source: &str) -> Option<&'static str> {
    if source.contains("${") && source.contains(['{', '[']) {
        return Some("inside `{ }` and `[ ]`, quote values with `${...}`, or write them on lines of their own");
    }
    match kind {
        ErrorKind::UnknownAnchor | ErrorKind::MissingAnchorOrAliasName => {
            Some("quote a text that begins with `*` or `&`, such as \"*\"")
        }
        ErrorKind::UnexpectedCharacter { .. } => Some("quote a text that begins with this character"),
        ErrorKind::MappingValueNotAllowed => Some("check the indentation, or quote a text that holds `: `"),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::SimpleKeyExpected => Some("check the indentation of this line and the one before"),
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::UnclosedQuotedScalar => Some("close it"),
        _ if source.contains('\t') => Some("indent with spaces, not tabs"),
        _ => None,
    }
}

/// Line and column from 1; the parser counts columns from 0.
fn position(span: Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(|item| size(&item.node)).sum(),
        Value::Map(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum(),
    }
}

fn levels(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(|item| levels(&item.node)).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| levels(&entry.value)).max().unwrap_or(0),
    }
}
