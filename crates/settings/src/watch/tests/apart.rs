//! Files that each stand for themselves.

use testkit::ConfigMap;

use super::*;

/// Of two that hear the same, the one that lets files settle is told later.
#[tokio::test]
async fn of_files_that_stand_apart_one_that_is_moved_into_place_is_told_without_settling() {
    let directory = directory();
    let (a, draft) = (file(&directory, "a", "0"), directory.path().join("draft"));
    let mut files = Files::new([a.clone()], NEVER).await.apart();
    let mut together = Files::new([a.clone()], NEVER).await;
    for round in 1..=5 {
        // The draft is a reason to compare, which finds nothing; the move must not wait for the next one.
        fs::write(&draft, round.to_string()).expect("written");
        fs::rename(&draft, &a).expect("renamed");
        let (told, later) = tokio::join!(async { (files.changed().await, tokio::time::Instant::now()) }, async {
            (together.changed().await, tokio::time::Instant::now())
        },);
        assert_eq!((&told.0, &later.0), (&Ok(vec![a.clone()]), &Ok(vec![a.clone()])));
        assert!(told.1 < later.1, "round {round}: who stands apart heard of it after who lets files settle");
    }
}

#[tokio::test]
async fn a_file_written_in_steps_is_told_when_its_writer_closes_it() {
    use std::io::Write as _;
    let directory = directory();
    let a = file(&directory, "a", "old");
    let mut files = Files::new([a.clone()], NEVER).await.apart();
    let mut writer = fs::File::create(&a).expect("opened");
    writer.write_all(b"first, ").expect("written");
    let rest = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        writer.write_all(b"second").expect("written");
    });
    assert_eq!(files.changed().await, Ok(vec![a.clone()]));
    assert_eq!(fs::read_to_string(&a).expect("reads"), "first, second");
    rest.await.expect("wrote");
}

/// Of two that hear the same, the one that lets files settle is told later.
#[tokio::test]
async fn of_files_that_stand_apart_one_that_is_gone_is_told_soon_even_after_a_look_that_found_nothing() {
    let directory = directory();
    let mut files = Files::new([directory.path().to_owned()], NEVER).await.apart();
    let mut together = Files::new([directory.path().to_owned()], NEVER).await;
    for round in 1..=5 {
        let a = file(&directory, "a", "0");
        files.set_paths([a.clone(), directory.path().to_owned()]).await;
        together.set_paths([a.clone(), directory.path().to_owned()]).await;
        // Its writing is a reason to compare, which finds no difference but the name.
        tokio::join!(files.changed(), together.changed()).0.expect("nothing hangs");
        fs::remove_file(&a).expect("removed");
        let (told, later) = tokio::join!(async { (files.changed().await, tokio::time::Instant::now()) }, async {
            (together.changed().await, tokio::time::Instant::now())
        });
        assert!(told.0.expect("nothing hangs").contains(&a) && later.0.expect("nothing hangs").contains(&a));
        assert!(told.1 < later.1, "round {round}: who stands apart heard of it after who lets files settle");
    }
}

/// Who hears of what, when the kubelet writes version after version of a config map: one who watches these paths, apart.
async fn of_a_config_map(paths: impl Fn(&Path) -> Vec<PathBuf>) {
    let directory = directory();
    let (root, list) = (directory.path(), directory.path().join("lists.yml"));
    let mut map = ConfigMap::mount(root);
    map.project(&[("lists.yml", "0"), ("other.yml", "same")]);
    let mut files = Files::new(paths(root), NEVER).await.apart();
    let mut together = Files::new([list.clone()], NEVER).await;
    for round in 1..=5 {
        map.project(&[("lists.yml", &round.to_string()), ("other.yml", "same")]);
        let (told, later) = tokio::join!(async { (files.changed().await, tokio::time::Instant::now()) }, async {
            (together.changed().await, tokio::time::Instant::now())
        });
        assert_eq!((&told.0, &later.0), (&Ok(vec![list.clone()]), &Ok(vec![list.clone()])));
        assert!(told.1 < later.1, "round {round}: who stands apart heard of it after who lets files settle");
    }
}

