//! HTTP/1 heads that hyper cannot read: its bare answer is kept back, and theirs says why, like every other refusal; with an id,
//! a line in the access log and a count.

use std::{fmt::Write, rc::Rc};

use http::{Request, Response, header::CONNECTION};
use model::Refusal;
use transport::{
    Body,
    io::{Meter, Metered, Stream},
};

use super::{close_with, respond};
use crate::{
    client::Client,
    core::Core,
    exchange::{Exchange, Responder},
};

/// The method and the target of a request of which neither is known, for the log.
const UNKNOWN: (&str, &str) = ("-", "*");

/// Answers a head that hyper gave this status, because of this error, and closes the connection.
pub(super) async fn refuse(core: &Rc<Core>, client: &Rc<Client>, meter: &Rc<Meter<Stream>>, status: u16, why: &str) {
    let Ok(request) = Request::builder().method(UNKNOWN.0).uri(UNKNOWN.1).body(()) else { return };
    let (head, ()) = request.into_parts();
    let mut exchange = Box::new(Exchange::new(core, client, Responder::Answered, &head, Body::Empty));
    let response = respond::refuse(&mut exchange, &refusal(status, why));
    let (answer, sent) = encode(&response);
    exchange.record.sent = sent;
    exchange.record.complete = true;
    // The line is written now: the client may take its time.
    drop(exchange);
    close_with(&mut Metered(Rc::clone(meter)), answer.as_bytes()).await;
}

/// What hyper means. It tells targets from the rest by their words alone.
fn refusal(status: u16, why: &str) -> Refusal {
    match status {
        414 => Refusal::UriTooLong,
        431 => Refusal::HeadersTooLarge,
        _ if why.contains("URI") => Refusal::BadRequest(
            "the target has a character that must be percent-encoded, such as a quotation mark or an angle bracket",
        ),
        _ => Refusal::BadRequest("the head of the request is malformed"),
    }
}

/// As HTTP/1.1 writes it, and how long its body is.
fn encode(response: &Response<Body>) -> (String, u64) {
    let body = match response.body() {
        Body::Full(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        _ => "",
    };
    let mut text = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        if let Ok(value) = value.to_str() {
            // Writing to a string cannot fail.
            write!(text, "{name}: {value}\r\n").ok();
        }
    }
    write!(text, "{CONNECTION}: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok();
    (text, body.len() as u64)
}
