//! Short words for tests of this crate.

use std::{collections::HashMap, sync::Arc, time::Duration};

use balancer::{Algorithm, Ask, Place};
use model::{Address, Endpoint, Exposure, Host, Instance, InstanceId, Protocol, ServiceId, Tag, Tick, UpstreamKey};
use transport::ClientTls;

use crate::{Policies, Policy, claims::Claimed};

pub(crate) fn service(name: &str) -> ServiceId {
    ServiceId::new(name).unwrap()
}

pub(crate) fn tag(name: &str) -> Tag {
    Tag::new(name).unwrap()
}

/// An instance `id` at 10.0.0.`last`:80 with no protocol.
pub(crate) fn instance(id: &str, last: u8) -> Instance {
    let address = Address { host: Host::Ip([10, 0, 0, last].into()), port: 80 };
    Instance::new(InstanceId::new(id).unwrap(), Endpoint { address, protocol: None })
}

/// The instance as a source named `test` claims it.
pub(crate) fn claimed(instance: Instance) -> Claimed {
    Claimed { instance: Arc::new(instance), source: "test".into(), resort: false }
}

pub(crate) fn tls(fingerprint: u64) -> Arc<ClientTls> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(ClientTls { config: Arc::new(config), server_name: None, fingerprint })
}

/// Everything exposed, least requests, 30 s hold.
pub(crate) fn policies() -> Policies {
    Policies {
        default: Arc::new(Policy { balance: Algorithm::LeastRequests.into(), ..Policy::new(tls(1)) }),
        services: HashMap::new(),
        routed: [].into(),
        exposure: Exposure::Everything,
        first_use: None,
        environment: None,
        place: Place::default(),
        hold: Duration::from_secs(30),
        holds: HashMap::new(),
    }
}

pub(crate) fn with_protocol(mut policies: Policies, protocol: Protocol, fingerprint: u64) -> Policies {
    policies.default = Arc::new(Policy {
        balance: Algorithm::LeastRequests.into(),
        protocol: Some(protocol),
        ..Policy::new(tls(fingerprint))
    });
    policies
}

pub(crate) fn ask(tried: &[UpstreamKey]) -> Ask<'_> {
    Ask { hash: None, tried, now: Tick(1) }
}
