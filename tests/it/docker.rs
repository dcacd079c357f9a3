//! The Docker provider against real engines: Docker's, and Podman with the API that it took from there.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
};

use discovery::provider::docker::{Address, Docker, Settings};
use model::{Instance, InstanceId, Knowledge, ProviderError, Standing, Update};
use settings::Span;
use testkit::get;

use crate::{
    discover::rig::until,
    registry::{Own, environment, unique},
    source::{Source, named, running},
    support::{Config, Front},
};

/// An engine, spoken to by Docker's command as an operator does.
struct Operator {
    /// Its name in `tests/registries`.
    kind: &'static str,
    socket: String,
}

impl Operator {
    /// Of the engine that is shared by the tests of this run.
    fn shared(kind: &'static str) -> Option<Self> {
        environment(kind, &variable(kind)).map(|socket| Self { kind, socket })
    }

    fn url(&self) -> String {
        format!("unix://{}", self.socket)
    }

    /// It says at the signal that an operator stops a container. Podman says it at the end, and not each time.
    fn tells_who_stopped(&self) -> bool {
        self.kind == "docker"
    }

    /// Whether these are who left on an operator's word where he stopped this one.
    fn told(&self, left: &[InstanceId], id: &InstanceId) -> bool {
        left == [id.clone()] || left.is_empty() && !self.tells_who_stopped()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.url()]).args(arguments);
        command
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a container of this name with these arguments; its command is in the image unless it is one of them.
    fn run(&self, name: &str, arguments: &[&str], command: &[&str]) -> Container<'_> {
        // Podman waits for this long before it removes one by force.
        let all =
            [&["run", "-d", "--stop-timeout", "1", "--name", name], arguments, &["pointsman-web:1"], command].concat();
        self.docker(&all);
        Container { operator: self, name: name.to_owned() }
    }

    /// One that serves a service on port 8080, as a label says.
    fn serve(&self, service: &str, arguments: &[&str]) -> Container<'_> {
        let label = format!("pointsman.service={service}");
        self.run(&unique(service), &[&["-l", &label, "-l", "pointsman.port=8080"], arguments].concat(), &[])
    }
}

/// Removed at the end.
struct Container<'a> {
    operator: &'a Operator,
    name: String,
}

impl Container<'_> {
    fn does(&self, verb: &str, arguments: &[&str]) {
        self.operator.docker(&[&[verb], arguments, &[&self.name]].concat());
    }

    /// The same, and what the source says meanwhile can be heard.
    fn begins(&self, verb: &str, arguments: &[&str]) -> Child {
        self.operator.command(&[&[verb], arguments, &[&self.name]].concat()).spawn().unwrap()
    }

    fn shell(&self, line: &str) {
        self.operator.docker(&["exec", &self.name, "/bin/sh", "-c", line]);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.operator.docker(&["rm", "-f", &self.name]);
        }
    }
}

/// Where its starter says that its socket is.
fn variable(kind: &str) -> String {
    format!("{}_SOCKET", kind.to_uppercase())
}

/// The same tests with each engine.
macro_rules! with_each_engine {
    ($($test:ident),* $(,)?) => { with_each_engine! { docker: $($test)*; podman: $($test)* } };
    ($($engine:ident: $($test:ident)*);*) => {
        $(mod $engine {
            $(#[tokio::test]
            async fn $test() {
                if let Some(operator) = super::Operator::shared(stringify!($engine)) {
                    super::$test(&operator).await;
                }
            })*
        })*
    };
}

with_each_engine! {
    containers_come_with_their_labels_and_leave_as_they_are_stopped,
    a_signal_that_means_something_to_the_program_only_changes_nothing,
    one_that_crashes_was_not_stopped,
    one_that_is_begun_again_is_out_for_that_time_only,
    health_decides_who_serves,
    several_services_on_networks_and_ports,
    an_engine_that_dies_or_hangs_takes_nobody_out,
    requests_reach_a_container,
}

/// The source once it has said everything, so that what follows are changes.
async fn source(settings: Settings) -> Source {
    let mut source = running(Docker::new(settings).unwrap(), named(&[]));
    source.until("everything", |update| matches!(update, Update::Everything(_)).then_some(())).await;
    source
}

async fn local(operator: &Operator) -> Source {
    source(Settings::new(operator.url())).await
}

/// The next word on a service: its instances, and who left on an operator's word.
async fn word(source: &mut Source, name: &str) -> (Vec<Arc<Instance>>, Vec<InstanceId>) {
    let word = |update| match update {
        Update::Service { service, knowledge, deregistered } if service.as_str() == name => match knowledge {
            Knowledge::Known(list) | Knowledge::Part(list) => Some((list, deregistered)),
            Knowledge::KnownEmpty => Some((Vec::new(), deregistered)),
            Knowledge::Unknown(error) => panic!("{error}"),
        },
        _ => None,
    };
    source.until(name, word).await
}

