//! The documents say what is true: their files read, their tables are complete, their links lead somewhere, and the
//! commands of the tour work when pasted.

mod house;
mod image;
mod keys;
mod links;
mod minute;
mod operations;
mod tour;
mod yaml;

use std::{fs, path::Path};

/// A fenced block of a document.
#[derive(Debug)]
struct Block {
    /// What stands behind the opening fence: `yaml`, `sh`, `text`.
    kind: String,
    text: String,
    /// Document and line of the fence, for messages.
    place: String,
}

/// All documents, by path from the root.
fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/registries", "certs"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of documents") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("a document is text")));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn blocks(name: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                let place = format!("{name}:{}", number + 1);
                open = Some(Block { kind: kind.to_owned(), text: String::new(), place });
            }
            (Some(_), Some("")) => found.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{name}: a block does not end");
    found
}

/// The rows of all tables whose first column is headed `first`, each with the heading above it. Cells are trimmed.
pub(crate) fn rows(text: &str, first: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let (mut heading, mut wanted, mut fenced) = (String::new(), false, false);
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
        if !line.starts_with('|') {
            wanted = false;
            continue;
        }
        let escaped = line.trim_matches('|').replace("\\|", "\0");
        let cells: Vec<String> = escaped.split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
        if cells[0] == first {
            wanted = true;
        } else if wanted && !cells[0].starts_with("---") {
            found.push((heading.clone(), cells));
        }
    }
    found
}

/// What stands in backquotes in a cell.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}
