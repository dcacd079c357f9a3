//! "How the house is built" in the README: its crates, their arrows and the files it names are there.

use super::{document, quoted, root, rows};

/// The crates of the workspace that a crate's manifest names as dependencies, in the order of the README.
fn used(name: &str, crates: &[String]) -> Vec<String> {
    let manifest = document(&format!("crates/{name}/Cargo.toml"));
    let dependencies = manifest.split("\n[").find(|section| section.starts_with("dependencies]")).unwrap_or_default();
    let uses = |other: &&String| dependencies.lines().any(|line| line.starts_with(&format!("{other}.workspace")));
    crates.iter().filter(uses).cloned().collect()
}

#[test]
fn every_crate_has_its_row_with_what_it_uses() {
    let rows = rows(&document("README.md"), "Crate");
    let name = |cells: &[String]| cells[0].trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
    let crates: Vec<String> = rows.iter().map(|(_, cells)| name(cells)).collect();
    let folders = std::fs::read_dir(root().join("crates")).expect("crates/");
    let mut there: Vec<String> = folders.map(|f| f.expect("a folder").file_name().to_string_lossy().into()).collect();
    let mut told = crates.clone();
    told.sort();
    there.sort();
    assert_eq!(told, there);

    for (at, (_, cells)) in rows.iter().enumerate() {
        let told: Vec<String> = match &*cells[2] {
            "all above" => crates[..at].to_vec(),
            "" | "none" => Vec::new(),
            list => list.split(", ").map(str::to_owned).collect(),
        };
        assert_eq!(told, used(&crates[at], &crates), "{}", crates[at]);
        assert!(told.iter().all(|other| crates[..at].contains(other)), "{} uses those above it only", crates[at]);
    }
}

#[test]
fn every_file_it_names_is_there() {
    const ROOMS: [&str; 5] =
        ["crates", "crates/router/src", "crates/discovery/src", "crates/balancer/src", "crates/transport/src"];
    let readme = document("README.md");
    let (_, house) = readme.split_once("## How the house is built").expect("the section");
    let files: Vec<String> = quoted(house).into_iter().filter(|word| word.ends_with(".rs")).collect();
    let missing: Vec<_> =
        files.iter().filter(|file| !ROOMS.iter().any(|room| root().join(room).join(file).is_file())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(files.len() > 25, "only {} files named", files.len());
}
