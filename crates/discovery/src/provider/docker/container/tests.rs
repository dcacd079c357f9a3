use serde_json::json;

use super::*;

const ID: &str = "fb533bce3e3e06ed99fa0e612518dd0dfdb69951dc1d27b677f28f4f0a0a6666";

/// As Docker 20.10 answers, shortened; these labels and changes put in.
fn inspection(labels: &Value, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = json!({
        "Id": ID, "Name": "/w1", "Image": "sha256:2c23504d30be",
        "State": { "Status": "running", "Running": true, "Paused": false, "Health": { "Status": "healthy", "Log": [] } },
        "Config": { "Image": "shop/pets:1", "Labels": labels, "ExposedPorts": { "8080/tcp": {}, "53/udp": {} } },
        "HostConfig": { "NetworkMode": "default" },
        "NetworkSettings": {
            "Ports": { "8080/tcp": [ { "HostIp": "::", "HostPort": "32768" }, { "HostIp": "0.0.0.0", "HostPort": "32769" } ] },
            "Networks": { "bridge": { "IPAddress": "10.214.45.2", "GlobalIPv6Address": "", "Links": null } }
        }
    });
    change(&mut body);
    body.to_string().into_bytes()
}

fn pets() -> Value {
    json!({ "pointsman.service": "pets" })
}

fn address(body: &[u8], settings: &Settings) -> Result<String, String> {
    let container = read(body, settings).unwrap();
    match container.instances.first() {
        Some((_, instance)) => Ok(instance.endpoint.address.to_string()),
        None => Err(container.skipped.first().cloned().unwrap_or_default()),
    }
}

#[test]
fn a_container_is_an_instance_with_all_that_its_labels_say() {
    let labels = json!({ "pointsman.service": "pets", "pointsman.protocol": "h2c", "pointsman.weight": "3",
        "pointsman.tags": "public,blue", "pointsman.zone": "a", "pointsman.meta.version": "2", "pointsman.meta.image": "x" });
    let container = read(&inspection(&labels, |_| ()), &Settings::default()).unwrap();
    let (service, instance) = &container.instances[0];
    assert_eq!((service.as_str(), instance.id.as_str()), ("pets", "w1@fb533bce3e3e"));
    assert_eq!(instance.endpoint.address.to_string(), "10.214.45.2:8080");
    assert_eq!(instance.endpoint.protocol, Some(model::Protocol::H2c));
    assert_eq!((instance.weight, instance.zone.as_deref()), (3, Some("a")));
    assert!(instance.is_in("blue") && instance.tags.len() == 2);
    let label = |name| instance.label(name);
    assert_eq!((label("version"), label("container"), label("image")), (Some("2"), Some("w1"), Some("x")));
}

#[test]
fn who_is_not_well_takes_no_requests_unless_that_is_ignored() {
    let (strict, lenient) = (Settings::default(), Settings { ignore_health: true, ..Settings::default() });
    for (state, takes, would) in [
        (json!({ "Status": "running" }), true, true),
        (json!({ "Status": "running", "Health": null }), true, true),
        (json!({ "Status": "running", "Health": { "Status": "" } }), true, true),
        (json!({ "Status": "running", "Health": { "Status": "none" } }), true, true),
        (json!({ "Status": "running", "Health": { "Status": "starting" } }), false, true),
        (json!({ "Status": "running", "Health": { "Status": "unhealthy" } }), false, true),
        (json!({ "Status": "paused", "Health": { "Status": "healthy" } }), false, false),
        (json!({ "Status": "exited" }), false, false),
        (json!({ "Status": "a word of tomorrow" }), false, false),
    ] {
        let body = inspection(&pets(), |body| body["State"] = state.clone());
        let count = |settings| read(&body, settings).unwrap().instances.len();
        assert_eq!((count(&strict), count(&lenient)), (takes.into(), would.into()), "{state}");
    }
}

