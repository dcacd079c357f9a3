//! `pointsman ready`: whether the router wants traffic, for scripts and containers without curl.

use std::{io::Write, net::SocketAddr};

use bytes::Bytes;
use clap::Args;
use http::Method;

use super::{Admin, print};

/// The arguments of `pointsman ready`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The router's admin listener.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8401")]
    admin: SocketAddr,
}

/// Asks, and tells the answer.
///
/// # Errors
/// What the router waits for, or that none answers.
pub async fn run(arguments: Arguments, to: &mut impl Write) -> Result<(), String> {
    let answer = Admin::at(arguments.admin)?.ask(Method::GET, "/health/ready", Bytes::new()).await?;
    if answer.status.is_success() {
        return print(to, "ready\n");
    }
    Err(format!("not ready: {}", String::from_utf8_lossy(&answer.body).trim()))
}
