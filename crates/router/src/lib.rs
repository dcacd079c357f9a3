//! The data path and the composition root.
//!
//! **The path of a request**, in reading order: [`server`] (a client's connection) → [`proxy`] (the data path on one
//! page) → [`shed`], [`hygiene`], [`limits`], [`target`] with [`path`], [`query`], [`authority`] and [`route`] → [`rewrite`] →
//! [`attempt`] with [`wait`] and [`affinity`], or [`fallback`]. An [`exchange`] goes along and becomes a line of the
//! access [`log`]; a refusal becomes an answer in [`refuse`].
//!
//! **Around it**: [`settings`] (the file as typed) → [`plan`] (compiled) → [`core`] (one thread) fed by [`accept`];
//! [`control`] starts, reloads and ends it all. [`demo`] is the demonstration, [`history`] asks a running router what
//! happened, [`explain`] why a request goes where it goes, and [`verb`] who is there and in which state. [`announce`] tells registries of the router itself, and [`register`] of services that cannot do it;
//! [`registry`] is for operators of the embedded one.

pub mod accept;
pub mod affinity;
pub mod announce;
pub mod attempt;
pub mod authority;
pub mod client;
pub mod control;
pub mod core;
pub mod demo;
pub mod exchange;
pub mod explain;
pub mod fallback;
pub mod history;
pub mod hygiene;
pub mod limits;
pub mod log;
pub mod path;
pub mod plan;
pub mod proxy;
pub mod query;
pub mod refuse;
pub mod register;
pub mod registry;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod server;
pub mod settings;
pub mod shed;
pub mod target;
pub mod verb;
pub mod wait;

pub use control::{Router, Start};