async fn containers_come_with_their_labels_and_leave_as_they_are_stopped(operator: &Operator) {
    let mut source = local(operator).await;
    let service = unique("pets");
    let label = ["-l", "pointsman.tags=public,blue", "-l", "pointsman.protocol=h2c", "-l", "pointsman.meta.version=2"];
    let container = operator.serve(&service, &label);
    let one = source.known(&service, 1).await.remove(0);
    assert_eq!((one.endpoint.address.port, one.endpoint.protocol), (8080, Some(model::Protocol::H2c)));
    assert!(one.is_in("blue") && one.label("version") == Some("2") && one.label("container") == Some(&container.name));

    // Told to end, it gets a second to finish: no new requests from that moment on. Its end is no fault.
    let mut stopping = container.begins("stop", &["-t", "1"]);
    if operator.tells_who_stopped() {
        let (list, _) = word(&mut source, &service).await;
        assert_eq!((list.len(), list[0].standing), (1, Standing::Draining));
    }
    let (list, left) = word(&mut source, &service).await;
    assert!(list.is_empty() && operator.told(&left, &one.id), "{list:?} {left:?}");
    assert!(stopping.wait().unwrap().success());
    container.does("start", &[]);
    assert_eq!(source.known(&service, 1).await[0].id, one.id);

    container.does("pause", &[]);
    let said = word(&mut source, &service).await;
    assert_eq!(said, (Vec::new(), vec![one.id.clone()]), "a paused one takes connections and never answers");
    container.does("unpause", &[]);
    assert_eq!(word(&mut source, &service).await.0.len(), 1);
    drop(container);
    while !word(&mut source, &service).await.0.is_empty() {}
}

async fn a_signal_that_means_something_to_the_program_only_changes_nothing(operator: &Operator) {
    let mut source = local(operator).await;
    let service = unique("signal");
    let container = operator.serve(&service, &[]);
    source.known(&service, 1).await;
    container.does("kill", &["-s", "HUP"]);
    source.silent_on(&service).await;
}

async fn one_that_crashes_was_not_stopped(operator: &Operator) {
    let mut source = local(operator).await;
    let service = unique("crash");
    let label = format!("pointsman.service={service}");
    let waits = "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 3";
    let container = operator.run(&service, &["-l", &label, "-l", "pointsman.port=1"], &["/bin/sh", "-c", waits]);
    source.known(&service, 1).await;
    container.shell("touch /tmp/end");
    assert_eq!(word(&mut source, &service).await, (Vec::new(), Vec::new()));
}

async fn one_that_is_begun_again_is_out_for_that_time_only(operator: &Operator) {
    let mut source = local(operator).await;
    let service = unique("again");
    let arguments = ["--restart", "always", "-l", &format!("pointsman.service={service}"), "-l", "pointsman.port=1"];
    let waits = "while [ ! -e /tmp/end ]; do sleep 0.1; done; rm /tmp/end; exit 3";
    let container = operator.run(&service, &arguments, &["/bin/sh", "-c", waits]);
    let id = source.known(&service, 1).await.remove(0).id.clone();
    container.shell("touch /tmp/end");
    assert_eq!(word(&mut source, &service).await, (Vec::new(), Vec::new()), "it crashed");
    assert_eq!(word(&mut source, &service).await.0[0].id, id);
    container.does("restart", &["-t", "0"]);
    let left = loop {
        let (list, left) = word(&mut source, &service).await;
        if list.is_empty() {
            break left;
        }
    };
    assert!(operator.told(&left, &id), "an operator did it: {left:?}");
    assert_eq!(word(&mut source, &service).await.0[0].id, id);
}

async fn health_decides_who_serves(operator: &Operator) {
    let mut source = local(operator).await;
    let service = unique("health");
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "1"];
    // Podman counts no failure within this time, not even of one that was well.
    let period: &[&str] = if operator.kind == "docker" { &["--health-start-period", "30s"] } else { &[] };
    let container = operator.serve(&service, &[&check[..], period].concat());
    let _checks = (operator.kind == "podman").then(|| Checks::begin(&container.name));
    // Whoever is not well yet wakes nobody.
    source.silent_on(&service).await;
    container.shell("touch /tmp/well");
    source.known(&service, 1).await;
    container.shell("rm /tmp/well");
    assert_eq!(word(&mut source, &service).await, (Vec::new(), Vec::new()));
}

/// Podman leaves it to timers of systemd to look at a container's health: here, where none may be, we are the timer.
struct Checks(Child);

