//! Signals, as engines and images name them. Pure.

/// Those by which any container is told to end: INT, QUIT, KILL, TERM. Others mean something to the program only, unless
/// one of them is the signal by which the container says that it wants to be stopped.
const ENDS: [u8; 4] = [2, 3, 9, 15];

/// The signals of Linux, from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
/// The first and the last of the real-time signals, as the C library counts.
const REAL_TIME: (u8, u8) = (34, 64);

/// The number of a signal: `10`, `SIGUSR1`, `USR1`, `SIGRTMIN+3`.
pub(super) fn number(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse() {
        return Some(number).filter(|number| (1..=REAL_TIME.1).contains(number));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(at) = (1..).zip(NAMES).find_map(|(number, known)| (known == name).then_some(number)) {
        return Some(at);
    }
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => REAL_TIME.0,
        (_, Some("")) => REAL_TIME.1,
        (Some(more), _) => REAL_TIME.0.checked_add(more.strip_prefix('+')?.parse().ok()?)?,
        (_, Some(less)) => REAL_TIME.1.checked_sub(less.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
}

/// Whether a container to which this is the signal to stop is told to end by that one.
pub(super) fn ends(signal: u8, stop: Option<u8>) -> bool {
    ENDS.contains(&signal) || stop == Some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_number_and_by_name() {
        let known = [("15", 15), ("SIGTERM", 15), ("usr1", 10), ("SIGWINCH", 28), ("SIGSYS", 31)];
        let real_time = [("SIGRTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("SIGRTMAX", 64)];
        for (text, expected) in known.into_iter().chain(real_time) {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in ["", "0", "65", "-1", "SIG", "SIGNONE", "SIGRTMIN-1", "SIGRTMIN+31", "RTMIN+300", "RTMAX-31"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert!(ends(15, None) && ends(9, Some(10)) && ends(10, Some(10)) && !ends(1, Some(10)) && !ends(10, None));
    }
}
