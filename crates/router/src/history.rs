//! `pointsman history`: asks a running router what happened to services and registries, and why.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use admin::history::Answer;
use bytes::Bytes;
use discovery::history::{Event, Filter};
use http::Method;
use telemetry::access::Rfc3339;
use tokio::time::sleep;
use transport::client::escaped;

use crate::verb::Admin;

/// Between two questions while following.
const PAUSE: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// The router's admin listener.
    pub admin: SocketAddr,
    /// Which events.
    pub filter: Filter,
    /// One JSON object for each event instead of a line for people.
    pub json: bool,
    /// Whether to go on with what happens from now on.
    pub follow: bool,
}

/// Writes the events, one a line. Ends in order when nobody reads any more.
///
/// # Errors
/// If the router does not answer, or not with events.
pub async fn tell(query: &Query, to: &mut impl Write) -> Result<(), String> {
    let admin = Admin::at(query.admin)?;
    let mut filter = query.filter.clone();
    loop {
        let answer = admin.done(Method::GET, &path(&filter), Bytes::new()).await?;
        let answer: Answer = admin.read(&answer, "events")?;
        // Numbers begin anew with the process: it was restarted, so all it knows is new.
        let restarted = filter.since.is_some_and(|since| answer.last < since);
        for event in answer.events {
            let line = if query.json { json(&event)? } else { line(&event) };
            match writeln!(to, "{line}").and_then(|()| to.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error.to_string()),
                Ok(()) => {}
            }
        }
        if !query.follow {
            return Ok(());
        }
        filter = Filter { since: (!restarted).then_some(answer.last), limit: None, ..filter };
        if !restarted {
            sleep(PAUSE).await;
        }
    }
}

fn path(filter: &Filter) -> String {
    let mut path = "/history".to_owned();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(name);
            path.push('=');
            path.push_str(&escaped(&value));
        }
    };
    add("service", filter.service.clone());
    add("source", filter.source.clone());
    add("since", filter.since.map(|number| number.to_string()));
    add("limit", filter.limit.map(|number| number.to_string()));
    path
}

fn json(event: &Event) -> Result<String, String> {
    serde_json::to_string(event).map_err(|error| error.to_string())
}

/// `2026-11-21T07:00:00.123Z 7 removed pets by dc1: pets-1 10.0.0.1:8080 (cause)`
fn line(event: &Event) -> String {
    let time = Rfc3339(UNIX_EPOCH + Duration::from_millis(event.time_ms));
    let mut text = format!("{time} {} {}", event.number, event.event.word());
    if let Some(service) = &event.service {
        text += &format!(" {service}");
    }
    if let Some(source) = &event.source {
        text += &format!(" by {source}");
    }
    if !event.instances.is_empty() {
        text += &format!(": {}", event.instances.join(", "));
    }
    if event.more > 0 {
        text += &format!(" and {} more", event.more);
    }
    if !event.cause.is_empty() {
        text += &format!(" ({})", event.cause);
    }
    text
}

#[cfg(test)]
mod tests {
    use discovery::history::What;
    use model::ServiceId;

    use super::*;

    #[test]
    fn a_line_says_it_all() {
        let event = Event {
            number: 7,
            time_ms: 1_795_590_000_123,
            event: What::Suspected,
            service: Some(ServiceId::new("pets").unwrap()),
            source: Some("dc1".into()),
            instances: ["a 10.0.0.1:80", "b 10.0.0.2:80"].map(Box::from).into(),
            more: 3,
            cause: "too many left at once".to_owned(),
        };
        let expected = "2026-11-25T07:00:00.123Z 7 suspected pets by dc1: a 10.0.0.1:80, b 10.0.0.2:80 and 3 more \
                        (too many left at once)";
        assert_eq!(line(&event), expected);
        let read: Event = serde_json::from_str(&json(&event).unwrap()).unwrap();
        assert_eq!(read, event);
    }

    #[test]
    fn a_question_survives_any_name() {
        assert_eq!(path(&Filter::default()), "/history");
        let filter =
            Filter { service: Some("a&b=c d".to_owned()), since: Some(7), limit: Some(1), ..Filter::default() };
        assert_eq!(path(&filter), "/history?service=a%26b%3Dc%20d&since=7&limit=1");
    }
}
