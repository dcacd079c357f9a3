//! `pointsman drain`: an instance gets no new requests, or requests again.

use std::io::Write;

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::Deserialize;
use transport::client::escaped;

use super::{Admin, Options, print};

/// The arguments of `pointsman drain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The service.
    service: String,
    /// The instance, as `pointsman table` names it.
    instance: String,
    /// Let it in again.
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    options: Options,
}

/// What became of it.
#[derive(Debug, Deserialize)]
struct Turned {
    changed: bool,
}

/// Asks for it, and tells what became of it.
///
/// # Errors
/// If no router answers, it knows no such instance, or it is not on this machine.
pub async fn run(arguments: Arguments, to: &mut impl Write) -> Result<(), String> {
    let Arguments { service, instance, undo, options: Options { admin, json } } = arguments;
    let admin = Admin::at(admin)?;
    let verb = if undo { "undrain" } else { "drain" };
    let path = format!("/table/{}/{}/{verb}", escaped(&service), escaped(&instance));
    let answer = admin.done(Method::POST, &path, Bytes::new()).await?;
    if json {
        return print(to, &format!("{}\n", String::from_utf8_lossy(&answer)));
    }
    let Turned { changed } = admin.read(&answer, "what became of it")?;
    let said = match (undo, changed) {
        (false, true) => "gets no new requests; what is under way ends",
        (false, false) => "is drained already",
        (true, true) => "gets requests again, unless something else keeps it out",
        (true, false) => "was not drained",
    };
    print(to, &format!("{service} {instance} {said}\n"))
}
