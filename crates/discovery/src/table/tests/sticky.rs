//! Clients that stay with their instance.

use super::*;

fn sticky(secret: Option<&str>) -> Policies {
    let carrier = crate::sticky::Carrier::Header(http::HeaderName::from_static("x-instance"));
    let sticky = Some(Arc::new(crate::Sticky { carrier, secret: secret.map(|text| text.to_owned().into()) }));
    let policy = crate::Policy { sticky, ..(*policies().default).clone() };
    Policies { default: Arc::new(policy), ..policies() }
}

fn token(table: &Table, id: &str) -> u64 {
    let members = &table.service("a").unwrap().members;
    members.iter().find(|m| m.instance.id.as_str() == id).and_then(|m| m.token).expect("sticky")
}

#[test]
fn a_token_holds_while_its_instance_takes_requests() {
    let all = || vec![instance("x", 1), instance("y", 2), in_environment("z", 3, "test", true)];
    let first = table(sticky(None), vec![("a", all())]);
    let held = |table: &Table, id: &str, environment: Option<&str>, tried: &[UpstreamKey]| {
        let found = table.service("a").unwrap().held(environment, token(&first, id), &ask(tried));
        found.map(|member| member.instance.id.to_string())
    };
    assert_eq!(held(&first, "x", None, &[]).as_deref(), Some("x"));
    assert_eq!(held(&first, "x", None, &[upstream(&first, "a", "x").key]), None, "tried");
    assert_eq!(held(&first, "z", None, &[]), None, "reserved for its environment");
    assert_eq!(held(&first, "z", Some("test"), &[]).as_deref(), Some("z"));
    assert_eq!(first.service("a").unwrap().held(None, 1, &ask(&[])).map(|m| &m.instance.id), None);

    let mut leaving = all();
    leaving[0].standing = Standing::Draining;
    assert_eq!(held(&then(&first, "a", leaving).unwrap().table, "x", None, &[]), None, "drains");
    assert_eq!(held(&then(&first, "a", all().split_off(1)).unwrap().table, "x", None, &[]), None, "left");
    let vitals = &upstream(&first, "a", "x").vitals;
    vitals.begin();
    vitals.cut_off(Tick(1), &balancer::Peers::default());
    assert_eq!(held(&first, "x", None, &[]), None, "rests");
    assert!(table(policies(), vec![("a", all())]).service("a").unwrap().members[0].token.is_none(), "off");
}

/// Anybody can make a token that has no secret in it. It opens nothing that is closed to others.
#[test]
fn a_token_without_a_secret_reaches_nobody_whom_a_pick_would_not() {
    let priority = |mut instance: Instance| {
        instance.labels = [("priority".into(), "1".into())].into();
        instance
    };
    let closed = Instance { weight: 0, ..instance("x", 1) };
    let all = || vec![closed.clone(), instance("y", 2), priority(instance("z", 3))];
    for (secret, reached) in [(None, vec!["y"]), (Some("s3cret"), vec!["x", "y", "z"])] {
        let first = table(sticky(secret), vec![("a", all())]);
        let service = first.service("a").unwrap();
        let held = |now| {
            let ask = balancer::Ask { now, ..ask(&[]) };
            let found = ["x", "y", "z"].into_iter().filter(|id| service.held(None, token(&first, id), &ask).is_some());
            found.collect::<Vec<_>>()
        };
        assert_eq!(held(Tick(1)), reached, "{secret:?}");
        // What stood by is used now.
        let (vitals, now) = (&upstream(&first, "a", "y").vitals, Tick(1_000_000_000));
        vitals.begin();
        vitals.cut_off(now, &balancer::Peers::default());
        assert!(held(now).contains(&"z"), "{secret:?}");
    }
}
