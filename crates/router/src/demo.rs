//! The demonstration: a router, a registry, and services that register themselves as any service would, by HTTP.

mod service;

use std::net::{IpAddr, SocketAddr};

use balancer::Algorithm;
use discovery::provider::embedded;
use settings::{Entries, Located};

use crate::{
    Router, Start,
    control::{Origin, Overrides, StartError},
    settings::{Admin, Expose, Listener, Route, Service, Settings},
};
use service::Instance;

/// Where the demonstration listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Clients.
    pub listen: SocketAddr,
    /// Services that register.
    pub registry: SocketAddr,
    /// Operators.
    pub admin: SocketAddr,
}

/// A running demonstration. Dropping it ends it.
#[derive(Debug)]
pub struct Demo {
    router: Router,
    instances: Vec<Instance>,
}

/// The services, how many instances each has, and the path that leads to it.
const SERVICES: [(&str, usize, &str); 4] = [
    ("petstore", 2, "/v1/pets"),
    ("orders", 1, "/v1/orders"),
    ("customers", 1, "/v1/customers"),
    ("inventory", 1, "/v1/inventory"),
];

impl Demo {
    /// Starts everything; returns when every instance can be reached through the router.
    ///
    /// # Errors
    /// If an address cannot be had, or a service cannot register.
    pub async fn start(addresses: &Addresses) -> Result<Self, StartError> {
        let settings = settings(addresses)?;
        let start = Start { origin: Origin::Given(Box::new(settings)), overrides: Overrides::default(), log: None };
        let router = Router::start(start)?;
        let registry = router.addresses().registries.first().map(|(_, address)| *address);
        let registry = registry.ok_or(StartError::Ended)?;
        let mut instances = Vec::new();
        for (name, count, _) in SERVICES {
            for number in 1..=count {
                let instance = Instance::start(name, number, registry).await;
                instances.push(instance.map_err(|error| StartError::Io(format!("demo service {name}: {error}")))?);
            }
        }
        Ok(Self { router, instances })
    }

    /// What to try, as lines to paste.
    #[must_use]
    pub fn tour(&self) -> String {
        let at = self.router.addresses();
        let router = at.clients.first().map_or_else(String::new, |(address, _)| format!("https://{address}"));
        let registry = at.registries.first().map_or_else(String::new, |(_, address)| format!("http://{address}"));
        let admin = at.admin.map_or_else(String::new, |address| format!("http://{address}"));
        let first = self.instances.first().map_or_else(String::new, |instance| format!("http://{}", instance.address));
        format!(
            "pointsman demo is ready: {at}\n\
             Four services have registered themselves. Paste these:\n\n\
             # by name, as light-router's clients do; the certificate was made on the spot, hence -k\n\
             curl -k -H 'service_id: petstore' {router}/v1/pets/7\n\n\
             # by path; petstore has two instances, ask again to see the other\n\
             curl -k {router}/v1/pets/7\n\n\
             # who is there, as the registry and as the router see it\n\
             curl {registry}/registry/services\n\
             curl {admin}/table\n\n\
             # stop one instance without a word to the registry, and ask on: nothing fails\n\
             curl -X POST {first}/-/stop\n\
             curl -k {router}/v1/pets/7\n\n\
             # register one of your own (python3 -m http.server 9000 would do)\n\
             curl -X POST {registry}/registry/register -d '{{\"name\":\"files\",\"ip\":\"127.0.0.1\",\"port\":9000}}'\n\
             curl -k -H 'service_id: files' {router}/\n\n\
             # what a refusal looks like\n\
             curl -k -i {router}/nowhere\n\n\
             End with Ctrl-C."
        )
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }
}

fn settings(addresses: &Addresses) -> Result<Settings, StartError> {
    let loopback = |ip: IpAddr| ip.is_loopback();
    if !loopback(addresses.registry.ip()) {
        return Err(StartError::Io("the demonstration's registry has no token: choose a loopback address".to_owned()));
    }
    let registry = embedded::Settings { address: addresses.registry, directory: None, ..embedded::Settings::default() };
    let route = |(service, _, prefix): (&str, usize, &str)| -> Located<Route> {
        Route { prefix: Some(prefix.to_owned()), ..Route::to(service) }.into()
    };
    let in_turn = Service { balance: Some(Algorithm::RoundRobin), ..Service::default() };
    Ok(Settings {
        listeners: vec![Listener { address: addresses.listen.into(), ..Listener::default() }],
        admin: Admin { address: addresses.admin.into() },
        registries: Entries::from_iter([("demo".to_owned(), discovery::Settings::Embedded(registry))]),
        routes: SERVICES.into_iter().map(route).collect(),
        expose: Expose { all: true, ..Expose::default() },
        // In turn, so that a few requests show all there are.
        services: Entries::from_iter([("*".to_owned(), in_turn)]),
        access_log: telemetry::access::Settings { format: telemetry::access::Format::Off, ..Default::default() }.into(),
        ..Settings::default()
    })
}
