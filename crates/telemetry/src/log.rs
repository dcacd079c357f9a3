//! What the router says of itself, on standard error.
//!
//! Nobody waits for it: lines go through a bounded queue to a thread that writes them. If who reads the pipe stands still
//! (a log shipper, a terminal that was stopped), lines are **dropped and counted** (`pointsman_log_lines_dropped_total`):
//! the log suffers, changes of registries and requests do not.

use std::{fmt, io::Write, sync::Arc};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};
use serde::Deserialize;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

mod lines;

use lines::{Lines, Writer};

/// The `log` section of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `error`, `warn`, `info` (default), `debug`, `trace`, or directives such as `info,discovery=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level cannot be read.
    #[error("log level {level:?}: {cause}; write error, warn, info, debug, trace or directives such as info,h2=warn")]
    Level {
        /// As it was given.
        level: String,
        /// What the parser says.
        cause: String,
    },
    /// The process has a subscriber already, or it is gone.
    #[error("the log cannot be set up: {0}")]
    Subscriber(String),
    /// There is no thread to write it.
    #[error("the log has no thread to write it: {0}")]
    Thread(String),
}

/// The log of the process. The last clone to go writes what waits, for at most a second.
#[derive(Debug, Clone)]
pub struct Log {
    level: reload::Handle<EnvFilter, Registry>,
    /// The level is not the file's to say.
    overridden: bool,
    dropped: Dropped,
    _writer: Arc<Writer>,
}

/// Lines that were not written; none without a log.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Option<Lines>);

impl Log {
    /// Sets up logging for the process. `overriding` (the environment's `RUST_LOG`, say) wins over the settings' level.
    ///
    /// # Errors
    /// If the level cannot be read, or logging is set up already.
    pub fn init(settings: &Settings, overriding: Option<&str>) -> Result<Self, LogError> {
        let ansi = settings.format == Format::Text && std::io::IsTerminal::is_terminal(&std::io::stderr());
        Self::to(std::io::stderr(), ansi, settings, overriding)
    }

    fn to(
        out: impl Write + Send + 'static,
        ansi: bool,
        settings: &Settings,
        overriding: Option<&str>,
    ) -> Result<Self, LogError> {
        let (filter, level) = reload::Layer::new(filter(overriding.unwrap_or(&settings.level))?);
        let (lines, writer) = lines::start(out).map_err(|e| LogError::Thread(e.to_string()))?;
        let dropped = Dropped(Some(lines.clone()));
        let registry = tracing_subscriber::registry().with(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(move || lines.clone()).with_ansi(ansi);
        match settings.format {
            Format::Text => registry.with(lines).try_init(),
            Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        }
        .map_err(|e| LogError::Subscriber(e.to_string()))?;
        Ok(Self { level, overridden: overriding.is_some(), dropped, _writer: Arc::new(writer) })
    }

    /// Changes the level for the whole process at once, unless it was overridden. A level that cannot be read changes
    /// nothing.
    ///
    /// # Errors
    /// If the level cannot be read.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let filter = filter(level)?;
        if self.overridden {
            return Ok(());
        }
        self.level.reload(filter).map_err(|e| LogError::Subscriber(e.to_string()))
    }

    /// Counts lines that were dropped because writing did not keep up, or failed.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }
}

impl EncodeMetric for Dropped {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let lines = self.0.as_ref().map_or(0, Lines::lost);
        encoder.encode_counter::<NoLabelSet, _, u64>(&lines, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl Settings {
    /// Whether the level can be read.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn check(&self) -> Result<(), LogError> {
        filter(&self.level).map(drop)
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = |cause: String| LogError::Level { level: level.to_owned(), cause };
    if level.trim().is_empty() {
        return Err(wrong("nothing is named".to_owned())); // the parser would read it as `error`
    }
    // A word that is no level would be read as the name of a module, and everything else would fall silent.
    let word = level.bytes().all(|b| b.is_ascii_alphabetic());
    if word && level.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        return Err(wrong("no such level".to_owned()));
    }
    // The Kubernetes client logs every refusal as an error, over and over; its source says each once. A level that names
    // the client comes later and so counts.
    EnvFilter::builder().parse(format!("kube_client=off,{level}")).map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_or_refused_with_a_reason() {
        for level in ["info", "WARN", "off", "info,h2=warn", "discovery=debug"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["", " ", "loud", "h2=loud", "info,h2=="] {
            let error = filter(level).unwrap_err().to_string();
            assert!(error.contains(&format!("{level:?}")) && error.contains("write error, warn"), "{error}");
        }
    }

    /// A reader that never reads: a write waits until the sender is gone.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    // One test: a process has one log.
    #[test]
    fn nobody_waits_for_a_reader_and_the_level_changes_while_the_process_runs() {
        let (reads, never) = std::sync::mpsc::channel();
        let settings = Settings { level: "info".into(), format: Format::Json };
        let log = Log::to(Stuck(never), false, &settings, None).unwrap();
        for line in 0..lines::QUEUE + 10 {
            tracing::info!(line, "nobody reads this");
        }
        // One is being written, if the thread has begun; other tests may have logged something too.
        let dropped = log.dropped().0.unwrap().lost();
        assert!(dropped >= 9, "{dropped}");
        drop(reads);

        log.set_level("debug").unwrap();
        assert!(tracing::enabled!(tracing::Level::DEBUG) && !tracing::enabled!(tracing::Level::TRACE));
        assert!(log.set_level("loud").is_err());
        assert!(tracing::enabled!(tracing::Level::DEBUG) && !tracing::enabled!(tracing::Level::TRACE));
        let overridden = Log { overridden: true, ..log };
        overridden.set_level("error").unwrap();
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        assert!(matches!(Log::init(&Settings::default(), None), Err(LogError::Subscriber(_))));
    }
}
