//! A map in the order of the file.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::Located;

/// The entries of a map as they stand in the file, for maps whose order means something. A name occurs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries<T>(Vec<(Located<String>, T)>);

impl<T> Entries<T> {
    /// The value under this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Entries<T> {
    type Target = [(Located<String>, T)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> IntoIterator for Entries<T> {
    type Item = (Located<String>, T);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Entries<T> {
    type Item = &'a (Located<String>, T);
    type IntoIter = std::slice::Iter<'a, (Located<String>, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Entries::default();
        while let Some(name) = map.next_key::<Located<String>>()? {
            // Our own reader refuses these before; other formats may not.
            if entries.get(&name).is_some() {
                return Err(A::Error::custom(format_args!("duplicate key {:?}", *name)));
            }
            entries.0.push((name, map.next_value()?));
        }
        Ok(entries)
    }
}

/// For settings made in code: a default, a demonstration, a test.
impl<T> FromIterator<(String, T)> for Entries<T> {
    /// Of entries with the same name, the first stays.
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        let mut all = Self::default();
        for (name, value) in entries {
            if all.get(&name).is_none() {
                all.0.push((name.into(), value));
            }
        }
        all
    }
}
