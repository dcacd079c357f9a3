//! Active health checks: the router looks at instances by itself, and keeps from requests those that do not pass.
//!
//! | File | |
//! |---|---|
//! | `health.rs` | the map |
//! | `health/check.rs` | what a check does, and at what pace |
//! | `health/row.rs` | a verdict that a row of looks overturns; pure |
//! | `health/state.rs` | what the checks of one instance add up to; pure |
//! | `health/newcomer.rs` | who proves itself before it is used; pure |
//! | `health/subject.rs` | one instance under watch: what was found, and what follows |
//! | `health/probe.rs` | one look at an instance: the I/O, one file for each kind |
//! | `health/monitor.rs` | follows the table: which looks begin and end, and how many at once |
//! | `health/findings.rs` | what the operator sees |
//!
//! The reconciler owns the `Monitor` and shows it every new table before it is published: an instance that has to prove
//! itself is held before the first request can see it. Each check of each instance is a task of its own on the control
//! runtime. An instance is known by its vitals, which stay while service, id and address do: what was found outlives new
//! tables and reloads, and two services at one address are looked at apart.

pub mod check;
mod findings;
mod monitor;
mod newcomer;
mod probe;
mod row;
mod state;
mod subject;

pub use check::{Check, Pace, Role};
pub use findings::{Finding, Findings, Totals};
pub(crate) use monitor::{Monitor, new_ones};
pub(crate) use newcomer::Newcomers;
pub(crate) use row::Row;
