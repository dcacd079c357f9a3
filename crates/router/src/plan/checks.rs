//! `services.NAME.check` compiled: whatever cannot work is found here.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use discovery::health::{
    Check, Pace,
    check::{Grpc, Http, Statuses, Tcp, Wanted, What},
};
use http::{HeaderMap, HeaderValue, Method, header};
use settings::{Located, SettingsError, Span};

use crate::settings as typed;

/// Shortest and longest time between two looks.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Most looks in a row that one verdict may need: above, a verdict comes when nobody waits for it any more.
const IN_A_ROW: RangeInclusive<u8> = 1..=20;
/// Most checks of one service, and most bytes of a path or a name.
const MOST: usize = 8;
const LONGEST: usize = 1024;

/// Where nothing is said.
const FAST: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn compile(typed: &[Located<typed::Check>]) -> Result<Arc<[Check]>, SettingsError> {
    if let Some(more) = typed.get(MOST) {
        return Err(SettingsError::at(more, format!("{} checks are too many; at most {MOST}", typed.len())));
    }
    typed.iter().map(check).collect()
}

fn check(typed: &Located<typed::Check>) -> Result<Check, SettingsError> {
    let wrong = |problem: String| SettingsError::at(typed, problem);
    let what = match (&typed.http, &typed.grpc, &typed.tcp, &typed.tls) {
        (Some(typed), None, None, None) => What::Http(Box::new(http(typed)?)),
        (None, Some(grpc), None, None) => What::Grpc(self::grpc(grpc).map_err(wrong)?),
        (None, None, Some(tcp), None) => What::Tcp(self::tcp(tcp).map_err(wrong)?),
        (None, None, None, Some(_)) => What::Tls,
        (None, None, None, None) => {
            let help = "says nothing to look at; write http: { path: /health }, grpc: {}, tcp: {} or tls: {}";
            return Err(wrong(help.to_owned()));
        }
        _ => {
            let help = "http, grpc, tcp and tls exclude each other; write several checks as a list";
            return Err(wrong(help.to_owned()));
        }
    };
    if typed.port == Some(0) {
        return Err(wrong("port 0 cannot be connected to; leave it out for the instance's own".to_owned()));
    }
    Ok(Check { what, role: typed.role, port: typed.port, pace: pace(typed).map_err(wrong)? })
}

fn pace(typed: &typed::Check) -> Result<Pace, String> {
    let interval = typed.interval.get();
    let fast = typed.fast.map_or_else(|| FAST.min(interval), Span::get);
    for (name, time) in [("interval", interval), ("fast", fast)] {
        if !INTERVALS.contains(&time) {
            return Err(format!("{name} must be from 100ms to 1h"));
        }
    }
    if fast > interval {
        return Err("fast must not be longer than interval: it is for when there is doubt".to_owned());
    }
    let timeout = typed.timeout.map_or_else(|| TIMEOUT.min(interval), Span::get);
    if timeout.is_zero() || timeout > interval {
        return Err("timeout must be above zero, and not above interval".to_owned());
    }
    let typed::Check { rise, fall, .. } = *typed;
    for (name, number) in [("rise", rise), ("fall", fall)] {
        if !IN_A_ROW.contains(&number) {
            return Err(format!("{name} {number} must be from {} to {}", IN_A_ROW.start(), IN_A_ROW.end()));
        }
    }
    Ok(Pace { interval, fast, timeout, rise, fall })
}

