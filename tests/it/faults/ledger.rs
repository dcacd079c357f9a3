//! The documents say the same as the tests, and every test they name is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::cells::{self, By, Cell, SOURCES};
use crate::documents::{document, quoted, root, rows};

/// Entries of the list of other routers' failures that concern discovery.
const FAILURES: usize = 48;

/// The variable that has the tables written anew, with the times of this run, instead of compared.
const WRITE: &str = "POINTSMAN_WRITE_TABLES";
const MATRIX: &str = "docs/discovery.md";
const FAILED: &str = "docs/failures.md";
const HEAD: &str =
    "| Fault | State | Instances | Noticed | Right again | Questions | Held by |\n|---|---|---|---|---|---|---|\n";

/// What of a row does not depend on the run: fault, state shown, instances, and what holds it.
fn constant(row: &[String]) -> [&str; 4] {
    [&row[0], &row[1], &row[2], &row[6]].map(String::as_str)
}

/// The document says what the trials of this source saw, line by line, and why there is none of the others.
pub(crate) fn hold(source: &str, seen: &[&str]) {
    let of_fault = |fault: &str| seen.iter().find(|row| row.starts_with(&format!("| {fault} |")));
    let line = |cell: &Cell| match cell.by {
        By::Trial => {
            (*of_fault(cell.fault.name()).unwrap_or_else(|| panic!("{source}: no trial of {cell:?}"))).to_owned()
        }
        By::None(why) => format!("| {} | | | | | | {why} |", cell.fault.name()),
    };
    let lines: Vec<_> = cells::of(source).iter().map(line).collect();
    let table = format!("{HEAD}{}\n", lines.join("\n"));
    if std::env::var_os(WRITE).is_some() {
        return write(source, &table);
    }
    let (held, told) = (rows(&table, "Fault"), rows(&document(MATRIX), "Fault"));
    let told: Vec<_> = told.iter().filter(|(heading, _)| heading == source).collect();
    for ((_, held), (_, told)) in held.iter().zip(&told) {
        assert_eq!(
            constant(told),
            constant(held),
            "{source}: {MATRIX} says otherwise than the trial; {WRITE}=1 writes it"
        );
        let timed = |row: &[String]| [&row[3], &row[4]].map(|cell| !cell.is_empty());
        assert_eq!(timed(told), timed(held), "{source}, {}: {WRITE}=1 writes it", held[0]);
    }
    assert_eq!(told.len(), held.len(), "{source}");
}

/// Puts the table in the place of the one there is. Several tests do so at once.
fn write(source: &str, table: &str) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = document(MATRIX);
    let heading = format!("### {source}\n\n");
    let begin = text.find(&heading).expect("a heading for each source") + heading.len();
    let end = text[begin..].find("\n\n").map_or(text.len(), |end| begin + end + 1);
    fs::write(root().join(MATRIX), [&text[..begin], table, &text[end..]].concat()).unwrap();
}

#[test]
fn the_matrix_in_the_document_has_every_source_and_fault() {
    let told = rows(&document(MATRIX), "Fault");
    let told = told.iter().map(|(source, row)| (source.as_str(), row[0].as_str()));
    let held = SOURCES.iter().flat_map(|(source, cells)| cells.iter().map(|cell| (*source, cell.fault.name())));
    assert_eq!(told.collect::<Vec<_>>(), held.collect::<Vec<_>>());
}

#[test]
fn every_source_has_every_fault_once() {
    for (source, cells) in &SOURCES {
        let faults: BTreeSet<_> = cells.iter().map(|cell| cell.fault).collect();
        assert_eq!(faults.len(), cells.len(), "{source}");
    }
}

