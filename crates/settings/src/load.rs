//! The two entrances: a file, or a text.

use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Mistakes, Place, SettingsError};
use crate::{sift, tree};

/// A thousand services with ten instances each take a tenth of this; a larger file is the wrong file.
const MAX_BYTES: usize = 1024 * 1024;

/// Reads the file at `path`, substitutes from the environment of the process, and deserializes.
///
/// # Errors
/// If the file cannot be read, is no YAML, or is not what `T` wants: all of it, with place and remedy.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Mistakes> {
    let text = read(path)?;
    if text.trim_ascii().is_empty() {
        return Err(blank(path).into());
    }
    parse(&text, path, &|name| std::env::var(name).ok())
}

/// Deserializes `text`, which came from `file`; `env` gives the values of `${NAME}`. Pure.
///
/// # Errors
/// If the text is no YAML, or is not what `T` wants: all of it, with place and remedy.
pub fn parse<T: DeserializeOwned>(
    text: &str,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<T, Mistakes> {
    if text.len() > MAX_BYTES {
        return Err(too_large(file).into());
    }
    let root = tree::build(text, file, env)?;
    sift::read(root, file)
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a device or a log file given by mistake is not read to its end.
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large(path));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let place = Place { file: path.to_owned(), line, column, path: String::new() };
        SettingsError::new(place, "not UTF-8 text").remedy("save the file in the encoding UTF-8")
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> SettingsError {
    let remedy = match error.kind() {
        ErrorKind::NotFound if path.is_absolute() => "check the path, or create the file".to_owned(),
        ErrorKind::NotFound => match std::env::current_dir() {
            Ok(directory) => format!("check the path, which is relative to {}", directory.display()),
            Err(_) => "check the path, or create the file".to_owned(),
        },
        ErrorKind::PermissionDenied => "let the user who runs this program read the file".to_owned(),
        ErrorKind::IsADirectory => "name a file in that directory".to_owned(),
        _ => "check the path and the file system".to_owned(),
    };
    SettingsError::new(Place::file(path), format!("cannot read the file: {error}")).remedy(remedy)
}

/// Not a file that says nothing, which a comment does, but one whose content is lost: cut by a full disk, or not written yet.
fn blank(file: &Path) -> SettingsError {
    SettingsError::new(Place::file(file), "the file is empty")
        .remedy("write its content again; a file that is to say nothing has a comment in it, which begins with #")
}

fn too_large(file: &Path) -> SettingsError {
    SettingsError::new(Place::file(file), "the file is larger than 1 MiB")
        .remedy("check that it is the right file; move long lists of instances to a registry")
}
