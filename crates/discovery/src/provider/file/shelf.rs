//! What each file said last, and what that is together. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{Address, Instance, InstanceId, ServiceId};

use super::disk::Read;
use crate::provider::fixed::{self, Lists};

/// All files. A file that cannot be read counts as it was when it last could.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Default)]
struct File {
    /// Nothing if it could never be read.
    lists: Option<Lists>,
    trouble: Option<String>,
}

/// What is another than before.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Services, and who left on purpose: a file that is there and can be read no longer lists them. Those of a file
    /// that is gone did not, for files are lost, too.
    pub(super) services: BTreeMap<ServiceId, Vec<InstanceId>>,
    /// What is wrong now and was not before.
    pub(super) troubles: Vec<String>,
}

impl Shelf {
    /// Whether the file was there at the last look.
    pub(super) fn knows(&self, file: &Path) -> bool {
        self.files.contains_key(file)
    }

    /// All files of the last look.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// What keeps us from knowing everything: a file that could never be read.
    pub(super) fn doubt(&self) -> Option<&str> {
        self.files.values().filter(|file| file.lists.is_none()).find_map(|file| file.trouble.as_deref())
    }

    /// Whether any file names the service.
    pub(super) fn names(&self, service: &ServiceId) -> bool {
        self.lists().any(|(_, lists)| lists.contains_key(service))
    }

    /// Every service with its instances.
    pub(super) fn all(&self) -> impl Iterator<Item = (ServiceId, Vec<Arc<Instance>>)> {
        let named: BTreeSet<&ServiceId> = self.lists().flat_map(|(_, lists)| lists.keys()).collect();
        named.into_iter().map(|service| (service.clone(), self.joined(service)))
    }

    /// The instances of one service, of all files. An address is one instance: what the first file by name says of it
    /// counts, and is in the environments that any file gives it.
    pub(super) fn joined(&self, service: &ServiceId) -> Vec<Arc<Instance>> {
        self.join(service, &mut |_| ())
    }

    /// Takes in which files there are and what was read; files that were not read are as they were.
    pub(super) fn take(&mut self, listed: &[PathBuf], read: Read) -> Change {
        let mut change = Change::default();
        self.files.retain(|path, file| {
            let stays = listed.contains(path);
            if !stays {
                let services = file.lists.iter().flat_map(|lists| lists.keys());
                change.services.extend(services.map(|service| (service.clone(), Vec::new())));
            }
            stays
        });
        for (path, read) in read {
            let file = self.files.entry(path).or_default();
            match read {
                Ok(lists) => {
                    let before = file.lists.replace(Arc::clone(&lists)).unwrap_or_default();
                    file.trouble = None;
                    compare(&before, &lists, &mut change);
                }
                Err(trouble) => {
                    if file.trouble.as_ref() != Some(&trouble) {
                        change.troubles.push(trouble.clone());
                    }
                    file.trouble = Some(trouble);
                }
            }
        }
        for (service, left) in &mut change.services {
            let joined = self.join(service, &mut |trouble| change.troubles.push(trouble));
            left.retain(|id| !joined.iter().any(|instance| instance.id == *id));
        }
        change
    }

    fn lists(&self) -> impl Iterator<Item = (&PathBuf, &Lists)> {
        self.files.iter().filter_map(|(path, file)| Some((path, file.lists.as_ref()?)))
    }

    fn join(&self, service: &ServiceId, tell: &mut dyn FnMut(String)) -> Vec<Arc<Instance>> {
        let mut joined = BTreeMap::<&Address, Arc<Instance>>::new();
        for (path, lists) in self.lists() {
            for instance in lists.get(service).into_iter().flatten() {
                let Some(known) = joined.get_mut(&instance.endpoint.address) else {
                    joined.insert(&instance.endpoint.address, Arc::clone(instance));
                    continue;
                };
                if let Err(why) = fixed::merge(Arc::make_mut(known), instance) {
                    tell(format!("{}: service {:?} {why}; another file goes before", path.display(), service.as_str()));
                }
            }
        }
        joined.into_values().collect()
    }
}

