//! The services that are decided about: 10,000 of 10 instances.

use std::{collections::HashMap, sync::Arc, time::Duration};

use balancer::{Algorithm, Place};
use discovery::{
    Policies, Policy, Table,
    claims::Claimed,
    table::{Next, Touched},
};
use model::{Address, Endpoint, Exposure, Host, Instance, InstanceId, ServiceId, Tick};
use transport::{ClientTls, tls::Trust};

pub(crate) const SERVICES: u32 = 10_000;
pub(crate) const INSTANCES: u8 = 10;
pub(crate) const NOW: Tick = Tick(1);

pub(crate) fn names() -> Vec<String> {
    (0..SERVICES).map(name).collect()
}

pub(crate) fn name(number: u32) -> String {
    format!("com.example.service-{number}")
}

pub(crate) fn id(number: u32) -> ServiceId {
    ServiceId::new(&name(number)).expect("a service name")
}

/// A table of the first so many services.
pub(crate) fn table(services: u32, policies: &Arc<Policies>) -> Table {
    let all = (0..services).map(|number| touched(number, INSTANCES));
    let Next { table, .. } = Table::empty(policies.clone()).next(all, policies, NOW).expect("it is not empty");
    table
}

/// What all sources say of a service that has so many instances.
pub(crate) fn touched(number: u32, instances: u8) -> Touched {
    let [_, b, c, d] = number.to_be_bytes();
    let claim = |last: u8| {
        let address = Address { host: Host::Ip([10, b, c, d].into()), port: 8000 + u16::from(last) };
        let id = InstanceId::new(&format!("instance-{number}-{last}")).expect("an instance name");
        let instance = Instance::new(id, Endpoint { address, protocol: None });
        Claimed { instance: Arc::new(instance.normalised()), source: "bench".into(), resort: false }
    };
    (id(number), Some((0..instances).map(claim).collect()))
}

pub(crate) fn policies(balance: Algorithm) -> Arc<Policies> {
    let trust = Trust { verify: false, ..Trust::default() };
    let tls = Arc::new(ClientTls::new(&trust).expect("no files to read"));
    Arc::new(Policies {
        default: Arc::new(Policy { balance: balance.into(), ..Policy::new(tls) }),
        services: HashMap::new(),
        routed: [].into(),
        exposure: Exposure::Everything,
        first_use: None,
        environment: None,
        place: Place::default(),
        hold: Duration::from_secs(30),
        holds: [].into(),
    })
}
