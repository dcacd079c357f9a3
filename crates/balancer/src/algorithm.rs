//! The balancing algorithms a configuration can name; the registration point of this crate.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Error, MapAccess, value::MapAccessDeserializer},
};
use settings::Span;

use crate::{
    Balance, Balancer, Candidate, Place, SlowStart, bound::Bound, draws::Draws, hashed::Hashed,
    least_requests::LeastRequests, local_first::local_first, maglev::Maglev, peak_ewma::PeakEwma, random::Random,
    ring::Ring, roster::Roster, round_robin::RoundRobin,
};

/// How the instance is chosen: `balance: least_requests`, or `balance: { consistent_hash: { header: x-user } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Of two at random the one that will probably answer first: by latency and requests in flight, for its weight.
    PeakEwma(Decay),
    /// Each in its turn, in proportion to the weights.
    RoundRobin,
    /// Of two at random the one with fewer requests in flight for its weight.
    LeastRequests,
    /// At random, in proportion to the weights.
    Random,
    /// Instances on this host, then in this zone, then the rest; among them as `least_requests`.
    LocalFirst,
    /// The same key to the same instance, as long as that instance is there and takes requests.
    ConsistentHash(ConsistentHash),
}

impl Default for Algorithm {
    fn default() -> Self {
        Self::PeakEwma(Decay::default())
    }
}

impl Algorithm {
    /// Builds the balancer for these candidates, with nothing beside: see [`Balance`].
    #[must_use]
    pub fn build(&self, candidates: Vec<Candidate>, place: &Place) -> Box<dyn Balancer> {
        Balance::from(self.clone()).of(candidates, place)
    }

    /// Over candidates that are all alike but for their weights and, to some algorithms, their distance.
    pub(crate) fn over(
        &self,
        candidates: Vec<Candidate>,
        place: &Place,
        slow_start: Option<SlowStart>,
    ) -> Box<dyn Balancer> {
        let roster = |candidates| Roster::new(candidates, slow_start);
        let draws = |candidates| Draws::new(roster(candidates));
        match self {
            Self::PeakEwma(decay) => Box::new(PeakEwma::new(draws(candidates), *decay)),
            Self::RoundRobin => Box::new(RoundRobin::new(roster(candidates))),
            Self::LeastRequests => Box::new(LeastRequests::new(draws(candidates))),
            Self::Random => Box::new(Random::new(draws(candidates))),
            Self::LocalFirst => Box::new(local_first(candidates, place, slow_start)),
            Self::ConsistentHash(by) => {
                let bound = by.bound.map(Bound::new);
                match by.scheme {
                    Scheme::Maglev => Box::new(Hashed::new(candidates, slow_start, bound, Maglev::new)),
                    Scheme::Ring => Box::new(Hashed::new(candidates, slow_start, bound, Ring::new)),
                }
            }
        }
    }

    /// The word it is configured by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PeakEwma(_) => "peak_ewma",
            Self::RoundRobin => "round_robin",
            Self::LeastRequests => "least_requests",
            Self::Random => "random",
            Self::LocalFirst => "local_first",
            Self::ConsistentHash(_) => "consistent_hash",
        }
    }

    /// How soon latencies of the past are forgotten; as by default if this algorithm does not look at them.
    #[must_use]
    pub fn decay(&self) -> Decay {
        if let Self::PeakEwma(decay) = self { *decay } else { Decay::STANDARD }
    }

    /// What of a request to hash into [`Ask::hash`](crate::Ask::hash), if this algorithm looks at it.
    #[must_use]
    pub fn hash_key(&self) -> Option<&HashKey> {
        match self {
            Self::ConsistentHash(by) => Some(&by.key),
            Self::PeakEwma(_) | Self::RoundRobin | Self::LeastRequests | Self::Random | Self::LocalFirst => None,
        }
    }
}

/// Settings of `peak_ewma`: the word alone, or a map with `decay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decay(u32);

/// Shorter, an average is the last answer; longer, an instance that has recovered waits for its requests.
const DECAYS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

impl Decay {
    /// Ten seconds, as in Finagle: long enough to bridge the gaps between the requests of a quiet service, short enough to
    /// forget a garbage collection within half a minute.
    pub const STANDARD: Self = Self::from_millis(10_000);

    pub(crate) const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// Milliseconds after which a sample has lost all but 1/e of its influence.
    pub(crate) fn millis(self) -> u32 {
        self.0
    }
}

