//! The commands of the README's tour, and those the demonstration prints, pasted.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Output, Stdio},
};

use router::demo::{Addresses, Demo};
use testkit::Instance;

use super::{Block, blocks, document};

pub(super) fn curl_is_there() -> bool {
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        drop(writeln!(std::io::stderr(), "skipped: commands of the documents; curl is not installed"));
    }
    there
}

/// A running demonstration on ports the kernel chose.
async fn demo() -> Option<Demo> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let addresses = Addresses { listen: any, registry: any, admin: any };
    if curl_is_there() { Some(Demo::start(&addresses).await.expect("the demonstration starts")) } else { None }
}

/// The text with the ports of the documents as the demonstration has them.
fn ported(demo: &Demo, text: &str) -> String {
    let at = demo.router().addresses();
    let admin = at.admin.expect("an admin listener");
    replaced(text, &[("8443", at.clients[0].0.port()), ("8400", at.registries[0].1.port()), ("8401", admin.port())])
}

/// The text with other ports. In two steps, because a new port may hold the digits of an old one.
pub(super) fn replaced(text: &str, ports: &[(&str, u16)]) -> String {
    let marked = ports.iter().fold(text.to_owned(), |text, (port, _)| text.replace(port, &format!("<{port}>")));
    ports.iter().fold(marked, |text, (port, new)| text.replace(&format!("<{port}>"), &new.to_string()))
}

pub(super) async fn paste(script: String) -> Output {
    // A shell waits; the demonstration's services run on this runtime meanwhile.
    let run = move || Command::new("bash").args(["-euo", "pipefail", "-c", &script]).stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run);
    testkit::wait::bounded("a pasted command ends", output).await.expect("no panic").expect("bash runs")
}

pub(super) fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).replace('\r', "")
}

/// Whether the lines come in this order, where `...` stands for anything within a line.
fn shows(printed: &str, expected: &str) -> bool {
    let mut lines = printed.lines();
    expected.lines().all(|wanted| lines.any(|line| matches(line.trim(), wanted)))
}

fn matches(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || wanted.ends_with("...")
}

#[test]
fn expected_lines_are_compared_with_gaps() {
    for (line, wanted, expected) in [
        ("HTTP/2 503", "HTTP/2 503", true),
        ("HTTP/2 5031", "HTTP/2 503", false),
        ("a 1 b 2 c", "a ... c", true),
        ("a 1 b 2 c", "a ... b", false),
        ("a 1 b 2 c", "a ... b...", true),
        ("b", "a...", false),
    ] {
        assert_eq!(matches(line, wanted), expected, "{line:?} {wanted:?}");
    }
    assert!(shows("x\na\nb\n", "a\nb\n") && !shows("b\na\n", "a\nb\n"));
}

#[tokio::test]
async fn the_tour_of_the_readme_works_when_pasted() {
    let Some(demo) = demo().await else { return };
    let text_of_readme = document("README.md");
    let blocks = blocks("README.md", &text_of_readme);
    let mut pasted = 0;
    for (at, Block { text: script, place, .. }) in blocks.iter().enumerate().filter(|(_, block)| block.kind == "sh") {
        let output = paste(ported(&demo, script)).await;
        let (printed, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{place}: {}\n{printed}{errors}", output.status);
        if let Some(expected) = blocks.get(at + 1).filter(|block| block.kind == "text") {
            assert!(
                shows(&printed, &ported(&demo, &expected.text)),
                "{place}: expected\n{}got\n{printed}",
                expected.text
            );
        }
        pasted += 1;
    }
    assert!(pasted >= 7, "only {pasted} blocks found");
}

#[tokio::test]
async fn what_the_demonstration_prints_works_when_pasted() {
    let Some(demo) = demo().await else { return };
    let own = Instance::http().start().await;
    let tour = demo.tour().replace("\"port\":9000", &format!("\"port\":{}", own.addr().port()));
    let commands: Vec<&str> = tour.lines().filter(|line| line.starts_with("curl")).collect();
    assert!(commands.len() >= 8, "{tour}");
    for command in commands {
        let output = paste(command.to_owned()).await;
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        let printed = text(&output.stdout);
        let refused = printed.contains("\"statusCode\"");
        assert_eq!(refused, command.ends_with("/nowhere"), "{command}: {printed}");
    }
    assert_eq!(own.counts().requests(), 1, "the service that was registered by hand");
}
