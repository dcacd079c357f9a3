//! Events of the engine, from a stream of lines. Pure.

use std::collections::BTreeMap;

use model::ProviderError;
use serde::Deserialize;
use transport::client::Lines;

use super::{labels, signal};

/// The longest line: an event names all labels of its container.
const LONGEST: usize = 1 << 20;

/// One event that concerns a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) container: String,
    pub(super) what: What,
    /// It says itself that the container has labels of ours. Events of networks do not.
    pub(super) labelled: bool,
}

/// What it means for us; what it means for the container we ask the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An operator sent it this signal. If it is one to end, it runs until it says that it ended, and the engine, busy with
    /// its end, answers no question about it before.
    Signalled(u8),
    /// It rests, and an operator told it to: stopped, or paused.
    Told,
    /// It ended. Whether by itself, other events say.
    Ended,
    /// It is not there any more.
    Removed,
    /// It runs, by an operator's word or by itself: what was said before is over.
    Begun,
    /// Anything else.
    Changed,
}

/// The actions we ask for. Docker's words, and those of Podman where they differ. Not among them: those of health
/// checks, three at each.
pub(super) const ACTIONS: [&str; 13] = [
    "start",
    "restart",
    "die",
    "died",
    "kill",
    "stop",
    "pause",
    "unpause",
    "health_status",
    "destroy",
    "remove",
    "connect",
    "disconnect",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(rename = "Type", default)]
    kind: String,
    action: String,
    actor: Actor,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    attributes: Option<BTreeMap<String, String>>,
}

/// Pieces of the stream on their way to events.
#[derive(Debug)]
pub(super) struct Pieces(Lines);

impl Default for Pieces {
    fn default() -> Self {
        Self(Lines::new(LONGEST))
    }
}

impl Pieces {
    /// Takes in a piece, and gives out the events that are complete with it.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<Event>, ProviderError> {
        let too_long = |_| ProviderError::Malformed(format!("an event of more than {LONGEST} bytes"));
        self.0.push(piece).map_err(too_long)?;
        let mut events = Vec::new();
        while let Some(line) = self.0.pop() {
            let line: Line =
                serde_json::from_slice(&line).map_err(|e| ProviderError::Malformed(format!("an event: {e}")))?;
            events.extend(line.event());
        }
        Ok(events)
    }
}

impl Line {
    fn event(self) -> Option<Event> {
        let attribute = |name| self.actor.attributes.as_ref().and_then(|all| all.get(name));
        // Some engines do not filter.
        let (action, _) = self.action.split_once(':').unwrap_or((&self.action, ""));
        if !ACTIONS.contains(&action.trim()) {
            return None;
        }
        let network = self.kind == "network";
        // Podman names the container itself where Docker names the network.
        let named = if network { attribute("container") } else { None };
        let container = named.unwrap_or(&self.actor.id).clone();
        let what = match action {
            // Whatever becomes of the network, the container is asked for.
            _ if network => What::Changed,
            "kill" => attribute("signal").and_then(|text| signal::number(text)).map_or(What::Changed, What::Signalled),
            "pause" | "stop" => What::Told,
            "die" | "died" => What::Ended,
            "destroy" | "remove" => What::Removed,
            "start" | "restart" | "unpause" => What::Begun,
            _ => What::Changed,
        };
        let labelled = self.actor.attributes.as_ref().is_some_and(|all| labels::concern_us(all.keys()));
        Some(Event { container, what, labelled })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(kind: &str, action: &str, attributes: &str) -> String {
        format!(r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"c1","Attributes":{{{attributes}}}}}}}"#) + "\n"
    }

    fn check(line: &str, expected: Option<(&str, What)>) {
        let events = Pieces::default().take(line.as_bytes()).unwrap();
        let event = events.first().map(|event| (&*event.container, event.what));
        assert_eq!(event, expected, "{line}");
    }

    #[test]
    fn each_event_says_whom_it_concerns_and_what_it_means() {
        check(&line("container", "start", ""), Some(("c1", What::Begun)));
        check(&line("container", "kill", r#""signal":"15""#), Some(("c1", What::Signalled(15))));
        check(&line("container", "kill", r#""signal":"SIGUSR1""#), Some(("c1", What::Signalled(10))));
        check(&line("container", "kill", r#""signal":"?""#), Some(("c1", What::Changed)));
        check(&line("container", "pause", ""), Some(("c1", What::Told)));
        check(&line("container", "die", r#""exitCode":"1""#), Some(("c1", What::Ended)));
        check(&line("container", "died", ""), Some(("c1", What::Ended)));
        check(&line("container", "destroy", ""), Some(("c1", What::Removed)));
        check(&line("container", "remove", ""), Some(("c1", What::Removed)));
        check(&line("container", "health_status: unhealthy", ""), Some(("c1", What::Changed)));
        check(&line("network", "connect", r#""container":"c2""#), Some(("c2", What::Changed)));
        check(&line("network", "connect", ""), Some(("c1", What::Changed)));
        check(&line("network", "remove", r#""container":"c2""#), Some(("c2", What::Changed)));
        check(&line("container", "exec_start: /bin/sh -c x", ""), None);
        check("\n", None);
        let labelled = |attributes: &str| {
            Pieces::default().take(line("container", "die", attributes).as_bytes()).unwrap()[0].labelled
        };
        assert!(labelled(r#""pointsman.service":"a""#) && !labelled(r#""image":"a""#));
    }

    #[test]
    fn what_is_no_event_ends_the_stream() {
        let told = |bytes: &[u8]| Pieces::default().take(bytes).unwrap_err().reason();
        assert_eq!(told(b"<html>\n"), "malformed");
        assert_eq!(told(&vec![b'x'; LONGEST + 1]), "malformed");
    }

    proptest! {
        /// However the network cuts the stream, the events are the same.
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(0usize..600, 0..6)) {
            let stream: String = ["start", "die", "exec_die", "unpause"].map(|a| line("container", a, "")).concat();
            let whole = Pieces::default().take(stream.as_bytes()).unwrap();
            prop_assert_eq!(whole.len(), 3);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            let mut pieces = Pieces::default();
            let events = cuts.windows(2).flat_map(|c| pieces.take(&stream.as_bytes()[c[0]..c[1]]).unwrap());
            prop_assert_eq!(events.collect::<Vec<_>>(), whole);
        }
    }
}
