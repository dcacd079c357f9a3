//! One run: what happens, in the order of time.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use balancer::Stake;
use discovery::{Policies, Table, TableCell, claims::Claims};
use model::{Outcome, ServiceId, Tick};
use router::plan::{Compiled, Made, compile};
use transport::tls::{Identity, Tickets};

use crate::{
    choice::{Attempt, Begins, Core, Request},
    laws::Laws,
    sabotage::Sabotage,
    script::{ALGORITHMS, CALM, END, SERVICE, SETTLED, Script},
};

/// The only registry.
const SOURCE: usize = 0;

/// How often those who are out are counted.
const LOOK: Duration = Duration::from_secs(1);

/// How often checks look at each instance.
const CHECK: Duration = Duration::from_secs(1);

/// What a run had in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// Requests of clients.
    pub(crate) requests: u64,
    /// Those with a good answer.
    pub(crate) answered: u64,
    /// Those whose client went away first.
    pub(crate) abandoned: u64,
    /// Attempts at instances.
    pub(crate) attempts: u64,
    /// Requests that were answered after an attempt that failed.
    pub(crate) failed_over: u64,
    /// Attempts at instances of last resort.
    pub(crate) last_resorts: u64,
    /// Instances that were knocked at.
    pub(crate) knocks: u64,
    /// Tables published.
    pub(crate) tables: u64,
}

impl Report {
    /// Adds what another run had.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { requests, answered, abandoned, attempts, failed_over, last_resorts, knocks, tables } = self;
        *requests += other.requests;
        *answered += other.answered;
        *abandoned += other.abandoned;
        *attempts += other.attempts;
        *failed_over += other.failed_over;
        *last_resorts += other.last_resorts;
        *knocks += other.knocks;
        *tables += other.tables;
    }
}

enum Event {
    /// The registry says this word of the script.
    Word(usize),
    /// A hold may be over.
    Hold,
    /// The control thread counts who is out.
    Look,
    /// A client sends a request.
    Arrive,
    /// A request is tried again after a wait.
    Again(Request),
    /// An attempt is over.
    Over(Request, Attempt, Outcome),
    /// Somebody of this core knocked; whether a connection could be made.
    Knocked(usize, Attempt, bool),
    /// Checks look at the instances.
    Check,
}

struct World<'a> {
    script: &'a Script,
    sabotage: Sabotage,
    dice: fastrand::Rng,
    queue: BTreeMap<(Tick, u64), Event>,
    scheduled: u64,
    claims: Claims,
    policies: Arc<Policies>,
    cell: TableCell,
    cores: Vec<Core>,
    laws: Laws,
    report: Report,
}

/// Plays the script of a seed.
///
/// # Errors
/// The law that was broken.
pub(crate) fn run(seed: u64, sabotage: Sabotage) -> Result<Report, String> {
    let script = Script::of(seed);
    let policies = Arc::new(POLICIES[script.algorithm].clone());
    // The balancers' and gates' own dice.
    fastrand::seed(seed);
    let cell = TableCell::new(Table::empty(policies.clone()));
    let claims = Claims::new(vec![(SOURCE, "registry".into())], holds(&policies));
    let mut world = World {
        script: &script,
        sabotage,
        dice: fastrand::Rng::with_seed(seed ^ 0x5eed),
        queue: BTreeMap::new(),
        scheduled: 0,
        claims,
        cores: (0..script.cores).map(|_| Core::new(cell.reader())).collect(),
        cell,
        policies,
        laws: Laws::default(),
        report: Report::default(),
    };
    for (number, (at, _)) in script.words.iter().enumerate() {
        world.schedule(*at, Event::Word(number));
    }
    world.schedule(Tick(1), Event::Arrive);
    world.schedule(Tick(2), Event::Look);
    if script.checked {
        world.schedule(Tick(3), Event::Check);
    }
    while let Some(((now, _), event)) = world.queue.pop_first() {
        world.happen(event, now)?;
    }
    world.laws.end(&script)?;
    Ok(world.report)
}

