//! Reads a YAML file into typed structs, and says exactly what is wrong with it.
//!
//! A section of the configuration is a plain serde struct in the crate that uses it. This crate knows none of them:
//!
//! ```
//! use settings::{Entries, Located, Mistakes, SecretSource, SettingsError, Span};
//!
//! #[derive(Debug, serde::Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Registry {
//!     Consul(Consul),
//! }
//!
//! #[derive(Debug, serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Consul {
//!     url: Located<String>,
//!     token: Option<SecretSource>,
//!     #[serde(default = "five_seconds")]
//!     timeout: Span,
//! }
//!
//! fn five_seconds() -> Span {
//!     Span::from_secs(5)
//! }
//!
//! let text = "dc1: { consul: { url: 'ftp://${HOST:localhost}:8500', timeout: 250ms } }";
//! let file = std::path::Path::new("router.yml");
//! let registries: Entries<Registry> = settings::parse(text, file, &|_| None)?;
//!
//! let (_name, Registry::Consul(consul)) = &registries[0];
//! assert_eq!(consul.timeout, Span::from_millis(250));
//!
//! // Checks that serde cannot make point at the same place:
//! let error = SettingsError::at(&consul.url, "the scheme must be http or https");
//! assert_eq!(error.to_string(), "router.yml:1:23: dc1.consul.url: the scheme must be http or https");
//! # Ok::<(), Mistakes>(())
//! ```
//!
//! # What is understood
//!
//! * **Types follow the struct.** A `String` takes any scalar as it is written (`version: 1.10` is `"1.10"`); a number
//!   takes an unquoted number only. Absent, empty, `null` and `~` are `None` for an `Option`; an empty value is also an
//!   empty list, map or struct, so that a section whose lines are all commented out still reads.
//! * **Substitution** in values, never in keys: `${NAME}`, `${NAME:default}`, `$${` for a literal `${`. It happens after
//!   parsing, so a value cannot add YAML. An unquoted value is typed after substitution (`port: ${PORT:8443}`), a quoted
//!   one stays text. Inside `{ }` and `[ ]` YAML wants it quoted.
//! * **Unknown keys** are refused in every struct, also where `deny_unknown_fields` was forgotten.
//! * **Parts**: a field that is renamed to `$part` is read from the same map as the struct around it, so keys that several
//!   structs share are declared once, with their lines and without letting an unknown one through.
//! * **Enums** are externally tagged: `{ consul: { ... } }`, or a bare word for a unit variant and for one whose content
//!   also reads nothing (`visit_unit`). Internal tags, `untagged`
//!   and `flatten` work but lose the lines of what is inside.
//! * **Hand-written visitors** (a word or a map, one or a list): call `deserialize_any`, or `deserialize_str` if a scalar
//!   shall come as the text that was typed (`007`); lists and maps reach `visit_seq` and `visit_map` either way.
//! * **Bounds**: 1 MiB, 64 levels, 10,000 nodes copied by aliases. Tags, merge keys and second documents are refused.
//!
//! # Code map
//!
//! | module | idea |
//! |---|---|
//! | `error` | [`SettingsError`] and [`Place`]: what every refusal consists of |
//! | `mistakes` | [`Mistakes`]: all that is wrong with a file, instead of the first thing |
//! | `nearest` | the valid name closest to a mistyped one |
//! | `node` | the tree: scalars, lists and maps that know their line and column |
//! | `tree` | YAML events to that tree; bounds, duplicates, aliases |
//! | `substitute` | `${NAME:default}` in one scalar |
//! | `de` | the tree as a serde deserializer that puts a place on every error |
//! | `sift` | reads on after what serde refuses |
//! | `located` | [`Located`]: a value that remembers its place |
//! | `one_or_many` | [`OneOrMany`]: a list that may be one bare value |
//! | `entries` | [`Entries`]: a map in the order of the file |
//! | `secret` | [`Secret`], [`SecretSource`]: text that is never shown |
//! | `or_off` | [`OrOff`]: a value that can be switched off |
//! | `span`, `size` | [`Span`] (`1m30s`) and [`Size`] (`64KiB`) |
//! | `aside` | [`Aside`]: reading where it hurts nobody if it hangs |
//! | `slow` | [`told_if_slow`]: reading that everything waits for |
//! | [`watch`] | tells when files change, by content; SIGHUP |

mod aside;
mod de;
mod entries;
mod error;
mod lasting;
mod load;
mod located;
mod mistakes;
mod nearest;
mod node;
mod one_or_many;
mod or_off;
mod secret;
mod sift;
mod size;
mod slow;
mod span;
mod substitute;
#[cfg(test)]
mod tests;
mod tree;
pub mod watch;

pub use aside::{Aside, PATIENCE, Stalled};
pub use entries::Entries;
pub use error::{Place, SettingsError};
pub use lasting::{Time, lasting};
pub use load::{load, parse};
pub use located::Located;
pub use mistakes::Mistakes;
pub use nearest::nearest;
pub use one_or_many::OneOrMany;
pub use or_off::OrOff;
pub use secret::{Secret, SecretSource};
pub use size::Size;
pub use slow::told_if_slow;
pub use span::Span;
