//! The documents say the same as the tests, and every test they name is there.

use std::{collections::BTreeSet, fs, path::Path};

use super::cells::{By, Cell, SOURCES};
use crate::documents::{document, quoted, root, rows};

/// Entries of the list of other routers' failures that concern discovery.
const FAILURES: usize = 48;

/// What of a row does not depend on the run: fault, state shown, instances, and what holds it.
fn row(source: &str, cell: &Cell) -> [String; 5] {
    let by = match cell.by {
        By::Trial => "trial".to_owned(),
        By::Test(name) => format!("`{name}`"),
        By::None(why) => why.to_owned(),
    };
    [source, cell.fault.name(), cell.shown, cell.served, &by].map(str::to_owned)
}

#[test]
fn the_matrix_in_the_document_is_that_of_the_tests() {
    let held = |(source, cells): &(&'static str, [Cell; 12])| cells.map(|cell| row(source, &cell));
    let held: Vec<_> = SOURCES.iter().flat_map(held).collect();
    let told = rows(&document("docs/discovery.md"), "Fault");
    let told = told.iter().map(|(source, row)| [source, &row[0], &row[1], &row[2], &row[6]].map(Clone::clone));
    for (told, held) in told.clone().zip(&held) {
        assert_eq!(&told, held, "docs/discovery.md and tests/it/faults/cells.rs differ");
    }
    assert_eq!(told.count(), held.len());
}

#[test]
fn every_source_has_every_fault_once() {
    for (source, cells) in &SOURCES {
        let faults: BTreeSet<_> = cells.iter().map(|cell| cell.fault).collect();
        assert_eq!(faults.len(), cells.len(), "{source}");
    }
}

#[test]
fn every_failure_of_others_has_a_test_or_is_said_to_be_open() {
    let failures = rows(&document("docs/failures.md"), "#");
    let numbers = failures.iter().map(|(_, row)| row[0].parse::<usize>().expect("a number"));
    assert!(numbers.eq(1..=FAILURES), "one row for each of {FAILURES}, in order");
    for (_, row) in &failures {
        let tests = quoted(&row[3]).iter().filter(|name| name.contains("::")).count();
        assert!(tests > 0 || row[3].starts_with("Not yet"), "{row:?}");
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut count = 0;
    for document_name in ["docs/discovery.md", "docs/failures.md"] {
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

#[test]
fn no_source_reads_the_clock_of_the_day() {
    // The trail of changes is for people to read: it decides nothing.
    const TOLD_ONLY: &str = "audit.rs";
    let mut folders = vec![root().join("crates/discovery/src/provider")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source is text");
            let excepted = path.file_name() == Path::new(TOLD_ONLY).file_name();
            assert!(excepted || !text.contains("SystemTime"), "{}: a jump of the clock would be felt", path.display());
            read += 1;
        }
    }
    assert!(read > 50, "the sources are not where they are looked for");
}
