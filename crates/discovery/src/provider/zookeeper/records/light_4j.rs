//! light-4j's URLs, plain or as Java serializes a string.

use bytes::Bytes;
use model::{Endpoint, Instance, InstanceId, Protocol, ServiceId};

use super::{Attributes, address, attributes as said, instance, protocol};

/// How Java begins a serialized string: magic, version, and the mark of a string of up to 65535 bytes.
const SERIALIZED: [u8; 5] = [0xac, 0xed, 0x00, 0x05, 0x74];

/// Reads one record: `PROTOCOL://HOST:PORT/SERVICE?key=value&...`. Without data the name of the node, `HOST:PORT`, is
/// all there is to know.
///
/// What is spoken: the scheme if it is one of ours, else by attribute; `light`, the usual scheme, says nothing.
pub(in super::super) fn read(id: InstanceId, data: &[u8]) -> Result<Instance, String> {
    let text = text(data)?;
    let (scheme, rest) = match text.trim() {
        "" => ("", id.as_str()),
        url => url.split_once("://").ok_or_else(|| format!("{url:?} is not PROTOCOL://HOST:PORT/SERVICE"))?,
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    let address = address(host, port.parse().ok())?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let attributes: Attributes = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let protocol = match Protocol::parse(scheme) {
        Some(protocol) => Some(protocol),
        None => protocol(&attributes)?,
    };
    instance(id, Endpoint { address, protocol }, attributes)
}

/// Writes one record as light-4j does: `light://HOST:PORT/SERVICE?key=value&...` as Java serializes a string.
///
/// It escapes nothing, so there are words that it cannot carry.
pub(in super::super) fn write(service: &ServiceId, instance: &Instance) -> Result<Bytes, String> {
    let mut pairs = Vec::new();
    for (name, value) in said(instance) {
        let separates = |c: char| c == '&' || c.is_whitespace() || c.is_control();
        if name.contains('=') || name.contains(separates) || value.contains(separates) {
            return Err(format!("{name:?} = {value:?} cannot stand in a URL of light-4j: leave out spaces, & and ="));
        }
        pairs.push(format!("{name}={value}"));
    }
    let url = format!("light://{}/{service}?{}", instance.endpoint.address, pairs.join("&"));
    let length =
        u16::try_from(url.len()).map_err(|_| "is too long for a record of light-4j: 65535 bytes".to_owned())?;
    Ok([&SERIALIZED[..], &length.to_be_bytes(), url.as_bytes()].concat().into())
}

fn text(data: &[u8]) -> Result<&str, String> {
    let bytes = match data.strip_prefix(&SERIALIZED) {
        Some([high, low, text @ ..]) if text.len() == usize::from(u16::from_be_bytes([*high, *low])) => text,
        Some(_) => return Err("is a serialized string of another length than it says".to_owned()),
        None => data,
    };
    std::str::from_utf8(bytes).map_err(|_| "is neither text nor a Java string".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_read(data: &[u8]) -> Result<Instance, String> {
        read(InstanceId::new("10.0.0.9:99").unwrap(), data)
    }

    fn check(url: &str, address: &str, protocol: Option<Protocol>) {
        let read = try_read(url.as_bytes()).unwrap();
        assert_eq!(
            (read.endpoint.address.to_string(), read.endpoint.protocol),
            (address.to_owned(), protocol),
            "{url}"
        );
    }

    #[test]
    fn plain_and_serialized_urls_are_the_same() {
        let url = "light://192.168.1.5:8443/com.networknt.petstore-1.0.0?environment=dev&protocol=https&weight=3&nodeType=service";
        let plain = try_read(url.as_bytes()).unwrap();
        let mut serialized = SERIALIZED.to_vec();
        serialized.extend(u16::try_from(url.len()).unwrap().to_be_bytes());
        serialized.extend(url.as_bytes());
        assert_eq!(try_read(&serialized).unwrap(), plain);
        assert_eq!((plain.weight, plain.is_in("dev"), plain.label("nodeType")), (3, true, Some("service")));
        check(url, "192.168.1.5:8443", Some(Protocol::Https));
        serialized.pop();
        assert!(try_read(&serialized).unwrap_err().contains("another length"));
    }

    #[test]
    fn schemes_say_what_is_spoken_or_nothing() {
        check("http://10.0.0.1:80/a", "10.0.0.1:80", Some(Protocol::Http));
        check("https://10.0.0.1:80/a?protocol=http", "10.0.0.1:80", Some(Protocol::Https));
        check("light://10.0.0.1:80/a", "10.0.0.1:80", None);
        check("light://[::1]:80?a=b", "[::1]:80", None);
        check("", "10.0.0.9:99", None);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (data, part) in [
            (&b"10.0.0.1:80"[..], "PROTOCOL://"),
            (b"light://10.0.0.1/a", "port"),
            (b"light://:80/a", "address"),
            (b"light://h:80/a?protocol=ftp", "ftp"),
            (b"\xac\xed\0\x05\x73\0", "neither text"),
            (b"\xff\xfe", "neither text"),
        ] {
            let error = try_read(data).unwrap_err();
            assert!(error.contains(part), "{data:?}: {error}");
        }
    }
}
