//! What the router says of itself, on standard error.

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

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
}

/// Changes the level while the process runs.
#[derive(Debug, Clone)]
pub struct Log(reload::Handle<EnvFilter, Registry>);

impl Log {
    /// Sets up logging for the process. `overriding` (the environment's `RUST_LOG`, say) wins over the settings' level.
    ///
    /// # Errors
    /// If the level cannot be read, or logging is set up already.
    pub fn init(settings: &Settings, overriding: Option<&str>) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(filter(overriding.unwrap_or(&settings.level))?);
        let registry = tracing_subscriber::registry().with(filter);
        let lines = fmt::layer().with_writer(std::io::stderr);
        match settings.format {
            Format::Text => {
                registry.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
            }
            Format::Json => registry.with(lines.json().flatten_event(true).with_ansi(false)).try_init(),
        }
        .map_err(|e| LogError::Subscriber(e.to_string()))?;
        Ok(Self(handle))
    }

    /// Changes the level for the whole process at once. A level that cannot be read changes nothing.
    ///
    /// # Errors
    /// If the level cannot be read.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.0.reload(filter(level)?).map_err(|e| LogError::Subscriber(e.to_string()))
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

    #[test]
    fn the_level_changes_while_the_process_runs_and_a_wrong_one_changes_nothing() {
        let log = Log::init(&Settings { level: "trace".into(), format: Format::Json }, Some("warn")).unwrap();
        assert!(tracing::enabled!(tracing::Level::WARN) && !tracing::enabled!(tracing::Level::INFO));
        log.set_level("debug").unwrap();
        assert!(tracing::enabled!(tracing::Level::DEBUG) && !tracing::enabled!(tracing::Level::TRACE));
        assert!(log.set_level("loud").is_err());
        assert!(tracing::enabled!(tracing::Level::DEBUG) && !tracing::enabled!(tracing::Level::TRACE));
        assert!(matches!(Log::init(&Settings::default(), None), Err(LogError::Subscriber(_))));
    }
}