impl World<'_> {
    fn schedule(&mut self, at: Tick, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), event);
    }

    fn happen(&mut self, event: Event, now: Tick) -> Result<(), String> {
        match event {
            Event::Word(number) => {
                let word = &self.script.words[number].1;
                self.laws.hears(word, now);
                let changes = self.claims.apply(SOURCE, word.clone(), now);
                self.publish(!changes.is_empty(), now);
            }
            Event::Hold => {
                let over = self.claims.expire(now);
                self.publish(!over.is_empty(), now);
            }
            Event::Look => {
                if let Some(service) = self.cell.load().service(SERVICE) {
                    service.recount();
                    self.laws.look(service, self.script, self.report.requests, now)?;
                }
                self.repeat(Event::Look, LOOK, now);
            }
            Event::Check => {
                self.check(now);
                self.repeat(Event::Check, CHECK, now);
            }
            Event::Arrive => self.arrive(now)?,
            Event::Again(request) => self.send(request, now)?,
            Event::Over(request, attempt, outcome) => self.over(request, &attempt, outcome, now)?,
            Event::Knocked(core, attempt, reached) => self.knocked(core, &attempt, reached, now)?,
        }
        Ok(())
    }

    /// Makes the next table of what is known.
    fn publish(&mut self, changed: bool, now: Tick) {
        if let Some(next) = self.claims.next_deadline().filter(|next| *next < END) {
            self.schedule(next, Event::Hold);
        }
        if !changed {
            return;
        }
        let service = ServiceId::new(SERVICE).unwrap();
        let mut joined = self.claims.joined(&service, &self.policies.of(&service).rules.merge, |_| None);
        if self.sabotage == Sabotage::Hearsay {
            joined.iter_mut().flatten().for_each(|claimed| claimed.resort = false);
        }
        if let Some(next) = self.cell.with(|table| table.next([(service, joined)], &self.policies, now)) {
            self.laws.published(next.table.generation, &next.departed);
            self.report.tables += 1;
            drop(self.cell.store(next.table));
        }
    }

    fn arrive(&mut self, now: Tick) -> Result<(), String> {
        // While all that is waited for is that rests end, a few requests do.
        let slower = if (CALM..SETTLED).contains(&now) { 3.0 } else { 1.0 };
        let pause = self.script.pause.mul_f64(2.0 * slower * self.dice.f64()) + Duration::from_micros(1);
        let next = now.after(pause);
        if next < END {
            self.schedule(next, Event::Arrive);
        }
        self.report.requests += 1;
        self.laws.comes(now);
        let core = self.dice.usize(..self.cores.len());
        let patience = self.script.patience.map(|patience| now.after(patience));
        let stake = match self.dice.u8(..20) {
            0 => Stake::Request,
            1 => Stake::Turn,
            _ => Stake::Nothing,
        };
        let hash = self.dice.u64(..);
        self.send(Request::new(core, now, patience, hash, stake), now)
    }

    /// Begins an attempt, or ends the request because nobody is left.
    fn send(&mut self, mut request: Request, now: Tick) -> Result<(), String> {
        let core = &mut self.cores[request.core];
        let Begins { attempt, knocks } = core.attempt(&mut request, &mut self.laws, self.script, self.sabotage, now)?;
        for knock in knocks {
            self.report.knocks += 1;
            let (reached, at) = self.script.lives[&knock.who].knock(now);
            self.schedule(at, Event::Knocked(request.core, knock, reached));
        }
        let Some(attempt) = attempt else { return Laws::fails_in_calm(&request, "no instance") };
        self.report.attempts += 1;
        self.report.last_resorts += u64::from(attempt.resort);
        let mut fate = self.script.lives[&attempt.who].fate(now, &mut self.dice);
        if let Some(leaves) = request.patience.filter(|leaves| *leaves <= fate.at) {
            (fate.at, fate.outcome) = (leaves.max(now), Outcome::Abandoned);
        }
        self.schedule(fate.at, Event::Over(request, attempt, fate.outcome));
        Ok(())
    }

    fn over(&mut self, request: Request, attempt: &Attempt, outcome: Outcome, now: Tick) -> Result<(), String> {
        if self.sabotage == Sabotage::LostLease && self.dice.u16(..500) == 0 {
            return Ok(());
        }
        let before = self.cell.with(|table| Laws::ejected(table, now));
        attempt.end(outcome, now);
        self.cell.with(|table| Laws::ejects(table, before, now))?;
        self.laws.ends(attempt, outcome, now)?;
        match outcome {
            Outcome::ConnectFailed => self.cannot_connect(attempt, now),
            Outcome::Abandoned => {}
            _ => self.cores[request.core].connected(attempt, outcome != Outcome::Reset, now),
        }
        match outcome {
            Outcome::Answered(status) if status < 500 => {
                self.report.answered += 1;
                self.report.failed_over += u64::from(request.count > 1);
                Ok(())
            }
            Outcome::Abandoned if request.patience.is_some_and(|leaves| leaves <= now) => {
                self.report.abandoned += 1;
                Ok(())
            }
            _ => self.fail(request, outcome, now),
        }
    }

    /// It was found out whether a connection can be made.
    fn knocked(&mut self, core: usize, attempt: &Attempt, reached: bool, now: Tick) -> Result<(), String> {
        if reached {
            attempt.reached(self.sabotage, now);
            self.cores[core].connected(attempt, true, now);
        } else {
            attempt.end(Outcome::ConnectFailed, now);
            self.cannot_connect(attempt, now);
        }
        self.laws.knocked(attempt, reached, now)
    }

    /// Claims hear of it.
    fn cannot_connect(&mut self, attempt: &Attempt, now: Tick) {
        let settled = self.claims.connect_failed(&attempt.upstream.service, &attempt.upstream.address, now);
        self.publish(!settled.is_empty(), now);
    }

    /// Active checks pass where a connection can be made. What they hold out if they fail is no part of this.
    fn check(&mut self, now: Tick) {
        let table = self.cell.load();
        for member in table.service(SERVICE).iter().flat_map(|service| service.members.iter()) {
            let life = &self.script.lives[&crate::script::number(&member.instance)];
            if life.reachable_since(now).is_some() {
                member.upstream.vitals.seems_well(now);
                self.laws.checked(member.upstream.key, now);
            }
        }
    }

    fn repeat(&mut self, event: Event, pause: Duration, now: Tick) {
        let next = now.after(pause);
        if next < END {
            self.schedule(next, event);
        }
    }

    /// An attempt gave no good answer: the request is tried again, or ends.
    fn fail(&mut self, mut request: Request, outcome: Outcome, now: Tick) -> Result<(), String> {
        let table = self.cell.load();
        let again = table.service(SERVICE).and_then(|service| request.again(outcome, service, self.sabotage, now));
        if again.is_some() && !outcome.is_unsent() {
            self.laws.repeats(now)?;
        }
        match again.filter(|_| self.sabotage != Sabotage::NoRetry) {
            Some(wait) if wait.is_zero() => self.send(request, now),
            Some(wait) => {
                self.schedule(now.after(wait), Event::Again(request));
                Ok(())
            }
            None => {
                if outcome.is_unsent() {
                    self.judge_giving_up(&request, now)?;
                }
                Laws::fails_in_calm(&request, &format!("{outcome:?}"))
            }
        }
    }

    fn judge_giving_up(&self, request: &Request, now: Tick) -> Result<(), String> {
        let table = self.cell.load();
        table.service(SERVICE).map_or(Ok(()), |service| self.laws.gives_up(request, service, now))
    }
}

/// What the file means when it says nothing but the algorithm, by algorithm: certificates are read once.
pub(crate) static POLICIES: LazyLock<BTreeMap<&str, Policies>> = LazyLock::new(|| {
    let authority = testkit::Certs::new();
    let certificate = authority.issue(&["localhost"]);
    let identity = Identity::from_files(&certificate.chain, &certificate.key).expect("a certificate");
    let made = Made { tickets: Tickets::new().expect("a key for tickets"), identity };
    ALGORITHMS.iter().map(|algorithm| (*algorithm, policies(algorithm, &made))).collect()
});

fn policies(algorithm: &str, made: &Made) -> Policies {
    let yaml = format!("services: {{ {SERVICE}: {{ balance: {algorithm} }} }}\nexpose: {{ all: true }}\n");
    let settings = settings::parse(&yaml, Path::new("simulation.yml"), &|_| None).expect("a configuration");
    let Compiled { mut policies, .. } = compile(&settings, made, &mut Vec::new()).expect("a plan");
    // Addresses of this machine are no part of the seed.
    policies.place = balancer::Place::default();
    policies
}

fn holds(policies: &Policies) -> discovery::claims::Holds {
    discovery::claims::Holds { all: policies.hold, ..discovery::claims::Holds::default() }
}
