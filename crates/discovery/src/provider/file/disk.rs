//! The files themselves. Reading blocks, and may hang, so it is done elsewhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use model::ProviderError;
use settings::Aside;

use crate::provider::{
    aside,
    fixed::{self, Lists},
};

/// What each file says, or what is wrong with it.
pub(super) type Read = Vec<(PathBuf, Result<Lists, String>)>;

/// The files at a path, by name: itself, or those of a directory that are lists. A path that is not there is an error,
/// for what it held is unknown then; a link that leads nowhere is listed, and reading it will say so.
pub(super) async fn list(path: &Path, aside: &Aside) -> Result<Vec<PathBuf>, ProviderError> {
    let own = path.to_owned();
    let listed = aside::read(aside, path.display(), move || entries(&own)).await?;
    listed.map_err(|error| ProviderError::Failed(format!("{}: {error}", path.display())))
}

/// Reads these files of the path, one by one.
pub(super) async fn read(path: &Path, files: Vec<PathBuf>, aside: &Aside) -> Result<Read, ProviderError> {
    let one = |file: PathBuf| {
        let read = settings::load::<fixed::Settings>(&file);
        (file, read.map(|lists| lists.lists().clone()).map_err(|mistakes| mistakes.to_string().replace('\n', "; ")))
    };
    aside::read(aside, path.display(), move || files.into_iter().map(one).collect()).await
}

fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if is_list(&file) && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Editors and mounts keep files of their own beside; theirs begin with a dot or end otherwise.
fn is_list(file: &Path) -> bool {
    let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = file.extension().and_then(|ending| ending.to_str());
    !hidden && matches!(ending, Some("yml" | "yaml" | "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_from_what_lies_beside_them() {
        for (name, wanted) in [
            ("a.yml", true),
            ("a.b.yaml", true),
            ("a.json", true),
            (".a.yml.swp", false),
            (".a.yml", false),
            ("a.yml~", false),
            ("a.yml.tmp", false),
            ("..data", false),
            ("README", false),
        ] {
            assert_eq!(is_list(&Path::new("d").join(name)), wanted, "{name}");
        }
    }
}
