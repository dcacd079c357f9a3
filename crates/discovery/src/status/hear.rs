//! What a word of a source changes in what is known of it.

use std::{collections::BTreeSet, time::Duration};

use model::{ProviderError, ServiceId, Tick};

use super::{Doubt, Source, State, Turn, Word, is_told};
use crate::claims::Claims;

impl Source {
    /// Notes what it said; returns what is new about the source itself. The claims have heard it already.
    pub(super) fn note(&mut self, word: Word, claims: &Claims, now: Tick) -> Vec<Turn> {
        match word {
            Word::Everything => self.everything(claims, now),
            Word::Catalogue(services) => self.catalogue(services, claims, now),
            // What it said before stands, and it is not known why it says no more: it is asked by name.
            Word::Forgotten(service) if claims.is_inherited(self.id, &service) => {
                self.unlisted.insert(service);
                Vec::new()
            }
            Word::Service(service) | Word::Forgotten(service) => self.service(service, claims, now),
            Word::Doubt(service, error) => self.doubt(service, error, now).into_iter().collect(),
            Word::Unreachable(error) => self.turn(State::Down(error), now).into_iter().collect(),
            Word::Skipped(reason) => self.skip(reason, now).into_iter().collect(),
        }
    }

    /// It spoke of this service itself, or is not asked about it any longer; since when it had been in doubt, and since when an
    /// outage had left its word unconfirmed.
    pub(super) fn heard_of(&mut self, service: &ServiceId) -> (Option<Tick>, Option<Tick>) {
        self.inherited.remove(service);
        self.unlisted.remove(service);
        (self.doubts.remove(service).map(|doubt| doubt.since), self.unconfirmed.remove(service))
    }

    fn everything(&mut self, claims: &Claims, now: Tick) -> Vec<Turn> {
        self.doubts.clear();
        self.inherited.clear();
        self.unlisted.clear();
        self.awaited.clear();
        self.awaits_catalogue = false;
        self.told = true;
        let live = self.hear(claims, now);
        let confirmed = std::mem::take(&mut self.unconfirmed).into_keys().map(Turn::Confirmed);
        live.into_iter().chain(confirmed).collect()
    }

    fn catalogue(&mut self, services: BTreeSet<ServiceId>, claims: &Claims, now: Tick) -> Vec<Turn> {
        self.unlisted.extend(self.inherited.keys().filter(|service| !services.contains(*service)).cloned());
        // Nobody looks at these any longer, so nobody would take the doubt back.
        let left = self.doubts.extract_if(.., |s, _| !services.contains(s) && !claims.is_claimed(self.id, s));
        let mut turns: Vec<_> = left.map(|(service, doubt)| Turn::Certain(service, now.since(doubt.since))).collect();
        if !self.answered {
            let awaited = services.into_iter().filter(|s| !is_told(claims, self.id, s) && !self.unlisted.contains(s));
            self.awaited = awaited.collect();
            self.awaits_catalogue = false;
        }
        turns.extend(self.hear(claims, now));
        turns
    }

    fn service(&mut self, service: ServiceId, claims: &Claims, now: Tick) -> Vec<Turn> {
        self.awaited.remove(&service);
        self.told = true;
        let live = self.hear(claims, now);
        let (doubted, unconfirmed) = self.heard_of(&service);
        if let Some(since) = [doubted, unconfirmed].into_iter().flatten().min() {
            self.lifted.note(service.clone(), since, now);
        }
        let certain = match (doubted, unconfirmed) {
            (Some(since), _) => Some(Turn::Certain(service, now.since(since))),
            (None, Some(_)) => Some(Turn::Confirmed(service)),
            (None, None) => None,
        };
        live.into_iter().chain(certain).collect()
    }

    fn doubt(&mut self, service: ServiceId, error: ProviderError, now: Tick) -> Option<Turn> {
        let lifted = self.lifted.take(&service, now);
        let known = self.doubts.get(&service).map(|doubt| doubt.since);
        let since = known.or(lifted);
        if since.is_none() {
            tracing::warn!(source = %self.name, %service, %error, "cannot read this service; its list stands");
        }
        let turn = Turn::Doubt(service.clone(), error.clone());
        self.doubts.insert(service, Doubt { error, since: since.unwrap_or(now) });
        known.is_none().then_some(turn)
    }

    fn skip(&mut self, reason: String, now: Tick) -> Option<Turn> {
        let (reason, last) = self.skipped.note(reason, now)?;
        let more = if last { "; more of this minute are counted only" } else { "" };
        tracing::warn!(source = %self.name, "skipped a record: {reason}{more}");
        Some(Turn::Skipped(reason))
    }

    /// It answered. After an outage, that says nothing of the services that the answer is not about.
    fn hear(&mut self, claims: &Claims, now: Tick) -> Option<Turn> {
        if let State::Down(_) = self.state {
            self.unconfirmed.retain(|service, _| claims.speaks_of(self.id, service));
            // One without instances may be of no interest any more, so that nobody would speak of it again.
            for service in claims.services_of(self.id).into_iter().filter(|s| claims.is_claimed(self.id, s)) {
                self.unconfirmed.entry(service).or_insert(self.since);
            }
        }
        self.updates += 1;
        self.answered |= self.awaited.is_empty() && !self.awaits_catalogue;
        self.turn(State::Live, now)
    }

    /// Changes the state and logs it: once per change, not once per attempt.
    fn turn(&mut self, state: State, now: Tick) -> Option<Turn> {
        let turn = match (&self.state, &state) {
            (State::Down(_), State::Down(_)) | (State::Live, State::Live) => None,
            (_, State::Down(error)) => {
                tracing::warn!(source = %self.name, %error, "source is down; what it said stands");
                Some(Turn::Down(error.clone()))
            }
            (State::Down(_), _) => {
                let down_for = now.since(self.since);
                tracing::info!(source = %self.name, ?down_for, "source is back");
                Some(Turn::Live(down_for))
            }
            _ => {
                tracing::info!(source = %self.name, kind = %self.kind, "source is live");
                Some(Turn::Live(Duration::ZERO))
            }
        };
        if turn.is_some() {
            self.since = now;
        }
        self.state = state;
        turn
    }
}
