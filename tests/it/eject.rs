//! Instances that fail are put out and come back; clients that fail put nobody out.

mod answers;
mod black_hole;
mod breaker;
mod explained;
mod knocks;
mod probe;
mod suspects;

use std::time::Duration;

use serde_json::Value;
use testkit::{Client, get};

use crate::support::Running;

/// What the admin page says of the instance at this URL.
async fn member(router: &Running, url: &str) -> Value {
    let table = router.table("pets").await;
    let address = url.split("//").nth(1).unwrap();
    let members = table["members"].as_array().unwrap();
    members.iter().find(|m| m["address"] == address).expect("the instance").clone()
}

/// Waits until that says this of its circuit: `open`, `half_open`, `held`, or nothing.
async fn until_circuit(router: &Running, url: &str, state: Option<&str>) -> Value {
    testkit::bounded("a circuit", async {
        loop {
            let member = member(router, url).await;
            if member["circuit"]["state"].as_str() == state {
                return member;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// The text of an admin page.
async fn page(router: &Running, path: &str) -> String {
    Client::http(router.admin()).await.send(get(path, &[])).await.text()
}
