//! How the items of a list, the entries of a map and the parts of a located value are handed to a visitor.

use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess};

use super::{PART, Step, Trail, Walker};
use crate::node::{Entry, Item};
use crate::{Place, SettingsError};

/// The items of a list.
pub(super) struct Items<'de, 't> {
    trail: Trail<'t>,
    items: &'de [Item],
    next: usize,
}

impl<'de, 't> Items<'de, 't> {
    pub(super) fn new(trail: Trail<'t>, items: &'de [Item]) -> Self {
        Self { trail, items, next: 0 }
    }
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = SettingsError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, SettingsError> {
        let Some(Item { index, node }) = self.items.get(self.next) else { return Ok(None) };
        let trail = self.trail.then(Step::Index(*index));
        self.next += 1;
        Walker { node, trail }.placed(|walker| seed.deserialize(walker)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

/// The entries of a map.
pub(super) struct Pairs<'de, 't> {
    trail: Trail<'t>,
    entries: std::slice::Iter<'de, Entry>,
    only: Option<&'static [&'static str]>,
    value: Option<&'de Entry>,
}

impl<'de, 't> Pairs<'de, 't> {
    pub(super) fn new(trail: Trail<'t>, entries: &'de [Entry]) -> Self {
        Self { trail, entries: entries.iter(), only: None, value: None }
    }

    /// Those of them with these keys; the others are somebody else's.
    pub(super) fn only(self, keys: &'static [&'static str]) -> Self {
        Self { only: Some(keys), ..self }
    }
}

impl<'de> MapAccess<'de> for Pairs<'de, '_> {
    type Error = SettingsError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, SettingsError> {
        let only = self.only;
        self.value = self.entries.find(|entry| only.is_none_or(|keys| keys.contains(&entry.key.name())));
        let Some(Entry { key, .. }) = self.value else { return Ok(None) };
        let trail = self.trail.then(Step::Key(key.name()));
        Walker { node: key, trail }.placed(|walker| seed.deserialize(walker)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, SettingsError> {
        let Some(Entry { key, value }) = self.value.take() else {
            return Err(SettingsError::custom("a visitor asked for a value before its key"));
        };
        let trail = self.trail.then(Step::Key(key.name()));
        Walker { node: value, trail }.placed(|walker| seed.deserialize(walker))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// The map of a struct with a part: all of it for the part, and then the entries that are the struct's own.
pub(super) struct WithPart<'de, 't> {
    walker: Walker<'de, 't>,
    fields: &'static [&'static str],
    own: Option<Pairs<'de, 't>>,
}

impl<'de, 't> WithPart<'de, 't> {
    pub(super) fn new(walker: Walker<'de, 't>, fields: &'static [&'static str]) -> Self {
        Self { walker, fields, own: None }
    }
}

impl<'de> MapAccess<'de> for WithPart<'de, '_> {
    type Error = SettingsError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, SettingsError> {
        match &mut self.own {
            None => seed.deserialize(PART.into_deserializer()).map(Some),
            Some(own) => own.next_key_seed(seed),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, SettingsError> {
        if let Some(own) = &mut self.own {
            return own.next_value_seed(seed);
        }
        let Walker { node, trail } = self.walker;
        self.own = Some(Pairs::new(trail, node.entries().unwrap_or_default()).only(self.fields));
        Walker { node, trail: trail.then(Step::Part(self.fields)) }.placed(|walker| seed.deserialize(walker))
    }
}

/// What [`crate::Located`] asks for: file, line, column, path, and then the value itself.
pub(super) struct PlaceThenValue<'de, 't> {
    walker: Walker<'de, 't>,
    next: usize,
}

impl<'de, 't> PlaceThenValue<'de, 't> {
    pub(super) fn new(walker: Walker<'de, 't>) -> Self {
        Self { walker, next: 0 }
    }
}

impl<'de> SeqAccess<'de> for PlaceThenValue<'de, '_> {
    type Error = SettingsError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, SettingsError> {
        let Place { file, line, column, path } = self.walker.place();
        self.next += 1;
        match self.next {
            1 => seed.deserialize(file.to_string_lossy().into_owned().into_deserializer()),
            2 => seed.deserialize(line.into_deserializer()),
            3 => seed.deserialize(column.into_deserializer()),
            4 => seed.deserialize(path.into_deserializer()),
            _ => seed.deserialize(self.walker),
        }
        .map(Some)
    }
}
