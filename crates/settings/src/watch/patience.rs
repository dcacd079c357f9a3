//! How long what differs must stay the same until it counts. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::content::Content;
use super::whole::Then;

/// Quiet time before a change counts: editors and `cp` write in steps, and a key follows its certificate.
pub(super) const SETTLE: Duration = Duration::from_millis(75);
/// The same, if all that changed is that files are gone, and each stands for itself: whoever replaces a file may remove
/// it first, and needs a millisecond until the next one is there.
const RETURN: Duration = Duration::from_millis(4);

/// Of files that stand for each other, such as a key and its certificate. `None`: nothing differs.
pub(super) fn together(before: &BTreeMap<PathBuf, Content>, now: &BTreeMap<PathBuf, Content>) -> Option<Duration> {
    (before != now).then_some(SETTLE)
}

/// Of files that each stand for themselves. `None`: all that differs, if anything does, is whole.
pub(super) fn apart(
    before: &BTreeMap<PathBuf, Content>,
    now: &BTreeMap<PathBuf, Content>,
    whole: &Then,
) -> Option<Duration> {
    let settles = |whole: bool| (!whole).then_some(SETTLE);
    let of = |(path, now): (&PathBuf, &Content)| match (before.get(path), now) {
        (Some(before), now) if before == now => None,
        (Some(Content::Bytes { .. }), Content::None) => Some(RETURN),
        (Some(Content::Names(old)), Content::Names(new)) => {
            let came = settles(new.difference(old).all(|name| whole.has(name)));
            // Of a name that nobody watches nothing follows.
            let left = old.difference(new).any(|name| before.contains_key(&path.join(name))).then_some(RETURN);
            came.max(left)
        }
        _ => settles(path.file_name().is_some_and(|name| whole.has(name))),
    };
    now.iter().filter_map(of).max()
}
