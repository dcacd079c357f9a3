//! One value, or a list of them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// The name by which [`crate::de`] knows that a value may stand without a list around it.
pub(crate) const NAME: &str = "$settings::OneOrMany";

/// A list that may be written without brackets if it has one element: `tag: public` is `tag: [ public ]`. Nothing is an
/// empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, OneOrManyVisitor(PhantomData)).map(Self)
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list of them")
    }

    fn visit_none<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        T::deserialize(deserializer).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(all)
    }

    /// From another format than ours: there only a list is known.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        Vec::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Located;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Route {
        method: OneOrMany<Located<String>>,
        port: OneOrMany<u16>,
    }

    fn read(yaml: &str) -> Result<Route, String> {
        crate::parse(yaml, Path::new("router.yml"), &|_| None).map_err(|e| e.to_string())
    }

    #[test]
    fn one_value_and_a_list_of_one_are_the_same() {
        assert_eq!(read("{ method: GET, port: 80 }"), read("{ method: [ GET ], port: [ 80 ] }"));
        assert_eq!(read("port: [ 80, 81 ]").unwrap().port.0, [80, 81]);
        assert_eq!(read("{ method: , port: null }").unwrap(), Route::default());
    }

    #[test]
    fn a_value_keeps_its_place_however_it_is_written() {
        for (yaml, column) in [("method: GET", 9), ("method: [ GET ]", 11)] {
            assert_eq!(read(yaml).unwrap().method.0[0].place().column, column, "{yaml}");
        }
        assert!(read("port: eighty").unwrap_err().starts_with("router.yml:1:7: port: "));
        assert!(read("port: [ 80, eighty ]").unwrap_err().starts_with("router.yml:1:13: port[1]: "));
    }
}
