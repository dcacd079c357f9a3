mod learned;
mod reach;
mod sticky;

use std::collections::{BTreeMap, HashSet};

use balancer::Algorithm;
use model::{Instance, Protocol, Refusal, Standing, Tick, UpstreamKey};
use proptest::prelude::*;
use transport::Upstream;

use super::*;
use crate::testing::{ask, claimed, instance, policies, service, tag, with_protocol};

const NOW: Tick = Tick(1);

fn list(instances: Vec<Instance>) -> Option<Vec<crate::claims::Claimed>> {
    Some(instances.into_iter().map(|i| claimed(i.normalised())).collect())
}

fn table(policies: Policies, services: Vec<(&str, Vec<Instance>)>) -> Table {
    let touched = services.into_iter().map(|(name, instances)| (service(name), list(instances)));
    let policies = Arc::new(policies);
    Table::empty(policies.clone()).next(touched, &policies, NOW).unwrap().table
}

/// The same table with one service replaced.
fn then(table: &Table, name: &str, instances: Vec<Instance>) -> Option<Next> {
    table.next([(service(name), list(instances))], &table.policies, NOW)
}

fn upstream<'a>(table: &'a Table, name: &str, id: &str) -> &'a Arc<Upstream> {
    let members = &table.service(name).unwrap().members;
    &members.iter().find(|m| m.instance.id.as_str() == id).unwrap().upstream
}

/// The ids that can be picked one after the other without repetition, in order of choice.
fn picks(service: &Service, environment: Option<&str>) -> Vec<String> {
    let (mut tried, mut ids) = (Vec::new(), Vec::new());
    while let Ok(member) = service.pick(environment, &ask(&tried)) {
        assert!(!tried.contains(&member.upstream.key), "picked twice");
        tried.push(member.upstream.key);
        ids.push(member.instance.id.to_string());
    }
    ids
}

/// The same, sorted.
fn check(table: &Table, environment: Option<&str>, expected: &[&str]) {
    let mut ids = picks(table.service("a").unwrap(), environment);
    ids.sort();
    assert_eq!(ids, expected, "{environment:?}");
}

fn in_environment(id: &str, last: u8, environment: &str, only: bool) -> Instance {
    let mut instance = instance(id, last);
    instance.environments = [tag(environment)].into();
    instance.environment_only = only;
    instance
}

#[test]
fn an_unchanged_instance_keeps_its_upstream_whatever_else_changes() {
    let first = table(policies(), vec![("a", vec![instance("x", 1), instance("y", 2)])]);
    let mut heavier = instance("x", 1);
    heavier.weight = 7;
    heavier.standing = Standing::Draining;
    let Next { table: second, arrived, departed } =
        then(&first, "a", vec![heavier, instance("y", 3), instance("z", 2)]).unwrap();
    assert!(Arc::ptr_eq(upstream(&first, "a", "x"), upstream(&second, "a", "x")));
    assert_ne!(upstream(&first, "a", "y").key, upstream(&second, "a", "y").key, "another address");
    assert_eq!((arrived.len(), departed.len()), (2, 1));
    assert_eq!(departed[0].key, upstream(&first, "a", "y").key);
}

#[test]
fn a_service_keeps_what_was_learned_while_the_table_has_it() {
    let first = table(policies(), vec![("a", vec![instance("x", 1)]), ("b", vec![])]);
    let vitals = |table: &Table, name: &str| table.service(name).unwrap().vitals.clone();
    let second = then(&first, "a", vec![instance("y", 2)]).unwrap().table;
    assert!(Arc::ptr_eq(&vitals(&first, "a"), &vitals(&second, "a")), "other instances");
    assert!(!Arc::ptr_eq(&vitals(&first, "a"), &vitals(&first, "b")), "another service");
    let hold = std::time::Duration::from_secs(7);
    let reloaded = Arc::new(Policies { hold, ..with_protocol(policies(), Protocol::H2c, 1) });
    let touched = [(service("a"), list(vec![instance("y", 2)]))];
    let third = second.next(touched, &reloaded, NOW).unwrap().table;
    assert!(Arc::ptr_eq(&vitals(&first, "a"), &vitals(&third, "a")), "another policy");
}

