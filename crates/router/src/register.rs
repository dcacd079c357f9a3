//! `pointsman register`: registers a service that cannot do it itself. Runs beside it, or starts it.
//!
//! | file | idea |
//! |---|---|
//! | `arguments` | what the command line says |
//! | `look` | is the service ready |
//! | `child` | the process that was started |
//!
//! The service is registered once it is ready, leaves the registry while it is not, and leaves it for good before it is
//! told to end: deregister, wait a moment for those who know it still, then the signal. Our exit code is the child's.

pub mod arguments;
mod child;
mod look;

use std::{process::ExitCode, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

pub use arguments::Arguments;

use crate::announce::{Announcing, Standing};
use child::Child;

/// Runs until the service ends, or somebody asks us to end.
///
/// # Errors
/// If the arguments cannot work, or the command cannot be started.
pub async fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let settings = arguments.settings()?;
    settings.check()?;
    let looking = arguments.look()?;
    let mut signals = Signals::new().map_err(|e| format!("cannot watch signals: {e}"))?;
    let mut child = Child::start(&arguments.command)?;
    let announcing = Announcing::start(settings, arguments.port, arguments.health.clone());
    let end = tokio::select! {
        status = child.ended() => End::Child(status),
        asked = signals.ending(&child) => End::Asked(asked),
        never = looking.run(|ready| announcing.want(if ready { Standing::Here } else { Standing::Away })) => match never {},
    };
    let known = announcing.is_registered();
    announcing.leave().await;
    match end {
        End::Child(code) => Ok(code),
        End::Asked(_) if !child.was_started() => Ok(ExitCode::SUCCESS),
        End::Asked(asked) => {
            let drain = if known { arguments.drain.get() } else { Duration::ZERO };
            Ok(stop(&mut child, &mut signals, asked, drain, arguments.stop_timeout.get()).await)
        }
    }
}

/// Why it is over.
enum End {
    /// The child ended by itself, with this exit code.
    Child(ExitCode),
    /// A signal came.
    Asked(rustix::process::Signal),
}

/// Ends the child: after a moment in which those who still know it finish, by the signal that came, and if that does
/// not help in time, by force. A second signal shortens the moment.
async fn stop(
    child: &mut Child,
    signals: &mut Signals,
    asked: rustix::process::Signal,
    drain: Duration,
    patience: Duration,
) -> ExitCode {
    tokio::select! {
        code = child.ended() => return code,
        () = sleep(drain) => {}
        _ = signals.ending(child) => {}
    }
    child.signal(asked);
    tokio::select! {
        code = child.ended() => return code,
        () = sleep(patience) => tracing::warn!(?patience, "the service did not end in time; killing it"),
    }
    child.signal(rustix::process::Signal::KILL);
    child.ended().await
}

/// The signals that concern us.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Those that the service alone understands.
    others: Vec<(Signal, rustix::process::Signal)>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use rustix::process::Signal as Sent;
        let passed = [
            (SignalKind::hangup(), Sent::HUP),
            (SignalKind::quit(), Sent::QUIT),
            (SignalKind::user_defined1(), Sent::USR1),
            (SignalKind::user_defined2(), Sent::USR2),
        ];
        let others = passed.into_iter().map(|(kind, sent)| Ok((signal(kind)?, sent)));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            others: others.collect::<std::io::Result<_>>()?,
        })
    }

    /// Waits to be asked to end; other signals go to the child as they come.
    async fn ending(&mut self, child: &Child) -> rustix::process::Signal {
        loop {
            let [hangup, quit, one, two] = &mut self.others[..] else { return std::future::pending().await };
            let passed = tokio::select! {
                _ = self.terminate.recv() => return rustix::process::Signal::TERM,
                _ = self.interrupt.recv() => return rustix::process::Signal::INT,
                _ = hangup.0.recv() => hangup.1,
                _ = quit.0.recv() => quit.1,
                _ = one.0.recv() => one.1,
                _ = two.0.recv() => two.1,
            };
            child.signal(passed);
        }
    }
}
