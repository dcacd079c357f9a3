//! What happens in one run, drawn from its seed: trouble for a while, then calm in which everything must come right.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use model::{Address, Endpoint, Host, Instance, InstanceId, Knowledge, ProviderError, ServiceId, Tick, Update};

use crate::network::{Life, Manner};

/// Trouble ends.
pub(crate) const CALM: Tick = Tick(30 * SECOND);
/// From here on everybody must have their share again: the longest rest (30 s and a quarter) is over, and what the calm
/// found unanswered (15 s).
pub(crate) const SETTLED: Tick = Tick(72 * SECOND);
/// No more requests.
pub(crate) const END: Tick = Tick(90 * SECOND);

pub(crate) const SERVICE: &str = "items";

/// Algorithms, as a configuration names them.
pub(crate) const ALGORITHMS: [&str; 6] =
    ["peak_ewma", "random", "round_robin", "least_requests", "local_first", "{ consistent_hash: client_address }"];

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// Instances at once, at most.
const MOST: u16 = 10;

/// One run.
#[derive(Debug)]
pub(crate) struct Script {
    /// How each instance behaves, by the last bytes of its address.
    pub(crate) lives: BTreeMap<u16, Life>,
    /// What the registry says, in order of time.
    pub(crate) words: Vec<(Tick, Update)>,
    /// The configuration's word for the algorithm.
    pub(crate) algorithm: &'static str,
    /// Time between requests, on average.
    pub(crate) pause: Duration,
    /// How long clients wait, if they do not wait for ever.
    pub(crate) patience: Option<Duration>,
    /// Cores of the router.
    pub(crate) cores: usize,
    /// Whether active checks look at the instances.
    pub(crate) checked: bool,
}

/// Draws a script, step by step.
struct Draft {
    dice: fastrand::Rng,
    script: Script,
    /// Who the registry names.
    named: Vec<u16>,
    next: u16,
}

impl Script {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let script = Self {
            lives: BTreeMap::new(),
            words: Vec::new(),
            algorithm: ALGORITHMS[dice.usize(..ALGORITHMS.len())],
            pause: Duration::from_millis(dice.u64(15..50)),
            patience: [None, Some(Duration::from_secs(1)), Some(Duration::from_secs(5))][dice.usize(..3)],
            cores: dice.usize(1..4),
            checked: dice.bool(),
        };
        Draft { dice, script, named: Vec::new(), next: 1 }.write()
    }

    /// Addresses that are named when the calm comes.
    pub(crate) fn remaining(&self) -> Vec<u16> {
        match self.words.last() {
            Some((_, Update::Service { knowledge: Knowledge::Known(list), .. })) => {
                list.iter().map(|i| number(i)).collect()
            }
            other => unreachable!("the last word is a list: {other:?}"),
        }
    }
}

impl Draft {
    fn write(mut self) -> Script {
        let count = self.dice.u16(2..=MOST);
        for _ in 0..count {
            let new = self.start(Tick(0));
            self.named.push(new);
        }
        self.say(Tick(0), &[]);
        let mut now = Tick(SECOND);
        while now < Tick(CALM.0 - 3 * SECOND) {
            self.trouble(now);
            now = self.later(now, 200 * MILLI, 4 * SECOND);
        }
        self.calm();
        self.script
    }

    /// Something goes wrong, or is changed.
    fn trouble(&mut self, now: Tick) {
        match self.dice.u8(..13) {
            0 | 1 => self.crash(now),
            2 | 3 => self.misbehave(now),
            4 => self.leave(now),
            5 => self.leave_too_late(now),
            6 if self.named.len() < usize::from(MOST) => {
                let new = self.start(now);
                self.named.push(new);
                self.say(now, &[]);
            }
            7 => self.replace_all(now),
            8 => self.registry_loses_all(now),
            9 => {
                let why = ProviderError::Unreachable("the registry".to_owned());
                self.script.words.push((now, Update::Unreachable(why)));
            }
            10 => self.half_dies(now),
            11 => self.all_fail(now),
            _ => self.flap(now),
        }
    }

    /// Dies without a word; the registry finds out, or it comes back before.
    fn crash(&mut self, now: Tick) {
        let Some(who) = self.any() else { return };
        self.turn(who, now, Manner::Refusing);
        let later = self.later(now, 100 * MILLI, 8 * SECOND);
        if self.dice.bool() {
            let well = self.well();
            self.turn(who, later, well);
        } else {
            self.withdraw(later, &[who], false);
        }
    }

    /// Behaves badly for a while.
    fn misbehave(&mut self, now: Tick) {
        let Some(who) = self.any() else { return };
        let slow = Manner::Well(Duration::from_millis(500));
        let manners =
            [Manner::Hole, Manner::Hung, Manner::Failing, Manner::Resetting, Manner::GoingAway, slow, Manner::Refusing];
        let manner = manners[self.dice.usize(..manners.len())];
        self.turn(who, now, manner);
        let (later, well) = (self.later(now, SECOND, 10 * SECOND), self.well());
        self.turn(who, later, well);
    }