#[tokio::test]
async fn a_config_map_that_is_swapped_is_told_without_settling() {
    of_a_config_map(|root| vec![root.to_owned(), root.join("lists.yml"), root.join("other.yml")]).await;
}

#[tokio::test]
async fn one_file_of_a_config_map_that_is_swapped_is_told_without_settling() {
    of_a_config_map(|root| vec![root.join("lists.yml")]).await;
}

/// Where all that a path leads through is one link, of its directory.
#[tokio::test]
async fn a_directory_that_is_swapped_is_told_without_settling() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let (lists, list) = (at("lists"), at("lists/a.yml"));
    for round in 0..=5 {
        fs::create_dir(at(&round.to_string())).expect("made");
        fs::write(at(&round.to_string()).join("a.yml"), round.to_string()).expect("written");
    }
    link("0", &lists);
    let mut files = Files::new([lists.clone(), list.clone()], NEVER).await.apart();
    let mut together = Files::new([list.clone()], NEVER).await;
    for round in 1..=5 {
        link(round.to_string(), &at("next"));
        fs::rename(at("next"), &lists).expect("swapped");
        let (told, later) = tokio::join!(async { (files.changed().await, tokio::time::Instant::now()) }, async {
            (together.changed().await, tokio::time::Instant::now())
        });
        assert_eq!((&told.0, &later.0), (&Ok(vec![list.clone()]), &Ok(vec![list.clone()])));
        assert!(told.1 < later.1, "round {round}: who stands apart heard of it after who lets files settle");
    }
}

#[tokio::test]
async fn names_come_and_go_with_a_config_map() {
    let directory = directory();
    let (root, a, b) = (directory.path(), directory.path().join("a.yml"), directory.path().join("b.yml"));
    let mut map = ConfigMap::mount(root);
    map.project(&[("a.yml", "1")]);
    let mut files = Files::new([root.to_owned(), a.clone()], NEVER).await.apart();
    map.project(&[("a.yml", "1"), ("b.yml", "1")]);
    assert_eq!(files.changed().await, Ok(vec![root.to_owned()]));
    assert_eq!(fs::read_to_string(&b).expect("reads"), "1");
    files.set_paths([root.to_owned(), a.clone(), b.clone()]).await;
    map.project(&[("b.yml", "1")]);
    assert_eq!(files.changed().await, Ok(vec![root.to_owned(), a]));
}

/// A link that was moved says nothing of a file that it does not lead to.
#[tokio::test(start_paused = true)]
async fn a_swap_of_a_link_does_not_hurry_a_file_that_is_written_beside() {
    let directory = directory();
    let (mut map, b) = (ConfigMap::mount(directory.path()), file(&directory, "b.yml", "old"));
    map.project(&[("a.yml", "1")]);
    let mut files = Files::new([directory.path().join("a.yml"), b.clone()], SOON).await.apart();
    files.hint = Hint::default();
    map.project(&[("a.yml", "2")]);
    told(&files, MOVED, &directory.path().join("..data"));
    fs::write(&b, "half").expect("written");
    told(&files, WRITTEN, &b);
    let rest = later(20, &b, "whole");
    assert!(files.changed().await.expect("nothing hangs").contains(&b));
    assert_eq!(fs::read_to_string(&b).expect("reads"), "whole");
    rest.await.expect("wrote");
}

/// As version control and some editors replace one. Paused time stands still while files are read.
#[tokio::test(start_paused = true)]
async fn of_files_that_stand_apart_one_that_is_there_again_soon_was_never_gone() {
    let directory = directory();
    let a = file(&directory, "a", "old");
    let mut files = Files::new([a.clone()], SOON).await.apart();
    files.hint = Hint::default();
    let writer = tokio::spawn({
        let a = a.clone();
        async move {
            tokio::time::sleep(SOON - Duration::from_millis(1)).await;
            fs::remove_file(&a).expect("removed");
            tokio::time::sleep(Duration::from_millis(3)).await;
            fs::write(&a, "half").expect("written");
            tokio::time::sleep(Duration::from_millis(3)).await;
            fs::write(&a, "whole").expect("written");
        }
    });
    assert_eq!(files.changed().await, Ok(vec![a.clone()]));
    assert_eq!(fs::read_to_string(&a).expect("reads"), "whole");
    writer.await.expect("wrote");
}

