//! The data path and the composition root.

pub mod authority;
pub mod path;
pub mod query;
pub mod route;
