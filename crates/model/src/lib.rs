//! The words of the domain, in reading order. No I/O, no async: every other crate speaks this language.
//!
//! * [`id`]: names that were checked once ([`ServiceId`], [`InstanceId`], [`Tag`]).
//! * [`instance`]: one running copy of a service, and how to talk to it.
//! * [`update`]: what a registry may say, with "I do not know" kept apart from "there is none".
//! * [`exposure`]: which services a client may reach.
//! * [`outcome`]: how one attempt at an instance ended.
//! * [`retry`]: why a request is sent to another instance, and why it is not.
//! * [`refusal`]: why a request was not forwarded; what the client is told.
//! * [`fields`]: which header fields a head may have.
//! * [`tick`]: time as an argument.

pub mod exposure;
pub mod fields;
pub mod id;
pub mod instance;
pub mod outcome;
pub mod refusal;
pub mod retry;
pub mod tick;
pub mod update;

pub use arcstr::ArcStr;
pub use exposure::Exposure;
pub use fields::Fields;
pub use id::{InstanceId, NameError, ServiceId, Tag};
pub use instance::{Address, Endpoint, Host, Instance, Protocol, Standing, UpstreamKey};
pub use outcome::Outcome;
pub use refusal::Refusal;
pub use retry::{Fault, Withheld};
pub use tick::Tick;
pub use update::{Knowledge, ProviderError, Update};