/// Paused time stands still while files are read, so this is never late.
fn later(time: u64, path: &Path, content: &'static str) -> tokio::task::JoinHandle<()> {
    let path = path.to_owned();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(time)).await;
        fs::write(path, content).expect("written");
    })
}

/// As the system tells of it.
fn told(files: &Files, kind: notify::EventKind, path: &Path) {
    files.hint.bells().ring(&notify::Event::new(kind).add_path(path.to_owned()), |_| true);
}

const CLOSED: notify::EventKind = {
    use notify::event::{AccessKind, AccessMode};
    notify::EventKind::Access(AccessKind::Close(AccessMode::Write))
};
const MOVED: notify::EventKind = {
    use notify::event::{ModifyKind, RenameMode};
    notify::EventKind::Modify(ModifyKind::Name(RenameMode::To))
};
const WRITTEN: notify::EventKind = {
    use notify::event::{DataChange, ModifyKind};
    notify::EventKind::Modify(ModifyKind::Data(DataChange::Any))
};

#[tokio::test(start_paused = true)]
async fn of_files_that_stand_apart_one_that_is_whole_says_nothing_of_another() {
    let directory = directory();
    let (a, b) = (file(&directory, "a", "old"), file(&directory, "b", "old"));
    let mut files = Files::new([a.clone(), b.clone()], SOON).await.apart();
    files.hint = Hint::default();
    fs::write(&a, "whole").expect("written");
    told(&files, CLOSED, &a);
    // It was whole once, which is no word about now.
    told(&files, CLOSED, &b);
    fs::write(&b, "half").expect("written");
    told(&files, WRITTEN, &b);
    let rest = later(20, &b, "whole");
    assert_eq!(files.changed().await, Ok(vec![a, b.clone()]));
    assert_eq!(fs::read_to_string(&b).expect("reads"), "whole");
    rest.await.expect("wrote");
}

#[tokio::test(start_paused = true)]
async fn of_files_that_stand_apart_one_that_is_whole_takes_none_away_that_is_there_again_soon() {
    let directory = directory();
    let (a, b) = (file(&directory, "a", "old"), file(&directory, "b", "old"));
    let mut files = Files::new([a.clone(), b.clone()], NEVER).await.apart();
    files.hint = Hint::default();
    fs::write(&a, "whole").expect("written");
    told(&files, CLOSED, &a);
    fs::remove_file(&b).expect("removed");
    let back = later(3, &b, "old");
    assert_eq!(files.changed().await, Ok(vec![a]));
    back.await.expect("wrote");
}

/// Its name in the directory is no reason to read what it holds so far.
#[tokio::test(start_paused = true)]
async fn a_new_file_is_not_told_of_while_it_is_written() {
    let directory = directory();
    let mut files = Files::new([directory.path().to_owned()], SOON).await.apart();
    files.hint = Hint::default();
    let a = directory.path().join("a");
    let (first, rest) = (later(40, &a, "half"), later(60, &a, "whole"));
    assert_eq!(files.changed().await, Ok(vec![directory.path().to_owned()]));
    assert_eq!(fs::read_to_string(&a).expect("reads"), "whole");
    first.await.expect("wrote");
    rest.await.expect("wrote");
}

#[tokio::test]
async fn a_new_file_is_told_of_when_its_writer_closes_it() {
    use std::io::Write as _;
    let directory = directory();
    let mut files = Files::new([directory.path().to_owned()], NEVER).await.apart();
    let a = directory.path().join("a");
    let mut writer = fs::File::create(&a).expect("opened");
    writer.write_all(b"first, ").expect("written");
    let rest = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        writer.write_all(b"second").expect("written");
    });
    assert_eq!(files.changed().await, Ok(vec![directory.path().to_owned()]));
    assert_eq!(fs::read_to_string(&a).expect("reads"), "first, second");
    rest.await.expect("wrote");
}
