//! Clients that stay with their instance.

use super::*;

fn sticky() -> Policies {
    let carrier = crate::sticky::Carrier::Header(http::HeaderName::from_static("x-instance"));
    let sticky = Some(Arc::new(crate::Sticky { carrier, secret: None }));
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
    let first = table(sticky(), vec![("a", all())]);
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
    let mut closed = all();
    closed[0].weight = 0;
    assert_eq!(held(&then(&first, "a", closed).unwrap().table, "x", None, &[]).as_deref(), Some("x"), "nobody new");
    let vitals = &upstream(&first, "a", "x").vitals;
    vitals.begin();
    vitals.cut_off(Tick(1), &balancer::Peers::default());
    assert_eq!(held(&first, "x", None, &[]), None, "rests");
    assert!(table(policies(), vec![("a", all())]).service("a").unwrap().members[0].token.is_none(), "off");
}
