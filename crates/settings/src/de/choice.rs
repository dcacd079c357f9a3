//! Externally tagged enums: a bare word, or a map of one key.

use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error as _, IntoDeserializer as _, VariantAccess, Visitor};

use super::{Step, Trail, Walker};
use crate::SettingsError;
use crate::node::{Entry, Node, Value};

/// The variant that was named, and what it was given.
pub(super) struct Choice<'de, 't> {
    name: Walker<'de, 't>,
    content: Option<&'de Node>,
    /// Path of the enum itself.
    parent: Trail<'t>,
}

impl<'de, 't> Choice<'de, 't> {
    pub(super) fn new(walker: Walker<'de, 't>, variants: &[&str]) -> Result<Self, SettingsError> {
        let node = walker.node;
        match &node.value {
            Value::Scalar(_) if !node.is_nothing() => {
                let name = node.name();
                if !variants.is_empty() && !variants.contains(&name) {
                    return Err(SettingsError::unknown("value", name, variants));
                }
                Ok(Self { name: walker, content: None, parent: walker.trail })
            }
            Value::Map(entries) => {
                let [Entry { key, value }] = entries.as_slice() else {
                    return Err(not_one(entries, variants, walker));
                };
                let name = key.name();
                if !variants.is_empty() && !variants.contains(&name) {
                    let trail = walker.trail.then(Step::Key(name));
                    return Err(SettingsError::unknown("key", name, variants).or_at(|| trail.place(key)));
                }
                Ok(Self { name: Walker { node: key, trail: walker.trail }, content: Some(value), parent: walker.trail })
            }
            Value::Scalar(_) | Value::List(_) => Err(SettingsError::mismatch(node.found(), one_of(variants))),
        }
    }
}

/// None or several keys where one was to be chosen: points at the first one too many.
fn not_one(entries: &[Entry], variants: &[&str], walker: Walker<'_, '_>) -> SettingsError {
    let [first, second, ..] = entries else {
        return SettingsError::mismatch("an empty map", one_of(variants));
    };
    let (first, second) = (&first.key, &second.key);
    let trail = walker.trail.then(Step::Key(second.name()));
    SettingsError::custom(format_args!("{:?} beside {:?}, expected {}", second.name(), first.name(), one_of(variants)))
        .remedy("keep one of them")
        .or_at(|| trail.place(second))
}

fn needs_settings(name: &str) -> SettingsError {
    SettingsError::custom(format_args!("{name:?} needs settings"))
        .remedy(format!("write `{name}: ...` instead of `{name}`"))
}

fn one_of(variants: &[&str]) -> String {
    format!("one of: {}", variants.join(", "))
}

impl<'de> EnumAccess<'de> for Choice<'de, '_> {
    type Error = SettingsError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), SettingsError> {
        let variant = self.name.placed(|name| seed.deserialize(name))?;
        Ok((variant, self))
    }
}

impl<'de> Choice<'de, '_> {
    fn content<T>(self, read: impl FnOnce(Walker<'de, '_>) -> Result<T, SettingsError>) -> Result<T, SettingsError> {
        let name = self.name.node.name();
        let Some(node) = self.content else { return Err(needs_settings(name)) };
        Walker { node, trail: self.parent.then(Step::Key(name)) }.placed(read)
    }
}

impl<'de> VariantAccess<'de> for Choice<'de, '_> {
    type Error = SettingsError;

    fn unit_variant(self) -> Result<(), SettingsError> {
        let name = self.name.node.name();
        if self.content.is_none() {
            return Ok(());
        }
        self.content(|walker| match walker.node.is_nothing() {
            true => Ok(()),
            false => Err(SettingsError::custom(format_args!("{name:?} takes no settings"))
                .remedy(format!("write `{name}` alone"))),
        })
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, SettingsError> {
        if self.content.is_none() {
            // The word alone will do for what reads nothing as well.
            return seed
                .deserialize(().into_deserializer())
                .map_err(|_: SettingsError| needs_settings(self.name.node.name()));
        }
        self.content(|walker| seed.deserialize(walker))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, SettingsError> {
        self.content(|walker| walker.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.content(|walker| walker.record(fields, visitor))
    }
}
