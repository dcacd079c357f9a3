//! The valid name closest to a mistyped one.

/// Letters that two words must begin with to be forms of one.
const STEM: usize = 4;

/// `; did you mean "balance"? (allowed: balance, tls)`, as far as there is something to say.
pub(crate) fn did_you_mean(name: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return "; nothing is allowed here".to_owned();
    }
    let guess = nearest(name, allowed).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    format!("{guess} (allowed: {})", allowed.join(", "))
}

/// The candidate with the fewest edits, if so few that it may be meant: one edit for each three characters. Else one that
/// begins as the name does, but for its end: `retries` for `retry`.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let name = folded(name);
    let near = candidates
        .iter()
        .map(|candidate| (distance(&name, &folded(candidate)), *candidate))
        .filter(|(edits, _)| *edits <= (name.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate);
    let stem = &name[..name.len().saturating_sub(1)];
    let same_stem = |candidate: &&&str| stem.len() >= STEM && folded(candidate).starts_with(stem);
    near.or_else(|| candidates.iter().find(same_stem).copied())
}

/// `caFile`, `ca-file` and `ca_file` are the same word to the person who types.
fn folded(name: &str) -> Vec<char> {
    // A key of absurd length is near to nothing; cutting it bounds the work.
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).take(64).collect()
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours
/// (Damerau, "A technique for computer detection and correction of spelling errors", 1964).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest};

    #[test]
    fn finds_what_was_meant() {
        let keys = ["balance", "tls", "ca_file", "timeout", "port"];
        let check = |typed: &str, meant: Option<&str>| assert_eq!(nearest(typed, &keys), meant, "{typed}");
        check("balnce", Some("balance"));
        check("ablance", Some("balance"));
        check("caFile", Some("ca_file"));
        check("CA-File", Some("ca_file"));
        check("time_outs", Some("timeout"));
        check("tsl", Some("tls"));
        check("prt", Some("port"));
        assert_eq!(nearest("retry", &["rewrite", "retries", "service"]), Some("retries"));
        check("colour", None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }

    #[test]
    fn says_what_is_allowed() {
        assert_eq!(did_you_mean("prot", &["port", "host"]), "; did you mean \"port\"? (allowed: port, host)");
        assert_eq!(did_you_mean("colour", &["port", "host"]), " (allowed: port, host)");
        assert_eq!(did_you_mean("port", &[]), "; nothing is allowed here");
    }
}
