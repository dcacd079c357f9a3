//! One service in the table: its members, and the views requests choose from.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use balancer::{
    Ask, Place, ServiceVitals, Usage, Vitals,
    balance::PRIORITY,
    eject::{Count, Margin},
    queue::Line,
};
use model::{Host, Instance, Refusal, ServiceId, Standing, Tag, Tick};
use transport::Upstream;

use super::{reach::Reach, view::View};
use crate::{Policies, Policy, claims::Claimed, digest::Digest};

/// One instance as the table has it.
#[derive(Debug, Clone)]
pub struct Member {
    /// What the registry says of it.
    pub instance: Arc<Instance>,
    /// Its live side; the same one in every table for as long as its identity stays.
    pub upstream: Arc<Upstream>,
    /// The name of the source that names it.
    pub source: Arc<str>,
    /// Withdrawn under suspicion: used only if no other member admits requests.
    pub resort: bool,
    /// What its clients carry, if they stay with it.
    pub token: Option<u64>,
}

/// One service and everything needed to choose one of its members.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub id: ServiceId,
    /// What the configuration says of it.
    pub policy: Arc<Policy>,
    /// Whether clients may name it.
    pub exposed: bool,
    /// What we learned of it; the same in every table for as long as it has the service.
    pub vitals: Arc<ServiceVitals>,
    /// Its members, sorted by instance id and address.
    pub members: Box<[Member]>,
    /// What the last of its members said of who may reach it, if it has none now.
    last_tags: Box<[Tag]>,
    /// The environment of requests that name none, if the router has one.
    own: Option<Tag>,
    /// For requests that name no environment.
    plain: View,
    /// For requests that name one. Sorted by environment.
    environments: Box<[(Tag, View)]>,
    digest: u64,
}

impl Service {
    /// A service of these members, whose rules hold from now on for what is learned of it. `old` is what the table had of it.
    pub(super) fn new(
        id: ServiceId,
        members: Box<[Member]>,
        policies: &Policies,
        vitals: Arc<ServiceVitals>,
        old: Option<&Self>,
    ) -> Self {
        let policy = policies.of(&id).clone();
        let own = policies.environment.clone();
        let (plain, environments) = views(&members, &policy, own.as_ref(), &policies.place, &vitals.usage);
        // Its last instance took its tags with it; who waits for the next one must still be known.
        let last_tags = if members.is_empty() { old.map(Self::last_tags).unwrap_or_default() } else { Box::default() };
        let exposed = policies.exposes(&id, tags(members.iter().map(|m| &m.instance)).chain(words(&last_tags)));
        let digest = digest(&id, &members);
        vitals.peers.follow(&policy.guard.eject);
        vitals.peers.forget_by(policy.balance.algorithm.decay());
        vitals.breaker.follow(policy.guard.breaker.as_ref());
        let service = Self { id, policy, exposed, vitals, members, last_tags, own, plain, environments, digest };
        let (_, margin) = service.vitals.peers.count(&service.policy.guard.eject, service.serving_vitals());
        if margin.panic {
            // To be looked at, and told, when this is in the table.
            service.vitals.peers.stir();
        }
        service
    }

    /// Counts who takes requests, which says how many more may be put out for what they answer, and lets all of those in
    /// that were if too few are left.
    pub fn recount(&self) -> (Count, Margin) {
        self.vitals.peers.recount(&self.policy.guard.eject, self.serving_vitals())
    }

    fn serving_vitals(&self) -> impl Iterator<Item = &Vitals> + Clone {
        self.serving().map(|m| &*m.upstream.vitals)
    }

