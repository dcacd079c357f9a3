//! A network namespace with one wire to it, which can lose all packets: what a real network does, where it takes TCP its
//! time to find out that it is whole again. Needs root, `ip` and `iptables`; touches nothing of the machine's own network
//! but for the near end of the wire.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd,
    process::{Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Removed at the end, and the wire with it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    /// Of its end of the wire.
    address: Ipv4Addr,
}

impl Namespace {
    pub(crate) fn make() -> Self {
        let id = std::process::id();
        let (name, near, far) = (format!("freshness-{id}"), format!("fn{id}"), format!("ff{id}"));
        let [third, fourth] = [(id >> 6).to_le_bytes()[0], (id << 2).to_le_bytes()[0]];
        let [here, there] = [1, 2].map(|host| Ipv4Addr::new(10, 213, third, fourth | host));
        let namespace = Self { name: name.clone(), address: there };
        run("ip", &["netns", "add", &name]);
        run("ip", &["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &name]);
        run("ip", &["address", "add", &format!("{here}/30"), "dev", &near]);
        run("ip", &["link", "set", &near, "up"]);
        run("ip", &["-n", &name, "address", "add", &format!("{there}/30"), "dev", &far]);
        run("ip", &["-n", &name, "link", "set", &far, "up"]);
        namespace
    }

    /// A socket in it. Whoever accepts from it may be anywhere.
    pub(crate) fn listener(&self) -> TcpListener {
        let (path, address) = (format!("/run/netns/{}", self.name), SocketAddr::from((self.address, 0)));
        // Of a thread's own: the namespace is one of threads.
        let bound = std::thread::spawn(move || {
            let namespace = File::open(path).expect("the namespace is there");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
            TcpListener::bind(address).expect("a free port")
        });
        let listener = bound.join().expect("it ends in order");
        listener.set_nonblocking(true).expect("a socket");
        listener
    }

    /// From now on every packet is lost, in either direction, and nobody is told.
    pub(crate) fn cut(&self) {
        self.policy("DROP");
    }

    /// Packets pass again. What was lost is sent again when TCP thinks fit.
    pub(crate) fn heal(&self) {
        self.policy("ACCEPT");
    }

    /// How many came from the near end since the last cut and were lost; to be asked before it is healed.
    pub(crate) fn lost(&self) -> u64 {
        let list = run("ip", &["netns", "exec", &self.name, "iptables", "-nvxL", "INPUT"]);
        // Chain INPUT (policy DROP 12 packets, 720 bytes)
        let count = list.split("DROP ").nth(1).and_then(|rest| rest.split(' ').next());
        count.and_then(|count| count.parse().ok()).expect("a chain that loses everything, and counts")
    }

    fn policy(&self, policy: &str) {
        for chain in ["INPUT", "OUTPUT"] {
            run("ip", &["netns", "exec", &self.name, "iptables", "-P", chain, policy]);
            run("ip", &["netns", "exec", &self.name, "iptables", "-Z", chain]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run("ip", &["netns", "delete", &self.name]);
    }
}

/// What it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("root has the tools");
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}
