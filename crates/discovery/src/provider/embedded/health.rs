//! What the checks of one instance add up to. Pure: time is an argument.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::check::{Check, Role};
use crate::health::Row;

/// All checks of one instance.
#[derive(Debug, Clone)]
pub(super) struct Health {
    verdicts: Vec<Verdict>,
    /// Since when it is kept from serving.
    out_since: Option<Instant>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the check passes; `None` before the first look.
    pub passes: Option<bool>,
    /// What was seen last, for people.
    pub output: Arc<str>,
    row: Row,
}

/// What one look meant for the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that others must know.
    None,
    /// It now serves, or does not.
    Serves(bool),
    /// Its registration ends.
    Dead(&'static str),
}

impl Health {
    /// Of an instance that nobody has looked at: it waits for its first success.
    pub(super) fn unknown(checks: &[Check], now: Instant) -> Self {
        Self::of(checks, None, now)
    }

    /// Of an instance that the registry knew before its own restart: it serves until it is seen to fail.
    pub(super) fn trusted(checks: &[Check], now: Instant) -> Self {
        Self::of(checks, Some(true), now)
    }

    fn of(checks: &[Check], passes: Option<bool>, now: Instant) -> Self {
        let row = Row { passes, against: 0 };
        let verdict = Verdict { passes, output: Arc::from("not looked at yet"), row };
        let mut health = Self { verdicts: vec![verdict; checks.len()], out_since: None };
        health.out_since = (!health.serves(checks)).then_some(now);
        health
    }

    /// Whether all readiness checks pass.
    pub(super) fn serves(&self, checks: &[Check]) -> bool {
        let mut readiness = self.verdicts.iter().zip(checks).filter(|(_, check)| check.role == Role::Readiness);
        readiness.all(|(verdict, _)| verdict.passes == Some(true))
    }

    /// One verdict for each check.
    pub(super) fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Takes in one look at the check of this number.
    pub(super) fn observe(
        &mut self,
        checks: &[Check],
        number: usize,
        found: &Result<String, String>,
        deregister_after: Option<Duration>,
        now: Instant,
    ) -> Effect {
        let (Some(verdict), Some(check)) = (self.verdicts.get_mut(number), checks.get(number)) else {
            return Effect::None;
        };
        verdict.observe(check, found);
        if check.role == Role::Liveness && verdict.passes == Some(false) {
            return Effect::Dead("its liveness check failed");
        }
        let serves = self.serves(checks);
        if serves == self.out_since.is_none() {
            let over = self.out_since.zip(deregister_after).is_some_and(|(since, most)| now - since >= most);
            return if over { Effect::Dead("it was not ready for longer than deregister_after") } else { Effect::None };
        }
        self.out_since = (!serves).then_some(now);
        Effect::Serves(serves)
    }
}

impl Verdict {
    fn observe(&mut self, check: &Check, found: &Result<String, String>) {
        let (Ok(output) | Err(output)) = found;
        self.output = Arc::from(output.as_str());
        self.row = self.row.step(found.is_ok(), check.rise, check.fall);
        self.passes = self.row.passes;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checks(json: &str) -> Vec<Check> {
        serde_json::from_str(json).unwrap()
    }

    /// Feeds looks (`+` and `-`) at the only check; what each did.
    fn run(checks: &[Check], mut health: Health, looks: &str, deregister_after: Option<u64>) -> String {
        let start = Instant::now();
        let mut told = String::new();
        for (second, look) in looks.chars().enumerate() {
            let found = if look == '+' { Ok("seen".to_owned()) } else { Err("not seen".to_owned()) };
            let now = start + Duration::from_secs(second as u64);
            told.push(match health.observe(checks, 0, &found, deregister_after.map(Duration::from_secs), now) {
                Effect::None => '.',
                Effect::Serves(true) => 'i',
                Effect::Serves(false) => 'o',
                Effect::Dead(_) => 'd',
            });
        }
        told
    }

    #[test]
    fn readiness_takes_out_and_brings_back_as_rise_and_fall_say() {
        let checks = checks(r#"[{"type":"tcp","rise":2,"fall":3}]"#);
        let now = Instant::now();
        assert_eq!(run(&checks, Health::unknown(&checks, now), "+--+---+-++", None), "i.....o...i");
        assert_eq!(run(&checks, Health::trusted(&checks, now), "--+---", None), ".....o");
        assert_eq!(run(&checks, Health::unknown(&checks, now), "---+", None), "....", "rise counts after a failure");
    }

    #[test]
    fn liveness_ends_the_registration_and_so_does_being_out_for_too_long() {
        let live = checks(r#"[{"type":"tcp","role":"liveness","fall":2}]"#);
        let now = Instant::now();
        assert!(Health::unknown(&live, now).serves(&live), "liveness keeps nobody from serving");
        assert_eq!(run(&live, Health::unknown(&live, now), "-+--", None), "...d");
        let ready = checks(r#"[{"type":"tcp","fall":1}]"#);
        assert_eq!(run(&ready, Health::unknown(&ready, now), "+-----", Some(3)), "io..dd");
    }

    proptest! {
        /// Whatever is seen, only a whole row of failures takes out, and only a whole row of successes brings back.
        #[test]
        fn a_verdict_needs_a_whole_row(rise in 1_u8..5, fall in 1_u8..5, looks in "[+-]{0,60}") {
            let checks = checks(&format!(r#"[{{"type":"tcp","rise":{rise},"fall":{fall}}}]"#));
            let told = run(&checks, Health::trusted(&checks, Instant::now()), &looks, None);
            for (at, effect) in told.char_indices() {
                let row = |sign: &str, length: u8| looks[..=at].ends_with(&sign.repeat(length.into()));
                match effect {
                    'o' => prop_assert!(row("-", fall)),
                    'i' => prop_assert!(row("+", rise)),
                    _ => prop_assert_eq!(effect, '.'),
                }
            }
        }
    }
}