/// A test names the failures it holds in its documentation: `/// Traefik 2552.`, as the table calls them.
#[test]
fn every_failure_of_others_has_a_test_that_names_it() {
    let text = document(FAILED);
    let failures = rows(&text, "#");
    let numbers = failures.iter().map(|(_, row)| row[0].parse::<usize>().expect("a number"));
    assert!(numbers.eq(1..=FAILURES), "one row for each of {FAILURES}, in order");
    let named = named();
    let mut written = text.clone();
    for (_, row) in &failures {
        let tests = named.get(&row[1]).map(Vec::as_slice).unwrap_or_default();
        assert!(!tests.is_empty(), "no test names {}: write `/// {}.` above it", row[1], row[1]);
        let more = row[3].rsplit_once('`').map_or("", |(_, more)| more);
        let cell = format!("`{}`{more}", tests.join("`, `"));
        written = written.replace(&format!("| {} |\n", row[3]), &format!("| {cell} |\n"));
    }
    if std::env::var_os(WRITE).is_some() {
        return fs::write(root().join(FAILED), written).unwrap();
    }
    assert_eq!(text, written, "{FAILED} names other tests than name the failures; {WRITE}=1 writes it");
}

/// The tests that name a failure, `path::name`, by what they call it.
fn named() -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for folder in ["crates", "tests"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(root().join(folder).join(&path)).expect("a source is text");
            let mut failures = Vec::new();
            for line in text.lines().map(str::trim_start) {
                if let Some(named) = line.strip_prefix("/// ") {
                    failures.extend(named.strip_suffix('.'));
                } else if let Some((before, rest)) = line.split_once("fn ")
                    && matches!(before, "" | "async ")
                {
                    let name = rest.split(['(', '<']).next().unwrap_or_default();
                    for failure in failures.drain(..) {
                        found.entry(failure.to_owned()).or_default().push(format!("{folder}/{path}::{name}"));
                    }
                } else if !line.starts_with("#[") {
                    failures.clear();
                }
            }
        }
    }
    found.values_mut().for_each(|tests| tests.sort());
    found
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut count = 0;
    for document_name in [MATRIX, FAILED] {
        for name in quoted(&document(document_name)) {
            let Some((path, function)) = name.split_once(".rs::") else { continue };
            let path = format!("{path}.rs");
            let text =
                fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{document_name}: {path}: {e}"));
            let begins = format!("fn {function}(");
            let at = text.find(&begins).unwrap_or_else(|| panic!("{document_name}: {path} has no {function}"));
            let marked = |line: &str| line.contains("#[test]") || line.contains("#[tokio::test");
            let is_test = text[..at].lines().rev().take(4).any(marked);
            assert!(is_test, "{document_name}: {name} is no test");
            count += 1;
        }
    }
    assert!(count > FAILURES, "the documents name {count} tests only");
}

/// Where discovery speaks of the time of day, and what for. A trial of each source jumps it.
const TIME_OF_DAY: [(&str, &str); 6] = [
    ("history.rs", "for people to read"),
    ("provider/embedded/audit.rs", "for people to read"),
    ("reconciler/remember.rs", "how old a word is that was written before this process began"),
    ("memory.rs", "the same"),
    ("memory/file.rs", "the same"),
    ("memory/tests.rs", "the same"),
];

#[test]
fn discovery_speaks_of_the_time_of_day_where_it_says_why() {
    const WORDS: [&str; 5] = ["SystemTime", "UNIX_EPOCH", ".modified()", "calendar(", "chrono"];
    let source = root().join("crates/discovery/src");
    let speaks = |path: &String| {
        let text = fs::read_to_string(source.join(path)).expect("a source is text");
        WORDS.iter().any(|word| text.contains(word))
    };
    let mut found: Vec<_> = sources(&source).into_iter().filter(speaks).collect();
    let mut listed = TIME_OF_DAY.map(|(path, _)| path.to_owned());
    found.sort();
    listed.sort();
    assert_eq!(found, listed, "a jump of the clock would be felt; say in `TIME_OF_DAY` why not");
}

/// All sources below a folder, by their paths within it.
fn sources(folder: &Path) -> Vec<String> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder of sources") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned());
            }
        }
    }
    found
}
