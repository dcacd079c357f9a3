//! Rules of the house that neither compiler nor clippy check. A failure says the rule, its reason and the remedy.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Who may depend on whom: each arrow points to a lower layer, so that a crate is understood without those above it.
/// Layers: 0 words (`model`), files (`settings`) and a protocol (`http2`); 1 deciding (`balancer`) and telling (`telemetry`); 2 talking
/// (`transport`); 3 knowing (`discovery`); 4 the operator's side (`admin`, which shows what 1 to 3 know of an instance);
/// 5 the composition root (`router`). `testkit` stands outside: every crate may use it for its tests, it uses none.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("settings", &[]),
    ("http2", &[]),
    ("balancer", &["model", "settings"]),
    ("telemetry", &["model", "settings"]),
    ("transport", &["model", "settings", "http2", "balancer", "telemetry"]),
    ("discovery", &["model", "settings", "balancer", "telemetry", "transport"]),
    ("admin", &["model", "settings", "balancer", "telemetry", "transport", "discovery"]),
    ("router", &["model", "settings", "http2", "balancer", "telemetry", "transport", "discovery", "admin"]),
    ("testkit", &[]),
];

/// What fits a reader's head at once. `too_many_lines` holds functions to 70.
const LINES_OF_A_FILE: usize = 400;

/// The counting allocator of the cost budget cannot be written without it.
const MAY_BE_UNSAFE: &str = "tests/budget/alloc.rs";

#[test]
fn crates_depend_downwards() {
    let mut offences = Vec::new();
    let packages = packages();
    let names: Vec<&str> = packages.iter().map(|package| text(&package["name"])).collect();
    for package in packages.iter().filter(|package| text(&package["manifest_path"]).contains("/crates/")) {
        let name = text(&package["name"]);
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            offences.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (to, for_tests) = (text(&dependency["name"]), dependency["kind"] == "dev");
            if names.contains(&to) && !allowed.contains(&to) && !(for_tests && to == "testkit") {
                offences.push(format!("{name} -> {to}"));
            }
        }
    }
    report(
        "crates depend on lower layers only, as ARROWS in tests/it/tidy.rs says",
        "a crate can be read, tested and changed without those above it",
        "move the shared word down to `model`, pass it as an argument, or give a new crate its row with a reason",
        offences,
    );
}

#[test]
fn every_crate_takes_the_lints_and_says_what_it_is() {
    let mut offences = Vec::new();
    for package in packages() {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        if !read(&manifest).contains("[lints]\nworkspace = true") {
            offences.push(format!("{}: no `[lints] workspace = true`", manifest.display()));
        }
        let root = manifest.with_file_name("src").join("lib.rs");
        if root.exists() && !read(&root).starts_with("//! ") {
            offences.push(format!("{}: no `//!` header", root.display()));
        }
    }
    report(
        "every crate takes the workspace's lints, and its lib.rs begins with a `//!` header",
        "lints hold only where they are taken, and the header is the crate's map",
        "add what is missing",
        offences,
    );
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > LINES_OF_A_FILE).then(|| format!("{path}: {lines} lines"))
    });
    report(
        &format!("a Rust file has at most {LINES_OF_A_FILE} lines, tests included"),
        "one file holds one idea, and is read at a sitting",
        "split it by ideas into a folder of its name; move its tests to `tests.rs` in that folder",
        long,
    );
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts, so that this file does not offend.
    let marks = ["TO|DO", "FIX|ME", "to|do!(", "unimple|mented!(", "#[ig|nore"].map(|mark| mark.replace('|', ""));
    report(
        "no marks of unfinished work, no ignored test",
        "what is built is built as it shall stay; a test nobody runs proves nothing",
        "do it now, or leave it out and write an issue",
        lines_with(&files(), |line| marks.iter().any(|mark| line.contains(mark.as_str()))),
    );
}

#[test]
fn unsafe_stays_in_its_room() {
    let words = [" {", " fn ", " impl ", " extern ", "_code"].map(|next| format!("un{}{next}", "safe"));
    let elsewhere: Vec<_> = sources().into_iter().filter(|(path, _)| path != MAY_BE_UNSAFE).collect();
    report(
        "unsafe code only in tests/budget/alloc.rs",
        "memory safety is a promise of the whole program",
        "use a safe crate that is tested for it",
        lines_with(&elsewhere, |line| words.iter().any(|word| line.contains(word.as_str()))),
    );
}

