//! `retries:` of a service or route.

use serde::Deserialize;
use settings::{Located, OneOrMany, OrOff, Size, Span};

use super::Percent;

/// What is sent to another instance when one fails. What a route leaves out its service says, then `"*"`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Instances that may be sent the request, the first among them.
    pub attempts: Option<Located<u8>>,
    /// What is retried: `connect`, `refused`, `reset`, `timeout`, `502`, `503`, `504`.
    pub on: Option<OneOrMany<Located<String>>>,
    /// Methods that bear a second time.
    pub methods: Option<OneOrMany<Located<String>>>,
    /// So does any method whose request carries an `Idempotency-Key`.
    pub idempotency_key: Option<bool>,
    /// How long one instance may take for the head of its answer.
    pub per_try: Option<OrOff>,
    /// Most of a request's body that is kept.
    pub buffer: Option<Located<Size>>,
    /// What the service may get besides its requests.
    pub budget: Budget,
    /// Waits between tries.
    pub backoff: Backoff,
}

/// What a service may get besides its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Retries in proportion to the requests of the window. 20 %.
    pub share: Option<Percent>,
    /// Retries in each second whatever the share says. 10.
    pub floor: Option<u32>,
    /// How far is looked back. 10 s.
    pub window: Option<Located<Span>>,
}

/// Waits between tries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// Longest before the second try; doubled for each one after it.
    pub base: Option<Span>,
    /// Longest of all.
    pub longest: Option<Span>,
}