#[test]
fn the_address_is_the_containers_own_on_a_network_that_is_certain() {
    let two = |body: &mut Value| body["NetworkSettings"]["Networks"]["shop"] = json!({ "IPAddress": "10.0.5.9" });
    let settings = Settings::default();
    let error = address(&inspection(&pets(), two), &settings).unwrap_err();
    assert!(error.contains("bridge, shop") && error.contains("label network"), "{error}");
    let named = Settings { network: Some("shop".into()), ..settings.clone() };
    assert_eq!(address(&inspection(&pets(), two), &named).unwrap(), "10.0.5.9:8080");
    let labels = json!({ "pointsman.service": "pets", "pointsman.network": "bridge", "pointsman.port": "9" });
    assert_eq!(address(&inspection(&labels, two), &named).unwrap(), "10.214.45.2:9");
    let error = address(&inspection(&pets(), |_| ()), &named).unwrap_err();
    assert!(error.contains("no address on the network \"shop\""), "{error}");

    let six = |body: &mut Value| {
        body["NetworkSettings"]["Networks"] =
            json!({ "b": { "IPAddress": "", "GlobalIPv6Address": "fd00::2" }, "c": null });
    };
    assert_eq!(address(&inspection(&pets(), six), &settings).unwrap(), "[fd00::2]:8080");
    let none = |body: &mut Value| body["NetworkSettings"]["Networks"] = Value::Null;
    assert!(address(&inspection(&pets(), none), &settings).unwrap_err().contains("no address on any network"));
}

#[test]
fn the_port_is_the_only_one_or_the_one_that_is_said() {
    let ports = |list: Value| {
        move |body: &mut Value| {
            body["Config"]["ExposedPorts"] = list;
            body["NetworkSettings"]["Ports"] = Value::Null;
        }
    };
    let settings = Settings::default();
    let told = |list| address(&inspection(&pets(), ports(list)), &settings);
    assert!(told(json!({ "1/tcp": {}, "2/tcp": {} })).unwrap_err().contains("label port"));
    assert!(told(Value::Null).unwrap_err().contains("exposes no port"));
    assert_eq!(told(json!({ "1/tcp": {}, "2/udp": {} })).unwrap(), "10.214.45.2:1");
}

#[test]
fn published_ports_and_the_hosts_network_are_reached_at_the_host() {
    let published = Settings { address: settings::Address::Published, ..Settings::default() };
    assert_eq!(address(&inspection(&pets(), |_| ()), &published).unwrap(), "127.0.0.1:32769");
    let remote = Settings { url: "http://10.0.0.1:2375".into(), ..published.clone() };
    assert_eq!(address(&inspection(&pets(), |_| ()), &remote).unwrap(), "10.0.0.1:32769");
    let bound = |ip: &'static str| {
        move |body: &mut Value| {
            body["NetworkSettings"]["Ports"]["8080/tcp"] = json!([ { "HostIp": ip, "HostPort": "5" } ]);
        }
    };
    assert_eq!(address(&inspection(&pets(), bound("10.9.9.9")), &remote).unwrap(), "10.9.9.9:5");
    assert_eq!(address(&inspection(&pets(), bound("")), &remote).unwrap(), "10.0.0.1:5");
    assert_eq!(address(&inspection(&pets(), bound("127.0.0.1")), &published).unwrap(), "127.0.0.1:5");
    assert!(address(&inspection(&pets(), bound("127.0.0.1")), &remote).unwrap_err().contains("loopback"));
    let closed = |body: &mut Value| body["NetworkSettings"]["Ports"]["8080/tcp"] = Value::Null;
    assert!(address(&inspection(&pets(), closed), &published).unwrap_err().contains("publishes no port for 8080"));

    let mode = |mode: &'static str| {
        move |body: &mut Value| {
            body["HostConfig"]["NetworkMode"] = json!(mode);
            body["NetworkSettings"] = json!({});
        }
    };
    assert_eq!(address(&inspection(&pets(), mode("host")), &Settings::default()).unwrap(), "127.0.0.1:8080");
    assert_eq!(address(&inspection(&pets(), mode("host")), &remote).unwrap(), "10.0.0.1:8080");
    let shared = address(&inspection(&pets(), mode("container:abc")), &published).unwrap_err();
    assert!(shared.contains("label that one"), "{shared}");
}

#[test]
fn a_list_is_read_container_by_container() {
    let read = list(
        br#"[{"Id":"a","Labels":{"pointsman.service":"x"}},{"Id":"b","Labels":null},{"Id":"c"},{"Id":7},
             {"Id":"d","State":"a word of tomorrow","Labels":{"pointsman.services.y.port":"1"}}]"#,
    );
    let (ids, odd) = read.unwrap();
    assert_eq!((ids.into_iter().collect::<Vec<_>>(), odd.len()), (vec!["a".to_owned(), "d".to_owned()], 1));
    for none in ["{}", "[null]", r#"[{"ID":"a"},{"ID":"b"}]"#] {
        assert!(list(none.as_bytes()).is_err(), "{none}");
    }
    assert_eq!(list(b"[]").unwrap(), Default::default());
}
