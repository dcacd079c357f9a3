//! SIGHUP: read everything again, whether or not a file changed.

/// The signal SIGHUP. From its making on, the signal no longer ends the process. Silent where the system has no signals.
#[derive(Debug)]
pub struct Hangup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangup {
    /// Listens for the signal.
    ///
    /// # Errors
    /// If the system refuses the signal handler.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new() -> std::io::Result<Self> {
        #[cfg(unix)]
        let hangup = Self { signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())? };
        #[cfg(not(unix))]
        let hangup = Self {};
        Ok(hangup)
    }

    /// Waits for the next signal. Signals that come while nobody waits count as one.
    pub async fn received(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
