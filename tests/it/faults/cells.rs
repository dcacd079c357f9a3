//! Every source with every fault: what is shown, what becomes of the instances, and which test holds it.

/// What can befall a registry, or our connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Refuses,
    Hangs,
    ServerError,
    Truncated,
    Garbage,
    SlowDrip,
    Empty,
    Reset,
    LeaderLoss,
    AuthLost,
    RestartEmpty,
    ClockJump,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::Hangs => "hangs",
            Self::ServerError => "5xx",
            Self::Truncated => "truncated",
            Self::Garbage => "garbage",
            Self::SlowDrip => "slow drip",
            Self::Empty => "empty",
            Self::Reset => "reset",
            Self::LeaderLoss => "leader loss",
            Self::AuthLost => "auth lost",
            Self::RestartEmpty => "restart empty",
            Self::ClockJump => "clock jump",
        }
    }
}

/// What holds a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// The trial of this source, see `rig.rs`.
    Trial,
    /// This test (`path::name`), which was there before, mostly with the real server.
    Test(&'static str),
    /// Nothing, because it cannot be, or cannot be made here.
    None(&'static str),
}

/// A source with a fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) fault: Fault,
    /// `live`, `down`, `doubt` (about this service), or `skipped` (live, and a record was skipped).
    pub(crate) shown: &'static str,
    /// `kept`, `last resort`, or `gone`.
    pub(crate) served: &'static str,
    pub(crate) by: By,
}

const fn trial(fault: Fault, shown: &'static str, served: &'static str) -> Cell {
    Cell { fault, shown, served, by: By::Trial }
}

const fn test(fault: Fault, shown: &'static str, served: &'static str, test: &'static str) -> Cell {
    Cell { fault, shown, served, by: By::Test(test) }
}

const fn none(fault: Fault, why: &'static str) -> Cell {
    Cell { fault, shown: "", served: "", by: By::None(why) }
}

use Fault::{
    AuthLost, ClockJump, Empty, Garbage, Hangs, LeaderLoss, Refuses, Reset, RestartEmpty, ServerError, SlowDrip,
    Truncated,
};

const CLOCK: Cell = test(ClockJump, "live", "kept", "tests/it/faults/ledger.rs::no_source_reads_the_clock_of_the_day");

