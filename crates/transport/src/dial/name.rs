//! From an instance's host to the addresses to connect to.

use std::{io, net::SocketAddr};

use model::{Address, Host};
use tokio::{
    net::lookup_host,
    time::{Instant, timeout_at},
};

use super::DialError;

/// What the C libraries (glibc, musl) call a name that is not there. std has no kinds for it; whatever else they say is the
/// resolver's trouble, or ours with it.
const UNKNOWN: [&str; 4] =
    ["Name or service not known", "No address associated", "Name does not resolve", "Name has no usable address"];

/// Where this is: one address, or those of its name in the resolver's order.
///
/// # Errors
/// If the name does not resolve, or the resolver says nothing until the deadline.
pub(super) async fn resolve(address: &Address, deadline: Instant) -> Result<Vec<SocketAddr>, DialError> {
    let port = address.port;
    let name = match &address.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name,
    };
    Ok(answered(lookup_host((&**name, port)), deadline).await?.collect())
}

async fn answered<T>(look_up: impl Future<Output = io::Result<T>>, deadline: Instant) -> Result<T, DialError> {
    match timeout_at(deadline, look_up).await {
        Ok(found) => found.map_err(|error| failed(&error)),
        Err(_) => Err(DialError::Resolver("no answer in time".into())),
    }
}

/// Whose fault that is: of a name that is not there, or of the resolver.
fn failed(error: &io::Error) -> DialError {
    if is_unknown(error) { DialError::Resolve(error.to_string()) } else { DialError::Resolver(error.to_string()) }
}

/// Whether a look-up failed because the name is not there; the resolver is well then.
pub(crate) fn is_unknown(error: &io::Error) -> bool {
    let said = error.to_string();
    UNKNOWN.iter().any(|unknown| said.contains(unknown))
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    #[test]
    fn a_name_that_is_not_there_is_told_from_a_resolver_that_fails() {
        let said = |text: &str| failed(&io::Error::other(format!("failed to lookup address information: {text}")));
        for unknown in ["Name or service not known", "No address associated with hostname", "Name does not resolve"] {
            assert!(!said(unknown).is_ours(), "{unknown}");
        }
        for fails in ["Temporary failure in name resolution", "Non-recoverable failure in name resolution", "Try again"]
        {
            assert!(said(fails).is_ours(), "{fails}");
        }
        assert!(failed(&io::Error::from_raw_os_error(24)).is_ours(), "no descriptor for a socket to the resolver");
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_is_silent_is_not_the_instance_s_fault() {
        let limit = Duration::from_secs(1);
        // Whoever waits gives up at the same moment.
        let deadline = Instant::now() + limit;
        let waits = timeout_at(deadline, answered(pending::<io::Result<()>>(), deadline));
        assert!(waits.await.expect("the cause comes first").unwrap_err().is_ours());
    }
}