#[test]
fn other_tls_settings_make_another_upstream_that_inherits_what_was_learned() {
    let first = table(with_protocol(policies(), Protocol::Https, 1), vec![("a", vec![instance("x", 1)])]);
    let touched = || [(service("a"), list(vec![instance("x", 1)]))];
    let same = Arc::new(with_protocol(policies(), Protocol::Https, 1));
    assert!(first.next(touched(), &same, NOW).is_none(), "equal settings, read anew");
    let renewed = Arc::new(with_protocol(policies(), Protocol::Https, 2));
    let Next { table: second, departed, .. } = first.next(touched(), &renewed, NOW).unwrap();
    let (old, new) = (upstream(&first, "a", "x"), upstream(&second, "a", "x"));
    assert_ne!(old.key, new.key);
    assert!(Arc::ptr_eq(&old.vitals, &new.vitals));
    assert_eq!(departed[0].key, old.key);
}

#[test]
fn the_registry_names_the_protocol_before_the_configuration_does() {
    let mut said = instance("x", 1);
    said.endpoint.protocol = Some(Protocol::H2c);
    let table = table(with_protocol(policies(), Protocol::Https, 1), vec![("a", vec![said, instance("y", 2)])]);
    assert_eq!(upstream(&table, "a", "x").protocol, Protocol::H2c);
    assert!(upstream(&table, "a", "x").tls.is_none());
    assert_eq!(upstream(&table, "a", "y").protocol, Protocol::Https);
    assert!(upstream(&table, "a", "y").tls.is_some());
}

#[test]
fn requests_without_environment_reach_all_but_reserved_ones() {
    let all = vec![instance("x", 1), in_environment("y", 2, "dev", false), in_environment("z", 3, "test", true)];
    let open = table(policies(), vec![("a", all.clone())]);
    check(&open, None, &["x", "y"]);
    check(&open, Some("dev"), &["y"]);
    check(&open, Some("test"), &["z"]);
    check(&open, Some("prod"), &[]);
    let own = Policies { environment: Some(tag("test")), ..policies() };
    let bound = table(own, vec![("a", all)]);
    check(&bound, None, &["z"]);
    check(&bound, Some("dev"), &["y"]);
}

/// Traefik 41.
#[test]
fn draining_members_get_new_requests_only_if_nobody_else_is_there() {
    let mut leaving = instance("x", 1);
    leaving.standing = Standing::Draining;
    let both = table(policies(), vec![("a", vec![leaving.clone(), instance("y", 2)])]);
    assert_eq!(picks(both.service("a").unwrap(), None), ["y", "x"]);
    let tried = [upstream(&both, "a", "y").key];
    assert_eq!(both.service("a").unwrap().admits(None, &ask(&tried)), Some(true), "a retry reaches it too");
    let alone = then(&both, "a", vec![leaving]).unwrap().table;
    assert_eq!(picks(alone.service("a").unwrap(), None), ["x"]);
}

#[test]
fn a_suspect_is_picked_only_after_all_others() {
    let mut suspect = claimed(instance("x", 1));
    suspect.resort = true;
    let policies = Arc::new(policies());
    let both = vec![suspect.clone(), claimed(instance("y", 2))];
    let table = Table::empty(policies.clone()).next([(service("a"), Some(both))], &policies, NOW).unwrap().table;
    assert_eq!(picks(table.service("a").unwrap(), None), ["y", "x"]);
    let alone = table.next([(service("a"), Some(vec![suspect]))], &policies, NOW).unwrap().table;
    assert_eq!(picks(alone.service("a").unwrap(), None), ["x"]);
    assert_eq!(alone.digest(), 0, "suspects are our own memory");
}

#[test]
fn a_new_instance_is_seen_when_it_comes_and_stays_of_that_age() {
    let first = table(policies(), vec![("a", vec![instance("x", 1)])]);
    let since = upstream(&first, "a", "x").since;
    let other = Arc::new(with_protocol(policies(), Protocol::Https, 2));
    let second =
        first.next([(service("a"), list(vec![instance("x", 1), instance("y", 2)]))], &other, Tick(2)).unwrap().table;
    assert_eq!(upstream(&second, "a", "x").since, since, "other TLS, same instance");
    assert_eq!((since, upstream(&second, "a", "y").since), (NOW, Tick(2)));
}

#[test]
fn another_way_to_balance_keeps_what_was_learned() {
    let first = table(policies(), vec![("a", vec![instance("x", 1), instance("y", 2)])]);
    upstream(&first, "a", "x").vitals.begin();
    for algorithm in [Algorithm::default(), Algorithm::RoundRobin] {
        let mut other = policies();
        other.default = Arc::new(crate::Policy { balance: algorithm.into(), ..(*other.default).clone() });
        let touched = [(service("a"), list(vec![instance("x", 1), instance("y", 2)]))];
        let Next { table: second, arrived, departed } = first.next(touched, &Arc::new(other), NOW).unwrap();
        assert!(arrived.is_empty() && departed.is_empty());
        assert!(Arc::ptr_eq(upstream(&first, "a", "x"), upstream(&second, "a", "x")));
        assert_eq!(upstream(&second, "a", "x").vitals.in_flight(), 1);
    }
}