const CONSUL: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    trial(Hangs, "down", "kept"),
    trial(ServerError, "down", "kept"),
    trial(Truncated, "down", "kept"),
    trial(Garbage, "down", "kept"),
    trial(SlowDrip, "down", "kept"),
    trial(Empty, "live", "last resort"),
    trial(Reset, "live", "kept"),
    trial(LeaderLoss, "down", "kept"),
    trial(AuthLost, "down", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const ETCD: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    trial(Hangs, "down", "kept"),
    trial(ServerError, "down", "kept"),
    trial(Truncated, "down", "kept"),
    trial(Garbage, "down", "kept"),
    trial(SlowDrip, "down", "kept"),
    trial(Empty, "live", "last resort"),
    trial(Reset, "live", "kept"),
    test(
        LeaderLoss,
        "down",
        "kept",
        "tests/it/etcd/cluster.rs::without_a_quorum_the_source_says_so_and_keeps_what_it_knows",
    ),
    trial(AuthLost, "down", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const SESSION: &str =
    "crates/discovery/src/provider/zookeeper/session/tests.rs::refused_credentials_garbage_and_an_end_are_told_apart";
const FORGOT: &str =
    "tests/it/zookeeper/faults.rs::a_server_that_dies_and_comes_back_is_an_outage_and_one_that_forgot_says_so";

const ZOOKEEPER: [Cell; 12] = [
    test(Refuses, "down", "kept", FORGOT),
    test(
        Hangs,
        "down",
        "kept",
        "tests/it/zookeeper/faults.rs::a_server_that_hangs_is_noticed_within_the_session_timeout_and_heals",
    ),
    none(ServerError, "it has no such answer; each code of an error has its meaning"),
    test(Truncated, "down", "kept", SESSION),
    test(Garbage, "down", "kept", SESSION),
    test(
        SlowDrip,
        "down",
        "kept",
        "crates/discovery/src/provider/zookeeper/session/tests.rs::silence_and_single_bytes_end_a_session_within_its_timeout",
    ),
    test(Empty, "live", "last resort", FORGOT),
    test(
        Reset,
        "live",
        "kept",
        "tests/it/zookeeper/faults.rs::what_happens_while_the_link_is_cut_is_known_when_it_is_whole",
    ),
    test(
        LeaderLoss,
        "down",
        "kept",
        "tests/it/zookeeper/faults.rs::an_ensemble_that_loses_its_leader_goes_on_and_without_a_quorum_nothing_is_forgotten",
    ),
    test(
        AuthLost,
        "down",
        "kept",
        "tests/it/zookeeper/access.rs::without_the_right_credentials_nothing_is_known_rather_than_empty",
    ),
    test(RestartEmpty, "live", "last resort", FORGOT),
    CLOCK,
];

const KUBERNETES: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    trial(Hangs, "down", "kept"),
    trial(ServerError, "down", "kept"),
    trial(Truncated, "down", "kept"),
    trial(Garbage, "down", "kept"),
    trial(SlowDrip, "down", "kept"),
    test(Empty, "live", "gone", "tests/it/kubernetes.rs::slices_come_change_and_go"),
    trial(Reset, "live", "kept"),
    trial(LeaderLoss, "down", "kept"),
    trial(AuthLost, "down", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const DOCKER: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    trial(Hangs, "down", "kept"),
    trial(ServerError, "down", "kept"),
    trial(Truncated, "down", "kept"),
    trial(Garbage, "down", "kept"),
    trial(SlowDrip, "down", "kept"),
    trial(Empty, "live", "last resort"),
    none(Reset, "its events have no index; each life lists anew"),
    none(LeaderLoss, "an engine is alone"),
    trial(AuthLost, "down", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const DNS: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    trial(Hangs, "down", "kept"),
    trial(ServerError, "doubt", "kept"),
    trial(Truncated, "doubt", "kept"),
    trial(Garbage, "down", "kept"),
    trial(SlowDrip, "down", "kept"),
    trial(Empty, "live", "last resort"),
    none(Reset, "answers have no index"),
    none(LeaderLoss, "a name server is alone; another one is asked in its place"),
    trial(AuthLost, "doubt", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const FILE: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    test(Hangs, "down", "kept", "tests/it/operate/stalled.rs::files_that_hang_are_the_fault_of_their_source_alone"),
    none(ServerError, "a disk has no such answer"),
    trial(Truncated, "skipped", "kept"),
    trial(Garbage, "skipped", "kept"),
    none(SlowDrip, "a file is read when it stopped changing; half of it is `truncated`"),
    trial(Empty, "live", "gone"),
    none(Reset, "a file has no index"),
    none(LeaderLoss, "a disk is alone"),
    none(AuthLost, "the same as `garbage`: a file that cannot be read stands as it was"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const SAME: &str = "it is part of the router: nothing lies between";

const EMBEDDED: [Cell; 12] = [
    none(Refuses, SAME),
    none(Hangs, SAME),
    none(ServerError, SAME),
    test(
        Truncated,
        "live",
        "kept",
        "crates/discovery/src/provider/embedded/journal/tests.rs::half_a_line_at_the_end_costs_only_that_line",
    ),
    test(
        Garbage,
        "live",
        "kept",
        "crates/discovery/src/provider/embedded/journal/tests.rs::a_damaged_file_is_set_aside_and_never_prevents_a_start",
    ),
    none(SlowDrip, SAME),
    test(
        Empty,
        "live",
        "gone",
        "crates/discovery/src/provider/embedded/registry/tests.rs::a_change_is_pushed_and_a_deregistration_named",
    ),
    test(
        Reset,
        "live",
        "kept",
        "crates/discovery/src/provider/embedded/journal/tests.rs::a_start_finds_what_was_written_and_a_higher_index",
    ),
    none(LeaderLoss, "a registry within a router is alone"),
    none(AuthLost, "reading it needs no right"),
    test(
        RestartEmpty,
        "live",
        "kept",
        "crates/discovery/src/provider/embedded/registry/tests.rs::a_restart_forgets_nothing_and_leases_run_anew",
    ),
    CLOCK,
];

pub(crate) const SOURCES: [(&str, [Cell; 12]); 8] = [
    ("consul", CONSUL),
    ("etcd", ETCD),
    ("zookeeper", ZOOKEEPER),
    ("kubernetes", KUBERNETES),
    ("docker", DOCKER),
    ("dns", DNS),
    ("file", FILE),
    ("embedded", EMBEDDED),
];

/// The cells of a source.
pub(crate) fn of(source: &str) -> &'static [Cell] {
    &SOURCES.iter().find(|(name, _)| *name == source).expect("a source").1
}
