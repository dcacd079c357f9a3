//! What is told of a request.

use model::Refusal;
use serde::{Deserialize, Serialize};

/// What would become of a request, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Method and target.
    pub request: String,
    /// Why it would not be forwarded; absent if it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What names the service; absent if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// Other routes with its path, and why it does not follow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<Other>,
    /// How many more of them there are, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over_more: Option<usize>,
    /// Path and query as an instance sees them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The service it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

/// Why a request would not be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The word of `x-pointsman-reason`.
    pub reason: String,
    /// The status for the client.
    pub status: u16,
    /// What the client is told.
    pub description: String,
    /// The fallback of its route answers instead.
    pub fallback: bool,
    /// The service that its route names for that, if it is asked. If `fallback` is false, it is the one that refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_instead: Option<String>,
}

/// What names the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// `route`, `header` or `query`.
    pub by: String,
    /// The name of the route, header or parameter.
    pub name: String,
    /// The number of the route, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<usize>,
    /// Its line in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// A route that has the path of the request and that it does not follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its number, from 0.
    pub route: usize,
    /// Its line in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Its name.
    pub name: String,
    /// Why not.
    pub why: String,
}

/// The service a request is for, as its requests find it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Whether clients may reach it.
    pub exposed: bool,
    /// What exposes it, or what does not.
    pub because: String,
    /// The environment the request names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// How an instance is chosen; absent if nothing is known of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<String>,
    /// Requests in hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// What would be chosen now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// All its instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

/// An instance, as requests like this one find it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// The registry that names it.
    pub source: String,
    /// Whether such requests go there now.
    pub takes: bool,
    /// In words, and why not.
    pub why: String,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its weight.
    pub weight: u16,
    /// Requests in flight to it.
    pub in_flight: u32,
}

impl Refused {
    /// A request that is refused so.
    #[must_use]
    pub fn of(refusal: &Refusal) -> Self {
        Self {
            reason: refusal.reason().to_owned(),
            status: refusal.status().as_u16(),
            description: refusal.description().into_owned(),
            fallback: false,
            asked_instead: None,
        }
    }
}
