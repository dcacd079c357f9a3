//! What clients do not notice: instances that fail, while others do not.

mod budget;
mod deadlines;
mod hedging;
mod replay;
mod retries;

use testkit::Instance;

use crate::support::{Config, Running};

/// A service `pets` of these instances, which get their turns, with these settings.
fn router(instances: &[&Instance], settings: &str) -> Running {
    urls(&instances.iter().map(|instance| instance.url()).collect::<Vec<_>>(), settings)
}

/// The same of these URLs.
fn urls(urls: &[String], settings: &str) -> Running {
    let services = format!("{{ pets: {{ balance: round_robin, {settings} }} }}");
    Config::new().service("pets", urls).set("services", &services).start()
}
