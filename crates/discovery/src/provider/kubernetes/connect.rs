//! A `kube` client over connections of our own: opened as those to every other registry, and looked after like them, so
//! that one that stands still is given up within seconds. Credentials, trust and names stay those of the crate.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use kube::{Client, Config, client::ConfigExt as _};
use model::ProviderError;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};
use transport::client::Wire;

use super::cluster::told;

/// For a connection, TLS included: an API server that does not take one in this time is down.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of the API server of this configuration; opens no connection yet.
///
/// # Errors
/// What cannot work in it.
pub(super) fn client(config: &Config) -> Result<Client, ProviderError> {
    if config.proxy_url.is_some() {
        return Err(ProviderError::Failed(
            "the API server shall be reached by a proxy (`proxy-url` in the kubeconfig, or HTTPS_PROXY), which the router \
             cannot do: leave it out"
                .to_owned(),
        ));
    }
    let wire = Arc::new(Wire::new(&authority(&config.cluster_url), None).map_err(|e| failed(&e))?);
    let tcp = service_fn(move |_: Uri| {
        let wire = Arc::clone(&wire);
        async move { wire.tcp(Instant::now() + CONNECT).await.map(TokioIo::new) }
    });
    let secure = config.rustls_https_connector_with_connector(tcp).map_err(|e| ProviderError::Failed(told(&e)))?;
    let connector = service_fn(move |to: Uri| {
        let (secure, deadline) = (secure.clone(), Instant::now() + CONNECT);
        // The client wants one that may be moved.
        Box::pin(async move {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake within the time allowed");
            timeout_at(deadline, secure.oneshot(to)).await.unwrap_or_else(|_| Err(late().into()))
        })
    });
    let layers = || -> kube::Result<_> {
        let service = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(service))
    };
    let service = layers().map_err(|e| ProviderError::Failed(told(&e)))?;
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// `host:port`, also of a URL that names no port.
fn authority(server: &Uri) -> String {
    let usual = if server.scheme_str() == Some("http") { 80 } else { 443 };
    format!("{}:{}", server.host().unwrap_or_default(), server.port_u16().unwrap_or(usual))
}

fn failed(error: &dyn Error) -> ProviderError {
    ProviderError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use kube::client::Body;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpSocket, TcpStream},
        time::{sleep, timeout},
    };

    use super::*;

    fn config(server: &str) -> Config {
        Config::new(server.parse().unwrap())
    }

    #[test]
    fn a_server_without_a_port_is_at_the_usual_one() {
        for (server, expected) in [
            ("https://k8s.example", "k8s.example:443"),
            ("http://k8s.example/prefix", "k8s.example:80"),
            ("https://[2001:db8::1]:6443/k8s/clusters/c", "[2001:db8::1]:6443"),
        ] {
            assert_eq!(authority(&server.parse().unwrap()), expected);
        }
    }

    #[tokio::test]
    async fn a_proxy_is_refused_and_not_passed_over() {
        let mut config = config("https://127.0.0.1:6443");
        config.proxy_url = Some("http://proxy.example:3128".parse().unwrap());
        assert!(client(&config).err().unwrap().to_string().contains("proxy"));
    }

    /// Connections to this port that wait for the first word of the server, by the system's table.
    #[cfg(target_os = "linux")]
    fn silent(port: u16) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let (remote, sent) = (format!(":{port:04X}"), "02");
        let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        table.lines().map(columns).filter(|line| line[2].ends_with(&remote) && line[3] == sent).count()
    }

    /// A server that is full loses the packets of whoever comes, like a network that is cut.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_attempt_that_is_silent_has_another_one_beside_it() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = socket.listen(0).unwrap();
        let address = server.local_addr().unwrap();
        let _fills_it = TcpStream::connect(address).await.unwrap();
        let client = client(&config(&format!("http://{address}"))).unwrap();
        let answer = tokio::spawn(async move { client.send(Request::get("/").body(Body::empty()).unwrap()).await });
        let two = async {
            while silent(address.port()) < 2 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(CONNECT, two).await.expect("a second attempt before the first one ends");
        assert!(!answer.is_finished());
        let serve = async {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut question = [0; 1024];
                    if stream.read(&mut question).await.is_ok_and(|count| count > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                });
            }
        };
        tokio::select! {
            answer = answer => assert!(answer.unwrap().is_ok()),
            () = serve => {}
        }
    }
}
