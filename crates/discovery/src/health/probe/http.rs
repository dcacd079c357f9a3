//! A request by HTTP/1.1 or HTTP/2, as the instance speaks it, and whether its answer is as wanted. Redirects are answers.

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use transport::look::{Answer, Spot, exchange};

use super::{AGENT, Trouble};
use crate::health::check::Http;

/// As much as is read of a body in which something must stand. Nothing is read of others.
const BODY: usize = 64 * 1024;

pub(super) async fn ask(http: &Http, spot: &Spot<'_>, missing: &mut &'static str) -> Result<String, Trouble> {
    let (stream, version) = spot.open().await?;
    *missing = "answer";
    let most = if http.body.is_some() { BODY } else { 0 };
    let answer = exchange(stream, version, request(http, spot), most).await?;
    judge(http, &answer).map_err(Trouble::Other)
}

fn request(http: &Http, spot: &Spot<'_>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = http.method.clone();
    *request.uri_mut() = spot.target(&http.path, http.host.as_ref());
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    // Of those set twice the check's own stay.
    headers.extend(http.headers.clone());
    request
}

/// Whether the answer is as wanted, and what was seen. Pure.
fn judge(http: &Http, answer: &Answer) -> Result<String, String> {
    let saw = format!("{} {}: {}", http.method, http.path, answer.status.as_u16());
    if !http.status.contain(answer.status.as_u16()) {
        return Err(saw);
    }
    match &http.body {
        Some(wanted) if !wanted.is_in(&answer.body) => {
            Err(format!("{saw}, but {wanted} is not in the {} bytes of its body", answer.body.len()))
        }
        _ => Ok(saw),
    }
}
