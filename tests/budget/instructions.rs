//! Instructions for each request, counted by valgrind: this program runs a trace twice, once three times as long, and
//! the difference has no first connections and no warm-up in it. What comes before a trace is not counted at all: keys
//! are made of what time random things take.

use std::{env, path::PathBuf, process::Command};

use crate::trace::Trace;

/// Why there is no figure.
#[derive(Debug)]
pub(crate) struct NoValgrind;

/// Whether valgrind runs here.
pub(crate) fn is_there() -> Result<(), NoValgrind> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(NoValgrind),
    }
}

/// Instructions for each request of the trace, and where the profile of the longer run lies.
pub(crate) fn of(trace: Trace) -> (f64, PathBuf) {
    let short = if trace.requests() == 1 { 400 } else { 30 };
    let (few, _) = count(trace, short);
    let (many, profile) = count(trace, 3 * short);
    (many.saturating_sub(few) as f64 / f64::from(2 * short * trace.requests()), profile)
}

/// Instructions of a whole run.
fn count(trace: Trace, rounds: u32) -> (u64, PathBuf) {
    let program = env::current_exe().expect("the path of this program");
    let profile = program.with_extension(format!("{}.callgrind", trace.name()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-line=no", "--toggle-collect=budget::trace::serve"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(&program)
        .args(["run", trace.name(), &rounds.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the trace fails under valgrind:\n{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, number)| number.trim());
    let instructions = collected.and_then(|number| number.parse().ok()).filter(|&instructions| instructions > 0);
    (instructions.unwrap_or_else(|| panic!("valgrind counted nothing:\n{said}")), profile)
}
