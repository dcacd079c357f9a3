//! `pointsman table`: every instance of every service, with what keeps it out.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use settings::Span;
use transport::client::escaped;

use super::{Options, columns, tell};

/// The arguments of `pointsman table`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this service.
    service: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// What of the table is told.
#[derive(Debug, Deserialize)]
struct Table {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    #[serde(default)]
    breaker: Option<Breaker>,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Breaker {
    state: String,
    #[serde(default)]
    until_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Member {
    id: String,
    address: String,
    weight: u16,
    standing: String,
    #[serde(default)]
    environments: Vec<String>,
    #[serde(default)]
    slow_start: Option<f64>,
    in_flight: u32,
    #[serde(default)]
    circuit: Option<Circuit>,
}

#[derive(Debug, Deserialize)]
struct Circuit {
    state: String,
    causes: Vec<String>,
    since_s: u64,
    #[serde(default)]
    until_s: Option<u64>,
}

/// Asks, and tells a line for each instance.
///
/// # Errors
/// If no router answers, or it does not know the service.
pub async fn run(arguments: Arguments, to: &mut impl Write) -> Result<(), String> {
    let Arguments { service, options } = arguments;
    match service {
        None => tell(&options, "/table", "a table", |table: Table| text(&table.services), to).await,
        Some(name) => {
            let path = format!("/table/{}", escaped(&name));
            tell(&options, &path, "a service", |service: Service| text(&[service]), to).await
        }
    }
}

fn text(services: &[Service]) -> String {
    let mut rows = Vec::new();
    for service in services {
        if service.members.is_empty() {
            let mut row = <[String; 7]>::default();
            row[0].clone_from(&service.name);
            row[6] = "no instance is known".to_owned();
            rows.push(row);
        }
        rows.extend(service.members.iter().map(|member| {
            let Member { id, address, environments, in_flight, weight, .. } = member;
            let (environments, state) = (environments.join(","), state(service, member));
            [&service.name, id, address, &environments, &in_flight.to_string(), &weight.to_string(), &state]
                .map(String::clone)
        }));
    }
    columns::text(["SERVICE", "INSTANCE", "ADDRESS", "ENVIRONMENT", "IN FLIGHT", "WEIGHT", "STATE"], &rows)
}

/// What it may get, and what keeps it from more.
fn state(service: &Service, member: &Member) -> String {
    let mut parts = Vec::new();
    match member.standing.as_str() {
        "serving" => {}
        "resort" => parts.push("last resort: its withdrawal looked like a fault".to_owned()),
        other => parts.push(other.to_owned()),
    }
    parts.extend(member.circuit.as_ref().map(out));
    parts.extend(member.slow_start.map(|part| format!("starts slowly, at {:.0} %", part * 100.0)));
    parts.extend(service.breaker.as_ref().and_then(circuit));
    if parts.is_empty() { "in".to_owned() } else { parts.join("; ") }
}

fn out(circuit: &Circuit) -> String {
    let (causes, since) = (circuit.causes.join(", "), Span::from_secs(circuit.since_s));
    let then = match (circuit.state.as_str(), circuit.until_s) {
        ("half_open", _) => ", one request tries it now".to_owned(),
        (_, Some(0)) => ", the next request tries it".to_owned(),
        (_, Some(until)) => format!(", tried in {}", Span::from_secs(until)),
        (_, None) => String::new(),
    };
    format!("out ({causes}) for {since}{then}")
}

/// The circuit of the whole service, if it is not closed.
fn circuit(breaker: &Breaker) -> Option<String> {
    let until = breaker.until_s.map(|until| format!(", tried in {}", Span::from_secs(until))).unwrap_or_default();
    (breaker.state != "closed")
        .then(|| format!("the circuit of its service is {}{until}", breaker.state.replace('_', " ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_for_each_instance_says_what_keeps_it_out() {
        let member = |id: &str, more: serde_json::Value| {
            let mut member = json!({ "id": id, "address": "10.0.0.1:80", "weight": 100, "standing": "serving",
                "in_flight": 3, "labels": [] });
            member.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            member
        };
        let rest = json!({ "circuit": { "state": "open", "causes": [ "connect" ], "since_s": 64, "until_s": 2 } });
        let due = json!({ "circuit": { "state": "open", "causes": [ "connect" ], "since_s": 1, "until_s": 0 } });
        let knock = json!({ "circuit": { "state": "half_open", "causes": [ "latency" ], "since_s": 5 },
            "slow_start": 0.254, "environments": [ "a", "b" ] });
        let held = json!({ "circuit": { "state": "held", "causes": [ "drained", "check" ], "since_s": 5 } });
        let told = json!([
            { "name": "pets", "members": [ member("one", json!({})), member("two", rest), member("three", due),
                member("four", knock), member("five", held), member("six", json!({ "standing": "draining" })),
                member("seven", json!({ "standing": "resort" })) ] },
            { "name": "none", "members": [] },
            { "name": "shut", "breaker": { "state": "half_open" }, "members": [ member("one", json!({})) ] },
        ]);
        let services: Vec<Service> = serde_json::from_value(told).unwrap();
        let text = text(&services);
        let states: Vec<String> =
            text.lines().skip(1).map(|line| line.split("  ").last().unwrap().trim().to_owned()).collect();
        assert_eq!(
            states,
            [
                "in",
                "out (connect) for 1m4s, tried in 2s",
                "out (connect) for 1s, the next request tries it",
                "out (latency) for 5s, one request tries it now; starts slowly, at 25 %",
                "out (drained, check) for 5s",
                "draining",
                "last resort: its withdrawal looked like a fault",
                "no instance is known",
                "the circuit of its service is half open",
            ]
        );
        let line = text.lines().find(|line| line.contains("four")).unwrap();
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        assert_eq!(words, ["pets", "four", "10.0.0.1:80", "a,b", "3", "100"]);
    }
}
