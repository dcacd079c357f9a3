//! Retries never multiply an outage.

use testkit::{Client, Instance, Reply, get};
use tokio::time::Instant;

use super::router;
use crate::support::{Front, Running};

const PETS: [(&str, &str); 1] = [("service_id", "pets")];

async fn total_outage(settings: &str, requests: u64) -> (u64, Running) {
    let busy = || Instance::h2c().answer(|_| Reply::script().head(503).data("busy")).start();
    let instances = (busy().await, busy().await, busy().await);
    let router = router(&[&instances.0, &instances.1, &instances.2], settings);
    let client = router.client(Front::H2c).await;
    for _ in 0..requests {
        let answer = client.send(get("/", &PETS)).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "busy"));
    }
    (instances.0.counts().requests() + instances.1.counts().requests() + instances.2.counts().requests(), router)
}

/// Caddy 6259, 4245.
#[tokio::test]
async fn in_a_total_outage_instances_get_a_fifth_more_requests_and_no_more() {
    let settings = "retries: { budget: { share: 20%, floor: 0 }, backoff: { base: 0ms, longest: 0ms } }";
    let (delivered, router) = total_outage(settings, 300).await;
    assert!((350..=360).contains(&delivered), "{delivered} deliveries of 300 requests");
    let table = router.table("pets").await;
    assert_eq!(table["retries"]["allowed"], delivered - 300);
    assert!(table["retries"]["refused"].as_u64().unwrap() >= 240, "{table}");
    let metrics = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    for line in [
        format!("pointsman_retries_total{{fault=\"503\"}} {}", delivered - 300),
        format!("pointsman_retries_withheld_total{{reason=\"budget\"}} {}", table["retries"]["refused"]),
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn by_default_a_quiet_service_has_ten_retries_a_second() {
    let start = Instant::now();
    let (delivered, _router) = total_outage("", 60).await;
    let seconds = start.elapsed().as_secs() + 2;
    assert!(delivered <= 60 + 10 * seconds + 12, "{delivered} in {seconds} s");
    assert!(delivered >= 70, "{delivered}: the floor was not granted");
}
