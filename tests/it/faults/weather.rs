//! The time of day and the disk as a test wants them: for a program of its own, which `weather.c` is loaded into.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// Where a program finds its weather.
const PATH: &str = "POINTSMAN_WEATHER";

// The layout of the file, which is that of `weather.c`.
const CLOCK: u64 = 0;
const DISK: u64 = 8;
const CONNECTS: u64 = 16;
const LENGTH: u64 = CONNECTS + 4 * 65536;

/// What the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Well = 0,
    Full = 1,
    Hangs = 2,
}

/// What a program under it is told.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    path: PathBuf,
    file: Arc<File>,
}

impl Weather {
    /// A fair one, in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("weather");
        File::create(&path).unwrap().set_len(LENGTH).unwrap();
        Self::open(path)
    }

    /// That of this very program, if it runs under one.
    pub(crate) fn here() -> Option<Self> {
        std::env::var_os(PATH).map(|path| Self::open(path.into()))
    }

    fn open(path: PathBuf) -> Self {
        let file = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
        Self { path, file }
    }

    /// Has this program run under it.
    pub(crate) fn over(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &LIBRARY.1).env(PATH, &self.path);
    }

    /// Moves the time of day ahead, or back, by this from what it is in truth.
    pub(crate) fn clock(&self, ahead: i64) {
        self.file.write_all_at(&ahead.to_ne_bytes(), CLOCK).unwrap();
    }

    pub(crate) fn disk(&self, disk: Disk) {
        self.file.write_all_at(&(disk as i64).to_ne_bytes(), DISK).unwrap();
    }

    /// How often it was tried to connect to this port.
    pub(crate) fn connects(&self, port: u16) -> u64 {
        let mut count = [0; 4];
        self.file.read_exact_at(&mut count, CONNECTS + 4 * u64::from(port)).unwrap();
        u32::from_ne_bytes(count).into()
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The library, in a folder that goes when the tests end. Whoever builds Pointsman has a C compiler: its cryptography
/// needs one.
static LIBRARY: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("weather.c"), folder.path().join("weather.so"));
    std::fs::write(&source, include_str!("weather.c")).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
    assert!(built.expect("a C compiler").success());
    (folder, library)
});
