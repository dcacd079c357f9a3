//! gRPC as its users have it: grpcio, client and instance, with this router between them. The checks are in
//! `clients/grpc_calls.py`.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output},
};

use router::{
    Router, Start,
    control::{Origin, Overrides},
};

use crate::registry::skipped;

const SETTINGS: &str = "
listeners:
  - { address: '127.0.0.1:0' }
  - { address: '127.0.0.1:0', tls: {} }
admin: { address: '127.0.0.1:0' }
registries: { local: { embedded: { address: '127.0.0.1:0', directory: null } } }
routes:
  - { prefix: /wanted.Echo, service: echo }
  - { prefix: /wanted.Gone, service: gone }
  - { prefix: /wanted.Empty, service: empty }
expose: { service: echo }
services: { empty: { warm_hold: off } }
access_log: { format: off }
";

#[test]
fn grpcs_own_library_finds_nothing_amiss() {
    let Some(python) = python_with_grpcio() else { return };
    let settings = settings::parse(SETTINGS, Path::new("grpc.yml"), &|_| None).unwrap();
    let origin = Origin::Given(Box::new(settings));
    let router = Router::start(Start { origin, overrides: Overrides::default(), log: None }).unwrap();
    let addresses = router.addresses();
    let mut certificate = tempfile::NamedTempFile::new().unwrap();
    certificate.write_all(addresses.certificate.as_ref().unwrap().as_bytes()).unwrap();

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/grpc_calls.py");
    let Output { status, stdout, stderr } = Command::new(python)
        .arg(script)
        .arg(addresses.registries[0].1.to_string())
        .args([addresses.clients[0].0.to_string(), addresses.clients[1].0.to_string()])
        .arg(certificate.path())
        .output()
        .unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{status}\n{said}");
    assert!(said.contains("tls: an instance that is gone is unavailable"), "it came to its last check\n{said}");
}

/// The interpreter `GRPC_PYTHON`, else `python3`, if it has the library.
pub(crate) fn python_with_grpcio() -> Option<String> {
    let python = std::env::var("GRPC_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if Command::new(&python).args(["-c", "import grpc"]).output().is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skipped("grpc", &format!("{python} cannot import grpc"));
    None
}
