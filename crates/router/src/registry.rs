//! `pointsman registry`: an operator at the embedded registry of a router.

use std::{
    io::{Read as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use settings::{Secret, SecretSource};
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, Response, TlsSettings, escaped};

use crate::verb::print;

/// How long the registry may take: an import of a hundred thousand instances is on disk sooner.
const PATIENCE: Duration = Duration::from_secs(60);

/// The arguments of `pointsman registry`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// The registry's address.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:8400")]
    url: String,
    /// A file with the token for the registry.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The token itself, best by the variable: arguments are seen by everybody on the machine.
    #[arg(long, global = true, env = "POINTSMAN_REGISTRY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// PEM: authorities to trust instead of the system's, if something before the registry speaks TLS.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show all services, or the instances of one.
    List {
        /// The service.
        service: Option<String>,
    },
    /// Write all registrations to a file.
    Export {
        /// The file; - is standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Register what a file of `export` has, and say what that changed.
    Import {
        /// The file; - is standard input.
        file: PathBuf,
        /// Take out what the file does not name.
        #[arg(long)]
        replace: bool,
        /// Change nothing, and say what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give an instance no new requests, or requests again.
    Maintenance {
        /// on or off.
        state: State,
        /// The service.
        service: String,
        /// The instance.
        id: String,
        /// Why, for those who look.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    On,
    Off,
}

/// Does what is asked, and tells it, one line for each thing.
///
/// # Errors
/// If the registry does not answer or refuses, or the file cannot be used.
pub async fn run(arguments: Arguments, to: &mut impl Write) -> Result<(), String> {
    let registry = Registry::of(&arguments)?;
    let text = match arguments.verb {
        Verb::List { service: None } => services(&registry.ask(Method::GET, "services", Bytes::new()).await?),
        Verb::List { service: Some(service) } => {
            let path = format!("services/{}", escaped(&service));
            let text = instances(&registry.ask(Method::GET, &path, Bytes::new()).await?);
            if text.is_empty() {
                return Err(format!("{service} has no instances here; `pointsman registry list` names all services"));
            }
            text
        }
        Verb::Export { file } => {
            let content = registry.ask(Method::GET, "export", Bytes::new()).await?;
            let text = format!("{content:#}\n");
            if !is_standard(&file) {
                return std::fs::write(&file, text).map_err(|error| cannot("write", &file, &error));
            }
            text
        }
        Verb::Import { file, replace, dry_run } => {
            let mode = if replace { "replace" } else { "merge" };
            let path = format!("import?mode={mode}&dry_run={dry_run}");
            imported(&registry.ask(Method::POST, &path, read(&file)?).await?)
        }
        Verb::Maintenance { state, service, id, reason } => {
            let path = format!("services/{}/instances/{}/maintenance", escaped(&service), escaped(&id));
            let body = json!({ "enabled": state == State::On, "reason": reason }).to_string();
            let done = registry.ask(Method::PUT, &path, body.into()).await?;
            let state = match (state, done["changed"] == true) {
                (State::On, true) => "is now in maintenance",
                (State::On, false) => "is already in maintenance",
                (State::Off, true) => "is no longer in maintenance",
                (State::Off, false) => "was not in maintenance",
            };
            format!("{service} {id} {state}\n{}", not_stored(&done))
        }
    };
    print(to, &text)
}

struct Registry {
    client: Client,
    url: String,
}

impl Registry {
    fn of(arguments: &Arguments) -> Result<Self, String> {
        let file = arguments.token_file.clone().map(SecretSource::File);
        let token = file.or_else(|| arguments.token.clone().map(|token| SecretSource::Inline(Secret::from(token))));
        let tls = TlsSettings { ca: arguments.ca.clone(), ..TlsSettings::default() };
        let mut settings = ClientSettings { tls, ..ClientSettings::new(&*arguments.url) };
        if let Some(source) = token {
            let token = source.read().map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(token.expose());
            let mut value = value.map_err(|_| "the token has characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            settings.headers.insert("x-registry-token", value);
        }
        let client = Client::new(settings).map_err(|error| error.to_string())?;
        Ok(Self { client, url: arguments.url.clone() })
    }

    /// One request, and the JSON of its answer.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, String> {
        let answer = self.client.send(method, &format!("/registry/{path}"), body, Instant::now() + PATIENCE).await;
        let url = &self.url;
        let Response { status, body, .. } = answer
            .map_err(|error| format!("no registry answers on {url} ({error}); name it with --url http://HOST:PORT"))?;
        let content = serde_json::from_slice::<Value>(&body).ok();
        if status.is_success() {
            return content.ok_or_else(|| format!("{url} is no registry of a router: its answer is no JSON"));
        }
        let said = content.as_ref().and_then(|fault| fault["description"].as_str()).map(str::to_owned);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(&body).trim().chars().take(300).collect());
        let hint = if status == http::StatusCode::UNAUTHORIZED { "; give it with --token-file FILE" } else { "" };
        Err(format!("{url} answers {}: {said}{hint}", status.as_u16()))
    }
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read(file: &Path) -> Result<Bytes, String> {
    let content = if is_standard(file) {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(file)
    };
    content.map(Bytes::from).map_err(|error| cannot("read", file, &error))
}

fn cannot(verb: &str, file: &Path, error: &std::io::Error) -> String {
    format!("cannot {verb} {}: {error}", file.display())
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

/// Without the quotes of JSON.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn services(answer: &Value) -> String {
    let line = |service: &Value| format!("{} {}\n", word(&service["name"]), service["instances"]);
    list(&answer["services"]).iter().map(line).collect()
}

fn instances(answer: &Value) -> String {
    let line = |instance: &Value| {
        let of = |field: &str| word(&instance[field]);
        let host = of("ip");
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let mut line = format!("{} {host}:{} {}", of("id"), of("port"), standing(instance));
        if let Some(why) = instance["maintenance"].as_str().filter(|why| !why.is_empty()) {
            line += &format!(" ({why})");
        }
        if let Some(time) = instance["expires_in"].as_str() {
            line += &format!(" expires in {time}");
        }
        line + "\n"
    };
    list(&answer["instances"]).iter().map(line).collect()
}

/// What the registry knows of it: without a check, only that it registered and its lease runs.
fn standing(instance: &Value) -> String {
    let verdicts = list(&instance["verdicts"]);
    let failing = verdicts.iter().find(|verdict| verdict["passes"] == false);
    match (instance["status"].as_str(), failing) {
        (Some("ready"), _) if verdicts.is_empty() => "registered, without a check".to_owned(),
        (Some("unready"), None) => "unready: no check has passed yet".to_owned(),
        (Some("unready"), Some(verdict)) => format!("unready: {}", word(&verdict["output"])),
        _ => word(&instance["status"]),
    }
}

fn imported(answer: &Value) -> String {
    let would = if answer["dry_run"] == true { "would be " } else { "" };
    let mut text = String::new();
    for what in ["added", "altered", "removed"] {
        for named in list(&answer[what]) {
            text += &format!("{would}{what}: {} {}\n", word(&named["name"]), word(&named["id"]));
        }
    }
    text + &format!("unchanged: {}\n{}", answer["unchanged"], not_stored(answer))
}

fn not_stored(answer: &Value) -> &'static str {
    // A rehearsal stores nothing.
    if answer["stored"] == false && answer["dry_run"] != true {
        "not on disk: a restart of the router forgets it\n"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_lines() {
        let answer = json!({ "dry_run": true, "stored": false, "unchanged": 2, "altered": [],
            "added": [ { "name": "pets", "id": "one" } ], "removed": [ { "name": "pets", "id": "two" } ] });
        assert_eq!(imported(&answer), "would be added: pets one\nwould be removed: pets two\nunchanged: 2\n");
        let answer = json!({ "dry_run": false, "stored": false, "unchanged": 0 });
        assert!(imported(&answer).starts_with("unchanged: 0\nnot on disk"));
        let answer = json!({ "instances": [ { "id": "one", "ip": "::1", "port": 80, "status": "maintenance",
            "maintenance": "new disk", "expires_in": "20s" } ] });
        assert_eq!(instances(&answer), "one [::1]:80 maintenance (new disk) expires in 20s\n");
        let instance = |status: &str, verdicts: Value| {
            let told = json!({ "instances": [ { "id": "a", "ip": "::1", "port": 80, "status": status, "verdicts": verdicts } ] });
            instances(&told).trim_end().replace("a [::1]:80 ", "")
        };
        let verdict = |passes: Option<bool>| json!([ { "passes": passes, "output": "refused" } ]);
        assert_eq!(instance("ready", json!([])), "registered, without a check");
        assert_eq!(instance("ready", verdict(Some(true))), "ready");
        assert_eq!(instance("unready", verdict(None)), "unready: no check has passed yet");
        assert_eq!(instance("unready", verdict(Some(false))), "unready: refused");
        assert_eq!(services(&json!({ "services": [ { "name": "pets", "instances": 2 } ] })), "pets 2\n");
    }
}
