//! "In one minute": the commands of each registry's page, with its example file.

use std::{fs, net::SocketAddr, path::Path};

use router::{
    Router, Start,
    control::{Addresses, Origin, Overrides},
};
use testkit::Instance;

use super::{
    blocks, document, root,
    tour::{curl_is_there, paste, replaced, text},
};

/// Runs the commands of the page's first two terminals: the router with the file they name, on other ports and with this instance where the
/// file has port 9001; then what is pasted.
async fn follow(page: &str) {
    if !curl_is_there() {
        return;
    }
    let blocks = blocks(page, &document(page));
    let terminals = blocks.iter().filter(|block| block.kind == "console").take(2);
    let commands =
        terminals.flat_map(|block| block.text.lines()).map(|line| line.strip_prefix("$ ").expect("a prompt"));
    // Our instance stands for it.
    let mut commands = commands.filter(|command| *command != "python3 -m http.server 9001");
    let file = commands.next().and_then(|run| run.strip_prefix("pointsman run --config ")).expect("a start");

    let instance = Instance::http().start().await;
    let data = tempfile::tempdir().unwrap();
    let yaml = fs::read_to_string(root().join(file)).unwrap();
    let yaml = yaml.replace("directory: data", &format!("directory: {:?}", data.path()));
    let port = instance.addr().port();
    let yaml = replaced(&yaml, &[("8400", 0), ("9001", port), ("9002", port)]);
    let router = start(&yaml);
    let ready = async {
        while router.readiness().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    testkit::wait::bounded("the router is ready", ready).await;

    let Addresses { clients, registries, .. } = router.addresses();
    let registry = registries.first().map_or(0, |(_, address)| address.port());
    for command in commands {
        let output =
            paste(replaced(command, &[("8443", clients[0].0.port()), ("8400", registry), ("9001", port)])).await;
        let printed = text(&output.stdout);
        assert!(output.status.success() && !printed.contains("statusCode"), "{page}: {command}: {printed}");
    }
    assert_eq!(instance.counts().requests(), 1, "{page}: the last command reaches the instance");
}

fn start(yaml: &str) -> Router {
    let settings = settings::parse(yaml, Path::new("router.yml"), &|_| None).unwrap();
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let overrides = Overrides { listen: any, admin: any, ..Overrides::default() };
    Router::start(Start { origin: Origin::Given(Box::new(settings)), overrides, log: None }).unwrap()
}

#[tokio::test]
async fn static_lists_work_in_one_minute() {
    follow("docs/registries/static.md").await;
}

#[tokio::test]
async fn the_embedded_registry_works_in_one_minute() {
    follow("docs/registries/embedded.md").await;
}
