//! hot path
//!
//! The time a client gives its request: `grpc-timeout`, and `x-request-deadline` for all others. Both say how much is
//! left, so that no two clocks need to agree; instances are told what is left when they are asked.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use model::Fields;

/// What the client said, to be told to instances in the same words.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deadline {
    grpc: Option<Duration>,
    ours: Option<Duration>,
}

impl Deadline {
    /// Reads what a request says that came with these fields. What is malformed is no deadline, and passes as it is.
    pub(super) fn of(headers: &HeaderMap, fields: Fields, grpc: bool) -> Self {
        if !fields.may_meet(NAMES) {
            return Self::default();
        }
        let text = |name| headers.get(name)?.to_str().ok();
        Self { grpc: text(&GRPC).filter(|_| grpc).and_then(grpc_timeout), ours: text(&OURS).and_then(millis) }
    }

    /// The time from the request's beginning on.
    pub(super) fn total(self) -> Option<Duration> {
        match (self.grpc, self.ours) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Tells an instance that so much is left. What the client did not say is not added.
    pub(super) fn tell(self, left: Duration, headers: &mut HeaderMap) {
        if self.grpc.is_some() {
            headers.insert(&GRPC, grpc_text(left));
        }
        if self.ours.is_some() {
            headers.insert(&OURS, HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
        }
    }
}

/// A year: what is beyond is no deadline, and clock plus deadline never overflows.
const LONGEST: u64 = 365 * 24 * 3600 * 1000;

/// Milliseconds that are left, as a whole number.
fn millis(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let millis = text.parse().ok().filter(|millis| digits && *millis <= LONGEST)?;
    Some(Duration::from_millis(millis))
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). What is not that is no timeout.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// The same to write, in the finest unit whose digits suffice, rounded down.
fn grpc_text(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')];
    let found = units.into_iter().find(|(value, _)| *value <= MOST);
    let (value, unit) = found.unwrap_or_else(|| ((left.as_secs() / 3600).into(), 'H'));
    HeaderValue::try_from(format!("{value}{unit}")).unwrap_or(HeaderValue::from_static("0n"))
}

static GRPC: HeaderName = HeaderName::from_static("grpc-timeout");
static OURS: HeaderName = HeaderName::from_static("x-request-deadline");
const NAMES: Fields = Fields::named(&["grpc-timeout", "x-request-deadline"]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> (HeaderMap, Fields) {
        let field = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let headers: HeaderMap = fields.iter().map(field).collect();
        let fields = Fields::of(&headers);
        (headers, fields)
    }

    fn total(fields: &[(&'static str, &str)], grpc: bool) -> Option<Duration> {
        let (headers, fields) = head(fields);
        Deadline::of(&headers, fields, grpc).total()
    }

    #[test]
    fn grpc_timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("2H", Some(Duration::from_secs(7200))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789S", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
            ("", None),
        ] {
            assert_eq!(total(&[("grpc-timeout", text)], true), expected, "{text:?}");
            assert_eq!(total(&[("grpc-timeout", text)], false), None, "{text:?}");
        }
    }

    #[test]
    fn deadlines_are_milliseconds_and_nothing_else() {
        for (text, expected) in [
            ("1500", Some(Duration::from_millis(1500))),
            ("0", Some(Duration::ZERO)),
            ("1.5", None),
            ("+5", None),
            ("5s", None),
            ("", None),
            ("2026-11-26T16:00:00Z", None),
            ("99999999999999999999", None),
            ("31536000001", None),
        ] {
            assert_eq!(total(&[("x-request-deadline", text)], false), expected, "{text:?}");
        }
    }

    #[test]
    fn the_shorter_of_both_holds_and_each_is_told_in_its_words() {
        let fields = [("grpc-timeout", "2S"), ("x-request-deadline", "1500")];
        assert_eq!(total(&fields, true), Some(Duration::from_millis(1500)));
        let (mut headers, set) = head(&fields);
        Deadline::of(&headers, set, true).tell(Duration::from_micros(1_200_700), &mut headers);
        assert_eq!(headers["grpc-timeout"], "1200700u");
        assert_eq!(headers["x-request-deadline"], "1200");
    }

    #[test]
    fn what_was_not_said_or_not_understood_passes_as_it_came() {
        let (mut headers, fields) = head(&[("x-request-deadline", "soon"), ("a", "b")]);
        let before = headers.clone();
        Deadline::of(&headers, fields, true).tell(Duration::from_secs(1), &mut headers);
        assert_eq!(headers, before);
    }

    proptest! {
        #[test]
        fn what_is_told_is_understood_and_never_more_than_there_is(micros in 0_u64..u64::MAX / 1_000_000) {
            let left = Duration::from_micros(micros);
            let text = grpc_text(left);
            let read = grpc_timeout(text.to_str().unwrap()).unwrap();
            prop_assert!(read <= left, "{text:?}");
            prop_assert!(left.as_secs_f64() - read.as_secs_f64() <= (left.as_secs_f64() / 10_000.0).max(0.000_001));
        }
    }
}