/// Traefik 9289.
#[test]
fn a_service_without_instances_is_known_while_somebody_speaks_of_it() {
    let routed = Policies { routed: [service("a")].into(), ..policies() };
    let first = table(routed, vec![("a", vec![]), ("b", vec![]), ("c", vec![instance("x", 1)])]);
    let refused = first.service("b").unwrap().pick(None, &ask(&[]));
    assert_eq!(refused.err(), Some(Refusal::NoInstance));
    let gone = ["a", "b", "c"].map(|name| (service(name), None));
    let second = first.next(gone, &first.policies, NOW).unwrap();
    assert_eq!(second.departed.len(), 1);
    let names: Vec<_> = second.table.services().map(|s| s.id.as_str()).collect();
    assert_eq!((names, second.table.len()), (vec!["a"], 1), "only the routed one stays");
}

#[test]
fn whether_somebody_is_left_is_said_without_taking_a_turn() {
    let mut suspect = claimed(instance("x", 1));
    suspect.resort = true;
    let mut policies = policies();
    policies.default = Arc::new(crate::Policy { balance: Algorithm::RoundRobin.into(), ..(*policies.default).clone() });
    let policies = Arc::new(policies);
    let list = vec![suspect, claimed(instance("y", 2)), claimed(instance("z", 3))];
    let table = Table::empty(policies.clone()).next([(service("a"), Some(list))], &policies, NOW).unwrap().table;
    let service = table.service("a").unwrap();
    let keys: Vec<_> = service.members.iter().map(|m| m.upstream.key).collect();
    let mut picked = Vec::new();
    for _ in 0..4 {
        picked.push(service.pick(None, &ask(&[])).unwrap().instance.id.to_string());
        assert_eq!(service.admits(None, &ask(&keys[..1])), Some(true));
    }
    assert!(picked[0] != picked[1] && picked[0] == picked[2] && picked[1] == picked[3], "in turn: {picked:?}");
    assert_eq!(service.admits(None, &ask(&keys[1..])), Some(true), "a suspect is somebody");
    assert_eq!(service.admits(None, &ask(&keys)), None);
    assert_eq!(service.admits(Some("nowhere"), &ask(&[])), None);
    let resting = &service.members[1].upstream.vitals;
    resting.begin();
    resting.cut_off(ask(&[]).now, &balancer::Peers::default());
    assert_eq!(service.admits(None, &ask(&[keys[0], keys[2]])), Some(false), "it rests");
}

#[test]
fn another_environment_of_the_router_makes_every_service_anew() {
    let first = table(policies(), vec![("a", vec![in_environment("x", 1, "dev", false), instance("y", 2)])]);
    let dev = Arc::new(Policies { environment: Some(tag("dev")), ..policies() });
    let touched = [(service("a"), list(vec![in_environment("x", 1, "dev", false), instance("y", 2)]))];
    let second = first.next(touched, &dev, NOW).unwrap();
    check(&second.table, None, &["x"]);
    assert!(second.arrived.is_empty() && second.departed.is_empty());
}

/// SC Gateway 738, 2416.
#[test]
fn a_reader_sees_each_store_and_generations_follow_it() {
    let cell = TableCell::new(table(policies(), vec![("a", vec![instance("x", 1)])]));
    let (mut reader, mut generations) = (cell.reader(), cell.generations());
    assert_eq!(reader.load().generation, 1);
    let next = cell.with(|t| then(t, "a", vec![instance("y", 2)])).unwrap();
    let old = cell.store(next.table);
    assert!(generations.has_changed().unwrap());
    assert_eq!(*generations.borrow_and_update(), 2);
    assert_eq!(reader.load().generation, 2);
    assert_eq!(cell.load().generation, 2);
    assert_eq!(Arc::strong_count(&old), 1, "nobody else holds it");
}

