use std::path::Path;

use super::*;

fn read(yaml: &str) -> Result<Settings, String> {
    settings::parse(yaml, Path::new("router.yml"), &|_| None).map_err(|e| e.to_string())
}

/// Address, environments, environment_only of each instance of a service.
fn listed(settings: &Settings, service: &str) -> Vec<String> {
    settings.services[service]
        .iter()
        .map(|i| {
            let environments: Vec<_> = i.environments.iter().map(Tag::as_str).collect();
            format!("{} {environments:?} {}", i.endpoint.address, i.environment_only)
        })
        .collect()
}

#[test]
fn all_forms_of_lists_are_read() {
    let all = read(
        r#"
services:
  petstore: ["https://10.0.0.1:9443", { url: "h2c://10.0.0.2", weight: 5, tags: [b, a], zone: east, id: two, labels: { version: 1.10 } }]
  "petstore|test": "https://10.0.1.1:9443"
  com.networknt.ad-1.0.0: https://localhost:7444,https://localhost:7445?environment=0001
  empty: []
"#,
    )
    .unwrap();
    assert_eq!(
        listed(&all, "petstore"),
        ["10.0.0.1:9443 [] false", "10.0.0.2:80 [] false", "10.0.1.1:9443 [\"test\"] true"]
    );
    assert_eq!(listed(&all, "com.networknt.ad-1.0.0"), ["localhost:7444 [] false", "localhost:7445 [\"0001\"] false"]);
    let two = &all.services["petstore"][1];
    assert_eq!((two.weight, two.id.as_str(), two.zone.as_deref()), (5, "two", Some("east")));
    assert_eq!(two.label("version"), Some("1.10"));
    assert_eq!(two.tags[0].as_str(), "a");
    assert!(all.services["empty"].is_empty(), "known to be empty, not unknown");
}

#[test]
fn an_instance_under_several_keys_is_one() {
    let all =
        read(r#"services: { a: "http://h:1", "a|test": "http://h:1, http://h:2", "a|dev": ["http://h:2"] }"#).unwrap();
    assert_eq!(listed(&all, "a"), ["h:1 [\"test\"] false", "h:2 [\"dev\", \"test\"] true"]);
    let error = read(r#"services: { a: "http://h:1", "a|test": "https://h:1" }"#).unwrap_err();
    assert!(error.contains("h:1 twice"), "{error}");
}

#[test]
fn errors_point_at_the_value() {
    for (yaml, place, part) in [
        ("services:\n  a: [\"http://h:1\", \"h:2\"]", "router.yml:2:21", "write http://"),
        ("services:\n  a: { url: \"http://h:1\" }", "router.yml:2:6", "list of URLs"),
        ("services:\n  a: [{ url: \"http://h:x\" }]", "router.yml:2:14", "1 to 65535"),
        ("services:\n  a: [{ url: \"http://h:1\", wieght: 2 }]", "router.yml:2:", "weight"),
        ("services:\n  a: \"http://h:1, ftp://x\"", "router.yml:2:6", "ftp://x"),
        ("services:\n  \"a b\": []", "router.yml:2:3", "service name"),
        ("servces: {}", "router.yml:1:1", "services"),
    ] {
        let error = read(yaml).unwrap_err();
        assert!(error.starts_with(place) && error.contains(part), "{yaml}\n{error}");
    }
}
