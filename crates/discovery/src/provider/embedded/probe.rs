//! One look at an instance: the I/O of checks. Reads no more than the head of an answer, follows no redirect.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ::settings::Aside;
use bytes::Bytes;
use http::{Request, Uri, header};
use model::{Host, Protocol};
use tokio::{
    net::{TcpStream, lookup_host},
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, rustls};
use transport::{
    client::Duplex,
    look::exchange,
    tls::{ClientTls, Trust},
    upstream::Version,
};

use super::{
    Registration,
    check::{Check, What},
    settings::Checks,
};
use crate::provider::host;

/// What checks call themselves.
const AGENT: &str = "pointsman-check";
/// How long certificates count before they are read again.
const FRESH: Duration = Duration::from_secs(60);

/// Whom checks may address, and whom they trust. Certificates are read when a check needs them, and again each
/// minute.
#[derive(Debug, Default)]
pub struct Probe {
    checks: Checks,
    trust: Trust,
    tls: Mutex<Option<(Instant, Arc<rustls::ClientConfig>)>>,
    aside: Aside,
}

impl Probe {
    pub(super) fn new(checks: Checks) -> Self {
        let trust = Trust { ca: checks.ca.clone(), ..Trust::default() };
        Self { checks, trust, tls: Mutex::default(), aside: Aside::default() }
    }

    /// For a process that looks at what it started itself: on this machine a certificate proves nothing more.
    #[must_use]
    pub fn of_own() -> Self {
        Self { trust: Trust { verify: false, ..Trust::default() }, ..Self::default() }
    }

    /// Looks at an instance as one of its checks says; what was seen, either way.
    ///
    /// # Errors
    /// If the check does not pass: what was seen instead.
    pub async fn look(&self, of: &Registration, check: &Check) -> Result<String, String> {
        let late = |_| Err(format!("no answer within {}", settings::Span::from_millis(millis(check))));
        timeout(check.timeout, self.attempt(of, check)).await.unwrap_or_else(late)
    }

    async fn attempt(&self, of: &Registration, check: &Check) -> Result<String, String> {
        self.checks.allows_host(&of.ip, check.host.as_deref())?;
        let name = check.host.as_deref().unwrap_or(&of.ip);
        let target = host::alone(name).ok_or_else(|| format!("host {name:?} {}", host::RULE))?;
        let stream = self.connect(&target, check.port.unwrap_or(of.port)).await?;
        let What::Http { path, status, server_name } = &check.what else { return Ok("connected".to_owned()) };
        let found = if of.protocol == Some(Protocol::Https) {
            let name = server_name.clone().unwrap_or_else(|| bare(&target));
            let name = rustls::pki_types::ServerName::try_from(name).map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(self.tls().await?);
            let stream = connector.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?;
            ask(Box::new(stream), &target, path).await?
        } else {
            ask(Box::new(stream), &target, path).await?
        };
        let wanted = if status.is_empty() { (200..300).contains(&found) } else { status.contains(&found) };
        let text = format!("GET {path}: {found}");
        if wanted { Ok(text) } else { Err(text) }
    }

    /// Connects to the first allowed address. Names are judged by what they lead to now, so that none can lead
    /// elsewhere later.
    async fn connect(&self, target: &Host, port: u16) -> Result<TcpStream, String> {
        let found: Vec<IpAddr> = match target {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => {
                lookup_host((&**name, port)).await.map_err(|e| format!("{name}: {e}"))?.map(|a| a.ip()).collect()
            }
        };
        let mut last = format!("{target} has no address that checks may connect to");
        for ip in found.into_iter().filter(|ip| self.checks.allows_address(*ip)) {
            match TcpStream::connect(SocketAddr::new(ip, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = format!("{ip}:{port}: {error}"),
            }
        }
        Err(last)
    }

    /// What TLS trusts. While new certificates cannot be read, the last ones that could are used; without any, each
    /// check tries anew.
    async fn tls(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut known = self.tls.lock().await;
        if let Some((_, config)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(config.clone());
        }
        let trust = self.trust.clone();
        let read = self.aside.run(move || ClientTls::new(&trust).map_err(|error| error.to_string())).await;
        let read = read.unwrap_or_else(|stalled| Err(format!("certificates: {stalled}")));
        let config = match (read, known.take()) {
            (Ok(new), _) => {
                let mut config = (*new.config).clone();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Arc::new(config)
            }
            (Err(error), Some((_, old))) => {
                tracing::warn!(%error, "checks go on with the certificates they had");
                old
            }
            (Err(error), None) => return Err(error),
        };
        *known = Some((Instant::now(), config.clone()));
        Ok(config)
    }
}

/// Whether the certificates of these settings can be used.
pub(super) fn check(checks: &Checks) -> Result<(), String> {
    match &checks.ca {
        Some(ca) => ClientTls::new(&Trust { ca: Some(ca.clone()), ..Trust::default() })
            .map(drop)
            .map_err(|e| format!("checks: {e}")),
        None => Ok(()),
    }
}

/// Sends the request and reads the status.
async fn ask(stream: Box<dyn Duplex>, host: &Host, path: &str) -> Result<u16, String> {
    let wrong = |e: http::Error| format!("path {path:?}: {e}");
    let uri = Uri::builder().scheme("http").authority(host.to_string()).path_and_query(path).build().map_err(wrong)?;
    let request = Request::get(uri).header(header::USER_AGENT, AGENT).header(header::ACCEPT, "*/*");
    let answer = exchange(stream, Version::H1, request.body(Bytes::new()).map_err(wrong)?, 0).await;
    answer.map(|answer| answer.status.as_u16()).map_err(|e| format!("the answer is not HTTP/1.1: {e}"))
}

fn bare(host: &Host) -> String {
    match host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    }
}

