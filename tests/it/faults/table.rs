//! All trials of a source, in a program of their own, and the rows of the document they give.

use std::process::Command;

use model::Exposure;
use tokio::task::{JoinSet, LocalSet};

use super::{
    cells::{self, By, Cell, Fault},
    ledger,
    rig::{Found, Subject, start, trial},
    weather::Weather,
};

/// What each row begins with on the standard output of that program.
const ROW: &str = "row of the matrix: ";

/// Tries every cell of a source that is to be tried, and compares what came of it with the document. `test` is the name
/// of the test that calls it: it runs this program again, with a time of day and a disk that the trials can choose.
pub(crate) async fn table<F: Future<Output = Subject>>(source: &'static str, test: &str, subject: impl Fn() -> F) {
    if Weather::here().is_some() {
        for found in tried(source, subject).await {
            println!("{ROW}{}", row(&found));
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", &format!("faults::{source}::{test}"), "--nocapture"]);
    Weather::new(folder.path()).over(&mut program);
    let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    let [told, failed] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{told}\n{failed}");
    let rows: Vec<_> = told.lines().filter_map(|line| Some(line.split_once(ROW)?.1)).collect();
    ledger::hold(source, &rows);
}

/// All at once, and then those that befall the whole program.
async fn tried<F: Future<Output = Subject>>(source: &'static str, subject: impl Fn() -> F) -> Vec<Found> {
    let alone = |cell: &&Cell| cell.fault == Fault::ClockJump || source == "embedded";
    let tried = cells::of(source).iter().filter(|cell| matches!(cell.by, By::Trial));
    let together = async {
        let (mut trials, mut starts) = (JoinSet::new(), JoinSet::new());
        for cell in tried.clone().filter(|cell| !alone(cell)) {
            for exposure in exposures() {
                if matches!(cell.shown, "down" | "doubt") {
                    starts.spawn_local(start(source, *cell, exposure.clone(), subject().await));
                }
                trials.spawn_local(trial(source, *cell, exposure, subject().await));
            }
        }
        starts.join_all().await;
        trials.join_all().await
    };
    let mut found = LocalSet::new().run_until(together).await;
    for cell in tried.filter(alone) {
        for exposure in exposures() {
            found.push(trial(source, *cell, exposure, subject().await).await);
        }
    }
    found.sort_by_key(|found| (found.fault, found.exposure != Exposure::Routed));
    found.dedup_by_key(|found| found.fault);
    found
}

/// Found by its name, and in the catalogue.
fn exposures() -> [Exposure; 2] {
    [Exposure::Routed, Exposure::Everything]
}

fn row(found: &Found) -> String {
    let Found { fault, shown, served, noticed, back, calls, during, .. } = found;
    let [noticed, back, during] = [noticed, back, during].map(|time| time.as_secs_f64());
    // A disk counts nothing.
    let calls = if *calls == 0 { String::new() } else { format!(" {calls} in {during:.1} s") };
    format!("| {} | {shown} | {served} | {noticed:.1} s | {back:.1} s |{calls} | trial |", fault.name())
}
