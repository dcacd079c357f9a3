//! The data path and the composition root.

pub mod authority;
pub mod hygiene;
pub mod path;
pub mod query;
pub mod rewrite;
pub mod route;