fn millis(check: &Check) -> u64 {
    u64::try_from(check.timeout.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use testkit::{Certs, Raw};
    use tokio::net::TcpListener;

    use super::*;

    fn registration(port: u16, check: &str) -> Registration {
        let json = format!(r#"{{"name":"pets","ip":"127.0.0.1","port":{port},"checks":[{check}]}}"#);
        serde_json::from_str(&json).unwrap()
    }

    /// What a check sees of a server that answers every request with this.
    async fn look(answer: &'static [u8], check: &str) -> Result<String, String> {
        let server = Raw::sends(answer).await;
        let r = registration(server.addr().port(), check);
        Probe::default().look(&r, &r.checks[0]).await
    }

    #[tokio::test]
    async fn the_status_decides() {
        let http = r#"{"type":"http","path":"/health"}"#;
        assert_eq!(look(b"HTTP/1.1 200 OK\r\n\r\n", http).await, Ok("GET /health: 200".to_owned()));
        assert_eq!(look(b"HTTP/1.0 204\r\n\r\n", http).await, Ok("GET /health: 204".to_owned()));
        for (answer, part) in [
            (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], "503"),
            (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n", "302"),
            (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
            (b"", "not HTTP"),
            (&[b'x'; 5000], "not HTTP"),
        ] {
            let error = look(answer, http).await.unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let other = r#"{"type":"http","path":"/health","status":[503]}"#;
        assert!(look(b"HTTP/1.1 503 x\r\n\r\n", other).await.is_ok());
        assert!(look(b"", r#"{"type":"tcp"}"#).await.is_ok());
    }

    #[tokio::test]
    async fn who_hangs_or_is_not_there_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hung = registration(port, r#"{"type":"http","path":"/","timeout":"50ms"}"#);
        let error = Probe::default().look(&hung, &hung.checks[0]).await.unwrap_err();
        assert!(error.contains("within 50ms"), "{error}");
        drop(listener);
        let gone = registration(port, r#"{"type":"tcp"}"#);
        assert!(Probe::default().look(&gone, &gone.checks[0]).await.unwrap_err().contains("refused"));
    }

    #[tokio::test]
    async fn nobody_is_sent_elsewhere() {
        for (check, part) in [
            (r#"{"type":"tcp","host":"10.0.0.1"}"#, "checks.hosts"),
            (r#"{"type":"tcp","host":"localhost"}"#, "checks.hosts"),
        ] {
            let r = registration(1, check);
            assert!(Probe::default().look(&r, &r.checks[0]).await.unwrap_err().contains(part));
        }
        let json = r#"{"name":"pets","ip":"169.254.169.254","port":80,"checks":[{"type":"http","path":"/latest"}]}"#;
        assert!(serde_json::from_str::<Registration>(json).unwrap_err().to_string().contains("link-local"));
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_that_could_not_be_read_are_read_later() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        let trust = Trust { ca: Some(ca.clone()), ..Trust::default() };
        let probe = Probe { trust, ..Probe::default() };
        assert!(probe.tls().await.is_err());
        std::fs::copy(Certs::new().ca(), &ca).unwrap();
        let first = probe.tls().await.unwrap();
        assert!(Arc::ptr_eq(&first, &probe.tls().await.unwrap()), "kept");
        tokio::time::advance(FRESH).await;
        let second = probe.tls().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second), "read again");
        std::fs::write(&ca, "").unwrap();
        tokio::time::advance(FRESH).await;
        assert!(Arc::ptr_eq(&second, &probe.tls().await.unwrap()), "the last that could be read");
    }
}
