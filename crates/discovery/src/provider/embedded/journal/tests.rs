use model::{InstanceId, ServiceId};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::{replay::replay, *};

fn registration(id: &str) -> Registration {
    serde_json::from_str(&format!(r#"{{"name":"pets","id":"{id}","ip":"10.0.0.1","port":80,"tags":["x"]}}"#)).unwrap()
}

fn register(index: u64, id: &str) -> Line {
    Line { index, what: What::Register(Arc::new(registration(id))) }
}

fn remove(index: u64, id: &str) -> Line {
    Line { index, what: What::Remove((ServiceId::new("pets").unwrap(), InstanceId::new(id).unwrap())) }
}

/// Ids of what a fresh start finds, and the index.
fn check(directory: &TempDir, expected: &str) -> u64 {
    let (_journal, stored) = Journal::open(directory.path()).unwrap();
    let ids: String = stored.registrations.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, expected);
    stored.index
}

fn written(changes: &[Line]) -> TempDir {
    let directory = tempdir().unwrap();
    Journal::open(directory.path()).unwrap().0.append(changes).unwrap();
    directory
}

fn damaged_files(directory: &TempDir) -> usize {
    let names = fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.contains("damaged")).count()
}

#[test]
fn a_start_finds_what_was_written_and_a_higher_index() {
    let directory = written(&[register(5, "a"), register(6, "b"), remove(7, "a"), register(8, "c"), register(9, "b")]);
    let first = check(&directory, "bc");
    assert!(first > 9);
    assert!(check(&directory, "bc") > first, "no index is given out twice");
    assert_eq!(replay(&fs::read(directory.path().join(FILE)).unwrap()).live.len(), 2);
}

#[test]
fn half_a_line_at_the_end_costs_only_that_line() {
    let directory = written(&[register(5, "a"), register(6, "b")]);
    let path = directory.path().join(FILE);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    check(&directory, "a");
    assert_eq!(damaged_files(&directory), 0, "a torn line is expected, not damage");
    Journal::open(directory.path()).unwrap().0.append(&[register(7, "d")]).unwrap();
    check(&directory, "ad");
}

#[test]
fn a_damaged_file_is_set_aside_and_never_prevents_a_start() {
    let directory = written(&[register(5, "a"), register(6, "b")]);
    let path = directory.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"id\":\"a\"", "\"id\":\"z\"", 1)).unwrap();
    check(&directory, "b");
    assert_eq!(damaged_files(&directory), 1);
    fs::write(&path, [0xff, b'\n', 0, b'\n']).unwrap();
    check(&directory, "");
    assert_eq!(damaged_files(&directory), 2, "the first one is kept");
}

#[test]
fn a_directory_has_one_writer() {
    let directory = tempdir().unwrap();
    let first = Journal::open(directory.path()).unwrap();
    assert!(Journal::open(directory.path()).unwrap_err().contains("another router"));
    drop(first);
    check(&directory, "");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Journal::open(&file.join("sub")).unwrap_err().contains("`directory`"));
}

#[test]
fn a_busy_registry_does_not_grow_its_file_for_good() {
    let directory = tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    for index in 0..30 {
        let changes: Vec<_> = (0..100).map(|n| register(index * 100 + n, if n % 2 == 0 { "a" } else { "b" })).collect();
        journal.append(&changes).unwrap();
    }
    let lines = fs::read_to_string(directory.path().join(FILE)).unwrap().lines().count();
    assert!(lines <= FEW_LINES + 100, "{lines}");
    drop(journal);
    assert!(check(&directory, "ab") >= 2999);
}

#[test]
fn what_a_failing_disk_missed_is_in_the_file_written_anew() {
    let directory = tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    // A handle that cannot write stands for a disk that does not.
    journal.file = File::open(directory.path().join(FILE)).unwrap();
    assert!(journal.append(&[register(5, "a")]).is_err());
    journal.rewrite().unwrap();
    journal.append(&[register(6, "b")]).unwrap();
    drop(journal);
    check(&directory, "ab");
}

fn lines() -> Vec<Line> {
    let at = |n: u64| char::from(b'a' + (n % 7) as u8).to_string();
    (1..20_u64).map(|n| if n % 3 == 0 { remove(n, &at(n)) } else { register(n, &at(n + 1)) }).collect()
}

proptest! {
    /// Cut anywhere, a journal says what its whole lines say.
    #[test]
    fn a_cut_costs_only_what_was_cut(part in 0.0_f64..=1.0) {
        let encoded: Vec<String> = lines().iter().map(|l| encode(l).unwrap()).collect();
        let bytes = encoded.concat().into_bytes();
        let cut = (bytes.len() as f64 * part) as usize;
        let whole = bytes[..cut].iter().filter(|b| **b == b'\n').count();
        let (cut, whole) = (replay(&bytes[..cut]), replay(encoded[..whole].concat().as_bytes()));
        prop_assert_eq!(cut.live, whole.live);
        prop_assert_eq!((cut.index, cut.damaged), (whole.index, 0));
    }

    /// A flipped bit costs the line it is in (or two, if it made or unmade the end of one), and is noticed.
    #[test]
    fn a_flipped_bit_is_noticed(place in 0.0_f64..1.0, bit in 0_u32..8) {
        let mut bytes = lines().iter().map(|l| encode(l).unwrap()).collect::<String>().into_bytes();
        let at = (bytes.len() as f64 * place) as usize;
        bytes[at] ^= 1 << bit;
        let replay = replay(&bytes);
        let case_of_a_digit = replay.damaged == 0 && !replay.torn && bytes[at].is_ascii_hexdigit();
        prop_assert!((1..=2).contains(&replay.damaged) || replay.torn || case_of_a_digit);
    }
}