fn http(typed: &typed::HttpCheck) -> Result<Http, SettingsError> {
    let (path, body) = (&typed.path, &typed.body);
    let visible = path.starts_with('/') && path.len() <= LONGEST && path.bytes().all(|byte| byte.is_ascii_graphic());
    let parsed = path.parse().ok().filter(|_| visible && !path.contains('#'));
    let path = parsed.ok_or_else(|| {
        SettingsError::at(path, format!("{:?} must begin with / and be a path, such as /health", **path))
    })?;
    let status = typed.status.0.iter().map(|text| Statuses::range(text).map_err(|e| SettingsError::at(text, e)));
    let status: Vec<_> = status.collect::<Result<_, _>>()?;
    if status.is_empty() {
        return Err(SettingsError::at(&typed.path, "status: []: no answer would pass; write 200-299, or leave it out"));
    }
    let host = typed.host.as_ref().map(|host| {
        let parsed = crate::authority::Authority::parse(host).ok().and_then(|_| host.parse().ok());
        parsed.ok_or_else(|| SettingsError::at(host, format!("{:?} is no host; write name or name:port", **host)))
    });
    let wanted = body.as_ref().map(|body| match &**body {
        typed::Body::Contains(text) if !text.is_empty() => Ok(Wanted::Contains(text.clone().into_bytes())),
        typed::Body::Contains(_) => Err(SettingsError::at(body, "contains: nothing is in every body; write some text")),
        typed::Body::Matches(pattern) => Wanted::matching(pattern).map_err(|e| SettingsError::at(body, e)),
    });
    let method = method(&typed.method)?;
    if let (Some(body), &Method::HEAD) = (body, &method) {
        return Err(SettingsError::at(body, "an answer to HEAD has no body; write method: GET"));
    }
    Ok(Http {
        method,
        path,
        host: host.transpose()?,
        headers: headers(typed)?,
        status: Statuses(status),
        body: wanted.transpose()?,
        protocol: typed.protocol,
    })
}

fn method(text: &Located<String>) -> Result<Method, SettingsError> {
    let parsed = Method::from_bytes(text.to_ascii_uppercase().as_bytes()).ok();
    let usable = parsed.filter(|method| *method != Method::CONNECT && *method != Method::TRACE);
    usable.ok_or_else(|| SettingsError::at(text, format!("{:?} is no method to look with; write GET or HEAD", **text)))
}

fn headers(typed: &typed::HttpCheck) -> Result<HeaderMap, SettingsError> {
    let ours = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in &typed.headers {
        let parsed = super::compile::header_name(name)?;
        if parsed == header::HOST {
            return Err(SettingsError::at(name, "write it as the key host"));
        }
        if ours.contains(&parsed) {
            return Err(SettingsError::at(
                name,
                "says how a message is carried, which is not for a check to say; remove it",
            ));
        }
        let mut secret = HeaderValue::from_str(value).map_err(|_| SettingsError::at(value, "is no header value"))?;
        // It may be a token.
        secret.set_sensitive(true);
        headers.insert(parsed, secret);
    }
    Ok(headers)
}

fn grpc(typed: &typed::GrpcCheck) -> Result<Grpc, String> {
    if typed.service.len() > LONGEST {
        return Err(format!("grpc: the name of a service has at most {LONGEST} bytes"));
    }
    Ok(Grpc { service: typed.service.clone(), protocol: typed.protocol })
}

