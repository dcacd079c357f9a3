//! The members one kind of request may reach, in three ranks.

use std::sync::Arc;

use balancer::{Ask, Balance, Balancer, Cause, Contender, Groups, Place};
use model::{Instance, Standing, Tick};
use transport::Upstream;

use super::{Member, reach::Reach};

/// Members of first choice; suspects for when none of those admits requests; and draining ones for when there is nobody
/// else, as Kubernetes does it: one that finishes what it has still serves better than nobody.
#[derive(Debug)]
pub(super) struct View {
    first: Choice,
    resort: Choice,
    draining: Choice,
}

/// A balancer over some of the members; none if there are none.
#[derive(Debug)]
struct Choice {
    balancer: Option<Box<dyn Balancer>>,
    /// Where in the service's members the balancer's candidates are.
    members: Box<[u32]>,
    /// The balancer's candidates by the tokens of those that clients stay with, sorted; none if they do not.
    tokens: Box<[(u64, u32)]>,
}

impl View {
    /// A view of the members whose instance `keep` accepts. What `groups` knows of those it had before goes on.
    pub(super) fn new(
        members: &[Member],
        keep: &dyn Fn(&Instance) -> bool,
        balance: &Balance,
        place: &Place,
        groups: Groups<'_>,
    ) -> Self {
        let choice = |standing: Standing, resort: bool| {
            let fits =
                |m: &Member| m.instance.standing == standing && (m.resort == resort || standing == Standing::Draining);
            let groups = (standing == Standing::Serving && !resort).then_some(groups);
            Choice::new(members, balance, place, groups, |m| fits(m) && keep(&m.instance))
        };
        Self {
            first: choice(Standing::Serving, false),
            resort: choice(Standing::Serving, true),
            draining: choice(Standing::Draining, false),
        }
    }

    /// The member of this token, if it takes the request. A token that proves nothing reaches whom a pick would reach.
    pub(super) fn held<'a>(
        &self,
        members: &'a [Member],
        token: u64,
        proven: bool,
        ask: &Ask<'_>,
    ) -> Option<&'a Member> {
        let Choice { balancer, members: places, tokens } = &self.first;
        let found = tokens.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        let at = tokens[found].1 as usize;
        let member = members.get(*places.get(at)? as usize)?;
        let takes_it = match proven {
            true => !ask.tried.contains(&member.upstream.key) && member.upstream.vitals.admits(ask.now),
            false => balancer.as_ref()?.reaches(at, ask),
        };
        takes_it.then_some(member)
    }

    /// Whether a pick would find somebody, and whether that one admits requests. Unlike a pick it takes nobody's turn.
    pub(super) fn admits(&self, members: &[Member], ask: &Ask<'_>) -> Option<bool> {
        let left = self.upstreams(members).filter(|upstream| !ask.tried.contains(&upstream.key));
        left.map(|upstream| upstream.vitals.admits(ask.now)).max()
    }

    /// Since when no connection can be made to any of them, if there is one and that is so.
    pub(super) fn cut_off_since(&self, members: &[Member]) -> Option<Tick> {
        let rests = self.upstreams(members).map(|upstream| upstream.vitals.rest());
        let cut_off = rests.map(|rest| rest.filter(|(cause, _)| *cause == Cause::Connect).map(|(_, since)| since));
        cut_off.collect::<Option<Vec<Tick>>>()?.into_iter().max()
    }

    fn upstreams<'a>(&self, members: &'a [Member]) -> impl Iterator<Item = &'a Arc<Upstream>> {
        let places = self.first.members.iter().chain(&self.resort.members).chain(&self.draining.members);
        places.filter_map(|at| members.get(*at as usize)).map(|member| &member.upstream)
    }

    /// What such requests find of the member at this place.
    pub(super) fn reach(&self, at: u32, member: &Member, ask: &Ask<'_>) -> Reach {
        // A choice keeps the order of the members.
        let place = |choice: &Choice| choice.members.binary_search(&at).ok();
        let Some(among_first) = place(&self.first) else {
            return match place(&self.resort) {
                Some(_) => Reach::Suspect,
                None => place(&self.draining).map_or(Reach::Elsewhere, |_| Reach::Draining),
            };
        };
        if self.first.balancer.as_ref().is_some_and(|balancer| balancer.reaches(among_first, ask)) {
            Reach::Chosen
        } else if !member.upstream.vitals.admits(ask.now) {
            Reach::Out
        } else if member.instance.weight == 0 {
            Reach::Weightless
        } else {
            Reach::StandsBy
        }
    }

    pub(super) fn pick<'a>(&self, members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
        self.pick_serving(members, ask).or_else(|| self.draining.pick(members, ask))
    }

    fn pick_serving<'a>(&self, members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
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
    fn new(
        members: &[Member],
        balance: &Balance,
        place: &Place,
        groups: Option<Groups<'_>>,
        keep: impl Fn(&Member) -> bool,
    ) -> Self {
        let kept = || (0_u32..).zip(members).filter(|(_, m)| keep(m));
        let balancer = kept().next().map(|_| balance.build(kept().map(|(_, m)| contender(m)), place, groups));
        let mut tokens: Vec<_> = (0..).zip(kept()).filter_map(|(at, (_, m))| Some((m.token?, at))).collect();
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