/// Swaps under readers on other threads: each table they see is whole, and none is older than the one before.
#[test]
fn readers_see_whole_tables_in_their_order() {
    let cell = Arc::new(TableCell::new(table(policies(), vec![("a", vec![instance("x", 1), instance("y", 2)])])));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader = cell.reader();
            std::thread::spawn(move || {
                let mut last = 0;
                while last < 1000 {
                    let table = reader.load();
                    assert!(table.generation >= last);
                    last = table.generation;
                    assert_eq!(picks(table.service("a").unwrap(), None).len(), 2);
                }
            })
        })
        .collect();
    for n in 0..1000_u32 {
        let next = cell.with(|t| then(t, "a", vec![instance("x", 1), instance("y", 3 + (n % 2) as u8)])).unwrap();
        drop(cell.store(next.table));
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

/// A small world: services `a` to `d` with instances 0 to 5 at one of two addresses, of weight 1 or 2.
type World = BTreeMap<usize, BTreeMap<u8, (bool, u16)>>;

fn world() -> impl Strategy<Value = World> {
    let instances = proptest::collection::btree_map(0_u8..6, (any::<bool>(), 1_u16..3), 0..6);
    proptest::collection::btree_map(0_usize..4, instances, 0..4)
}

fn joined(world: &World, name: usize) -> Option<Vec<crate::claims::Claimed>> {
    let instances = world.get(&name)?;
    list(
        instances
            .iter()
            .map(|(n, (other, weight))| {
                let mut i = instance(&n.to_string(), n + 10 * u8::from(*other));
                i.weight = *weight;
                i
            })
            .collect(),
    )
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn turn(table: &Table, world: &World, order: &[usize]) -> Option<Next> {
    let touched = order.iter().map(|&n| (service(NAMES[n]), joined(world, n)));
    table.next(touched.collect::<Vec<_>>(), &table.policies, NOW)
}

/// Everything a request can see of a table, without the numbers of upstreams.
fn content(table: &Table) -> BTreeMap<String, Vec<Instance>> {
    let instances = |s: &Arc<Service>| s.members.iter().map(|m| (*m.instance).clone()).collect();
    table.services().map(|s| (s.id.to_string(), instances(s))).collect()
}

proptest! {
    #[test]
    fn upstreams_are_kept_exactly_while_their_identity_stays(before in world(), after in world()) {
        let empty = Table::empty(Arc::new(policies()));
        let first = turn(&empty, &before, &[0, 1, 2, 3]).map_or(empty, |n| n.table);
        let next = turn(&first, &after, &[0, 1, 2, 3]);
        let changed = content(&first) != next.as_ref().map_or_else(|| content(&first), |n| content(&n.table));
        prop_assert_eq!(next.is_some(), changed, "a new table if and only if something changed");
        let Some(Next { table: second, arrived, departed }) = next else { return Ok(()) };
        let all = |t: &Table| -> Vec<Arc<Upstream>> {
            t.services().flat_map(|s| s.members.iter().map(|m| m.upstream.clone())).collect()
        };
        let (old, new) = (all(&first), all(&second));
        let identity = |u: &Arc<Upstream>| (u.service.clone(), u.id.clone(), u.address.clone());
        for u in &new {
            let kept = old.iter().find(|o| identity(o) == identity(u));
            prop_assert_eq!(kept.map(|o| o.key), kept.map(|_| u.key));
        }
        let keys = |list: &[Arc<Upstream>]| list.iter().map(|u| u.key).collect::<HashSet<_>>();
        let (old, new) = (keys(&old), keys(&new));
        prop_assert_eq!(keys(&arrived), new.difference(&old).copied().collect());
        prop_assert_eq!(keys(&departed), old.difference(&new).copied().collect());
        prop_assert!(turn(&second, &after, &[0, 1, 2, 3]).is_none(), "idempotent");
        prop_assert_eq!(second.len(), second.services().count());
    }

    #[test]
    fn the_way_to_a_table_does_not_matter(
        worlds in proptest::collection::vec(world(), 1..4),
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let direct = Table::empty(Arc::new(policies()));
        let last = worlds.last().unwrap();
        let direct = turn(&direct, last, &[0, 1, 2, 3]).map_or(direct, |n| n.table);
        let mut table = Table::empty(Arc::new(policies()));
        for world in &worlds {
            for &service in &order {
                table = turn(&table, world, &[service]).map_or(table, |n| n.table);
            }
        }
        prop_assert_eq!(content(&table), content(&direct));
        prop_assert_eq!(table.digest(), direct.digest());
        for name in NAMES {
            let ids = |t: &Table| t.service(name).map(|s| { let mut p = picks(s, None); p.sort(); p });
            prop_assert_eq!(ids(&table), ids(&direct));
        }
    }

    /// Traefik 3944.
    #[test]
    fn tables_of_different_content_have_different_digests(one in world(), other in world()) {
        let empty = || Table::empty(Arc::new(policies()));
        let of = |w: &World| turn(&empty(), w, &[0, 1, 2, 3]).map_or_else(empty, |n| n.table);
        let (a, b) = (of(&one), of(&other));
        let served = |t: &Table| content(t).into_iter().filter(|(_, list)| !list.is_empty()).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(served(&a) == served(&b), a.digest() == b.digest());
    }
}
