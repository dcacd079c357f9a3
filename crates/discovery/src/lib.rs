//! Knows which instances there are. The story of a change: a [`provider`] says an `Update`, the reconciler joins what
//! all providers say, `Table::next` makes the successor of the table, and one store publishes it.

pub mod policy;
pub mod provider;

pub use policy::{Policies, Policy};
