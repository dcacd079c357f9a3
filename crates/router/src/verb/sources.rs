//! `pointsman sources`: every registry, and how far it can be believed.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use settings::Span;

use super::{Options, columns, tell};

/// The arguments of `pointsman sources`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// What of a source is told.
#[derive(Debug, Deserialize)]
struct Source {
    name: String,
    kind: String,
    state: String,
    #[serde(default)]
    error: Option<String>,
    for_s: u64,
    #[serde(default)]
    heard_s_ago: Option<u64>,
    #[serde(default)]
    remembered: usize,
    members: usize,
    #[serde(default)]
    doubts: Vec<Doubt>,
    skipped: u64,
    #[serde(default)]
    reasons: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Doubt {
    service: String,
    error: String,
    for_s: u64,
}

/// Asks, and tells a line for each source.
///
/// # Errors
/// If no router answers.
pub async fn run(arguments: Arguments, to: &mut impl Write) -> Result<(), String> {
    tell(&arguments.options, "/sources", "its sources", |sources: Vec<Source>| text(&sources), to).await
}

fn text(sources: &[Source]) -> String {
    let row = |source: &Source| {
        let heard = source.heard_s_ago.map(|ago| format!("{} ago", Span::from_secs(ago)));
        let heard = heard.unwrap_or_else(|| "never".to_owned());
        [source.name.clone(), source.kind.clone(), source.members.to_string(), heard, state(source)]
    };
    let rows: Vec<_> = sources.iter().map(row).collect();
    columns::text(["SOURCE", "KIND", "INSTANCES", "HEARD", "STATE"], &rows)
}

/// The state with its cause, and what is not certain besides.
fn state(source: &Source) -> String {
    let mut state = format!("{} for {}", source.state, Span::from_secs(source.for_s));
    if let Some(error) = &source.error {
        state += &format!(": {error}");
    }
    if let [Doubt { service, error, for_s }, more @ ..] = source.doubts.as_slice() {
        state += &format!("; in doubt about {service} for {} ({error})", Span::from_secs(*for_s));
        if !more.is_empty() {
            state += &format!(" and {} more services", more.len());
        }
    }
    if source.remembered > 0 {
        state += &format!("; {} services as remembered from before the start", source.remembered);
    }
    if source.skipped > 0 {
        let last = source.reasons.last().map(|last| format!(", the last: {last}")).unwrap_or_default();
        state += &format!("; {} records cannot be used{last}", source.skipped);
    }
    state
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_state_cause_and_age() {
        let live = json!({ "name": "dc1", "kind": "consul", "state": "live", "for_s": 7204, "heard_s_ago": 3,
            "members": 12, "skipped": 0 });
        let down = json!({ "name": "dc2", "kind": "etcd", "state": "down", "for_s": 12, "error": "cannot reach it",
            "members": 0, "skipped": 2, "reasons": [ "old", "no port" ], "remembered": 4, "doubts": [
            { "service": "pets", "error": "no leader", "for_s": 5 }, { "service": "cats", "error": "no leader", "for_s": 5 } ] });
        let sources: Vec<Source> = serde_json::from_value(json!([live, down])).unwrap();
        assert_eq!(
            text(&sources),
            "SOURCE  KIND    INSTANCES  HEARD   STATE\n\
             dc1     consul  12         3s ago  live for 2h4s\n\
             dc2     etcd    0          never   down for 12s: cannot reach it; in doubt about pets for 5s (no leader) and 1 \
             more services; 4 services as remembered from before the start; 2 records cannot be used, the last: no port\n"
        );
    }
}