    /// The members that requests are meant for: neither draining nor last resort.
    pub(crate) fn serving(&self) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter().filter(|m| !m.resort && m.instance.standing == Standing::Serving)
    }

    /// Chooses a member for one request. Neither locks nor allocates.
    ///
    /// With an environment only its instances are chosen from; there is no fall back to others. Without one, those of
    /// the router's own environment if it has one, else all that are not reserved for an environment.
    ///
    /// # Errors
    /// [`Refusal::NoInstance`] if nobody is there or everybody was tried.
    pub fn pick(&self, environment: Option<&str>, ask: &Ask<'_>) -> Result<&Member, Refusal> {
        self.view(environment).and_then(|v| v.pick(&self.members, ask)).ok_or(Refusal::NoInstance)
    }

    /// The member whose token a client carries, if it takes this request: it is there, neither draining nor suspect, was not
    /// tried, and admits requests. Neither locks nor allocates.
    ///
    /// A token that is made with a secret proves that we sent the client there: it holds whatever the weight, as 0 sends it
    /// nobody new, and whatever the group. One that anybody can make reaches nobody whom [`pick`](Self::pick) would not, or
    /// did not a few seconds ago: a group of instances that took over keeps its clients for a while.
    #[must_use]
    pub fn held(&self, environment: Option<&str>, token: u64, ask: &Ask<'_>) -> Option<&Member> {
        let proven = self.policy.sticky.as_ref().is_some_and(|sticky| sticky.secret.is_some());
        self.view(environment)?.held(&self.members, token, proven, ask)
    }

    /// Whether [`pick`](Self::pick) would find a member, and whether that one admits requests. Takes nobody's turn.
    #[must_use]
    pub fn admits(&self, environment: Option<&str>, ask: &Ask<'_>) -> Option<bool> {
        self.view(environment)?.admits(&self.members, ask)
    }

    /// Since when no connection can be made to any of the members that requests of this environment may reach, if there is one
    /// and that is so.
    #[must_use]
    pub fn cut_off_since(&self, environment: Option<&str>) -> Option<Tick> {
        self.view(environment)?.cut_off_since(&self.members)
    }

    /// Each member, and what requests of this environment find of it. Takes nobody's turn.
    pub fn reach(&self, environment: Option<&str>, ask: &Ask<'_>) -> impl Iterator<Item = (&Member, Reach)> {
        let view = self.view(environment);
        let of = move |at, member| view.map_or(Reach::Elsewhere, |view| view.reach(at, member, ask));
        (0..).zip(&self.members).map(move |(at, member)| (member, of(at, member)))
    }

    /// The line in which requests of this environment wait that find all its instances full.
    #[must_use]
    pub fn line(&self, environment: Option<&str>) -> Line {
        Line::instances(environment.or_else(|| self.own.as_ref().map(Tag::as_str)))
    }

    /// The tags of its members, each once; of its last ones, if it has none.
    fn last_tags(&self) -> Box<[Tag]> {
        if self.members.is_empty() {
            return self.last_tags.clone();
        }
        let tags: BTreeSet<&Tag> = self.members.iter().flat_map(|m| m.instance.tags.iter()).collect();
        tags.into_iter().cloned().collect()
    }

    fn view(&self, environment: Option<&str>) -> Option<&View> {
        let Some(name) = environment else { return Some(&self.plain) };
        let at = self.environments.binary_search_by(|(tag, _)| tag.as_str().cmp(name)).ok()?;
        self.environments.get(at).map(|(_, view)| view)
    }

    /// Environments a request can name here.
    pub fn environments(&self) -> impl Iterator<Item = &Tag> {
        self.environments.iter().map(|(tag, _)| tag)
    }

    /// Whether a service made from this list and these policies would behave the same.
    pub(super) fn is_made_of(&self, list: &[Claimed], policies: &Policies, same_policies: bool) -> bool {
        let same = |m: &Member, c: &Claimed| m.instance == c.instance && m.source == c.source && m.resort == c.resort;
        self.members.len() == list.len()
            && self.members.iter().zip(list).all(|(m, c)| same(m, c))
            && *self.policy == **policies.of(&self.id)
            && (same_policies || self.exposed == policies.exposes(&self.id, self.tags_with(list)))
    }

    /// What says who may reach a service of this list, which has the members of this one.
    fn tags_with<'a>(&'a self, list: &'a [Claimed]) -> impl Iterator<Item = &'a str> {
        tags(list.iter().map(|c| &c.instance)).chain(words(&self.last_tags))
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }
}

fn tags<'a>(instances: impl Iterator<Item = &'a Arc<Instance>>) -> impl Iterator<Item = &'a str> {
    instances.flat_map(|i| i.tags.iter().map(Tag::as_str))
}

fn words(tags: &[Tag]) -> impl Iterator<Item = &str> {
    tags.iter().map(Tag::as_str)
}

fn views(
    members: &[Member],
    policy: &Policy,
    own: Option<&Tag>,
    place: &Place,
    usage: &Usage,
) -> (View, Box<[(Tag, View)]>) {
    let view =
        |name, keep: &dyn Fn(&Instance) -> bool| View::new(members, keep, &policy.balance, place, usage.of(name));
    let plain = match own {
        Some(tag) => view(None, &|i| i.is_in(tag.as_str())),
        None => view(None, &|i| !i.environment_only),
    };
    let mut names: Vec<&Tag> = members.iter().flat_map(|m| m.instance.environments.iter()).collect();
    names.sort();
    names.dedup();
    usage.keep(&names);
    let environments = names.into_iter().map(|tag| (tag.clone(), view(Some(tag), &|i| i.is_in(tag.as_str()))));
    (plain, environments.collect())
}

/// Goes on with a host, without the cost of writing it out.
fn host(digest: Digest, host: &Host) -> Digest {
    match host {
        Host::Ip(IpAddr::V4(ip)) => digest.bytes(b"4").bytes(&ip.octets()),
        Host::Ip(IpAddr::V6(ip)) => digest.bytes(b"6").bytes(&ip.octets()),
        Host::Name(name) => digest.bytes(b"n").field(name),
    }
}

/// Of the service's content, whatever the order of its members; 0 if it has none.
fn digest(id: &ServiceId, members: &[Member]) -> u64 {
    let sum = members.iter().filter(|m| !m.resort).fold(0_u64, |sum, m| {
        let i = &m.instance;
        let mut d = host(Digest::new().field(i.id.as_str()), &i.endpoint.address.host)
            .bytes(&i.endpoint.address.port.to_be_bytes())
            .bytes(&i.weight.to_be_bytes())
            .field(m.upstream.protocol.as_str())
            .field(i.zone.as_deref().unwrap_or_default())
            .field(i.label(PRIORITY).unwrap_or_default())
            .bytes(&[u8::from(i.standing == Standing::Draining), u8::from(i.environment_only)]);
        for tag in &i.environments {
            d = d.field(tag.as_str());
        }
        d = d.field("");
        for tag in &i.tags {
            d = d.field(tag.as_str());
        }
        sum.wrapping_add(d.end())
    });
    if sum == 0 { 0 } else { Digest::new().field(id.as_str()).bytes(&sum.to_be_bytes()).end() }
}
