//! What the programs in `bin` share. Single decisions are measured in `benches`; README.md has the method and the figures.
#![allow(clippy::expect_used, reason = "a measurement that cannot go on has nothing to recover")]

pub mod probe;
pub mod registry;
pub mod spread;

pub use probe::Probe;
pub use registry::Registry;
pub use spread::Spread;
