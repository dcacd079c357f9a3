//! hot path
//!
//! The access-log line of an exchange.

use std::borrow::Cow;

use http::Version;
use telemetry::access::{Entry, Pen};
use tokio::time::Instant;
use transport::{clock, upstream::Version as Spoken};

use crate::exchange::{Asked, Exchange};

/// Writes the line of an exchange that is over.
pub fn write(exchange: &Exchange, pen: &Pen) {
    let record = &exchange.record;
    let Some(said) = &record.said else { return };
    let since = |at: Instant| at.saturating_duration_since(record.began);
    let route = match &record.asked {
        Some(Asked::Route(index)) => Some(exchange.plan.route(*index)),
        _ => None,
    };
    let host = said.host.as_ref().and_then(|host| host.to_str().ok());
    let route_name = route.map(|route| Cow::Borrowed(route.data.name.as_str()));
    pen.write(&Entry {
        time: said.time,
        client: exchange.client.peer.ip().to_canonical(),
        protocol: protocol(said.version),
        method: &said.method,
        host: host.or_else(|| said.uri.authority().map(http::uri::Authority::as_str)),
        path: said.uri.path(),
        query: said.uri.query(),
        route: route_name.as_deref(),
        service: match &record.asked {
            Some(Asked::Name(name) | Asked::Instead(name)) => Some(name),
            _ => route.map(|route| route.service.as_str()),
        },
        instance: record.upstream.as_ref().map(|upstream| upstream.label()),
        instance_protocol: record.upstream.as_ref().and_then(|upstream| upstream.version()).map(
            |spoken| match spoken {
                Spoken::H1 => "HTTP/1.1",
                Spoken::H2 => "HTTP/2.0",
            },
        ),
        attempts: record.attempts.into(),
        status: record.status,
        reason: record.reason,
        fallback: record.fallback,
        request_bytes: record.upload.as_ref().map_or(0, |tally| tally.bytes()),
        response_bytes: record.sent,
        connect: record.connected.get().map(since),
        head: record.head.map(since),
        total: since(clock::now()),
        ids: &exchange.ids,
        user_agent: said.agent.as_ref(),
    });
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
