//! All that cannot be read: serde ends at the first, so that is taken out of the tree, and the rest is read again.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::de::Walker;
use crate::node::{Node, Value, push_index, push_key};
use crate::{Mistakes, SettingsError};

/// So many mistakes are looked for. Each costs one reading; a file with more is the wrong file.
const MOST: usize = 100;

/// Deserializes the tree.
///
/// # Errors
/// All that cannot be read. What is missing only because something in it was wrong is no mistake of its own.
pub(crate) fn read<T: DeserializeOwned>(mut root: Node, file: &Path) -> Result<T, Mistakes> {
    let (mut mistakes, mut gone) = (Mistakes::default(), Vec::<String>::new());
    loop {
        let wrong: SettingsError = match T::deserialize(Walker::root(&root, file)) {
            Ok(value) => return mistakes.unless(value),
            Err(wrong) => wrong,
        };
        let path = wrong.place().path.clone();
        if !gone.iter().any(|gone| is_within(gone, &path)) {
            mistakes.note(wrong);
        }
        if mistakes.len() >= MOST || !root.take_out("", &path) {
            return Err(mistakes.sorted());
        }
        gone.push(path);
    }
}

impl Node {
    /// Takes out the value at the path `wanted`, and its key; `here` is the path of this node. Whether it was there.
    fn take_out(&mut self, here: &str, wanted: &str) -> bool {
        let paths: Vec<String> = match &self.value {
            Value::Scalar(_) => Vec::new(),
            Value::List(items) => items.iter().map(|item| below(here, |path| push_index(path, item.index))).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| below(here, |path| push_key(path, entry.key.name()))).collect()
            }
        };
        let Some((at, path)) = paths.iter().enumerate().find(|(_, path)| is_within(wanted, path)) else { return false };
        match &mut self.value {
            Value::Scalar(_) => return false,
            Value::List(items) if path == wanted => drop(items.remove(at)),
            Value::Map(entries) if path == wanted => drop(entries.remove(at)),
            Value::List(items) => return items[at].node.take_out(path, wanted),
            Value::Map(entries) => return entries[at].value.take_out(path, wanted),
        }
        true
    }
}

fn below(path: &str, push: impl FnOnce(&mut String)) -> String {
    let mut path = path.to_owned();
    push(&mut path);
    path
}

/// Whether `path` is `of` or leads through it.
fn is_within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| of.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}
