//! `services:`

use balancer::Algorithm;
use discovery::claims::TooOld;
use model::{Protocol, Tag};
use serde::Deserialize;
use settings::{Entries, Located, OneOrMany, OrOff, Size, Span};
use transport::client::TlsSettings;

use super::{Breaker, Check, Concurrency, Eject, Hedge, Retries, SlowStart, Sticky, Timeouts, WeighBy};

/// How the instances of one service are chosen and spoken to. What it leaves out `"*"` says.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// The balancing algorithm.
    pub balance: Option<Algorithm>,
    /// Metadata that counts as weight.
    pub weigh_by: Option<WeighBy>,
    /// How new instances begin.
    pub slow_start: Option<OrOff<SlowStart>>,
    /// Instances of our zone first.
    pub prefer_zone: Option<Located<bool>>,
    /// Tags of groups that take over for each other.
    pub failover: Option<OneOrMany<Tag>>,
    /// Clients that stay with their instance.
    pub sticky: Option<OrOff<Located<Sticky>>>,
    /// What to speak where the registry does not say.
    pub protocol: Option<Protocol>,
    /// TLS to `https` instances.
    pub tls: Option<Located<ServiceTls>>,
    /// Limits of its own.
    pub timeouts: Timeouts,
    /// Its own limit for request bodies.
    pub max_body: Option<Size>,
    /// Most header fields of an answer by HTTP/1.1. 100.
    pub max_answer_fields: Option<Located<u16>>,
    /// What is sent to another instance when one fails.
    pub retries: Option<OrOff<Box<Retries>>>,
    /// When a second instance is asked while the first is silent.
    pub hedge: Option<OrOff<Hedge>>,
    /// How what several registries say of it is joined.
    pub merge: Option<Located<Merge>>,
    /// How long its instances that vanished suspiciously stay as last resort.
    pub hold: Option<Span>,
    /// What becomes of it when no registry has confirmed it for long.
    pub max_stale: Option<MaxStale>,
    /// How much of it may be in hand at once.
    pub concurrency: Option<Located<Concurrency>>,
    /// How long a request waits for an instance where there is none.
    pub warm_hold: Option<OrOff>,
    /// How long what is under way may go on at an instance that is to leave.
    pub drain: Option<Span>,
    /// How the router looks after its instances by itself; an empty list: not at all.
    pub check: Option<OneOrMany<Located<Check>>>,
    /// When its instances are put out for what they answer.
    pub eject: Option<Located<OrOff<Box<Eject>>>>,
    /// When none of its requests is sent. Off.
    pub breaker: Option<Located<OrOff<Breaker>>>,
}

/// How what several registries say of one service is joined.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// All instances.
    #[default]
    Union,
    /// Those of the first registry that has one to serve.
    First,
    /// All, with a share of the traffic for each registry.
    Weighted(Entries<u16>),
}

/// What becomes of a word that grows old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxStale {
    /// From this age on.
    pub after: Span,
    /// What is done.
    pub action: TooOld,
}

/// TLS to the instances of one service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTls {
    /// Whom to trust and who we are.
    #[serde(rename = "$part")]
    pub certificates: TlsSettings,
    /// `false` accepts any certificate. For development only.
    pub verify: bool,
}

impl Default for ServiceTls {
    fn default() -> Self {
        Self { certificates: TlsSettings::default(), verify: true }
    }
}
