//! What a file holds, in a form that can be compared.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Bytes hashed of one file: settings are at most 1 MiB, bundles of CAs a few hundred KiB. A log file given by mistake
/// must not be read through every two seconds; its size is compared in any case.
const MAX_HASHED: u64 = 16 * 1024 * 1024;

/// A file's content by size and hash, so that keys are not kept in memory; a directory's by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Bytes {
        size: u64,
        hash: u64,
    },
    /// The names in a directory, but for those that begin with a dot: editors and mounts keep files of their own there.
    Names(Arc<BTreeSet<OsString>>),
    /// Missing, unreadable, or no regular file (opening a pipe would block).
    None,
}

impl Content {
    /// Reads the file, following symlinks.
    pub(super) fn of(path: &Path) -> Self {
        read(path).unwrap_or(Self::None)
    }
}

fn read(path: &Path) -> std::io::Result<Content> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return names(path);
    }
    if !kind.is_file() {
        return Ok(Content::None);
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut file = file.take(MAX_HASHED);
    let mut hasher = DefaultHasher::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Content::Bytes { size, hash: hasher.finish() }),
            count => hasher.write(&buffer[..count]),
        }
    }
}

fn names(directory: &Path) -> std::io::Result<Content> {
    let names = std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name()));
    let ours =
        |name: &std::io::Result<OsString>| !matches!(name, Ok(name) if name.as_encoded_bytes().starts_with(b"."));
    Ok(Content::Names(Arc::new(names.filter(ours).collect::<std::io::Result<_>>()?)))
}