#[test]
fn types_have_names_of_their_own() {
    const EMPTY_WORDS: [&str; 8] = ["Manager", "Handler", "Helper", "Util", "Common", "Impl", "Base", "Data"];
    let names_nothing = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let defined = words.windows(2).find(|pair| ["struct", "enum", "trait"].contains(&pair[0])).map(|pair| pair[1]);
        let name = defined.and_then(|rest| rest.split(|letter: char| !letter.is_alphanumeric()).next()).unwrap_or("");
        !line.starts_with("//") && EMPTY_WORDS.iter().any(|word| begins_or_ends(name, word))
    };
    report(
        "no type is a Manager, Handler, Helper, Util, Common, Impl, Base or Data",
        "such words fit everything and so say nothing",
        "name it by what it is in the field: pool, lease, table, reply",
        lines_with(&sources(), names_nothing),
    );
}

#[test]
fn time_is_tokios() {
    let named = format!("std::time::{}", "Instant");
    let imports_it = |text: &str| {
        let mut imports = text.split(';').filter_map(|part| part.rfind("use std::").map(|at| &part[at..]));
        imports.any(|import| import.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Instant"))
    };
    let offends = |text: &str| text.contains(&named) || imports_it(text);
    let offences = sources().into_iter().filter(|(_, text)| offends(text)).map(|(path, _)| path);
    report(
        "no Instant of the standard library",
        "paused time in tests reaches tokio's clock only",
        "use tokio::time::Instant, or take model::Tick as an argument where nothing waits",
        offences,
    );
}

#[test]
fn nothing_names_this_machine_or_a_package_registry() {
    const REGISTRIES: [&str; 6] =
        ["crates.|io", "pypi.|org", "registry.npmjs|.org", "proxy.golang|.org", "deb.debian|.org", "rubygems|.org"];
    let registries = REGISTRIES.map(|host| host.replace('|', ""));
    let homes = ["ho|me", "ro|ot", "wo|rk", "Use|rs"].map(|name| format!("/{}/", name.replace('|', "")));
    // A path begins where no path goes on: `$HOME/work/` and `/v1/root/` are none of these.
    let absolute = |line: &str| {
        homes.iter().any(|home| {
            line.match_indices(home.as_str())
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "}_-./".contains(c)))
        })
    };
    // cargo-deny is told by URL which registry is the only one.
    let told: Vec<_> = files().into_iter().filter(|(path, _)| path != ".cargo/deny.toml").collect();
    report(
        "no absolute path of somebody's machine, no address of a package registry",
        "the tree has to work from any folder, and packages by name come through each machine's own mirrors",
        "use relative paths, temporary folders, and the package's name",
        lines_with(&told, |line| absolute(line) || registries.iter().any(|host| line.contains(&format!("//{host}")))),
    );
}

/// Whether a name in camel case has this word at its beginning or end; `Database` does not begin with `Data`.
fn begins_or_ends(name: &str, word: &str) -> bool {
    let follows = |rest: &str| rest.chars().next().is_none_or(|letter| !letter.is_lowercase());
    name.ends_with(word) || name.strip_prefix(word).is_some_and(follows)
}

#[test]
fn words_are_found_at_both_ends_of_a_name() {
    for (name, found) in [("DataFrame", true), ("RowData", true), ("Data", true), ("Database", false), ("Reply", false)]
    {
        assert_eq!(begins_or_ends(name, "Data"), found, "{name}");
    }
}

// --- what the rules look at

fn report(rule: &str, reason: &str, remedy: &str, offences: impl IntoIterator<Item = String>) {
    let offences: Vec<String> = offences.into_iter().collect();
    let list = offences.join("\n  ");
    assert!(offences.is_empty(), "\nrule:   {rule}\nreason: {reason}\nremedy: {remedy}\n  {list}\n");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}

fn packages() -> Vec<Value> {
    let asked = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(asked).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files, by path from the root.
fn sources() -> Vec<(String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// All text files of the tree, by path from the root: what .gitignore leaves out, and the lock file, apart.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            let ours = !(name == ".git" || name == "data" || name == "Cargo.lock" || name.starts_with("target"));
            if ours && path.is_dir() {
                folders.push(path);
            } else if ours && let Ok(text) = fs::read_to_string(&path) {
                found.push((name, text));
            }
        }
    }
    assert!(found.len() > 20, "the tree is not where it is looked for: {}", root().display());
    found.sort();
    found
}

fn lines_with(files: &[(String, String)], offends: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = |(path, text): &(String, String)| -> Vec<String> {
        let numbered = text.lines().map(str::trim).enumerate().filter(|(_, line)| offends(line));
        numbered.map(|(number, line)| format!("{path}:{}: {line}", number + 1)).collect()
    };
    files.iter().flat_map(lines).collect()
}