impl Checks {
    fn begin(name: &str) -> Self {
        let line = "while :; do \"$PODMAN\" healthcheck run \"$0\"; sleep 0.2; done";
        Self(Command::new("sh").args(["-c", line, name]).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn several_services_on_networks_and_ports(operator: &Operator) {
    let mut source = local(operator).await;
    let published = Settings { address: Address::Published, ..Settings::new(operator.url()) };
    let mut published = self::source(published).await;
    let (a, b, bad, network) = (unique("a"), unique("b"), unique("bad"), unique("net"));
    operator.docker(&["network", "create", &network]);
    let labels = [
        format!("pointsman.services.{a}.port=8080"),
        format!("pointsman.services.{b}.port=9090"),
        format!("pointsman.services.{b}.weight=7"),
        format!("pointsman.services.{bad}.prot=1"),
    ];
    let labels = labels.iter().flat_map(|label| ["-l", label]).collect::<Vec<_>>();
    let on = ["--network", &network, "-p", "127.0.0.1::8080"];
    let container = operator.run(&a, &[&on[..], &labels].concat(), &[]);
    let skipped = |update| match update {
        Update::Skipped { reason, .. } if reason.contains(&bad) => Some(reason),
        _ => None,
    };
    let reason = source.until("a skipped service", skipped).await;
    assert!(reason.contains("write service, port"), "{reason}");
    let ip = operator.docker(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &a]);
    let told = |list: &[Arc<Instance>]| format!("{}*{}", list[0].endpoint.address, list[0].weight);
    assert_eq!(told(&source.known(&a, 1).await), format!("{ip}:8080*1"));
    assert_eq!(told(&source.known(&b, 1).await), format!("{ip}:9090*7"));
    let port = operator.docker(&["port", &a, "8080/tcp"]);
    assert_eq!(told(&published.known(&a, 1).await), format!("{port}*1"));

    // On two networks nobody knows which one counts: what changes is the address.
    operator.docker(&["network", "connect", "bridge", &a]);
    assert_eq!(word(&mut source, &a).await.0, []);
    operator.docker(&["network", "disconnect", &network, &a]);
    assert_ne!(told(&source.known(&a, 1).await), format!("{ip}:8080*1"));
    drop(container);
    operator.docker(&["network", "rm", &network]);

    let service = unique("host");
    let label = format!("pointsman.service={service}");
    // It opens no port, which would be one of this machine.
    let on_host = ["--network", "host", "-l", &label, "-l", "pointsman.port=8080"];
    let _container = operator.run(&service, &on_host, &["/bin/sleep", "1000"]);
    assert_eq!(told(&source.known(&service, 1).await), "127.0.0.1:8080*1");
}

#[tokio::test]
async fn a_remote_engine_is_reached_over_tls_with_a_certificate_of_ours() {
    let Some(operator) = Operator::shared("docker") else { return };
    let certs = std::path::PathBuf::from(std::env::var("DOCKER_CERTS").unwrap());
    let mut settings = Settings::new(std::env::var("DOCKER_HTTPS").unwrap());
    settings.tls.ca = Some(certs.join("ca.pem"));
    let stranger = settings.clone();
    settings.tls.client_certificate = Some(certs.join("client.pem"));
    settings.tls.client_key = Some(certs.join("client.key"));
    let mut source = source(settings).await;
    let service = unique("tls");
    let _container = operator.serve(&service, &[]);
    source.known(&service, 1).await;

    let refused = |update| match update {
        Update::Unreachable(error) => Some(error.to_string()),
        other => panic!("{other:?}"),
    };
    let mut stranger = running(Docker::new(stranger).unwrap(), named(&[]));
    let told = stranger.until("a refusal", refused).await;
    assert!(told.contains("client_certificate"), "{told}");
}

async fn an_engine_that_dies_or_hangs_takes_nobody_out(&Operator { kind, .. }: &Operator) {
    let own = Own::start(if kind == "docker" { &["docker"] } else { &["podman"] }).await;
    let operator = Operator { kind, socket: own.variable(&variable(kind)).unwrap() };
    let settings = Settings { resync: Span::from_secs(5), ..Settings::new(operator.url()) };
    let mut source = source(settings).await;
    let service = unique("kept");
    let container = operator.serve(&service, &[]);
    let before = source.known(&service, 1).await;
    for (fault, remedy) in [("pause", "resume"), ("kill", "start")] {
        own.node(1, fault);
        let told = source
            .until("an outage", |update| match update {
                Update::Unreachable(error) => Some(error),
                Update::Service { knowledge, .. } => panic!("{fault} was read as {knowledge:?}"),
                _ => None,
            })
            .await;
        assert!(matches!(told, ProviderError::Unreachable(_)), "{told:?}");
        own.node(1, remedy);
        let after = source
            .until("everything again", |update| match update {
                Update::Everything(all) => Some(all.into_values().flatten().collect::<Vec<_>>()),
                _ => None,
            })
            .await;
        assert_eq!(after, before, "after {remedy}");
    }
    drop(container);
}

async fn requests_reach_a_container(operator: &Operator) {
    let service = unique("whole");
    let _container = operator.serve(&service, &["-l", "pointsman.tags=public"]);
    let url = operator.url();
    let router = Config::new()
        .set("registries", &format!("{{ engine: {{ docker: {{ url: {url:?} }} }} }}"))
        .set("expose", "{ tag: public }")
        .start();
    until(&router, &service, "the container serves", |now| now.len() == 1).await;
    let answer = router.client(Front::H2Tls).await.send(get("/index.html", &[("service_id", &service)])).await;
    assert_eq!((answer.status.as_u16(), answer.text().trim()), (200, "ok"));
}
