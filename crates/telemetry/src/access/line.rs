//! hot path
//!
//! One line, field by field: a JSON object, or `name=value` pairs. Nothing a client sends can end the line or the field.

use std::fmt::{Display, Write};

pub(super) struct Line<'b> {
    out: &'b mut String,
    json: bool,
}

impl<'b> Line<'b> {
    pub(super) fn new(out: &'b mut String, json: bool) -> Self {
        Self { out, json }
    }

    /// Whatever a client may have sent; octets that are no UTF-8 become U+FFFD.
    pub(super) fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.name(name);
        if !self.json && is_bare(value) {
            self.out.extend(value.iter().copied().map(char::from));
            return;
        }
        self.out.push('"');
        for chunk in value.utf8_chunks() {
            chunk.valid().chars().for_each(|c| escape(self.out, c));
            if !chunk.invalid().is_empty() {
                self.out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.out.push('"');
    }

    /// A number, never quoted.
    pub(super) fn number(&mut self, name: &str, value: impl Display) {
        self.name(name);
        write!(self.out, "{value}").ok(); // writing to a string cannot fail
    }

    /// A value of our own that needs no escaping.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        let quote = if self.json { "\"" } else { "" };
        write!(self.out, "{quote}{value}{quote}").ok();
    }

    pub(super) fn end(self) {
        self.out.push_str(if self.json { "}\n" } else { "\n" });
    }

    fn name(&mut self, name: &str) {
        if self.json {
            self.out.push_str(if self.out.is_empty() { "{\"" } else { ",\"" });
            self.out.push_str(name);
            self.out.push_str("\":");
        } else {
            if !self.out.is_empty() {
                self.out.push(' ');
            }
            self.out.push_str(name);
            self.out.push('=');
        }
    }
}

/// Whether a text value needs no quotes.
fn is_bare(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|&b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='))
}

fn escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        // Control characters, those beyond ASCII too, and what some readers take for the end of a line.
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
            write!(out, "\\u{:04x}", u32::from(c)).ok();
        }
        c => out.push(c),
    }
}
