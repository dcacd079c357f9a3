//! `retries:` and `hedge:` compiled.

use balancer::Allowance;
use http::Method;
use model::Fault;
use settings::{Located, OrOff, SettingsError, Span};

use super::Limits;
use crate::{
    retry::{Backoff, Hedge, METHODS, Retries},
    settings::{self as typed, After},
};

/// Most tries that can be asked for. What fails on five is no accident of one.
const ATTEMPTS: u8 = 5;

/// Most of a body that can be kept: a megabyte for each request under way is a lot.
const BUFFER: u64 = 1024 * 1024;

impl Retries {
    /// These, where a service or route says nothing else.
    ///
    /// # Errors
    /// What cannot work, with its place.
    pub fn with(self, typed: Option<&OrOff<Box<typed::Retries>>>) -> Result<Self, SettingsError> {
        match typed {
            None => Ok(self),
            Some(OrOff(None)) => Ok(Self::OFF),
            // Who says anything but `off` wants retries.
            Some(OrOff(Some(typed))) if self == Self::OFF => Self::STANDARD.but(typed),
            Some(OrOff(Some(typed))) => self.but(typed),
        }
    }

    fn but(mut self, typed: &typed::Retries) -> Result<Self, SettingsError> {
        if let Some(attempts) = &typed.attempts {
            if !(1..=ATTEMPTS).contains(&**attempts) {
                let error = format!("attempts: a request may be sent 1 to {ATTEMPTS} times, the first time included");
                return Err(SettingsError::at(attempts, error));
            }
            self.attempts = **attempts;
        }
        if let Some(on) = &typed.on {
            self.on = on.0.iter().map(fault).collect::<Result<_, _>>()?;
        }
        if let Some(methods) = &typed.methods {
            self.methods = methods.0.iter().map(method).collect::<Result<_, _>>()?;
        }
        self.idempotency_key = typed.idempotency_key.unwrap_or(self.idempotency_key);
        self.per_try = typed.per_try.map_or(self.per_try, |limit| limit.0.map(Span::get));
        if let Some(buffer) = &typed.buffer {
            if buffer.get() > BUFFER {
                let error = "buffer: at most 1MiB of a body is kept; longer ones are sent once";
                return Err(SettingsError::at(buffer, error));
            }
            self.buffer = usize::try_from(buffer.get()).unwrap_or(usize::MAX);
        }
        self.budget.percent = typed.budget.share.map_or(self.budget.percent, |share| share.0.into());
        self.budget.floor = typed.budget.floor.unwrap_or(self.budget.floor);
        if let Some(window) = &typed.budget.window {
            self.budget.window = seconds(window)?;
        }
        let Backoff { base, longest } = self.backoff;
        let base = typed.backoff.base.map_or(base, Span::get);
        // A longer first wait alone is no contradiction.
        self.backoff = Backoff { base, longest: typed.backoff.longest.map_or(longest, Span::get).max(base) };
        Ok(self)
    }
}

impl Limits {
    /// These, where a service or route says nothing else of when a request is tried again.
    pub(super) fn tried(
        mut self,
        retries: Option<&OrOff<Box<typed::Retries>>>,
        hedge: Option<OrOff<typed::Hedge>>,
    ) -> Result<Self, SettingsError> {
        self.retries = self.retries.with(retries)?;
        self.hedge = Hedge::with(self.hedge, hedge);
        Ok(self)
    }
}

impl Hedge {
    /// What holds where a service or route says this, and before it said that.
    #[must_use]
    pub fn with(before: Option<Self>, typed: Option<OrOff<typed::Hedge>>) -> Option<Self> {
        match typed {
            None => before,
            Some(OrOff(typed)) => typed.map(|typed| match typed.after {
                After::P95 => Self::AtP95,
                After::Fixed(after) => Self::After(after.get()),
            }),
        }
    }
}

/// The window of the budget, which counts by the second.
fn seconds(window: &Located<Span>) -> Result<u32, SettingsError> {
    let seconds = u32::try_from(window.get().as_secs()).unwrap_or(u32::MAX);
    if window.get().subsec_nanos() > 0 || !Allowance::WINDOWS.contains(&seconds) {
        let error = format!("window: {} is not from 1s to 30s, in whole seconds; write 10s if in doubt", **window);
        return Err(SettingsError::at(window, error));
    }
    Ok(seconds)
}

