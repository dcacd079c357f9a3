//! The tree as a serde deserializer. Each `deserialize_*` puts the place of its node on an error that has none yet, so
//! the deepest value concerned is the one the reader is shown.

mod access;
mod choice;

use std::path::Path;

use serde::Deserializer;
use serde::de::Visitor;

use self::access::{Items, Pairs, PlaceThenValue, WithPart};
use self::choice::Choice;
use crate::node::{Entry, Node, Typed, Value, push_index, push_key};
use crate::{Place, SettingsError, located, one_or_many, or_off};

/// The name of a field that is read from the same map as the struct around it.
const PART: &str = "$part";

/// A node and how we got there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walker<'de, 't> {
    pub(crate) node: &'de Node,
    pub(crate) trail: Trail<'t>,
}

/// The path to a node, as a list on the stack: it is written out only for errors and [`crate::Located`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trail<'t> {
    file: &'t Path,
    step: Option<(&'t Self, Step<'t>)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'t> {
    Key(&'t str),
    Index(usize),
    /// Into the part of a struct with these fields: the same map.
    Part(&'static [&'static str]),
}

// === impl Trail ===

impl<'t> Trail<'t> {
    pub(crate) fn then(&'t self, step: Step<'t>) -> Self {
        Self { file: self.file, step: Some((self, step)) }
    }

    pub(crate) fn place(&self, node: &Node) -> Place {
        let mut path = String::new();
        self.write(&mut path);
        Place { file: self.file.to_owned(), line: node.line, column: node.column, path }
    }

    fn write(&self, path: &mut String) {
        let Some((parent, step)) = self.step else { return };
        parent.write(path);
        match step {
            Step::Key(key) => push_key(path, key),
            Step::Index(index) => push_index(path, index),
            Step::Part(_) => {}
        }
    }

    /// The fields of the structs that this is a part of: their keys stand in the same map.
    fn beside(&self) -> Vec<&'static str> {
        let Some((whole, Step::Part(fields))) = self.step else { return Vec::new() };
        let mut all = whole.beside();
        all.extend(fields.iter().filter(|field| **field != PART));
        all
    }
}

// === impl Walker ===

impl<'de, 't> Walker<'de, 't> {
    pub(crate) fn root(node: &'de Node, file: &'t Path) -> Self {
        Self { node, trail: Trail { file, step: None } }
    }

    pub(crate) fn place(&self) -> Place {
        self.trail.place(self.node)
    }

    pub(crate) fn placed<T>(self, read: impl FnOnce(Self) -> Result<T, SettingsError>) -> Result<T, SettingsError> {
        read(self).map_err(|error| error.or_at(|| self.place()))
    }

    fn wrong(&self, expected: &str) -> SettingsError {
        SettingsError::mismatch(self.node.found(), expected)
    }

