//! The members one kind of request may reach, in two ranks.

use balancer::{Ask, Balance, Balancer, Contender, Place};
use model::{Instance, Standing};

use super::Member;

/// Members of first choice, and suspects for when none of those admits requests.
#[derive(Debug)]
pub(super) struct View {
    first: Choice,
    resort: Choice,
}

/// A balancer over some of the members; none if there are none.
#[derive(Debug)]
struct Choice {
    balancer: Option<Box<dyn Balancer>>,
    /// Where in the service's members the balancer's candidates are.
    members: Box<[u32]>,
    /// The same by the tokens of those that clients stay with, sorted; none if they do not.
    tokens: Box<[(u64, u32)]>,
}

impl View {
    /// A view of the members whose instance `keep` accepts. Draining ones take no new requests.
    pub(super) fn new(members: &[Member], keep: &dyn Fn(&Instance) -> bool, balance: &Balance, place: &Place) -> Self {
        let choice = |resort: bool| {
            Choice::new(members, balance, place, |m| {
                m.resort == resort && m.instance.standing == Standing::Serving && keep(&m.instance)
            })
        };
        Self { first: choice(false), resort: choice(true) }
    }

    pub(super) fn held<'a>(&self, members: &'a [Member], token: u64, ask: &Ask<'_>) -> Option<&'a Member> {
        let tokens = &self.first.tokens;
        let found = tokens.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        let takes_it = |m: &&Member| !ask.tried.contains(&m.upstream.key) && m.upstream.vitals.admits(ask.now);
        members.get(tokens[found].1 as usize).filter(takes_it)
    }

    pub(super) fn pick<'a>(&self, members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
        let first = self.first.pick(members, ask);
        if self.resort.balancer.is_none() {
            return first;
        }
        // A balancer gives a member that does not admit only if no other does: then a suspect that admits is better.
        let admits = |m: &&Member| m.upstream.vitals.admits(ask.now);
        first.filter(admits).or_else(|| {
            let resort = self.resort.pick(members, ask);
            resort.filter(admits).or(first).or(resort)
        })
    }
}

impl Choice {
    fn new(members: &[Member], balance: &Balance, place: &Place, keep: impl Fn(&Member) -> bool) -> Self {
        let kept = || (0_u32..).zip(members).filter(|(_, m)| keep(m));
        let balancer = kept().next().map(|_| balance.build(kept().map(|(_, m)| contender(m)), place));
        let mut tokens: Vec<_> = kept().filter_map(|(at, m)| Some((m.token?, at))).collect();
        tokens.sort_unstable();
        Self { balancer, members: kept().map(|(at, _)| at).collect(), tokens: tokens.into() }
    }

    fn pick<'a>(&self, members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
        let chosen = self.balancer.as_ref()?.pick(ask)?;
        members.get(*self.members.get(chosen)? as usize)
    }
}

fn contender(member: &Member) -> Contender<'_> {
    let Member { instance, upstream, .. } = member;
    Contender { key: upstream.key, instance, vitals: &upstream.vitals, since: upstream.since }
}
