//! The Dockerfile names what is there: without an engine and its images, that can be checked all the same.

use std::{fs, net::SocketAddr};

use serde_json::Value;

use super::{blocks, document, root};
use crate::operate::process::finish;

/// The arguments of each instruction of this name, with continued lines joined.
fn instructions(name: &str) -> Vec<String> {
    let text = document("Dockerfile").replace("\\\n", "");
    text.lines().filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.trim().to_owned())).collect()
}

/// `["pointsman", "ready"]`, wherever it stands.
fn words(instruction: &str) -> Vec<String> {
    serde_json::from_str(&instruction[instruction.find('[').expect("the form without a shell")..]).expect("JSON")
}

/// Whether the program takes these words: help is not given to unknown ones.
fn takes(words: &[String]) -> bool {
    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments.push("--help");
    finish(&arguments).status.success()
}

#[test]
fn it_builds_what_this_workspace_has() {
    let manifest = document("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let from = instructions("FROM");
    assert!(from[0].starts_with(&format!("rust:{version}-bookworm AS build")), "{from:?}");
    assert_eq!(from[1], "debian:bookworm-slim", "the C library it was linked with");
    let build = &instructions("RUN")[0];
    let package = build.split_once("--package ").unwrap().1.split(' ').next().unwrap();
    let crate_of = document(&format!("crates/{package}/Cargo.toml"));
    assert!(crate_of.contains("name = \"pointsman\"") && build.contains("/pointsman\""), "{build}");
    let profile = instructions("ARG")[0].strip_prefix("PROFILE=").unwrap().to_owned();
    assert!(manifest.contains(&format!("[profile.{profile}]")), "{profile}");
}

#[test]
fn it_starts_and_checks_the_router_with_words_it_takes() {
    let [start, health] = ["CMD", "HEALTHCHECK"].map(|name| words(&instructions(name)[0]));
    assert!(start.contains(&"--config".to_owned()) && takes(&start), "{start:?}");
    assert!(health[0] == "pointsman" && takes(&health[1..]), "{health:?}");
    assert!(!takes(&["raedy".to_owned()]), "this can fail");
    assert_eq!(words(&instructions("ENTRYPOINT")[0]), ["pointsman"]);
    let default: SocketAddr = *router::settings::Listener::default().address;
    assert_eq!(instructions("EXPOSE"), [default.port().to_string()]);
    let user = instructions("USER");
    assert!(instructions("RUN")[1].contains(&format!("--uid {} ", user[0])) && user[0] != "0", "{user:?}");
    // A folder that it may write to, since its memory is relative to where it runs.
    assert!(instructions("RUN")[1].contains(&format!("--home-dir {} --create-home", instructions("WORKDIR")[1])));
}

#[test]
fn what_is_kept_out_of_the_build_it_does_not_need() {
    let ignored = document(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    for kept_out in [".git", "target", "data", "**/*.pem"] {
        assert!(ignored.contains(&kept_out), "{kept_out}");
    }
    let own = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = own.filter(|name| !ignored.contains(&name.as_str())).collect();
    for needed in ["Cargo.toml", "Cargo.lock", "crates", "tests", "benches"] {
        assert!(left.contains(&needed.to_owned()), "{needed}");
    }
}

#[test]
fn the_file_that_is_mounted_reaches_clients_outside() {
    let text = document("docs/operations.md");
    let section = text.split_once("**As a container,**").expect("a paragraph").1;
    let yaml = blocks("docs/operations.md", section).into_iter().find(|block| block.kind == "yaml").unwrap();
    let settings: router::settings::Settings =
        settings::parse(&yaml.text, "router.yml".as_ref(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let listener = &settings.listeners[0];
    assert!(listener.address.ip().is_unspecified() && listener.tls.is_some(), "{settings:?}");
    assert_eq!(Value::from(listener.address.port()), Value::from(8443));
    assert_eq!(settings.admin.address.port(), 8401, "where `pointsman ready` asks");
}
