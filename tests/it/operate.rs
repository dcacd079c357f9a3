//! Running it: the binary as a process, its signals and exit codes; files that change; what `check` says.

mod access;
mod certificates;
mod check;
mod drain;
mod every_key;
mod explain;
mod history;
mod log;
pub(crate) mod process;
mod registry;
mod reload;
mod renamed;
mod run;
pub(crate) mod stalled;
mod verbs;
