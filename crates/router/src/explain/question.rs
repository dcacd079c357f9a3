//! A request that is only spoken of.

use std::net::IpAddr;

use http::{HeaderValue, Request, Uri, Version, header::HOST, request::Parts};
use serde::{Deserialize, Serialize};

/// More headers than any router lets in.
const HEADERS: usize = 1000;

/// Which request is asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// Its path and query, or a whole URL.
    pub path: String,
    /// Its headers, by name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Its host, if neither the URL nor a header says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address of its client, where that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
}

impl Question {
    /// Method and target, for people.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Its head, as one comes over HTTP/1.1; over HTTP/1.0 if it names no host, as only there it may.
    ///
    /// # Errors
    /// What of it cannot be sent at all.
    pub fn head(&self) -> Result<Parts, String> {
        if self.headers.len() > HEADERS {
            return Err(format!("{} headers are too many; write at most {HEADERS}", self.headers.len()));
        }
        let uri: Uri = self.path.parse().map_err(|_| format!("{:?} is no path; write /v1/pets or a URL", self.path))?;
        let authority = uri.authority().map(|authority| authority.as_str().to_owned());
        let host = authority.filter(|_| uri.scheme().is_some()).or_else(|| self.host.clone());
        if uri.scheme().is_none() && !self.path.starts_with('/') && self.path != "*" {
            return Err(format!("{:?} is no path; write /{}", self.path, self.path));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder().method(self.method.as_bytes()).uri(target);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no header value"))?;
            request = request.header(name, value);
        }
        let (mut head, ()) = request.body(()).map_err(|error| format!("no request: {error}"))?.into_parts();
        if let Some(host) = host {
            let host = HeaderValue::from_str(&host).map_err(|_| format!("{host:?} is no host"))?;
            head.headers.try_insert(HOST, host).map_err(|error| format!("no request: {error}"))?;
        }
        head.version = if head.headers.contains_key(HOST) { Version::HTTP_11 } else { Version::HTTP_10 };
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_host_as_a_header_does() {
        let ask = |path: &str, host: Option<&str>| {
            let (method, host) = ("GET".to_owned(), host.map(str::to_owned));
            Question { method, path: path.to_owned(), host, ..Question::default() }.head()
        };
        let head = ask("https://api.example.com:8443/v1?a=b", Some("other")).unwrap();
        assert_eq!((head.uri.to_string().as_str(), head.version), ("/v1?a=b", Version::HTTP_11));
        assert_eq!(head.headers[HOST], "api.example.com:8443");
        assert_eq!(ask("/v1", Some("a")).unwrap().headers[HOST], "a");
        assert_eq!(ask("/v1", None).unwrap().version, Version::HTTP_10);
        assert_eq!(ask("*", None).unwrap().uri, "*");
        assert!(ask("v1/pets", None).unwrap_err().contains("write /v1/pets"));
        assert!(ask("/a b", None).is_err());
    }

    #[test]
    fn what_cannot_be_sent_is_told() {
        let question = |name: &str, value: &str| Question {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: vec![(name.to_owned(), value.to_owned())],
            ..Question::default()
        };
        assert!(question("a b", "c").head().unwrap_err().starts_with("no request: "));
        assert!(question("a", "b\n").head().unwrap_err().ends_with("is no header value"));
        assert!(question("host", "pets").head().unwrap().version == Version::HTTP_11);
        let many = |number: usize| Question {
            headers: (0..number).map(|n| (format!("x-{n}"), String::new())).collect(),
            host: Some("pets".to_owned()),
            ..question("a", "b")
        };
        assert_eq!(many(1000).head().unwrap().headers.len(), 1001);
        assert_eq!(many(1001).head().unwrap_err(), "1001 headers are too many; write at most 1000");
    }
}
