//! The address others reach an instance by.

use std::net::Ipv4Addr;

use http::Uri;
use tokio::net::UdpSocket;

/// Where orchestrators put the address of the machine, as light-4j reads it.
const HOST_IP: &str = "STATUS_HOST_IP";

/// The address: as given, or of the environment, or the one from which the registry at this URL is reached.
pub(super) async fn address(given: Option<&str>, registry: &str) -> Result<String, String> {
    let environment = std::env::var(HOST_IP).ok().filter(|ip| !ip.is_empty());
    match given.map(str::to_owned).or(environment) {
        Some(address) => Ok(address),
        None => towards(registry).await,
    }
}

/// Which of our addresses the system takes for packets to this URL. Sends none.
async fn towards(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|_| format!("url {url:?} is not a URL"))?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(443);
    let unknown = |e: std::io::Error| format!("cannot tell from which address {host} is reached: {e}; give --address");
    let found = tokio::net::lookup_host((host, port)).await.map_err(unknown)?.next();
    let target = found.ok_or_else(|| format!("{host} has no address"))?;
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.map_err(unknown)?;
    socket.connect(target).await.map_err(unknown)?;
    let ip = socket.local_addr().map_err(unknown)?.ip();
    if ip.is_unspecified() { Ok(Ipv4Addr::LOCALHOST.to_string()) } else { Ok(ip.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_given_one_counts_and_else_the_one_towards_the_registry() {
        assert_eq!(address(Some("pets.internal"), "http://127.0.0.1:1").await.unwrap(), "pets.internal");
        assert_eq!(towards("http://127.0.0.1:8500").await.unwrap(), "127.0.0.1");
        assert!(towards("http://nobody.invalid:1").await.unwrap_err().contains("--address"));
    }
}