    /// Says goodbye, then stops.
    fn leave(&mut self, now: Tick) {
        let Some(who) = self.any() else { return };
        self.withdraw(now, &[who], true);
        let later = self.later(now, MILLI, SECOND);
        self.turn(who, later, Manner::Refusing);
    }

    /// Stops, then says goodbye: the race that deploys lose.
    fn leave_too_late(&mut self, now: Tick) {
        let Some(who) = self.any() else { return };
        self.turn(who, now, Manner::Refusing);
        let later = self.later(now, MILLI, 500 * MILLI);
        self.withdraw(later, &[who], true);
    }

    /// New instances for all old ones, in one update.
    fn replace_all(&mut self, now: Tick) {
        let old = std::mem::take(&mut self.named);
        for _ in &old {
            let new = self.start(now);
            self.named.push(new);
        }
        self.say(now, &old);
        for who in old {
            let later = self.later(now, MILLI, 2 * SECOND);
            self.turn(who, later, Manner::Refusing);
        }
    }

    /// The registry forgets everybody for a while, and nobody is gone.
    fn registry_loses_all(&mut self, now: Tick) {
        let named = std::mem::take(&mut self.named);
        if self.dice.bool() {
            self.say(now, &[]);
        } else {
            self.script.words.push((now, Update::Everything(HashMap::new())));
        }
        self.named = named;
        let later = self.later(now, 500 * MILLI, 15 * SECOND);
        self.say(later, &[]);
    }

    fn half_dies(&mut self, now: Tick) {
        let half: Vec<_> = self.named.iter().copied().take(self.named.len() / 2).collect();
        for who in half {
            self.turn(who, now, Manner::Refusing);
            let (later, well) = (self.later(now, SECOND, 12 * SECOND), self.well());
            self.turn(who, later, well);
        }
    }

    /// What they all need is gone: everybody answers 503.
    fn all_fail(&mut self, now: Tick) {
        let later = self.later(now, SECOND, 6 * SECOND);
        for who in self.named.clone() {
            let well = self.well();
            self.turn(who, now, Manner::Failing);
            self.turn(who, later, well);
        }
    }

    /// In and out of the registry, while it works all the time.
    fn flap(&mut self, now: Tick) {
        let Some(who) = self.any() else { return };
        let mut at = now;
        for _ in 0..self.dice.u8(2..6) {
            self.withdraw(at, &[who], false);
            at = self.later(at, 50 * MILLI, 400 * MILLI);
            self.named.push(who);
            self.say(at, &[]);
            at = self.later(at, 50 * MILLI, 400 * MILLI);
        }
    }

    /// Everybody who is named works, everybody else is gone, and the registry says so.
    fn calm(&mut self) {
        while self.named.len() < 2 {
            let new = self.start(CALM);
            self.named.push(new);
        }
        // Latencies alike: shares are compared.
        for (who, life) in &mut self.script.lives {
            let usual = Duration::from_millis(self.dice.u64(10..20));
            life.settle(CALM, if self.named.contains(who) { Manner::Well(usual) } else { Manner::Refusing });
        }
        self.script.words.retain(|(at, _)| *at < CALM);
        self.script.words.sort_by_key(|(at, _)| *at);
        self.say(CALM, &[]);
    }

    fn start(&mut self, now: Tick) -> u16 {
        let (new, well) = (self.next, self.well());
        self.next += 1;
        self.turn(new, now, well);
        new
    }

    fn withdraw(&mut self, at: Tick, who: &[u16], deregistered: bool) {
        self.named.retain(|named| !who.contains(named));
        self.say(at, if deregistered { who } else { &[] });
    }

    fn say(&mut self, at: Tick, deregistered: &[u16]) {
        let list = self.named.iter().map(|who| Arc::new(instance(*who)));
        let service = ServiceId::new(SERVICE).unwrap();
        let deregistered = deregistered.iter().map(|who| instance(*who).id).collect();
        self.script.words.push((at, Update::Service { service, knowledge: Knowledge::of(list), deregistered }));
    }

    fn turn(&mut self, who: u16, at: Tick, manner: Manner) {
        self.script.lives.entry(who).or_default().turn(at, manner);
    }

    fn any(&mut self) -> Option<u16> {
        (!self.named.is_empty()).then(|| self.named[self.dice.usize(..self.named.len())])
    }

    fn well(&mut self) -> Manner {
        Manner::Well(Duration::from_millis(self.dice.u64(3..40)))
    }

    fn later(&mut self, now: Tick, least: u64, most: u64) -> Tick {
        Tick(now.0 + self.dice.u64(least..most))
    }
}

/// Instance `who`, at 10.0.0.0 and that number.
pub(crate) fn instance(who: u16) -> Instance {
    let [high, low] = who.to_be_bytes();
    let address = Address { host: Host::Ip([10, 0, high, low].into()), port: 8080 };
    Instance::new(InstanceId::new(&format!("i{who}")).unwrap(), Endpoint { address, protocol: None })
}

/// The number of an instance.
pub(crate) fn number(instance: &Instance) -> u16 {
    instance.id.as_str()[1..].parse().unwrap()
}
