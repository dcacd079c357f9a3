//! What a registry may say. The values of [`Knowledge`] keep an error from ever being read as an empty list.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{Instance, InstanceId, ServiceId};

/// What a source knows about one service.
#[derive(Debug, Clone, PartialEq)]
pub enum Knowledge {
    /// These instances, all of them. Never empty: that is [`Knowledge::KnownEmpty`].
    Known(Vec<Arc<Instance>>),
    /// These instances, and the source says itself that it does not name all: others may be there that it may not show us.
    /// May be empty. Whoever was known and is not among these has perhaps left, and perhaps not.
    Part(Vec<Arc<Instance>>),
    /// The source answered, and there is no instance.
    KnownEmpty,
    /// The source could not say. Changes the state and age of what was known, never the list.
    Unknown(ProviderError),
}

impl Knowledge {
    /// `Known`, or `KnownEmpty` for an empty list. For answers only, never for failures.
    #[must_use]
    pub fn of<I: Into<Arc<Instance>>>(instances: impl IntoIterator<Item = I>) -> Self {
        let instances: Vec<_> = instances.into_iter().map(Into::into).collect();
        if instances.is_empty() { Self::KnownEmpty } else { Self::Known(instances) }
    }
}

/// One message of a source to the reconciler.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The full content of the source. Services it does not name are known to be empty there.
    Everything(HashMap<ServiceId, Vec<Arc<Instance>>>),
    /// The full list of one service.
    Service {
        /// The service spoken of.
        service: ServiceId,
        /// What the source knows of it now.
        knowledge: Knowledge,
        /// Instances that left on their own word (an explicit deregistration): their departure is never suspect.
        deregistered: Vec<InstanceId>,
    },
    /// The catalogue of the source was read: of these services it will speak one by one. Changes no list; until it is
    /// said, a source whose catalogue decides what is exposed has not answered, and afterwards not before it spoke of
    /// each. Said anew whenever they are others: of a service that it does not name nothing is awaited any longer, and a
    /// doubt about it is over, unless it has instances by the source's last word.
    Catalogue(BTreeSet<ServiceId>),
    /// The source knows the service no longer, not even as one without instances; it would not be in its
    /// [`Update::Everything`].
    Forgotten(ServiceId),
    /// The source as a whole cannot be reached or refuses; all it said stands and ages.
    Unreachable(ProviderError),
    /// Records that could not be used, since the last such message: skipped, counted and shown, the rest holds.
    Skipped {
        /// The service the record belongs to, if that much could be read.
        service: Option<ServiceId>,
        /// What is wrong with it and what to do, for the operator.
        reason: String,
    },
}

/// Why a source could not say what it knows; for the operator of the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No connection, or it broke.
    #[error("cannot reach {0}")]
    Unreachable(String),
    /// The credentials are missing, wrong or too weak.
    #[error("access denied: {0}")]
    Denied(String),
    /// The registry asks to be left in peace for a while, or cut the watch short.
    #[error("registry limits us: {0}")]
    Limited(String),
    /// The answer was not what the protocol promises.
    #[error("unreadable answer: {0}")]
    Malformed(String),
    /// The registry reports a fault of its own.
    #[error("registry failed: {0}")]
    Failed(String),
    /// What the source needs of a file system did not come in time: it hangs.
    #[error("{0}")]
    Stalled(String),
    /// The router shuts down.
    #[error("closed")]
    Closed,
}

impl ProviderError {
    /// One word for metrics and status pages.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Denied(_) => "denied",
            Self::Limited(_) => "limited",
            Self::Malformed(_) => "malformed",
            Self::Failed(_) => "failed",
            Self::Stalled(_) => "stalled",
            Self::Closed => "closed",
        }
    }
}
