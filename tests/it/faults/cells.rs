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
    /// Nothing, because it cannot be.
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

const fn none(fault: Fault, why: &'static str) -> Cell {
    Cell { fault, shown: "", served: "", by: By::None(why) }
}

use Fault::{
    AuthLost, ClockJump, Empty, Garbage, Hangs, LeaderLoss, Refuses, Reset, RestartEmpty, ServerError, SlowDrip,
    Truncated,
};

const CLOCK: Cell = trial(ClockJump, "live", "kept");

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
    trial(AuthLost, "doubt", "kept"),
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
    trial(LeaderLoss, "down", "kept"),
    trial(AuthLost, "down", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const ZOOKEEPER: [Cell; 12] = [
    trial(Refuses, "down", "kept"),
    trial(Hangs, "down", "kept"),
    none(ServerError, "it has no such answer; each code of an error has its meaning"),
    trial(Truncated, "down", "kept"),
    trial(Garbage, "down", "kept"),
    trial(SlowDrip, "down", "kept"),
    trial(Empty, "live", "last resort"),
    trial(Reset, "live", "kept"),
    trial(LeaderLoss, "down", "kept"),
    trial(AuthLost, "doubt", "kept"),
    trial(RestartEmpty, "live", "last resort"),
    CLOCK,
];

const KUBERNETES: [Cell; 12] = [
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
    trial(Hangs, "down", "kept"),
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
    trial(Hangs, "live", "kept"),
    trial(ServerError, "live", "kept"),
    trial(Truncated, "live", "kept"),
    trial(Garbage, "live", "kept"),
    none(SlowDrip, SAME),
    trial(Empty, "live", "gone"),
    trial(Reset, "live", "kept"),
    none(LeaderLoss, "a registry within a router is alone"),
    none(AuthLost, "reading it needs no right"),
    trial(RestartEmpty, "live", "gone"),
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
