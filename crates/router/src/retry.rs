//! Whether a request is tried again, as a pure decision: what happened, what the configuration allows, what was tried,
//! how much time is left, and whether the service's budget pays for it.

use std::time::Duration;

use balancer::Allowance;
use http::Method;
use model::{Fault, Withheld};

#[cfg(test)]
mod tests;

/// Tries that send nothing anywhere: after this many only instances that take requests are asked. What fails on four is
/// no accident of one.
const FEW: u8 = 4;

/// Tries of one request at most, whatever they came to. Enough to find the living half of a service whose other half is
/// gone, before anybody knows: fifteen dead ones in a row are one case in 30,000.
pub const MOST: u8 = 16;

/// What a service or route says about retries, compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Instances that may be sent the request, at most, the first among them. Those that provably did nothing do not
    /// count.
    pub attempts: u8,
    /// What is retried.
    pub on: Faults,
    /// Methods that bear a second time.
    pub methods: Methods,
    /// So does any method whose request carries an `Idempotency-Key`.
    pub idempotency_key: bool,
    /// From the complete request to the response's head, if the request may then go elsewhere.
    pub per_try: Option<Duration>,
    /// Most bytes of the body that are kept for another try.
    pub buffer: usize,
    /// What the service may get besides its requests.
    pub budget: Allowance,
    /// Waits between tries.
    pub backoff: Backoff,
}

/// How long is waited before a try: a random time up to `base`, up to twice that before the next one, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest before the second try.
    pub base: Duration,
    /// Longest of all.
    pub longest: Duration,
}

/// When a second instance is asked while the first is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hedge {
    /// After as long as 95 of 100 answers of the service take.
    AtP95,
    /// After this time.
    After(Duration),
}

/// A set of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u8);

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods(u8);

/// The methods that can be in the set. The first five are idempotent (RFC 9110, 9.2.2); TRACE is, and is not forwarded.
pub const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::POST, Method::PATCH];

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What the last try came to.
    pub fault: Fault,
    /// Tries so far.
    pub tries: u8,
    /// Those of them whose instance may have done its work.
    pub sent: u8,
    /// Who could be asked next.
    pub next: Next,
    /// The request bears a second time.
    pub repeatable: bool,
    /// Its body, if there is one, can be sent from its beginning.
    pub replayable: bool,
    /// Until the deadline, if there is one.
    pub left: Option<Duration>,
    /// From 0 to 1, for the backoff.
    pub random: f64,
}

/// Who could be asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another instance, which takes requests.
    Ready,
    /// Another instance, which rests.
    Resting,
    /// No other one; the one that broke off may take the request on another connection.
    Same,
    /// Nobody.
    Nobody,
}

impl Next {
    /// By whether there is an instance that was not asked, and whether it takes requests; `broke`: one that was asked broke
    /// the connection off.
    #[must_use]
    pub fn of(admits: Option<bool>, broke: bool) -> Self {
        match admits {
            Some(true) => Self::Ready,
            Some(false) => Self::Resting,
            None if broke => Self::Same,
            None => Self::Nobody,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another try, after this wait.
    Again(Duration),
    /// What there is goes to the client: an instance's answer, else a refusal.
    Enough(Withheld),
}

/// Decides. `pay` takes one retry from the service's budget; it is asked last, once, and only for tries that may make an
/// instance work twice.
pub fn decide(policy: &Retries, facts: &Facts, pay: impl FnOnce() -> bool) -> Verdict {
    let unsent = facts.fault.is_unsent();
    let spent = match unsent {
        // A connection that cannot be made puts its instance out. One that refuses may be full, as all may be.
        true => facts.tries >= if facts.next == Next::Ready && facts.fault == Fault::Connect { MOST } else { FEW },
        false => facts.tries >= MOST || facts.sent >= policy.attempts,
    };
    let wait = match (unsent, facts.next) {
        (true, Next::Ready | Next::Resting) if facts.fault == Fault::Connect || facts.tries < 2 => Duration::ZERO,
        _ => policy.backoff.wait(facts.tries, facts.random),
    };
    let enough = [
        (!policy.on.has(facts.fault), Withheld::Off),
        (!unsent && !facts.repeatable, Withheld::Method),
        // Before the tries are counted: what was not sent may wait for the next instance, however many failed it.
        (unsent && facts.next == Next::Nobody, Withheld::NoInstance),
        (spent, Withheld::Attempts),
        (!facts.replayable, Withheld::Body),
        (facts.next == Next::Nobody, Withheld::NoInstance),
        (facts.left.is_some_and(|left| left <= wait), Withheld::Deadline),
    ];
    match enough.into_iter().find(|(holds, _)| *holds) {
        Some((_, why)) => Verdict::Enough(why),
        None if unsent || pay() => Verdict::Again(wait),
        None => Verdict::Enough(Withheld::Budget),
    }
}

/// Whether the gateway failures that instances answered to one request are their own fault. `answered`: another one
/// answered it with something else. `sent`: how many may have worked on it and failed.
///
/// If all who were asked failed, what they have in common is the request, or something that all of them need: then
/// nobody's fault is proven. If only one was asked, its word is all there is.
#[must_use]
pub fn is_their_fault(answered: bool, sent: u8) -> bool {
    answered || sent < 2
}

impl Retries {
    /// Every request is sent once.
    pub const OFF: Self = Self { attempts: 1, on: Faults(0), per_try: None, buffer: 0, ..Self::STANDARD };

    /// What holds unless the file says otherwise.
    pub const STANDARD: Self = Self {
        attempts: 3,
        on: Faults((1 << Fault::ALL.len()) - 1),
        methods: Methods(0b1_1111),
        idempotency_key: false,
        per_try: None,
        buffer: 64 * 1024,
        budget: Allowance::STANDARD,
        backoff: Backoff { base: Duration::from_millis(25), longest: Duration::from_millis(250) },
    };
}

impl Backoff {
    /// How long to wait after so many tries. The full range is random, so that requests that failed together do not come
    /// back together.
    fn wait(&self, tries: u8, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(1 << tries.saturating_sub(1).min(16));
        doubled.min(self.longest).mul_f64(random.clamp(0.0, 1.0))
    }
}

impl Faults {
    /// Whether it is one of them.
    #[must_use]
    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u8 != 0
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Self(faults.into_iter().fold(0, |set, fault| set | 1 << fault as u8))
    }
}

impl Methods {
    /// Whether it is one of them.
    #[must_use]
    pub fn has(self, method: &Method) -> bool {
        METHODS.iter().position(|m| m == method).is_some_and(|at| self.0 & 1 << at != 0)
    }
}

impl FromIterator<Method> for Methods {
    /// Those of [`METHODS`]; others are left out.
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        let at = |method| METHODS.iter().position(|m| *m == method);
        Self(methods.into_iter().filter_map(at).fold(0, |set, at| set | 1 << at))
    }
}
