use std::{
    fs,
    time::{Duration, UNIX_EPOCH},
};

use model::{Protocol, Standing, Tag};
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::testing::{instance, service};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn word(numbers: &[u8], confirmed: Option<SystemTime>) -> Word {
    let instances = numbers.iter().map(|n| Arc::new(instance(&n.to_string(), *n))).collect();
    Word { instances, confirmed }
}

fn source(name: &str, words: &[(&str, Word)]) -> Recalled {
    let services = words.iter().map(|(name, word)| (service(name), word.clone())).collect();
    Recalled { name: name.into(), kind: "consul".to_owned(), services }
}

fn kept(name: &str, down: Option<SystemTime>) -> Kept {
    Kept { name: name.into(), kind: Kind::Consul, down }
}

/// Waits until the file says this.
fn remembers(directory: &Path, expected: &[Recalled]) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let mut found = Memory::open(directory).recall();
        // When it was written depends on the machine.
        let recent =
            |word: &mut Word| word.confirmed = word.confirmed.filter(|at| at.elapsed().unwrap().as_secs() > 3600);
        found.iter_mut().flat_map(|source| source.services.values_mut()).for_each(recent);
        if found == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{found:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_written_is_read_again_with_every_attribute() {
    let mut full = instance("full", 1);
    full.endpoint.protocol = Some(Protocol::H2c);
    full.endpoint.address.host = model::Host::parse("pets.internal");
    full.weight = 7;
    full.zone = Some("a".into());
    full.standing = Standing::Draining;
    full.environments = vec![Tag::new("test").unwrap()].into();
    full.environment_only = true;
    full.tags = vec![Tag::new("public").unwrap()].into();
    full.labels = vec![("version".into(), "2".into())].into();
    let said = Word { instances: vec![Arc::new(full)], confirmed: Some(at(77)) };
    let all = [source("dc1", &[("pets", said), ("orders", word(&[2], None))]), source("dc2", &[])];
    let read = file::decode(&file::encode(&all).unwrap(), at(99)).unwrap();
    let mut expected = all;
    expected[0].services.get_mut("orders").unwrap().confirmed = Some(at(99));
    assert_eq!(read, expected);
}

proptest! {
    /// Whatever is changed, cut off or added: the file is refused as a whole, and nothing panics.
    /// Envoy 16987, 21644.
    #[test]
    fn a_damaged_file_is_never_believed(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
        let mut bytes = file::encode(&[source("dc1", &[("pets", word(&[1, 2], None))])]).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        // A changed letter case in the checksum is the same number.
        prop_assume!(bytes.to_ascii_lowercase() != file::encode(&[source("dc1", &[("pets", word(&[1, 2], None))])]).unwrap());
        prop_assert!(file::decode(&bytes, UNIX_EPOCH).is_err());
    }
}

#[test]
fn a_foreign_file_is_passed_over_and_replaced() {
    let directory = tempdir().unwrap();
    for content in ["", "{}", "not ours\n", "pointsman-last-known-good 2 0000000000000000\n{}"] {
        fs::write(directory.path().join(FILE), content).unwrap();
        let mut memory = Memory::open(directory.path());
        assert_eq!(memory.recall(), [], "{content:?}");
        memory.arrange(vec![kept("dc1", None)]);
        memory.note(&"dc1".into(), &service("pets"), Some(word(&[1], None)));
        drop(memory);
        remembers(directory.path(), &[source("dc1", &[("pets", word(&[1], None))])]);
    }
}

/// A link to itself fails as a disk does that is sick for a while: what it holds cannot be said.
#[test]
fn a_file_that_cannot_be_read_is_not_replaced_before_it_was() {
    let directory = tempdir().unwrap();
    let path = directory.path().join(FILE);
    let begun = || {
        std::os::unix::fs::symlink(FILE, &path).unwrap();
        let mut memory = Memory::open(directory.path());
        assert_eq!(memory.recall(), []);
        memory.arrange(vec![kept("dc1", None)]);
        memory.note(&"dc1".into(), &service("pets"), Some(word(&[1], None)));
        memory.note(&"dc1".into(), &service("carts"), None);
        memory
    };
    drop(begun());
    assert!(path.is_symlink(), "never read, so it stays");
    fs::remove_file(&path).unwrap();

    // What it turns out to say stands where its source did not speak itself, and is as old as ever.
    let old = || word(&[7], Some(at(5)));
    let said = [("pets", old()), ("carts", old()), ("orders", old())];
    let found = [source("dc1", &said), source("not configured", &said)];
    let good = directory.path().join("good");
    fs::write(&good, file::encode(&found).unwrap()).unwrap();
    let memory = begun();
    fs::rename(&good, &path).unwrap();
    drop(memory);
    remembers(directory.path(), &[source("dc1", &[("pets", word(&[1], None)), ("orders", old())])]);
}

#[test]
fn it_is_written_while_it_runs_and_what_a_dead_source_said_keeps_its_time() {
    let directory = tempdir().unwrap();
    let below = directory.path().join("not/there/yet");
    let mut memory = Memory::open(&below);
    memory.arrange(Vec::new());
    assert!(!below.exists(), "with nothing to remember there is no directory");
    memory.arrange(vec![kept("dc1", None), kept("dc2", Some(at(5)))]);
    memory.note(&"dc1".into(), &service("pets"), Some(word(&[1], None)));
    memory.note(&"dc2".into(), &service("pets"), Some(word(&[2], Some(at(3)))));
    memory.note(&"dc2".into(), &service("orders"), Some(word(&[3], None)));
    memory.note(&"no source of ours".into(), &service("orders"), Some(word(&[3], None)));
    let first = source("dc1", &[("pets", word(&[1], None))]);
    let other = source("dc2", &[("pets", word(&[2], Some(at(3)))), ("orders", word(&[3], Some(at(5))))]);
    remembers(&below, &[first, other]);

    // The end does not wait for the next turn, and a source that is not configured any more is forgotten.
    memory.note(&"dc1".into(), &service("pets"), None);
    memory.note(&"dc1".into(), &service("carts"), Some(word(&[4], None)));
    memory.arrange(vec![kept("dc1", None)]);
    let before = tokio::time::Instant::now();
    drop(memory);
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    remembers(&below, &[source("dc1", &[("carts", word(&[4], None))])]);
    let files: Vec<_> = fs::read_dir(&below).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "the file and its lock: {files:?}");
}

