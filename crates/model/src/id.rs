//! Names that were checked once. All are cheap to clone and are looked up by `&str`.

use std::{borrow::Borrow, fmt};

use arcstr::ArcStr;

/// A name did not follow the rules of its kind; the text says which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} {rule}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ArcStr);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a service, as clients write it in the `service_id` header.
    ///
    /// Registries differ in what they allow; this accepts what any of them does: 1 to 255 visible ASCII characters
    /// without `/`, `|`, `,`, quotes and backslash. The embedded registry holds its writers to the stricter
    /// [`ServiceId::conventional`].
    ServiceId
}
name! {
    /// The name of one instance within its service, as its registry gives it: 1 to 512 characters, no control characters.
    InstanceId
}
name! {
    /// A tag or environment of an instance: 1 to 255 visible ASCII characters without `|` and `,`.
    Tag
}

impl ServiceId {
    /// Checks and wraps a service name.
    ///
    /// # Errors
    /// If the name breaks the rule given at the type.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let ok = (1..=255).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'|' | b',' | b'"' | b'\'' | b'\\'));
        checked(ok, "service name", name, "must be 1 to 255 visible ASCII characters without / | , \" ' and \\")
            .map(Self)
    }

    /// The naming convention for services that register themselves: lowercase letters, digits, hyphens and dots,
    /// beginning and ending with a letter or digit (`com.networknt.petstore-1.0.0`, `orders`).
    ///
    /// # Errors
    /// If the name breaks the convention.
    pub fn conventional(name: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = name.as_bytes();
        let ok = (1..=255).contains(&bytes.len())
            && bytes.iter().all(|&b| word(b) || matches!(b, b'-' | b'.'))
            && word(bytes[0])
            && word(bytes[bytes.len() - 1]);
        let rule =
            "must be 1 to 255 lowercase letters, digits, hyphens and dots, and begin and end with a letter or digit";
        checked(ok, "service name", name, rule).map(Self)
    }
}

impl InstanceId {
    /// Checks and wraps an instance name.
    ///
    /// # Errors
    /// If the name breaks the rule given at the type.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let ok = (1..=512).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        checked(ok, "instance id", name, "must be 1 to 512 characters without control characters").map(Self)
    }
}

impl Tag {
    /// Checks and wraps a tag.
    ///
    /// # Errors
    /// If the tag breaks the rule given at the type.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let ok =
            (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'|' | b','));
        checked(ok, "tag", name, "must be 1 to 255 visible ASCII characters without | and ,").map(Self)
    }
}

/// The name if it is as the rule of its kind wants it.
fn checked(ok: bool, kind: &'static str, name: &str, rule: &'static str) -> Result<ArcStr, NameError> {
    if ok { Ok(name.into()) } else { Err(NameError { kind, name: name.into(), rule }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_of_every_registry_are_accepted_and_separators_are_not() {
        for good in ["petstore", "com.networknt.petstore-1.0.0", "Orders_v2", "a", "svc~1:x"] {
            assert!(ServiceId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a|b", "a,b", "a b", "ä", "a\n", "a\"b", &"x".repeat(256)] {
            assert!(ServiceId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_convention_is_stricter() {
        for good in ["petstore", "com.networknt.petstore-1.0.0", "7up"] {
            assert!(ServiceId::conventional(good).is_ok(), "{good}");
        }
        for bad in ["Petstore", "pet_store", "-a", "a-", ".a", "a.", "", "a b"] {
            assert!(ServiceId::conventional(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_names_the_name_and_the_rule() {
        let error = Tag::new("a|b").unwrap_err().to_string();
        assert!(error.contains("\"a|b\"") && error.contains("without |"), "{error}");
    }
}
