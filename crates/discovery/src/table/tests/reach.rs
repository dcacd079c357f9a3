//! Who may reach a service, and behind whom they wait there.

use model::Exposure;

use super::*;

#[test]
fn exposure_follows_tags_and_not_routes() {
    let exposure = Exposure::Matching { services: [].into(), prefixes: vec![], tags: [tag("public")].into() };
    let policies = Policies { routed: [service("routed")].into(), exposure, ..policies() };
    let mut public = instance("x", 1);
    public.tags = [tag("public")].into();
    let table = table(
        policies,
        vec![("routed", vec![]), ("tagged", vec![public, instance("y", 2)]), ("hidden", vec![instance("y", 2)])],
    );
    let exposed = ["routed", "tagged", "hidden", "none"].map(|name| table.exposed(name).is_some());
    assert_eq!(exposed, [false, true, false, false]);
    assert!(["routed", "hidden"].into_iter().all(|name| table.service(name).is_some()));
    let hidden = then(&table, "tagged", vec![instance("y", 2)]).unwrap().table;
    assert!(hidden.exposed("tagged").is_none());
}

#[test]
fn a_service_that_lost_its_last_instance_is_exposed_as_that_was() {
    let exposure = Exposure::Matching { services: [].into(), prefixes: vec![], tags: [tag("public")].into() };
    let mut public = instance("x", 1);
    public.tags = [tag("public")].into();
    let first = table(Policies { exposure, ..policies() }, vec![("a", vec![public])]);
    let vacant = then(&first, "a", vec![]).unwrap().table;
    assert!(vacant.exposed("a").is_some());
    assert!(then(&vacant, "a", vec![]).is_none(), "nothing changed");
    let read_anew = Arc::new((*vacant.policies).clone());
    // A reload changes nothing, unless it is about exposure; and what it says is about the same tags.
    assert!(vacant.next([(service("a"), list(vec![]))], &read_anew, NOW).is_none());
    let by = |name: &str| {
        let exposure = Exposure::Matching { services: [].into(), prefixes: vec![], tags: [tag(name)].into() };
        Arc::new(Policies { exposure, ..policies() })
    };
    let hidden = vacant.next([(service("a"), list(vec![]))], &by("other"), NOW).unwrap().table;
    assert!(hidden.exposed("a").is_none());
    let again = hidden.next([(service("a"), list(vec![]))], &by("public"), NOW).unwrap().table;
    assert!(again.exposed("a").is_some());
    assert!(
        then(&again, "a", vec![instance("y", 2)]).unwrap().table.exposed("a").is_none(),
        "a new one says otherwise"
    );
}

#[test]
fn requests_wait_behind_those_for_the_same_environment() {
    let members = || vec![in_environment("x", 1, "dev", false), in_environment("y", 2, "test", false)];
    let open = table(policies(), vec![("a", members())]);
    let lines = |table: &Table| [None, Some("dev"), Some("test")].map(|name| table.service("a").unwrap().line(name));
    let [plain, dev, test] = lines(&open);
    assert!(plain != dev && dev != test && plain != test);
    // Whoever names no environment means that of the router.
    let [plain, dev, test] =
        lines(&table(Policies { environment: Some(tag("dev")), ..policies() }, vec![("a", members())]));
    assert!(plain == dev && dev != test);
}

/// Requests that name a service which is not there yet read the policies themselves.
#[test]
fn other_rules_for_names_are_followed_though_they_change_no_service() {
    let first = table(policies(), vec![("a", vec![instance("x", 1)])]);
    let same = || [(service("a"), list(vec![instance("x", 1)]))];
    assert!(first.next(same(), &Arc::new(policies()), NOW).is_none());
    let first_use = Some(crate::subscriptions::OnFirstUse {
        at_most: 1,
        idle: std::time::Duration::from_secs(60),
        rate: 1,
        unknown: std::time::Duration::ZERO,
        wait: std::time::Duration::ZERO,
    });
    let other = Arc::new(Policies { first_use, ..policies() });
    let second = first.next(same(), &other, NOW).expect("another table");
    assert!(second.table.policies.first_use.is_some() && second.arrived.is_empty() && second.departed.is_empty());
    assert!(Arc::ptr_eq(upstream(&first, "a", "x"), upstream(&second.table, "a", "x")));
}
