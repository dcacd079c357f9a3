//! Knows which instances there are. The story of a change: a [`provider`] says an `Update`, the reconciler joins what
//! all of them say ([`claims`]), [`Table::next`] makes the successor of the table, and one store publishes it.
//!
//! * [`provider`]: the seam, and one file per kind of source.
//! * [`subscriptions`]: which services are asked for because a client named them.
//! * [`claims`]: what every source says of every service, three-valued; suspects.
//! * [`table`]: the immutable snapshot requests read.
//! * `reconciler`: the only writer of the table.
//! * [`health`]: what the router finds out by itself: active checks.
//! * [`outliers`]: judges instances against each other, and tells who is put out and who comes back.
//! * [`history`]: the last events, with their causes.
//! * [`memory`]: the last known good, on disk.
//! * [`policy`]: what the configuration says of services.
//! * [`sticky`]: what clients carry that stay with their instance.
//! * [`status`], [`freshness`]: what the operator sees.
//! * [`leave`]: instances that are to leave.
//! * `handle`, `sources`: start, reload, end.

pub mod claims;
mod digest;
pub mod freshness;
mod handle;
pub mod health;
pub mod history;
pub mod leave;
pub mod memory;
pub mod outliers;
mod pairs;
pub mod policy;
pub mod provider;
mod reconciler;
mod sources;
pub mod status;
pub mod sticky;
pub mod subscriptions;
pub mod table;
#[cfg(test)]
mod testing;

pub use handle::{Discovery, Reporter, StartError};
pub use leave::{How, Leave, Operator};
pub use memory::Memory;
pub use policy::{Bounds, Guard, Policies, Policy, Rules, WarmHold};
pub use provider::Settings;
pub use reconciler::Answer;
pub use sticky::Sticky;
pub use subscriptions::OnFirstUse;
pub use table::{Member, Reach, Service, Table, TableCell, TableReader};
