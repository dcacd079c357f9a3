//! What registries have from us, as an operator sees it: read where alarms are set.

use serde_json::json;
use testkit::PATIENCE;
use tokio::time::Instant;

use super::rig::{admin, instances, serving};
use crate::{
    consul, etcd,
    registry::unique,
    support::{Config, Running},
};

/// The number of the only source.
async fn metric(router: &Running, name: &str) -> f64 {
    let text = admin(router.admin(), "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("pointsman_source_{name}{{source=\"main\"}} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits until a number is as wanted.
async fn until(router: &Running, name: &str, wanted: impl Fn(f64) -> bool) {
    testkit::until(name, async || metric(router, name).await, |value| wanted(*value)).await;
}

fn router(source: &str) -> Running {
    Config::new().set("registries", &format!("{{ main: {source} }}")).set("expose", "{ service: pets }").start()
}

#[tokio::test]
async fn a_change_in_etcd_costs_no_question_and_an_outage_few() {
    if etcd::rig::environment("ETCD_URL").is_none() {
        return;
    }
    let own = etcd::rig::Own::start("single").await;
    let registrar = etcd::rig::Registrar::clear(&own.urls[0]);
    let (all, record) = (instances(&["one", "two"]).await, |port: u16| json!({ "ip": "127.0.0.1", "port": port }));
    registrar.put("pets/one", &record(all[0].addr().port()).to_string()).await;
    let router = router(&format!("{{ etcd: {{ endpoints: {:?} }} }}", own.urls[0]));
    serving(&router, "pets", &["one"]).await;
    let (asked, read) = (metric(&router, "questions_total").await, metric(&router, "resyncs_total").await);
    assert!(asked >= 2.0 && read >= 1.0, "a list and a watch: {asked} {read}");
    registrar.put("pets/two", &record(all[1].addr().port()).to_string()).await;
    serving(&router, "pets", &["one", "two"]).await;
    assert_eq!(metric(&router, "questions_total").await, asked, "the watch tells of it");
    for quiet in ["failures_total", "pause_seconds", "oldest_seconds"] {
        assert_eq!(metric(&router, quiet).await, 0.0, "{quiet}");
    }

    let begun = Instant::now();
    own.node(1, "kill");
    until(&router, "failures_total", |failures| failures >= 2.0).await;
    until(&router, "pause_seconds", |pause| pause > 0.0).await;
    until(&router, "oldest_seconds", |oldest| oldest >= 1.0).await;
    let (outage, more) = (begun.elapsed().as_secs_f64(), metric(&router, "questions_total").await - asked);
    assert!((1.0..=10.0 + 10.0 * outage).contains(&more), "{more} questions in {outage} s");
    own.node(1, "start");
    until(&router, "oldest_seconds", |oldest| oldest == 0.0).await;
    until(&router, "pause_seconds", |pause| pause == 0.0).await;
    assert!(metric(&router, "resyncs_total").await > read, "after an outage everything is read");
}

#[tokio::test]
async fn a_change_in_consul_costs_as_much_whatever_else_there_is() {
    let Some(url) = consul::rig::environment("CONSUL_URL") else { return };
    let registrar = consul::rig::Registrar::clear(&url);
    let (service, all) = (unique("courtesy"), instances(&["one", "two"]).await);
    let record = |id: &str, port| json!({ "ID": id, "Name": service, "Address": "127.0.0.1", "Port": port });
    let ids = [unique("one"), unique("two")];
    registrar.register(&record(&ids[0], all[0].addr().port())).await;
    let source = format!("{{ consul: {{ url: {url:?} }} }}");
    let router = Config::new()
        .set("registries", &format!("{{ main: {source} }}"))
        .set("routes", &format!("[{{ prefix: /, service: {service} }}]"))
        .start();
    let members = async || router.table(&service).await["members"].as_array().map_or(0, Vec::len);
    testkit::until("one is there", members, |count| *count == 1).await;
    // The watch is open again by then.
    until(&router, "questions_total", |asked| asked >= 3.0).await;
    let asked = metric(&router, "questions_total").await;
    registrar.register(&record(&ids[1], all[1].addr().port())).await;
    testkit::until("two are there", members, |count| *count == 2).await;
    let waited = Instant::now();
    until(&router, "questions_total", |now| now > asked || waited.elapsed() > PATIENCE / 2).await;
    let more = metric(&router, "questions_total").await - asked;
    assert!((1.0..=2.0).contains(&more), "the watch is renewed: {more}");
    for id in &ids {
        registrar.deregister(id).await;
    }
}
