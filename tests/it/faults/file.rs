//! A directory that can be made to fail.

use std::{fmt::Write as _, fs, path::PathBuf};

use discovery::provider::file::Settings;
use tokio::sync::watch;

use super::{
    cells::Fault,
    rig::{Calls, Subject, World, world},
    table::table,
};
use crate::operate::stalled;

/// Writes what the world says, each time it changes, as configuration management does.
async fn write(directory: PathBuf, mut world: watch::Receiver<World>) {
    while world.changed().await.is_ok() {
        put(&directory, &world.borrow_and_update());
    }
}

fn put(directory: &PathBuf, now: &World) {
    let mut text = "services:\n  pets:\n".to_owned();
    for n in 1..=now.instances {
        writeln!(text, "    - http://10.0.0.{n}:80").unwrap();
    }
    let file = directory.join("pets.yml");
    match now.fault {
        Some(Fault::Hangs) => return stalled::hang(&file),
        Some(Fault::Refuses) => return fs::remove_dir_all(directory).unwrap(),
        Some(Fault::RestartEmpty) => return fs::remove_file(file).unwrap(),
        Some(Fault::Truncated) => text.truncate(text.len() - 20),
        Some(Fault::Garbage) => text = "\u{0}{ [ what is this".to_owned(),
        Some(Fault::Empty) => text = "services: {}\n".to_owned(),
        _ => {}
    }
    fs::create_dir_all(directory).unwrap();
    if file.exists() && !file.is_file() {
        return stalled::heal(&file, &text);
    }
    fs::write(directory.join("pets.new"), text).unwrap();
    fs::rename(directory.join("pets.new"), file).unwrap();
}

async fn subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("services.d");
    let world = world();
    put(&path, &world.borrow());
    let tasks = vec![tokio::spawn(write(path.clone(), world.subscribe()))];
    let settings = discovery::Settings::File(Settings { path });
    Subject { settings, world, calls: Calls::default(), port: None, tasks, inner: None, _keep: vec![Box::new(folder)] }
}

#[tokio::test]
async fn faults_of_files() {
    table("file", "faults_of_files", subject).await;
}
