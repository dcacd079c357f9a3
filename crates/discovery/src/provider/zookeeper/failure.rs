//! What an error code of a server means.

use model::ProviderError;

/// The error in the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) i32);

impl Code {
    /// The node is not there.
    pub(super) const NO_NODE: Self = Self(-101);
    /// The node is there already.
    pub(super) const NODE_EXISTS: Self = Self(-110);
    /// The server does not know the request: it is older than 3.6.
    pub(super) const UNIMPLEMENTED: Self = Self(-6);
    const AUTH_FAILED: Self = Self(-115);
    /// We may not.
    pub(super) const NO_AUTH: Self = Self(-102);
    const SESSION_EXPIRED: Self = Self(-112);
    const SESSION_MOVED: Self = Self(-118);
    const THROTTLED: Self = Self(-127);

    /// Whether the connection is of no use any more.
    pub(super) fn ends_the_connection(self) -> bool {
        matches!(self, Self::UNIMPLEMENTED | Self::AUTH_FAILED | Self::SESSION_EXPIRED | Self::SESSION_MOVED)
    }

    /// For the operator; `what` was asked for.
    pub(super) fn error(self, what: &str) -> ProviderError {
        match self {
            Self::NO_AUTH => ProviderError::Denied(format!(
                "{what}: we may not read it; give us the right to read, and check user and password of `auth`: ZooKeeper \
                 takes wrong ones without a word"
            )),
            Self::AUTH_FAILED => ProviderError::Denied(
                "the server refuses `auth`: check that it allows digest authentication".to_owned(),
            ),
            Self::SESSION_EXPIRED => ProviderError::Failed("the session expired".to_owned()),
            Self::SESSION_MOVED => ProviderError::Failed("the session moved to another connection".to_owned()),
            Self::THROTTLED => ProviderError::Limited(format!("{what}: the server has too much to do")),
            Self::UNIMPLEMENTED => {
                ProviderError::Failed("the server has no recursive watches: use ZooKeeper 3.6 or newer".to_owned())
            }
            Self(code) => ProviderError::Failed(format!("{what}: error {code}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_reason() {
        for (code, reason, ends) in [
            (-102, "denied", false),
            (-115, "denied", true),
            (-127, "limited", false),
            (-112, "failed", true),
            (-118, "failed", true),
            (-6, "failed", true),
            (-7, "failed", false),
        ] {
            assert_eq!((Code(code).error("/a").reason(), Code(code).ends_the_connection()), (reason, ends), "{code}");
        }
    }
}