fn fault(word: &Located<String>) -> Result<Fault, SettingsError> {
    Fault::ALL.into_iter().find(|fault| fault.as_str() == word.as_str()).ok_or_else(|| {
        let words = Fault::ALL.map(Fault::as_str).join(", ");
        SettingsError::at(word, format!("{:?} is nothing that is retried; write one of: {words}", **word))
    })
}

fn method(word: &Located<String>) -> Result<Method, SettingsError> {
    METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(word)).ok_or_else(|| {
        let words = METHODS.map(|method| method.to_string()).join(", ");
        SettingsError::at(word, format!("{:?} cannot be retried; write one of: {words}", **word))
    })
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct File {
        retries: Option<OrOff<Box<typed::Retries>>>,
    }

    fn read(yaml: &str) -> Result<Retries, String> {
        with(Retries::STANDARD, yaml)
    }

    fn with(before: Retries, yaml: &str) -> Result<Retries, String> {
        let file: File = settings::parse(yaml, Path::new("a.yml"), &|_| None).map_err(|e| e.to_string())?;
        before.with(file.retries.as_ref()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_left_out_stays() {
        assert_eq!(read("{}"), Ok(Retries::STANDARD));
        assert_eq!(read("retries: {}"), Ok(Retries::STANDARD));
        let all = "{ attempts: 3, on: [ connect, refused, reset, timeout, 502, 503, 504 ], idempotency_key: false, \
                   methods: [ GET, HEAD, OPTIONS, PUT, DELETE ], per_try: off, buffer: 64KiB, \
                   budget: { share: 20%, floor: 10, window: 10s }, backoff: { base: 25ms, longest: 250ms } }";
        assert_eq!(read(&format!("retries: {all}")), Ok(Retries::STANDARD));
        let service = read("retries: { attempts: 2, per_try: 1s }").unwrap();
        let route = with(service, "retries: { methods: post, budget: { floor: 0, window: 30s } }").unwrap();
        assert_eq!((route.attempts, route.per_try), (2, Some(Duration::from_secs(1))));
        assert!(route.methods.has(&Method::POST) && !route.methods.has(&Method::GET));
        assert_eq!(route.budget, Allowance { percent: 20, floor: 0, window: 30 });
    }

    #[test]
    fn off_is_off_until_something_is_said_again() {
        let off = read("retries: off").unwrap();
        assert_eq!(off, Retries::OFF);
        assert_eq!(with(off, "{}"), Ok(Retries::OFF));
        assert_eq!(with(off, "retries: { attempts: 2 }"), read("retries: { attempts: 2 }"));
    }

    #[test]
    fn what_cannot_work_is_said_with_its_place() {
        for (yaml, expected) in [
            ("retries: { attempts: 0 }", "a.yml:1:22: retries.attempts: attempts: a request may be sent 1 to 5 times"),
            (
                "retries: { on: [ 503, 500 ] }",
                "a.yml:1:23: retries.on[1]: \"500\" is nothing that is retried; write one",
            ),
            (
                "retries: { methods: TRACE }",
                "a.yml:1:21: retries.methods: \"TRACE\" cannot be retried; write one of: GET",
            ),
            ("retries: { buffer: 2MiB }", "a.yml:1:20: retries.buffer: buffer: at most 1MiB"),
            ("retries: { budget: { share: 0.2 } }", "found \"0.2\", expected a share from 0% to 100%, such as 20%"),
            ("retries: { budget: { share: 120% } }", "expected a share from 0% to 100%"),
            (
                "retries: { budget: { window: 31s } }",
                "a.yml:1:30: retries.budget.window: window: 31s is not from 1s to 30s",
            ),
            ("retries: { budget: { window: 1500ms } }", "1s500ms is not from 1s to 30s, in whole seconds"),
            ("retries: { tries: 2 }", "unknown key \"tries\""),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
