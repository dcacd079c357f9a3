//! The connection string, as every ZooKeeper client takes it: `host:port,host:port/chroot`.

use crate::provider::host;

/// The port of a server that names none.
const PORT: u16 = 2181;

/// Servers of one ensemble, and the node that is the root for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Servers {
    /// `host:port` of each.
    pub(super) authorities: Vec<String>,
    /// Empty, or `/like/this`.
    pub(super) chroot: String,
}

impl Servers {
    /// Reads a connection string.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (list, chroot) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        if text.contains("://") {
            return Err(format!("servers {text:?}: write host:port without a scheme; `tls: true` asks for TLS"));
        }
        let authorities = list.split(',').map(|one| authority(one.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { authorities, chroot: path(chroot).map_err(|why| format!("servers: chroot {chroot:?} {why}"))? })
    }
}

fn authority(text: &str) -> Result<String, String> {
    let wrong = || format!("servers: {text:?} is not host:port; separate several by commas");
    // Brackets around IPv6 keep its colons apart from the port's.
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok().filter(|port| *port > 0)),
        _ => (text, Some(PORT)),
    };
    let (host, port) = (host::of_url(name).ok_or_else(wrong)?, port.ok_or_else(wrong)?);
    Ok(format!("{host}:{port}"))
}

/// A path without a slash at its end; the root is empty. The error completes a sentence.
pub(super) fn path(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim_end_matches('/');
    let good = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    match trimmed.strip_prefix('/') {
        None if trimmed.is_empty() => Ok(String::new()),
        Some(parts) if parts.split('/').all(good) => Ok(trimmed.to_owned()),
        _ => Err("is not a path: write it like /services, with names between single slashes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, authorities: &[&str], chroot: &str) {
        let servers = Servers::parse(text).unwrap();
        assert_eq!(
            (servers.authorities.iter().map(String::as_str).collect::<Vec<_>>(), &*servers.chroot),
            (authorities.to_vec(), chroot)
        );
    }

    #[test]
    fn servers_ports_and_a_chroot_are_read() {
        check("zk1:2182", &["zk1:2182"], "");
        check(
            "zk1, zk2:2182,[::1],10.0.0.1/prod/eu/",
            &["zk1:2181", "zk2:2182", "[::1]:2181", "10.0.0.1:2181"],
            "/prod/eu",
        );
        check("[2001:db8::1]:99/", &["[2001:db8::1]:99"], "");
    }

    #[test]
    fn what_is_no_connection_string_is_refused_with_the_form() {
        for (text, part) in [
            ("", "host:port"),
            ("zk1,,zk2", "host:port"),
            ("zk1:0", "host:port"),
            ("zk1:port", "host:port"),
            ("::1", "host:port"),
            ("zk1//a", "chroot"),
            ("zk1/a/../b", "chroot"),
            ("zookeeper://zk1:2181", "without a scheme"),
        ] {
            let error = Servers::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
