//! Records to instances. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use model::{Address, Endpoint, Host, Instance, InstanceId};

use super::{lookup::Target, wire::Name};
use crate::provider::host;

/// One `SRV` record, and the addresses its target has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: Name,
    pub(super) addresses: Vec<IpAddr>,
}

/// Instances at these addresses, all alike.
pub(super) fn of_addresses(target: &Target, addresses: impl Iterator<Item = IpAddr>, port: u16) -> Vec<Instance> {
    let all: BTreeMap<_, _> = addresses.filter_map(|ip| Some(((ip, port), instance(target, ip, port)?))).collect();
    all.into_values().collect()
}

/// Instances of `SRV` records.
///
/// Those of the lowest priority number that has an address take the requests, in proportion to their weights; a weight
/// of 0, the smallest there is, counts as 1. All others get weight 0: they are used only when no other is left. What
/// several records name counts as the best of them says.
pub(super) fn of_services(target: &Target, services: &[Service]) -> Vec<Instance> {
    let best = services.iter().filter(|s| !s.addresses.is_empty()).map(|s| s.priority).min();
    let mut all: BTreeMap<_, Instance> = BTreeMap::new();
    for service in services {
        for ip in &service.addresses {
            let Some(mut instance) = instance(target, *ip, service.port) else { continue };
            instance.weight = if Some(service.priority) == best { service.weight.max(1) } else { 0 };
            instance.labels = [("target".into(), service.target.to_string().into())].into();
            let known = all.entry((*ip, service.port)).or_insert_with(|| instance.clone());
            if known.weight < instance.weight {
                *known = instance;
            }
        }
    }
    all.into_values().collect()
}

/// Named by its address, which is all that the DNS has to tell one from another; so it is the same after each look-up.
fn instance(target: &Target, ip: IpAddr, port: u16) -> Option<Instance> {
    if host::is_odd(ip) {
        return None;
    }
    let address = Address { host: Host::Ip(ip), port };
    let id = InstanceId::new(&address.to_string()).ok()?;
    let mut instance = Instance::new(id, Endpoint { address, protocol: target.protocol });
    instance.tags = target.tags.clone().into();
    instance.environments = target.tags.clone().into();
    Some(instance.normalised())
}

#[cfg(test)]
mod tests {
    use model::{Protocol, Tag};
    use proptest::prelude::*;

    use super::{
        super::{lookup::Want, wire::name},
        *,
    };

    fn target() -> Target {
        let tags = vec![Tag::new("public").unwrap()];
        Target { name: name("a.test").unwrap(), want: Want::Services, protocol: Some(Protocol::H2c), tags }
    }

    fn service(priority: u16, weight: u16, port: u16, addresses: &[&str]) -> Service {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Service { priority, weight, port, target: name("web1.test").unwrap(), addresses }
    }

    fn told(instances: &[Instance]) -> Vec<String> {
        instances.iter().map(|i| format!("{}*{}", i.id, i.weight)).collect()
    }

    #[test]
    fn an_instance_has_what_the_settings_say() {
        let list = of_addresses(&target(), ["::1", "10.0.0.1", "10.0.0.1"].map(|a| a.parse().unwrap()).into_iter(), 80);
        assert_eq!(told(&list), ["10.0.0.1:80*1", "[::1]:80*1"]);
        assert_eq!(list[0].endpoint.protocol, Some(Protocol::H2c));
        assert!(list[0].is_in("public") && list[0].tags.len() == 1);
    }

    #[test]
    fn addresses_that_no_instance_has_are_passed_over() {
        let list = of_addresses(&target(), ["169.254.169.254", "10.0.0.1"].map(|a| a.parse().unwrap()).into_iter(), 80);
        assert_eq!(told(&list), ["10.0.0.1:80*1"]);
    }

    #[test]
    fn the_lowest_priority_that_has_an_address_takes_the_requests() {
        let records = [
            service(0, 5, 1, &[]),
            service(10, 20, 2, &["10.0.0.1", "10.0.0.2"]),
            service(10, 0, 3, &["10.0.0.1"]),
            service(20, 50, 4, &["10.0.0.1"]),
        ];
        let list = of_services(&target(), &records);
        assert_eq!(told(&list), ["10.0.0.1:2*20", "10.0.0.1:3*1", "10.0.0.1:4*0", "10.0.0.2:2*20"]);
        assert_eq!(list[0].label("target"), Some("web1.test"));
    }

    #[test]
    fn an_instance_that_two_records_name_is_one_and_the_better_record_counts() {
        let two =
            [service(20, 9, 1, &["10.0.0.1"]), service(10, 3, 1, &["10.0.0.1"]), service(10, 2, 1, &["10.0.0.1"])];
        assert_eq!(told(&of_services(&target(), &two)), ["10.0.0.1:1*3"]);
    }

    proptest! {
        /// In whatever order the records come, as servers rotate them, the list is the same; and if there is an address
        /// at all, some instance takes requests.
        #[test]
        fn the_order_of_records_does_not_matter(
            records in prop::collection::vec((0u16..3, 0u16..3, 1u16..4, prop::collection::vec(0u8..4, 0..3)), 0..8),
            turn in 0usize..8,
        ) {
            let mut services: Vec<_> = records.into_iter().map(|(priority, weight, port, hosts)| Service {
                priority, weight, port, target: name("t.test").unwrap(),
                addresses: hosts.into_iter().map(|h| IpAddr::from([10, 0, 0, h])).collect(),
            }).collect();
            let list = of_services(&target(), &services);
            let turn = turn.min(services.len());
            services.rotate_left(turn);
            prop_assert_eq!(&list, &of_services(&target(), &services));
            prop_assert_eq!(list.is_empty(), !list.iter().any(|i| i.weight > 0));
        }
    }
}
