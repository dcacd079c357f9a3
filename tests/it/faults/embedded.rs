//! Our own registry, whose disk can be made to fail, and its file damaged before the router begins anew.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use discovery::provider::embedded::{By, Registration, Registry, Settings};
use model::{InstanceId, ServiceId};
use serde_json::json;
use tokio::sync::watch;

use super::{
    cells::Fault,
    rig::{Calls, Inner, Subject, World, world},
    table::table,
    weather::{Disk, Weather},
};

/// Registers what the world says, each time that it is another. One that begins anew has to know by itself.
async fn register(mut world: watch::Receiver<World>, mut registry: watch::Receiver<Option<Registry>>) {
    drop(registry.wait_for(Option::is_some).await);
    let mut before = 0;
    loop {
        let now = world.borrow_and_update().clone();
        let there = registry.borrow().clone();
        if let Some(there) = there.filter(|_| !now.fault.is_some_and(begins_anew)) {
            disk(now.fault);
            change(&there, before, &now);
        }
        before = now.instances;
        if world.changed().await.is_err() {
            return;
        }
    }
}

/// Whether this befalls it when the router ends and begins.
fn begins_anew(fault: Fault) -> bool {
    matches!(fault, Fault::Truncated | Fault::Garbage | Fault::Reset | Fault::RestartEmpty)
}

/// A change is routed at once: nobody here waits for the disk.
fn change(registry: &Registry, before: u8, now: &World) {
    let by = By::registry();
    for n in 1..=now.instances {
        // Each time another record, so that the disk is needed.
        let record = json!({ "name": "pets", "id": format!("pets-{n}"), "ip": format!("10.0.0.{n}"), "port": 80,
            "ttl": "10m", "metadata": { "world": format!("{}-{:?}", now.index, now.fault) } });
        let (registry, by) = (registry.clone(), by.clone());
        let record: Registration = serde_json::from_value(record).unwrap();
        tokio::spawn(async move { registry.register(&by, record).await });
    }
    for n in now.instances + 1..=before {
        let (registry, by) = (registry.clone(), by.clone());
        let (name, id) = (ServiceId::new("pets").unwrap(), InstanceId::new(&format!("pets-{n}")).unwrap());
        tokio::spawn(async move { registry.deregister(&by, name, id).await });
    }
}

/// What the disk of this whole program does.
fn disk(fault: Option<Fault>) {
    let disk = match fault {
        Some(Fault::Hangs) => Disk::Hangs,
        Some(Fault::ServerError) => Disk::Full,
        _ => Disk::Well,
    };
    Weather::here().expect("the weather of the trial").disk(disk);
}

/// What a crash or a bad disk leaves of the file.
fn damage(directory: &Path, fault: Fault) {
    let file = directory.join("registry.journal");
    let append = |text: &str| OpenOptions::new().append(true).open(&file).unwrap().write_all(text.as_bytes()).unwrap();
    match fault {
        Fault::Truncated => append("0123456789abcdef {\"index\":"),
        Fault::Garbage => append("\u{0}{ [ what is this\n"),
        Fault::RestartEmpty => fs::remove_file(&file).unwrap(),
        _ => {}
    }
}

async fn subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let directory: PathBuf = folder.path().join("data");
    let (world, registry) = (world(), watch::Sender::new(None));
    let tasks = vec![tokio::spawn(register(world.subscribe(), registry.subscribe()))];
    let settings = Settings { directory: Some(directory.clone()), ..Settings::default() };
    let inner = Inner { registry, begins_anew, damage: Box::new(move |fault| damage(&directory, fault)) };
    let settings = discovery::Settings::Embedded(settings);
    Subject {
        settings,
        world,
        calls: Calls::default(),
        port: None,
        tasks,
        inner: Some(inner),
        _keep: vec![Box::new(folder)],
    }
}

#[tokio::test]
async fn faults_of_the_embedded_registry() {
    table("embedded", "faults_of_the_embedded_registry", subject).await;
}
