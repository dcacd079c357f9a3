//! Running it: the binary as a process, its signals and exit codes; files that change; what `check` says.

mod access;
mod certificates;
mod drain;
mod process;
mod reload;
mod run;
