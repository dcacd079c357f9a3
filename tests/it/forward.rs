//! What happens between a client and an instance: bodies, trailers, interim answers, limits of time, failures.

mod bodies;
mod bodyless;
mod cancel;
mod dead_peer;
mod ends;
mod flow;
mod framing;
mod grpc;
mod interim;
mod malformed;
mod oversize;
mod timeouts;
mod trailers;
mod unread;
mod unsent;
mod vanished;

use http::Request;

/// The head of a request to this service, for [`testkit::Client::open`].
fn head(method: &str, target: &str, service: &str) -> Request<()> {
    Request::builder().method(method).uri(target).header("service_id", service).body(()).expect("a request")
}
