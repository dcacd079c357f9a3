//! What the checks of one instance add up to. Pure: time is an argument.

use model::Tick;

use super::{Check, Role, Row};

/// What is known of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    rows: Vec<(Row, Tick)>,
    /// It has to pass every check once before it is used.
    unproven: bool,
}

/// How an instance stands by its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It takes requests, as far as checks are concerned.
    Up,
    /// It has not proven itself yet.
    Unproven,
    /// A check fails.
    Down,
    /// A liveness check fails.
    Dead,
}

impl State {
    /// Before any look at an instance that is used until it is seen to fail, or not before it is seen to pass.
    pub(super) fn new(checks: usize, unproven: bool, now: Tick) -> Self {
        Self { rows: vec![(Row::default(), now); checks], unproven: unproven && checks > 0 }
    }

    /// The same instance under other checks: what is known by those that stay is kept.
    pub(super) fn under(&self, before: &[Check], checks: &[Check], now: Tick) -> Self {
        let kept = |check: &Check| before.iter().position(|old| old == check).map(|at| self.rows[at]);
        let rows: Vec<_> = checks.iter().map(|check| kept(check).unwrap_or_else(|| (Row::default(), now))).collect();
        Self { unproven: self.unproven && !rows.is_empty(), rows }
    }

    /// After one look by the check of this number.
    pub(super) fn step(&self, checks: &[Check], number: usize, passed: bool, now: Tick) -> Self {
        let mut next = self.clone();
        let (row, since) = &mut next.rows[number];
        let pace = &checks[number].pace;
        let before = row.passes;
        *row = row.step(passed, pace.rise, pace.fall);
        if row.passes != before {
            *since = now;
        }
        // Who failed for good is out for that, and comes back as everybody does.
        let all = next.rows.iter().all(|(row, _)| row.passes == Some(true));
        let failed = next.rows.iter().any(|(row, _)| row.passes == Some(false));
        next.unproven &= !(all || failed);
        next
    }

    pub(super) fn standing(&self, checks: &[Check]) -> Standing {
        let failing = |role: &dyn Fn(Role) -> bool| {
            self.rows.iter().zip(checks).any(|((row, _), check)| row.passes == Some(false) && role(check.role))
        };
        if failing(&|role| role == Role::Liveness) {
            Standing::Dead
        } else if failing(&|_| true) {
            Standing::Down
        } else if self.unproven {
            Standing::Unproven
        } else {
            Standing::Up
        }
    }

    /// What the check of this number says, and since when.
    pub(super) fn row(&self, number: usize) -> (Row, Tick) {
        self.rows[number]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::health::{
        Pace,
        check::{Tcp, What},
    };

    fn check(role: Role, port: u16, rise: u8, fall: u8) -> Check {
        let second = Duration::from_secs(1);
        let pace = Pace { interval: second, fast: second, timeout: second, rise, fall };
        Check { what: What::Tcp(Tcp::default()), role, port: Some(port), pace }
    }

    /// How the instance stands after each look by the first check (`+`, `-`) or the second (`p`, `n`).
    fn run(checks: &[Check], unproven: bool, looks: &str) -> String {
        let mut state = State::new(checks.len(), unproven, Tick(0));
        let step = |look: char| {
            let number = usize::from("pn".contains(look));
            state = state.step(checks, number, "+p".contains(look), Tick(1));
            match state.standing(checks) {
                Standing::Up => 'u',
                Standing::Unproven => '?',
                Standing::Down => 'd',
                Standing::Dead => 'x',
            }
        };
        looks.chars().map(step).collect()
    }

    #[test]
    fn who_was_there_serves_until_a_whole_row_fails_and_comes_back_after_one() {
        let checks = [check(Role::Readiness, 1, 2, 3)];
        assert_eq!(run(&checks, false, "--+---+-++-"), "uuuuudddduu");
        assert_eq!(run(&checks, false, "---++"), "uuddu");
    }

    #[test]
    fn who_is_new_serves_after_its_first_success_by_every_check() {
        let checks = [check(Role::Readiness, 1, 2, 3), check(Role::Liveness, 2, 1, 2)];
        assert_eq!(run(&checks, true, "-+p"), "??u");
        assert_eq!(run(&checks, true, "+nnp"), "??xu", "failed for good, it comes back as others do");
        assert_eq!(run(&checks, true, "---++p"), "??dduu", "rise counts after a failure");
    }

    #[test]
    fn a_liveness_failure_is_told_from_one_of_readiness() {
        let checks = [check(Role::Readiness, 1, 1, 1), check(Role::Liveness, 2, 1, 1)];
        assert_eq!(run(&checks, false, "-n+p"), "dxxu");
    }

    /// Caddy 7036, 7870.
    #[test]
    fn what_stays_over_a_reload_is_what_the_same_check_found() {
        let (one, two, three) =
            (check(Role::Readiness, 1, 1, 1), check(Role::Readiness, 2, 1, 1), check(Role::Readiness, 3, 1, 1));
        let before = [one.clone(), two.clone()];
        let state = State::new(2, false, Tick(0)).step(&before, 1, false, Tick(7));
        assert_eq!(state.standing(&before), Standing::Down);
        let moved = state.under(&before, &[two, three.clone()], Tick(9));
        assert_eq!((moved.row(0), moved.row(1).1), ((Row { passes: Some(false), against: 0 }, Tick(7)), Tick(9)));
        assert_eq!(state.under(&before, &[one, three], Tick(9)).standing(&before), Standing::Up);
    }

    proptest! {
        /// Nobody is put out but by `fall` failures of one check in a row, and whoever passes long enough is used.
        #[test]
        fn no_one_is_out_for_nothing(unproven: bool, rise in 1_u8..4, fall in 1_u8..4, looks in "[+pn-]{0,60}") {
            let checks = [check(Role::Readiness, 1, rise, fall), check(Role::Readiness, 2, rise, fall)];
            let stood = run(&checks, unproven, &looks);
            for (at, stands) in stood.char_indices() {
                let of = |signs: [char; 2]| looks[..=at].chars().filter(move |look| signs.contains(look));
                let row = |signs: [char; 2], bad: char| {
                    of(signs).collect::<String>().contains(&bad.to_string().repeat(fall.into()))
                };
                if stands == 'd' {
                    prop_assert!(row(['+', '-'], '-') || row(['p', 'n'], 'n'));
                }
            }
            let well = looks + &"+p".repeat(4);
            prop_assert!(run(&checks, unproven, &well).ends_with('u'));
        }
    }
}
