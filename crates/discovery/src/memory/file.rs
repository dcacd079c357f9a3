//! The text of the file: `pointsman-last-known-good 1 CHECKSUM`, a line end, and JSON.
//!
//! A word that its source stood by when the file was written carries no time: the file's own time of modification stands
//! for it, which the writer renews as long as that is true.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{Address, ArcStr, Endpoint, Host, Instance, InstanceId, Protocol, ServiceId, Standing, Tag};
use serde::{Deserialize, Serialize};

use super::{FILE, Recalled, Word};
use crate::digest::Digest;

/// What the file begins with; the number is the version of the JSON below it.
const HEAD: &str = "pointsman-last-known-good 1 ";

/// Larger files are not ours: a million instances take less.
const LARGEST: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Stored {
    sources: Vec<StoredSource>,
}

#[derive(Serialize, Deserialize)]
struct StoredSource {
    name: String,
    kind: String,
    services: BTreeMap<ServiceId, StoredWord>,
}

#[derive(Serialize, Deserialize)]
struct StoredWord {
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<u64>,
    instances: Vec<StoredInstance>,
}

#[derive(Serialize, Deserialize)]
struct StoredInstance {
    id: InstanceId,
    host: String,
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    weight: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<ArcStr>,
    #[serde(default, skip_serializing_if = "is_false")]
    draining: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    environments: Vec<Tag>,
    #[serde(default, skip_serializing_if = "is_false")]
    environment_only: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(Arc<str>, Arc<str>)>,
}

/// Reads a file.
///
/// # Errors
/// If it cannot be read, or is not whole, or not ours.
pub(super) fn read(path: &Path) -> io::Result<Vec<Recalled>> {
    let about = fs::metadata(path)?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no file of ours"));
    }
    decode(&fs::read(path)?, about.modified()?).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// Writes the whole file beside the old one and puts it in its place, so that at each moment one of them is whole.
pub(super) fn write(directory: &Path, sources: &[Recalled]) -> io::Result<()> {
    let (path, new) = (directory.join(FILE), directory.join(format!("{FILE}.new")));
    let mut file = File::create(&new)?;
    file.write_all(&encode(sources)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    // The rename itself is on disk when the directory is.
    File::open(directory)?.sync_all()
}

/// Says that all words without a time are true now.
pub(super) fn renew(directory: &Path) -> io::Result<()> {
    File::options().append(true).open(directory.join(FILE))?.set_modified(SystemTime::now())
}

pub(super) fn encode(sources: &[Recalled]) -> io::Result<Vec<u8>> {
    let stored = Stored { sources: sources.iter().map(StoredSource::of).collect() };
    let json = serde_json::to_vec(&stored)?;
    let mut text = format!("{HEAD}{:016x}\n", Digest::of(&json)).into_bytes();
    text.extend(json);
    Ok(text)
}

/// What these bytes say; `modified` is the time of words without their own.
pub(super) fn decode(bytes: &[u8], modified: SystemTime) -> Result<Vec<Recalled>, String> {
    let rest = bytes.strip_prefix(HEAD.as_bytes()).ok_or("it does not begin as a file of ours")?;
    let (sum, json) = rest.split_at_checked(17).ok_or("it is cut off")?;
    let sum = std::str::from_utf8(sum).ok().and_then(|s| u64::from_str_radix(s.strip_suffix('\n')?, 16).ok());
    if sum != Some(Digest::of(json)) {
        return Err("its checksum does not fit".to_owned());
    }
    let stored: Stored = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    stored.sources.into_iter().map(|source| source.recalled(modified)).collect()
}

impl StoredSource {
    fn of(source: &Recalled) -> Self {
        let word = |word: &Word| StoredWord {
            confirmed: word.confirmed.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
            instances: word.instances.iter().map(|instance| StoredInstance::of(instance)).collect(),
        };
        Self {
            name: source.name.to_string(),
            kind: source.kind.clone(),
            services: source.services.iter().map(|(service, said)| (service.clone(), word(said))).collect(),
        }
    }

    fn recalled(self, modified: SystemTime) -> Result<Recalled, String> {
        let word = |(service, word): (ServiceId, StoredWord)| {
            let instances = word.instances.into_iter().map(StoredInstance::instance).collect::<Result<_, _>>()?;
            let confirmed = word.confirmed.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
            Ok((service, Word { instances, confirmed: Some(confirmed.unwrap_or(modified)) }))
        };
        let services = self.services.into_iter().map(word).collect::<Result<_, String>>()?;
        Ok(Recalled { name: self.name.into(), kind: self.kind, services })
    }
}

impl StoredInstance {
    fn of(instance: &Instance) -> Self {
        let Endpoint { address, protocol } = &instance.endpoint;
        Self {
            id: instance.id.clone(),
            host: address.host.to_string(),
            port: address.port,
            protocol: *protocol,
            weight: instance.weight,
            zone: instance.zone.clone(),
            draining: instance.standing == Standing::Draining,
            environments: instance.environments.to_vec(),
            environment_only: instance.environment_only,
            tags: instance.tags.to_vec(),
            labels: instance.labels.to_vec(),
        }
    }

    fn instance(self) -> Result<Arc<Instance>, String> {
        if self.port == 0 || self.host.is_empty() {
            return Err(format!("instance {} has no address", self.id));
        }
        let address = Address { host: Host::parse(&self.host), port: self.port };
        let mut instance = Instance::new(self.id, Endpoint { address, protocol: self.protocol });
        instance.weight = self.weight;
        instance.zone = self.zone;
        instance.standing = if self.draining { Standing::Draining } else { Standing::Serving };
        instance.environments = self.environments.into();
        instance.environment_only = self.environment_only;
        instance.tags = self.tags.into();
        instance.labels = self.labels.into();
        Ok(Arc::new(instance.normalised()))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls it with
fn is_false(value: &bool) -> bool {
    !value
}
