//! What the programs in `bin` share. Single decisions are measured in `benches`; README.md has the method and the figures.
#![allow(clippy::expect_used, reason = "a measurement that cannot go on has nothing to recover")]

pub mod canned;
pub mod probe;
pub mod registry;
pub mod spread;
pub mod threads;
pub mod visitor;

pub use probe::Probe;
pub use spread::Spread;