/// Notes the services of which a file says something else, and whom it no longer lists.
fn compare(before: &Lists, now: &Lists, change: &mut Change) {
    let services: BTreeSet<&ServiceId> = before.keys().chain(now.keys()).collect();
    for service in services {
        if before.get(service) == now.get(service) {
            continue;
        }
        let now = now.get(service).map_or(&[][..], Vec::as_slice);
        let left = before.get(service).into_iter().flatten().filter(|old| !now.iter().any(|new| new.id == old.id));
        change.services.entry(service.clone()).or_default().extend(left.map(|instance| instance.id.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(yaml: &str) -> Result<Lists, String> {
        let read = settings::parse::<fixed::Settings>(yaml, Path::new("x.yml"), &|_| None);
        read.map(|settings| settings.lists().clone()).map_err(|error| error.to_string())
    }

    /// Each file by name, with its text if it was read.
    fn take(shelf: &mut Shelf, files: &[(&str, Option<&str>)]) -> Change {
        let listed: Vec<PathBuf> = files.iter().map(|(name, _)| name.into()).collect();
        let read = files.iter().filter_map(|(name, text)| Some((name.into(), lists((*text)?)))).collect();
        shelf.take(&listed, read)
    }

    fn joined(shelf: &Shelf, service: &str) -> Vec<String> {
        let list = shelf.joined(&ServiceId::new(service).unwrap());
        list.iter().map(|i| format!("{} {}", i.endpoint.address, i.environment_only)).collect()
    }

    fn left(change: &Change) -> Vec<String> {
        let said = |(service, left): (&ServiceId, &Vec<InstanceId>)| {
            format!("{service}: {}", left.iter().map(InstanceId::as_str).collect::<Vec<_>>().join(" "))
        };
        change.services.iter().map(said).collect()
    }

    const ONE: &str = r#"services: { a: ["http://h:1", "http://h:2"], b: "http://h:1" }"#;

    #[test]
    fn files_are_joined_and_the_first_goes_before() {
        let mut shelf = Shelf::default();
        let two = r#"services: { a: ["http://h:2", "http://h:3"], "a|test": "http://h:4" }"#;
        let change = take(&mut shelf, &[("1.yml", Some(ONE)), ("2.yml", Some(two))]);
        assert_eq!((joined(&shelf, "a").len(), change.troubles.len()), (4, 0));
        let three = r#"services: { a: ["https://h:1"], "a|dev": "http://h:2" }"#;
        let change = take(&mut shelf, &[("1.yml", None), ("2.yml", None), ("3.yml", Some(three))]);
        assert_eq!(joined(&shelf, "a"), ["h:1 false", "h:2 false", "h:3 false", "h:4 true"]);
        assert!(change.troubles[0].contains("3.yml") && change.troubles[0].contains("h:1 twice"), "{change:?}");
        assert!(shelf.joined(&ServiceId::new("a").unwrap())[1].is_in("dev"));
    }

    #[test]
    fn who_is_taken_off_a_list_left_on_purpose_and_who_is_in_a_lost_file_did_not() {
        let mut shelf = Shelf::default();
        take(&mut shelf, &[("1.yml", Some(ONE)), ("2.yml", Some(r#"services: { a: ["http://h:2"] }"#))]);
        let change = take(&mut shelf, &[("1.yml", Some(r#"services: { a: [] }"#)), ("2.yml", None)]);
        assert_eq!(left(&change), ["a: h:1", "b: h:1"], "h:2 is listed elsewhere");
        let change = take(&mut shelf, &[("1.yml", None)]);
        assert_eq!((left(&change), joined(&shelf, "a").len()), (vec!["a: ".to_owned()], 0));
        assert!(shelf.names(&ServiceId::new("a").unwrap()));
    }

    #[test]
    fn a_broken_file_counts_as_it_was() {
        let mut shelf = Shelf::default();
        take(&mut shelf, &[("1.yml", Some(ONE)), ("2.yml", Some("services: {}"))]);
        let change = take(&mut shelf, &[("1.yml", Some("services: { a: [ \"http://h")), ("2.yml", None)]);
        assert_eq!((joined(&shelf, "a").len(), change.troubles.len(), left(&change).len()), (2, 1, 0));
        assert!(change.troubles[0].starts_with("x.yml:1:"), "{change:?}");
        let change = take(&mut shelf, &[("1.yml", Some("services: { a: [ \"http://h")), ("2.yml", None)]);
        assert_eq!((change.troubles.len(), shelf.doubt()), (0, None), "said once");
        let change = take(&mut shelf, &[("1.yml", Some(r#"services: { a: "http://h:2" }"#)), ("2.yml", None)]);
        assert_eq!(left(&change), ["a: h:1", "b: h:1"]);
    }

    #[test]
    fn a_file_that_could_never_be_read_leaves_a_doubt() {
        let mut shelf = Shelf::default();
        take(&mut shelf, &[("1.yml", Some(ONE)), ("2.yml", Some("nonsense"))]);
        assert!(shelf.doubt().is_some());
        take(&mut shelf, &[("1.yml", None)]);
        assert_eq!(shelf.doubt(), None, "it is gone");
    }
}