impl Default for Decay {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// `peak_ewma` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDecay {
    decay: Option<Span>,
}

impl WrittenDecay {
    fn check(self) -> Result<Decay, String> {
        let Some(decay) = self.decay else { return Ok(Decay::STANDARD) };
        if !DECAYS.contains(&decay.get()) {
            return Err(format!("decay: {decay} is not between 1s and 10m; write 10s if in doubt"));
        }
        Ok(Decay::from_millis(u32::try_from(decay.get().as_millis()).unwrap_or(u32::MAX)))
    }
}

impl<'de> Deserialize<'de> for Decay {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DecayVisitor)
    }
}

struct DecayVisitor;

impl<'de> de::Visitor<'de> for DecayVisitor {
    type Value = Decay;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with `decay`, or nothing")
    }

    fn visit_unit<E>(self) -> Result<Decay, E> {
        Ok(Decay::STANDARD)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Decay, A::Error> {
        WrittenDecay::deserialize(MapAccessDeserializer::new(map))?.check().map_err(A::Error::custom)
    }
}

/// Settings of `consistent_hash`: `client_address`, or a map with one of `header`, `cookie`, `query`,
/// `client_address: true`, and optionally `algorithm` and `bounded_load`. A request without the key is balanced as by `least_requests`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistentHash {
    /// What of the request is hashed.
    pub key: HashKey,
    /// How hashes map to instances.
    pub scheme: Scheme,
    /// The most one instance may have of the requests in flight, in hundredths of its fair part; `None`: any number.
    pub bound: Option<u32>,
}

/// What of a request says where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The value of this request header; the name is in lower case.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this query parameter.
    Query(String),
    /// The address of the client, without the port.
    ClientAddress,
}

/// How hashes map to instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// A Maglev table: even to a percent and quickest. A service that grows past 10, 40 or 160 instances gets a larger
    /// table, and keys are dealt anew.
    #[default]
    Maglev,
    /// A ring of points: less even, and only the keys of an instance that comes or goes ever move.
    Ring,
}

/// `consistent_hash` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    header: Option<String>,
    cookie: Option<String>,
    query: Option<String>,
    #[serde(default)]
    client_address: bool,
    #[serde(default)]
    algorithm: Scheme,
    bounded_load: Option<f64>,
}

impl Written {
    fn check(self) -> Result<ConsistentHash, String> {
        let key = match (self.header, self.cookie, self.query, self.client_address) {
            (Some(name), None, None, false) => HashKey::Header(token("header", &name)?.to_ascii_lowercase()),
            (None, Some(name), None, false) => HashKey::Cookie(token("cookie", &name)?.to_owned()),
            (None, None, Some(name), false) if !name.is_empty() => HashKey::Query(name),
            (None, None, None, true) => HashKey::ClientAddress,
            _ => {
                let choice = "`header: NAME`, `cookie: NAME`, `query: NAME` and `client_address: true`";
                return Err(format!("consistent_hash needs exactly one of {choice}"));
            }
        };
        Ok(ConsistentHash { key, scheme: self.algorithm, bound: self.bounded_load.map(bound).transpose()? })
    }
}

/// A factor in hundredths.
fn bound(factor: f64) -> Result<u32, String> {
    if (1.01..=100.0).contains(&factor) {
        Ok((factor * 100.0).round() as u32)
    } else {
        Err(format!("bounded_load: {factor} is not between 1.01 and 100; write 1.25 for a quarter above the fair part"))
    }
}

/// Checks a name: header and cookie names are tokens (RFC 9110 section 5.6.2, RFC 6265 section 4.1.1).
///
/// # Errors
/// If it is none; the text says what is.
pub fn token<'a>(kind: &str, name: &'a str) -> Result<&'a str, String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.is_empty() && name.bytes().all(ok) {
        Ok(name)
    } else {
        Err(format!("{name:?} cannot be the name of a {kind}: use letters, digits and hyphens"))
    }
}

impl<'de> Deserialize<'de> for ConsistentHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = ConsistentHash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`client_address` or a map with `header`, `cookie`, `query` or `client_address`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<ConsistentHash, E> {
        match word {
            "client_address" => {
                Ok(ConsistentHash { key: HashKey::ClientAddress, scheme: Scheme::default(), bound: None })
            }
            other => Err(E::unknown_variant(other, &["client_address"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConsistentHash, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?.check().map_err(A::Error::custom)
    }
}
