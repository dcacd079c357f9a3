//! The tokens as they are now. Their files are read at most once a second, away from the thread that serves, so that
//! requests, which anybody can send, cost neither disk nor lines in the log.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use discovery::provider::embedded::Settings;
use settings::{Aside, Secret, SecretSource, Stalled};
use tokio::{sync::Mutex, time::Instant};

use super::access::Who;

/// How long what was read counts.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// What was read last; one reading at a time.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: Mutex<Option<Known>>,
    aside: Aside,
}

#[derive(Debug)]
struct Known {
    /// By which settings.
    settings: Arc<Settings>,
    at: Instant,
    read: Arc<Read>,
}

/// What the files had.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Who each secret stands for.
    pub(super) secrets: Vec<(Who, Secret)>,
    /// By the token's name, why it cannot be used.
    pub(super) faults: BTreeMap<String, String>,
}

impl Tokens {
    /// The tokens of these settings. What cannot be used is logged when that begins, changes or ends. While their files
    /// hang, they are as they were last: instances must not lose their leases by that.
    pub(super) async fn now(&self, settings: &Arc<Settings>) -> Arc<Read> {
        let mut known = self.known.lock().await;
        let fresh = |known: &&Known| Arc::ptr_eq(&known.settings, settings) && known.at.elapsed() < FRESH;
        if let Some(known) = known.as_ref().filter(fresh) {
            return known.read.clone();
        }
        let sources = settings.clone();
        let last =
            known.as_ref().filter(|known| Arc::ptr_eq(&known.settings, settings)).map(|known| known.read.clone());
        let read = match (self.aside.run(move || read(&sources)).await, last) {
            (Ok(read), _) => Arc::new(read),
            (Err(Stalled), Some(last)) => last,
            (Err(Stalled), None) => Arc::new(unread(settings)),
        };
        let before = known.as_ref().map(|known| known.read.clone()).unwrap_or_default();
        for (token, error) in news(&before.faults, &read.faults) {
            match error {
                Some(error) => tracing::error!(token, error, "nobody can use this token of the registry"),
                None => tracing::info!(token, "this token of the registry can be used again"),
            }
        }
        *known = Some(Known { settings: settings.clone(), at: Instant::now(), read: read.clone() });
        read
    }
}

/// What is to be told of faults: those that are new or different, and `None` for those that are over. Pure.
fn news<'a>(
    before: &'a BTreeMap<String, String>,
    now: &'a BTreeMap<String, String>,
) -> Vec<(&'a str, Option<&'a str>)> {
    let new = now.iter().filter(|(token, error)| before.get(*token) != Some(*error));
    let over = before.keys().filter(|token| !now.contains_key(*token));
    new.map(|(token, error)| (token.as_str(), Some(error.as_str()))).chain(over.map(|t| (t.as_str(), None))).collect()
}

/// Whose token is called what, and stands where.
fn all(settings: &Settings) -> impl Iterator<Item = (Who, &str, &SecretSource)> {
    let master = settings.master().map(|source| (Who::Master, "token", source));
    let named = settings.tokens.iter().enumerate();
    master.into_iter().chain(named.map(|(at, (name, token))| (Who::Holder(at), name.as_str(), &token.secret)))
}

/// What is known of tokens whose files hang: nothing, so nobody is let in.
fn unread(settings: &Settings) -> Read {
    let faults = all(settings).map(|(_, name, _)| (name.to_owned(), Stalled.to_string())).collect();
    Read { secrets: Vec::new(), faults }
}

fn read(settings: &Settings) -> Read {
    let mut all = Read::default();
    for (who, name, source) in self::all(settings) {
        match usable(source) {
            Ok(secret) => all.secrets.push((who, secret)),
            Err(error) => drop(all.faults.insert(name.to_owned(), error)),
        }
    }
    all
}

fn usable(source: &SecretSource) -> Result<Secret, String> {
    let secret = source.read().map_err(|e| e.to_string())?;
    if secret.is_empty() { Err("it is empty".to_owned()) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_are_read_once_a_second_however_many_ask() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "old\n").unwrap();
        let yaml = format!("token: {{ file: {} }}", file.display());
        let settings: Settings = settings::parse(&yaml, std::path::Path::new("router.yml"), &|_| None).unwrap();
        let (tokens, settings) = (Tokens::default(), Arc::new(settings));
        let has = |read: &Read, secret: &str| read.secrets.iter().any(|(_, s)| s.matches(secret.as_bytes()));
        assert!(has(&*tokens.now(&settings).await, "old"));
        std::fs::write(&file, "new\n").unwrap();
        assert!(has(&*tokens.now(&settings).await, "old"), "read a moment ago");
        tokio::time::advance(FRESH).await;
        assert!(has(&*tokens.now(&settings).await, "new"));
        std::fs::write(&file, "").unwrap();
        let again = Arc::new(Settings::clone(&settings));
        assert!(tokens.now(&again).await.faults["token"].contains("empty"), "other settings count at once");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_whose_file_hangs_are_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let (file, pipe) = (directory.path().join("token"), directory.path().join("pipe"));
        std::fs::write(&file, "old\n").unwrap();
        let yaml = format!("token: {{ file: {} }}", file.display());
        let settings: Settings = settings::parse(&yaml, std::path::Path::new("router.yml"), &|_| None).unwrap();
        let (tokens, settings) = (Tokens::default(), Arc::new(settings));
        tokens.now(&settings).await;
        // Whoever opens a pipe waits for one who writes.
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::rename(&pipe, &file).unwrap();
        tokio::time::advance(FRESH).await;
        let late = async {
            tokio::task::yield_now().await;
            // Timers are exact to a millisecond.
            tokio::time::advance(settings::PATIENCE + Duration::from_millis(1)).await;
        };
        let (hung, ()) = tokio::join!(tokens.now(&settings), late);
        let again = Arc::new(Settings::clone(&settings));
        let unknown = tokens.now(&again).await;
        // Whoever opened the pipe reads its end, and whoever comes late finds a file.
        let both = std::fs::File::options().read(true).write(true).open(&file).unwrap();
        std::fs::write(&pipe, "new\n").unwrap();
        std::fs::rename(&pipe, &file).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(both);
        assert!(hung.secrets.iter().any(|(_, secret)| secret.matches(b"old")) && hung.faults.is_empty());
        assert!(unknown.secrets.is_empty() && unknown.faults["token"].contains("stalls"));
    }

    #[test]
    fn a_fault_is_told_once() {
        let faults = |list: &[(&str, &str)]| list.iter().map(|(t, e)| ((*t).to_owned(), (*e).to_owned())).collect();
        let (none, one, other) = (faults(&[]), faults(&[("a", "x")]), faults(&[("a", "y")]));
        assert_eq!(news(&none, &one), [("a", Some("x"))]);
        assert_eq!(news(&one, &one), []);
        assert_eq!(news(&one, &other), [("a", Some("y"))]);
        assert_eq!(news(&other, &none), [("a", None)]);
    }
}
