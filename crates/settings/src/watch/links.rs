//! The links by which a path leads to what it names: `lists.yml -> ..data/lists.yml` and `..data -> ..2026_11_27` of a
//! mounted config map, `services.d -> releases/42`.

use std::path::{Path, PathBuf};

/// Followed at most, as by the system itself.
const MOST: usize = 40;

/// All of them, from the path's own directory on: links further up are the system's. Blocks.
pub(super) fn links(path: &Path) -> Vec<PathBuf> {
    let above = path.parent().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let mut links = Vec::new();
    follow(above.to_owned(), path.strip_prefix(above).unwrap_or(path), &mut links);
    links
}

/// Where the way leads from there.
fn follow(from: PathBuf, way: &Path, links: &mut Vec<PathBuf>) -> PathBuf {
    way.components().fold(from, |at, name| {
        let next = at.join(name);
        match std::fs::read_link(&next) {
            Ok(target) if links.len() < MOST => {
                links.push(next);
                follow(at, &target, links)
            }
            _ => next,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_named_and_a_circle_ends() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("mount/..v1")).unwrap();
        std::fs::write(at("mount/..v1/a.yml"), "").unwrap();
        symlink("..v1", at("mount/..data")).unwrap();
        symlink("..data/a.yml", at("mount/a.yml")).unwrap();
        assert_eq!(links(&at("mount/a.yml")), [at("mount/a.yml"), at("mount/..data")]);
        for none in [at("mount/..v1/a.yml"), "/".into(), "no-such-file".into()] {
            assert_eq!(links(&none).len(), 0, "{none:?}");
        }
        symlink(at("mount"), at("lists")).unwrap();
        assert_eq!(links(&at("lists/a.yml")), [at("lists"), at("mount/a.yml"), at("mount/..data")]);
        symlink("round", at("round")).unwrap();
        assert_eq!(links(&at("round")).len(), MOST);
    }
}
