//! YAML in documents, and the files in `config/`.

use std::{fs, path::Path, time::Duration};

use router::{
    Router, Start,
    control::{Origin, Overrides, check},
    settings::Settings,
};
use testkit::{Client, get};

use super::{blocks, documents, root};

#[test]
fn every_yaml_block_is_a_configuration() {
    let mut read = 0;
    for (name, text) in documents() {
        for block in blocks(&name, &text).iter().filter(|block| block.kind == "yaml") {
            let settings = settings::parse::<Settings>(&block.text, Path::new(&block.place), &|_| None);
            assert!(settings.is_ok(), "{}: {}", block.place, settings.unwrap_err());
            read += 1;
        }
    }
    assert!(read > 10, "only {read} blocks found");
}

#[test]
fn every_example_file_is_valid_without_warnings() {
    let mut checked = 0;
    for entry in fs::read_dir(root().join("config")).expect("config/") {
        let path = entry.expect("a readable folder").path();
        let warnings = check(&Origin::File(path.clone())).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warnings, Vec::<String>::new(), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 5, "only {checked} files found");
}

/// As a fresh clone has it, but for the ports and the folder it writes to.
#[tokio::test]
async fn the_reference_file_runs_with_nothing_else_there() {
    let data = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(root().join("config/router.yml")).unwrap();
    let text = text.replace("address: 127.0.0.1:8400", "address: 127.0.0.1:0");
    let text = text.replace("directory: data", &format!("directory: {:?}", data.path()));
    let settings: Settings = settings::parse(&text, Path::new("config/router.yml"), &|_| None).unwrap();
    let any = Some(([127, 0, 0, 1], 0).into());
    let overrides = Overrides { listen: any, admin: any, ..Overrides::default() };
    let router = Router::start(Start { origin: Origin::Given(Box::new(settings)), overrides, log: None }).unwrap();
    let admin = router.addresses().admin.unwrap();
    let ready = async {
        while router.readiness().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    testkit::wait::bounded("the router is ready", ready).await;
    assert_eq!(Client::http(admin).await.send(get("/health/ready", &[])).await.status, 200);
}
