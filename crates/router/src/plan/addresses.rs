//! Where everything listens and writes: no address twice, and no directory. Two sockets cannot have one port if they have the same address, or one of
//! them has all.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use settings::{Located, Mistakes, Place, SettingsError};

use crate::settings::{Listener, Settings};

/// An address that is listened on.
struct Wanted {
    address: SocketAddr,
    /// Where the file says so; nowhere if it is a default.
    place: Place,
    /// What listens there.
    who: String,
}

/// Finds addresses that two want, of those that are written and those that are not. Tells the place of the later one that
/// is written, and who has it already.
pub(super) fn apart(settings: &Settings, mistakes: &mut Mistakes) {
    let mut taken: Vec<Wanted> = Vec::new();
    for wanted in all(settings) {
        if let Some(other) = taken.iter().find(|other| clash(other.address, wanted.address)) {
            let (at, other) = if wanted.place.line > 0 { (&wanted, other) } else { (other, &wanted) };
            mistakes.note(SettingsError::new(at.place.clone(), problem(at.address, other)));
        }
        taken.push(wanted);
    }
}

/// Finds directories that two registries would write to.
pub(super) fn folders_apart(settings: &Settings, mistakes: &mut Mistakes) {
    let mut taken: Vec<(&str, &Path)> = Vec::new();
    for (name, registry) in &settings.registries {
        let discovery::Settings::Embedded(embedded) = registry else { continue };
        let Some(directory) = embedded.directory.as_deref() else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == directory) {
            let problem = format!("registry {other:?} writes to {} too", directory.display());
            mistakes.note(SettingsError::at(name, problem).remedy("give each a `directory` of its own"));
        }
        taken.push((name, directory));
    }
}

fn all(settings: &Settings) -> Vec<Wanted> {
    let default = [Listener::default()];
    let listeners = if settings.listeners.is_empty() { &default[..] } else { &settings.listeners };
    let wanted = |address: &Located<SocketAddr>, what: &str| {
        let place = address.place().clone();
        let written = if place.line > 0 { place.path.as_str() } else { "by default" };
        Wanted { address: **address, who: format!("{what} ({written})"), place }
    };
    let mut all: Vec<Wanted> =
        listeners.iter().map(|listener| wanted(&listener.address, "a listener of clients")).collect();
    all.push(wanted(&settings.admin.address, "the admin listener"));
    for (name, registry) in &settings.registries {
        if let discovery::Settings::Embedded(embedded) = registry {
            let who = format!("where registry {:?} listens", **name);
            all.push(Wanted { address: embedded.address, place: name.place().clone(), who });
        }
    }
    all
}

fn problem(address: SocketAddr, other: &Wanted) -> String {
    let Wanted { address: same, who, .. } = other;
    match *same == address {
        true => format!("{address} is {who} too; choose another"),
        false => format!("{address} has the port of {same}, which is {who}; choose another"),
    }
}

/// Whether only one of them can be listened on. Our sockets for `[::]` take IPv4 too.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    let has_all = |all: IpAddr, other: IpAddr| all.is_unspecified() && (all.is_ipv6() || other.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (one == other || has_all(one, other) || has_all(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_have_each_port() {
        let clash = |a: &str, b: &str| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(clash(a, b), clash(b, a));
            clash(a, b)
        };
        for (a, b) in [("127.0.0.1:1", "127.0.0.1:1"), ("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "127.0.0.1:1")] {
            assert!(clash(a, b), "{a} {b}");
        }
        assert!(
            clash("[::]:1", "0.0.0.0:1") && clash("[::]:1", "[::1]:1") && clash("[::ffff:10.0.0.1]:1", "10.0.0.1:1")
        );
        for (a, b) in [("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:1", "127.0.0.2:1"), ("0.0.0.0:1", "[::1]:1")] {
            assert!(!clash(a, b), "{a} {b}");
        }
        assert!(!clash("0.0.0.0:0", "0.0.0.0:0"), "the system chooses");
    }

    #[test]
    fn defaults_count_as_if_they_were_written() {
        let said = |yaml: &str| {
            let settings: Settings = settings::parse(yaml, Path::new("router.yml"), &|_| None).unwrap();
            let mut mistakes = Mistakes::default();
            apart(&settings, &mut mistakes);
            mistakes.to_string()
        };
        for (yaml, expected) in [
            (
                "admin: { address: '127.0.0.1:8443' }",
                "admin.address: 127.0.0.1:8443 is a listener of clients (by default) too",
            ),
            (
                "listeners: [ { address: '127.0.0.1:8401' } ]",
                "listeners[0].address: 127.0.0.1:8401 is the admin listener (by default) too",
            ),
            (
                "listeners: [ { address: '0.0.0.0:1' }, { address: '127.0.0.1:1' } ]",
                "has the port of 0.0.0.0:1, which is a listener of clients (listeners[0].address); choose another",
            ),
            (
                "listeners: [ { address: '[::]:8401' } ]",
                "listeners[0].address: [::]:8401 has the port of 127.0.0.1:8401",
            ),
            (
                "registries: { a: { embedded: { address: '127.0.0.1:8401' } } }",
                "registries.a: 127.0.0.1:8401 is the admin listener (by default) too",
            ),
            (
                "registries: { a: { embedded: {} }, b: { embedded: {} } }",
                "registries.b: 127.0.0.1:8400 is where registry",
            ),
        ] {
            assert!(said(yaml).contains(expected), "{yaml}: {}", said(yaml));
        }
        for yaml in [
            "",
            "registries: { a: { embedded: {} } }",
            "listeners: [ { address: '127.0.0.1:0' } ]\nadmin: { address: '127.0.0.1:0' }",
        ] {
            assert_eq!(said(yaml), "", "{yaml}");
        }
    }
}