#[test]
fn a_directory_that_cannot_be_used_is_no_fault() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let mut memory = Memory::open(&file);
    assert_eq!(memory.recall(), []);
    memory.arrange(vec![kept("dc1", None)]);
    memory.note(&"dc1".into(), &service("pets"), Some(word(&[1], None)));
    while !memory.thread.as_ref().unwrap().is_finished() {
        std::thread::yield_now();
    }
    // Nobody takes what would wait.
    memory.note(&"dc1".into(), &service("orders"), Some(word(&[1], None)));
    assert!(memory.shared.lock().is_empty());
    drop(memory);

    // Another router has it: that one's file stays.
    let mut first = Memory::open(directory.path());
    first.arrange(vec![kept("dc1", None)]);
    remembers(directory.path(), &[source("dc1", &[])]);
    let mut second = Memory::open(directory.path());
    second.arrange(vec![kept("dc2", None)]);
    drop(second);
    remembers(directory.path(), &[source("dc1", &[])]);
}

#[test]
fn a_writer_whose_disk_hangs_is_left_behind() {
    let (free, hangs) = std::sync::mpsc::channel::<()>();
    let (ended, end) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _freed = hangs.recv();
        ended.send(()).unwrap();
    });
    join(thread, "of the test");
    assert!(end.try_recv().is_err(), "it was not waited for");
    drop(free);
    end.recv().unwrap();
}
