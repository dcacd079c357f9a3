//! A value that can be switched off.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Visitor};

use crate::Span;

/// The name by which [`crate::de`] knows that `off` is allowed.
pub(crate) const NAME: &str = "$settings::OrOff";

/// For what can be switched off, as a limit that can be lifted: `off`, `none`, `null` or an empty value is `None`,
/// everything else is a `T`.
///
/// ```
/// use settings::{OrOff, Span};
///
/// #[derive(serde::Deserialize)]
/// struct Timeouts {
///     idle: OrOff,
///     total: OrOff<Span>,
/// }
///
/// let timeouts: Timeouts = settings::parse("{ idle: off, total: 5s }", "router.yml".as_ref(), &|_| None)?;
/// assert_eq!((timeouts.idle, timeouts.total), (OrOff(None), OrOff(Some(Span::from_secs(5)))));
/// # Ok::<(), settings::Mistakes>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrOff<T = Span>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, OrOffVisitor(PhantomData)).map(Self)
    }
}

struct OrOffVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrOffVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or `off`")
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        T::deserialize(deserializer).map(Some)
    }

    /// From another format than ours: there `off` is not known, `null` is.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        Option::deserialize(deserializer)
    }
}
