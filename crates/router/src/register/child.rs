//! The process that was started; or none, if we run beside the service.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Command, sync::watch, task::JoinHandle};

use super::arguments::TOKEN;

/// One process. Dropped, it is killed: nobody is left to look after it.
#[derive(Debug)]
pub(super) struct Child {
    /// `None` if there is nobody to start.
    pid: Option<Pid>,
    ended: watch::Receiver<Option<u8>>,
    waiting: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts a command; none if there are no words.
    pub(super) fn start(words: &[String]) -> Result<Self, String> {
        let (tells, ended) = watch::channel(None);
        let Some((program, arguments)) = words.split_first() else {
            // Never ends: the sender lives as long as the task.
            let waiting = tokio::spawn(async move { tells.closed().await });
            return Ok(Self { pid: None, ended, waiting: Some(waiting) });
        };
        let child = command(program, arguments).spawn();
        let mut child = child.map_err(|e| format!("cannot start {program}: {e}"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let waiting = tokio::spawn(async move {
            let code = child.wait().await.map_or(1, code);
            tells.send_replace(Some(code));
        });
        Ok(Self { pid, ended, waiting: Some(waiting) })
    }

    /// Whether there is one.
    pub(super) fn was_started(&self) -> bool {
        self.pid.is_some()
    }

    /// Waits for its end; its exit code as a shell tells it.
    pub(super) async fn ended(&self) -> ExitCode {
        match self.ended.clone().wait_for(Option::is_some).await {
            Ok(code) => ExitCode::from((*code).unwrap_or(1)),
            Err(_) => ExitCode::FAILURE,
        }
    }

    /// Sends a signal, if it still runs.
    pub(super) fn signal(&self, signal: Signal) {
        // Known as ended here before anybody else can get its number.
        if let Some(pid) = self.pid.filter(|_| self.ended.borrow().is_none())
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!(%error, ?signal, "cannot signal the service");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
    }
}

fn command(program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    // A group of its own, so that Ctrl-C in a terminal reaches it by us only: after the deregistration.
    command.args(arguments).process_group(0).kill_on_drop(true);
    // What we register with is not the service's business.
    command.env_remove(TOKEN);
    command
}

/// 128 and the signal for one that was killed.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code & 0xff).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_token_is_not_the_services() {
        let command = command("env", &[]);
        let removed = command.as_std().get_envs().find(|(name, _)| *name == "POINTSMAN_REGISTRY_TOKEN");
        assert!(matches!(removed, Some((_, None))), "{removed:?}");
    }

    #[tokio::test]
    async fn exit_codes_are_those_of_a_shell() {
        for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
            let child = Child::start(&["sh", "-c", script].map(str::to_owned)).unwrap();
            assert_eq!(format!("{:?}", child.ended().await), format!("{:?}", ExitCode::from(expected)), "{script}");
            child.signal(Signal::TERM);
        }
        assert!(Child::start(&["/no/such/program".to_owned()]).unwrap_err().contains("cannot start"));
    }
}
