//! A mounted config map, or a secret, as the kubelet writes it.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

/// A volume: `lists.yml -> ..data/lists.yml`, and `..data` is a link to the directory of the present version.
#[derive(Debug)]
pub struct ConfigMap {
    root: PathBuf,
    version: u32,
}

impl ConfigMap {
    /// One in this directory, which is there, and is empty.
    #[must_use]
    pub fn mount(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), version: 0 }
    }

    /// What it holds from now on, as names and contents. As the kubelet does it: all files are written to a new directory, a
    /// link to it is moved over the old one, names that are new get links, those of names that are gone are removed, and at
    /// last the old directory is.
    ///
    /// # Panics
    /// If the directory cannot be written.
    pub fn project(&mut self, files: &[(&str, &str)]) {
        let data = self.root.join("..data");
        let old = fs::read_link(&data).ok().map(|target| self.root.join(target));
        self.version += 1;
        let target = format!("..2026_11_27_02_30_00.{}", self.version);
        let new = self.root.join(&target);
        fs::create_dir(&new).unwrap();
        for (name, content) in files {
            fs::write(new.join(name), content).unwrap();
        }
        symlink(&target, self.root.join("..data_tmp")).unwrap();
        fs::rename(self.root.join("..data_tmp"), &data).unwrap();
        for (name, _) in files {
            let link = self.root.join(name);
            if fs::read_link(&link).is_err() {
                symlink(format!("..data/{name}"), link).unwrap();
            }
        }
        let Some(old) = old else { return };
        for name in fs::read_dir(&old).unwrap().map(|entry| entry.unwrap().file_name()) {
            if !files.iter().any(|(kept, _)| **kept == *name) {
                fs::remove_file(self.root.join(name)).unwrap();
            }
        }
        fs::remove_dir_all(old).unwrap();
    }
}
