//! What the measurements share. Each is a program of its own in `bin`; README.md has the method and the figures.
#![allow(clippy::expect_used, reason = "a measurement that cannot go on has nothing to recover")]

pub mod canned;
pub mod cost;
pub mod probe;
pub mod registry;
pub mod spread;
pub mod visitor;

pub use cost::nanos;
pub use probe::Probe;
pub use registry::Registry;
pub use spread::Spread;
