//! Reading the file from a disk that may be slow, or fail for a while.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use settings::Stalled;

use super::{Recalled, file};

/// The file is being read, by one thread at most: one that hangs is waited for rather than followed by others.
#[derive(Debug)]
pub(super) struct Reading {
    path: PathBuf,
    answer: Option<Receiver<io::Result<Vec<Recalled>>>>,
}

impl Reading {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, answer: None }
    }

    /// What the file says: nothing if there is none, or it is damaged or not ours.
    ///
    /// # Errors
    /// [`Stalled`] if that takes longer, or why it cannot be read. The next call goes on, or tries again.
    pub(super) fn wait(&mut self, patience: Duration) -> io::Result<Vec<Recalled>> {
        let answer = match self.answer.take() {
            Some(answer) => answer,
            None => self.begin()?,
        };
        match answer.recv_timeout(patience) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "cannot use what was remembered; it will be replaced");
                Ok(Vec::new())
            }
            Ok(read) => read,
            Err(RecvTimeoutError::Timeout) => {
                self.answer = Some(answer);
                Err(Stalled.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("reading panicked")),
        }
    }

    fn begin(&self) -> io::Result<Receiver<io::Result<Vec<Recalled>>>> {
        let (found, answer) = channel();
        let path = self.path.clone();
        thread::Builder::new().name("reading".to_owned()).spawn(move || {
            // Nobody may listen any more.
            found.send(file::read(&path)).ok();
        })?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_waited_for_and_not_begun_again() {
        let (found, answer) = channel();
        let mut reading = Reading { path: "not/there".into(), answer: Some(answer) };
        for _ in 0..2 {
            assert_eq!(reading.wait(Duration::from_millis(1)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        let late = vec![Recalled { name: "dc1".into(), kind: "consul".to_owned(), services: [].into() }];
        found.send(Ok(late.clone())).unwrap();
        assert_eq!(reading.wait(Duration::from_secs(20)).unwrap(), late);
        assert_eq!(reading.wait(Duration::from_secs(20)).unwrap(), [], "there is no file");
    }
}