fn tcp(typed: &typed::TcpCheck) -> Result<Tcp, String> {
    if typed.expect.as_ref().is_some_and(String::is_empty) {
        return Err("tcp: expect: nothing always comes; write some text, or leave it out".to_owned());
    }
    if typed.send.is_some() && typed.expect.is_none() {
        return Err("tcp: send needs an expect: what is sent alone proves nothing".to_owned());
    }
    let expect = typed.expect.clone().map(|text| Wanted::Contains(text.into_bytes()));
    Ok(Tcp { send: typed.send.clone().unwrap_or_default().into_bytes(), expect })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Settings;

    /// The checks of a service whose `check` is this.
    fn compiled(check: &str) -> Result<Arc<[Check]>, String> {
        let file = format!("services: {{ pets: {{ check: {check} }} }}");
        let settings: Settings = settings::parse(&file, Path::new("a.yml"), &|_| None).map_err(|e| e.to_string())?;
        compile(&settings.services.get("pets").unwrap().check.as_ref().unwrap().0).map_err(|e| e.to_string())
    }

    #[test]
    fn little_is_enough() {
        let checks = compiled("{ http: { path: /health } }").unwrap();
        let What::Http(http) = &checks[0].what else { panic!("{checks:?}") };
        assert_eq!((http.method.as_str(), http.path.as_str(), http.status.contain(204)), ("GET", "/health", true));
        let second = Duration::from_secs(1);
        let pace = Pace { interval: 10 * second, fast: second, timeout: 2 * second, rise: 2, fall: 3 };
        assert_eq!((checks[0].pace, checks[0].port), (pace, None));
        let quick = compiled("[ { tcp: {}, interval: 500ms }, { tls: {}, role: liveness } ]").unwrap();
        assert_eq!((quick[0].pace.fast, quick[0].pace.timeout), (second / 2, second / 2));
        assert_eq!(compiled("[]").unwrap().len(), 0);
    }

    #[test]
    fn everything_can_be_said() {
        let checks = compiled(
            "{ http: { path: '/up?deep=1', method: head, host: 'pets.internal:80', headers: { x-probe: '1' }, \
             status: [ 200-204, 429 ], protocol: http }, port: 8081, interval: 5s, fast: 500ms, timeout: 1s, rise: 1, fall: 5 }",
        );
        let checks = checks.unwrap();
        let What::Http(http) = &checks[0].what else { panic!("{checks:?}") };
        assert_eq!((http.method.as_str(), http.host.as_ref().unwrap().as_str()), ("HEAD", "pets.internal:80"));
        assert!(http.status.contain(429) && !http.status.contain(205) && http.headers["x-probe"].is_sensitive());
        assert_eq!((checks[0].port, checks[0].pace.fall), (Some(8081), 5));
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_write() {
        for (check, part) in [
            ("{ interval: 1s }", "write http: { path: /health }"),
            ("{ tcp: {}, tls: {} }", "as a list"),
            ("{ http: {} }", "path"),
            ("{ http: { path: health } }", "begin with /"),
            ("{ http: { path: '/a b' } }", "begin with /"),
            ("{ http: { path: '/a#b' } }", "begin with /"),
            ("{ http: { path: /, status: 2xx } }", "200-299"),
            ("{ http: { path: /, status: [] } }", "no answer would pass"),
            ("{ http: { path: /, body: { matches: '(' } } }", "no regular expression"),
            ("{ http: { path: /, body: { contains: '' } } }", "some text"),
            ("{ http: { path: /, body: { contains: a }, method: HEAD } }", "method: GET"),
            ("{ http: { path: /, method: CONNECT } }", "GET or HEAD"),
            ("{ http: { path: /, host: 'a b' } }", "is no host"),
            ("{ http: { path: /, headers: { host: a } } }", "key host"),
            ("{ http: { path: /, headers: { content-length: '0' } } }", "remove it"),
            ("{ http: { path: /, headers: { 'a b': '0' } } }", "header name"),
            ("{ http: { path: / }, port: 0 }", "port 0"),
            ("{ tcp: { expect: '' } }", "some text"),
            ("{ tcp: { send: a } }", "needs an expect"),
            ("{ tcp: {}, interval: 10ms }", "100ms to 1h"),
            ("{ tcp: {}, interval: 1s, fast: 2s }", "longer than interval"),
            ("{ tcp: {}, interval: 1s, timeout: 2s }", "not above interval"),
            ("{ tcp: {}, fall: 0 }", "fall 0"),
            ("{ tcp: {}, role: startup }", "liveness"),
            (
                "[ { tcp: {} }, { tcp: {} }, { tcp: {} }, { tcp: {} }, { tcp: {} }, { tcp: {} }, { tcp: {} }, { tcp: {} }, { tcp: {} } ]",
                "at most 8",
            ),
        ] {
            let error = compiled(check).unwrap_err();
            assert!(error.contains(part) && error.starts_with("a.yml:1:"), "{check}: {error}");
        }
    }
}
