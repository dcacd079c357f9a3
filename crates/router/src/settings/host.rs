//! `headers.host`

use serde::Deserialize;
use settings::Located;

/// The host instances are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// The instance's own.
    #[default]
    Instance,
    /// The client's.
    Preserve,
    /// Always this one.
    Fixed(Located<String>),
}
