//! One instance of a demonstration service: answers who it is, registers itself, keeps its lease.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{CONNECTION, CONTENT_TYPE},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use transport::client::{Client, ClientSettings};

/// The lease. Short, so that a stopped instance leaves the registry while one looks on.
const TTL: Duration = Duration::from_secs(10);

/// A running instance. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Instance {
    pub(super) async fn start(name: &'static str, number: usize, registry: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let id = format!("{name}-{number}");
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, name, id.clone(), stop));
        let client = Client::new(ClientSettings::new(format!("http://{registry}"))).map_err(|e| e.to_string())?;
        register(&client, name, &id, address).await?;
        let keeping = tokio::spawn(keep(client, name, id, address, stopped));
        Ok(Self { address, tasks: [serving, keeping] })
    }
}

async fn register(client: &Client, name: &str, id: &str, address: SocketAddr) -> Result<(), String> {
    let registration = serde_json::json!({
        "name": name, "id": id, "ip": address.ip(), "port": address.port(), "protocol": "http",
        "health": "/health", "version": "1.0.0", "ttl": format!("{}s", TTL.as_secs()),
    });
    post(client, "/registry/register", &registration).await
}

async fn post(client: &Client, path: &str, body: &serde_json::Value) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let answer = client.post(path, Bytes::from(body.to_string()), deadline).await.map_err(|e| e.to_string())?;
    if answer.status.is_success() {
        return Ok(());
    }
    Err(format!("{path} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body)))
}

/// Heartbeats, and registers anew if the registry has forgotten; until the instance is stopped.
async fn keep(client: Client, name: &'static str, id: String, address: SocketAddr, mut stopped: watch::Receiver<bool>) {
    let beats = async {
        loop {
            sleep(TTL / 3).await;
            let beat = serde_json::json!({ "name": name, "id": id });
            if post(&client, "/registry/heartbeat", &beat).await.is_err() {
                // Not there either: the next beat tries again.
                register(&client, name, &id, address).await.ok();
            }
        }
    };
    tokio::select! {
        () = beats => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn serve(listener: TcpListener, name: &'static str, id: String, stop: watch::Sender<bool>) {
    let mut stopped = stop.subscribe();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.map(|(stream, _)| stream),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let Ok(stream) = stream else { continue };
        let (id, stop, mut ended) = (id.clone(), stop.clone(), stop.subscribe());
        tokio::spawn(async move {
            let asked = AtomicBool::new(false);
            let service = service_fn(|request| answer(name, &id, &stop, &asked, request));
            let mut wire = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut wire => return,
                _ = ended.wait_for(|ended| *ended) => {}
            }
            // All connections break at once, but for the one that is owed the answer to the request that stopped us.
            if asked.load(Relaxed) {
                wire.await.ok();
            }
        });
    }
}

async fn answer(
    name: &str,
    id: &str,
    stop: &watch::Sender<bool>,
    asked: &AtomicBool,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let text = if request.method() == Method::POST && request.uri().path() == "/-/stop" {
        asked.store(true, Relaxed);
        stop.send_replace(true);
        // Whoever reads the answer finds everything else gone.
        sleep(Duration::from_millis(50)).await;
        format!("{{\"instance\":\"{id}\",\"stopped\":true}}\n")
    } else {
        let told = serde_json::json!({
            "service": name,
            "instance": id,
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "client": header("x-forwarded-for"),
            "correlation": header("x-correlation-id"),
        });
        format!("{told}\n")
    };
    let mut response = Response::new(text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if asked.load(Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
