//! Where one scope is in its list and its watch: what to ask next. Pure.

use std::time::Duration;

use transport::client::escaped;

use super::failure::Failure;

/// Slices on a page. A thousand endpoints each at most, a hundred as the cluster writes them.
const PAGE: usize = 500;

/// The next question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A page of the list; the first one without a token.
    List {
        next: Option<String>,
        /// All on one page: the version of an earlier page ran out.
        whole: bool,
    },
    /// What changed after this version.
    Watch { version: String },
}

/// The rules of list and watch, as a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    step: Step,
}

const START: Step = Step::List { next: None, whole: false };

impl Cursor {
    pub(super) fn new() -> Self {
        Self { step: START }
    }

    pub(super) fn step(&self) -> &Step {
        &self.step
    }

    /// A page came. Returns whether it was the last one.
    pub(super) fn page(&mut self, version: String, next: Option<String>) -> bool {
        let whole = matches!(self.step, Step::List { whole: true, .. });
        let last = next.is_none();
        self.step = if last { Step::Watch { version } } else { Step::List { next, whole } };
        last
    }

    /// The watch has told all up to this version.
    pub(super) fn seen(&mut self, version: String) {
        if matches!(self.step, Step::Watch { .. }) {
            self.step = Step::Watch { version };
        }
    }

    /// The watch ended as it should. One without any sign of life, not even the bookmark before its end, may be of a
    /// server that does not know our version yet and would stay silent for ever: only a list tells, and from time to time
    /// one is due all the same. Then the watch is not trusted to go on.
    pub(super) fn ended(&mut self, trusted: bool) {
        if !trusted {
            self.step = START;
        }
    }

    /// The question failed.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let paged = matches!(self.step, Step::List { next: Some(_), .. } | Step::List { whole: true, .. });
        match (&self.step, failure) {
            (Step::Watch { .. }, failure) if failure.keeps_version() => {}
            (Step::List { .. }, Failure::Gone) => self.step = Step::List { next: None, whole: paged },
            _ => self.step = START,
        }
    }

    /// The path and query to ask.
    pub(super) fn path(&self, namespace: Option<&str>, selector: Option<&str>, wait: Duration) -> String {
        let group = "/apis/discovery.k8s.io/v1";
        let mut path = match namespace {
            Some(namespace) => format!("{group}/namespaces/{}/endpointslices?", escaped(namespace)),
            None => format!("{group}/endpointslices?"),
        };
        match &self.step {
            Step::List { whole: true, next: None } => {}
            Step::List { next, .. } => {
                path.push_str(&format!("limit={PAGE}"));
                if let Some(next) = next {
                    path.push_str(&format!("&continue={}", escaped(next)));
                }
            }
            Step::Watch { version } => path.push_str(&format!(
                "watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
                escaped(version),
                wait.as_secs().max(1)
            )),
        }
        if let Some(selector) = selector {
            path.push_str(&format!("&labelSelector={}", escaped(selector)));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use model::ProviderError;

    use super::*;

    fn path(cursor: &Cursor) -> String {
        let path = cursor.path(Some("shop"), None, Duration::from_secs(60));
        path.strip_prefix("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?").unwrap().to_owned()
    }

    fn watching(version: &str) -> Cursor {
        let mut cursor = Cursor::new();
        assert!(cursor.page(version.into(), None));
        cursor
    }

    #[test]
    fn a_list_page_by_page_and_then_the_watch() {
        let mut cursor = Cursor::new();
        assert_eq!(path(&cursor), "limit=500");
        assert!(!cursor.page("7".into(), Some("a=b".into())));
        assert_eq!(path(&cursor), "limit=500&continue=a%3Db");
        assert!(cursor.page("7".into(), None));
        assert_eq!(path(&cursor), "watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=60");
        cursor.seen("9".into());
        assert!(path(&cursor).contains("resourceVersion=9"));
        let everywhere = cursor.path(None, Some("team in (a,b)"), Duration::from_secs(60));
        assert!(everywhere.starts_with("/apis/discovery.k8s.io/v1/endpointslices?watch=1&"), "{everywhere}");
        assert!(everywhere.ends_with("&labelSelector=team%20in%20%28a%2Cb%29"), "{everywhere}");
    }

    #[test]
    fn a_version_that_is_gone_begins_anew() {
        let mut cursor = watching("7");
        cursor.failed(&Failure::Gone);
        assert_eq!(cursor, Cursor::new());
        cursor.page("7".into(), Some("token".into()));
        cursor.failed(&Failure::Gone);
        assert_eq!(path(&cursor), "", "a token that ran out is followed by one whole list");
        cursor.failed(&Failure::from(ProviderError::Failed(String::new())));
        assert_eq!(path(&cursor), "limit=500");
    }

    #[test]
    fn after_a_broken_watch_the_list_is_read_again_and_after_a_refusal_not() {
        let after = |error: ProviderError| {
            let mut cursor = watching("7");
            cursor.failed(&error.into());
            cursor
        };
        assert_eq!(after(ProviderError::Unreachable(String::new())), Cursor::new());
        assert_eq!(after(ProviderError::Malformed(String::new())), Cursor::new());
        assert_eq!(after(ProviderError::Limited(String::new())), watching("7"));
        assert_eq!(after(ProviderError::Denied(String::new())), watching("7"));
    }

    /// linkerd 11480.
    #[test]
    fn a_watch_that_ended_without_a_sign_of_life_is_not_trusted() {
        let mut cursor = watching("7");
        cursor.ended(true);
        assert_eq!(cursor, watching("7"));
        cursor.ended(false);
        assert_eq!(cursor, Cursor::new());
    }
}