    fn typed(&self) -> Option<Typed<'de>> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar.typed()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        let scalar = match &self.node.value {
            Value::List(items) => return visitor.visit_seq(Items::new(self.trail, items)),
            Value::Map(entries) => return visitor.visit_map(Pairs::new(self.trail, entries)),
            Value::Scalar(scalar) => scalar,
        };
        match scalar.typed() {
            Typed::Nothing => visitor.visit_unit(),
            Typed::Bool(value) => visitor.visit_bool(value),
            Typed::Float(value) => visitor.visit_f64(value),
            Typed::Text(text) => visitor.visit_borrowed_str(text),
            Typed::Integer(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_i128(value),
            },
        }
    }

    /// A map whose keys must all be among `fields`, whether or not the struct denies unknown ones itself.
    pub(crate) fn record<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        if fields.contains(&PART) {
            // The part alone knows all keys there may be: it checks them, and whether this is a map.
            return visitor.visit_map(WithPart::new(self, fields));
        }
        let mut known = self.trail.beside();
        known.extend(fields);
        let Some(entries) = self.node.entries() else {
            return Err(self.wrong(&format!("a map with keys among: {}", known.join(", "))));
        };
        for Entry { key, .. } in entries {
            if !known.contains(&key.name()) {
                let trail = self.trail.then(Step::Key(key.name()));
                return Err(SettingsError::unknown("key", key.name(), &known).or_at(|| trail.place(key)));
            }
        }
        visitor.visit_map(Pairs::new(self.trail, entries).only(fields))
    }

    /// A list of exactly `length` items.
    pub(crate) fn tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, SettingsError> {
        match &self.node.value {
            Value::List(items) if items.len() == length => visitor.visit_seq(Items::new(self.trail, items)),
            Value::List(items) => Err(SettingsError::mismatch(
                format_args!("a list of {} items", items.len()),
                format_args!("one of {length}"),
            )),
            _ => Err(self.wrong(&format!("a list of {length} items"))),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
            self.placed(|walker| match walker.typed() {
                Some(Typed::Integer(number)) if <$type>::try_from(number).is_ok() => {
                    // Infallible after the guard; `unwrap_or_default` keeps it free of panics.
                    visitor.$visit(<$type>::try_from(number).unwrap_or_default())
                }
                found => {
                    let error = walker.wrong(&format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX));
                    match found {
                        Some(Typed::Text(text)) if text.parse::<$type>().is_ok() => Err(error.remedy("remove the quotes")),
                        _ => Err(error),
                    }
                }
            })
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        /// Any scalar as it is written; the rest as it is, for visitors that take text or something else.
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
            self.placed(|walker| match &walker.node.value {
                Value::Scalar(scalar) if !walker.node.is_nothing() => {
                    visitor.visit_borrowed_str(&scalar.text).map_err(|error: SettingsError| error.about(&scalar.text))
                }
                _ => walker.visit(visitor),
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Walker<'de, '_> {
    type Error = SettingsError;

    whole_numbers! {
        deserialize_u8 visit_u8 u8; deserialize_u16 visit_u16 u16; deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64; deserialize_u128 visit_u128 u128;
        deserialize_i8 visit_i8 i8; deserialize_i16 visit_i16 i16; deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64; deserialize_i128 visit_i128 i128;
    }

    texts! { deserialize_str deserialize_string deserialize_identifier deserialize_bytes deserialize_byte_buf }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| walker.visit(visitor))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| match walker.typed() {
            Some(Typed::Bool(value)) => visitor.visit_bool(value),
            _ => Err(walker.wrong("`true` or `false`, without quotes")),
        })
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| match walker.typed() {
            Some(Typed::Float(value)) => visitor.visit_f64(value),
            Some(Typed::Integer(value)) => visitor.visit_f64(value as f64),
            _ => Err(walker.wrong("a number, such as 0.5, without quotes")),
        })
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| {
            let mut chars = walker.node.name().chars();
            match (chars.next(), chars.next()) {
                (Some(one), None) => visitor.visit_char(one),
                _ => Err(walker.wrong("a single character")),
            }
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        if self.node.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| match walker.node.is_nothing() {
            true => visitor.visit_unit(),
            false => Err(walker.wrong("nothing")),
        })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.placed(|walker| match name {
            located::NAME => visitor.visit_seq(PlaceThenValue::new(walker)),
            or_off::NAME if walker.node.is_nothing() || matches!(walker.typed(), Some(Typed::Text("off" | "none"))) => {
                visitor.visit_none()
            }
            or_off::NAME => visitor.visit_some(walker),
            one_or_many::NAME => match &walker.node.value {
                Value::List(items) => visitor.visit_seq(Items::new(walker.trail, items)),
                _ if walker.node.is_nothing() => visitor.visit_none(),
                _ => visitor.visit_some(walker),
            },
            _ => visitor.visit_newtype_struct(walker),
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| match &walker.node.value {
            Value::List(items) => visitor.visit_seq(Items::new(walker.trail, items)),
            _ if walker.node.is_nothing() => visitor.visit_seq(Items::new(walker.trail, &[])),
            _ => Err(walker.wrong("a list, such as `[ a, b ]`")),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| walker.tuple(length, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.placed(|walker| match walker.node.entries() {
            Some(entries) => visitor.visit_map(Pairs::new(walker.trail, entries)),
            None => Err(walker.wrong("a map, such as `{ key: value }`")),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.placed(|walker| walker.record(fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.placed(|walker| visitor.visit_enum(Choice::new(walker, variants)?))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        visitor.visit_unit()
    }
}
