//! What the API server sends: pages of a list, and events of a watch. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::{
    failure::{Failure, Status},
    slice::{Key, Record, Rules, read},
};

/// One page of a list.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    /// The version of the whole list; the same on every page.
    pub(super) version: String,
    /// The way to the next page.
    pub(super) next: Option<String>,
    pub(super) records: Vec<Record>,
    /// Records that could not even be named.
    pub(super) nameless: Vec<String>,
}

/// One line of a watch.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// A slice is new or changed.
    Applied(Record),
    /// A slice is gone, or does not match the selector any more.
    Deleted(Key),
    /// Nothing changed up to this version.
    Bookmark,
    /// A slice that cannot be named.
    Nameless(String),
}

#[derive(Deserialize)]
struct ListBody {
    kind: String,
    metadata: ListMeta,
    items: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    r#continue: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Value,
}

/// Reads a page. An answer that is anything else than a list of slices is a failure, never an empty list.
pub(super) fn page(body: &[u8], rules: &Rules) -> Result<Page, Failure> {
    let body: ListBody = serde_json::from_slice(body).map_err(|e| Failure::malformed(format!("list: {e}")))?;
    if body.kind != "EndpointSliceList" || body.metadata.resource_version.is_empty() {
        return Err(Failure::malformed(format!("list: the answer is a {:?}, no EndpointSliceList", body.kind)));
    }
    let next = body.metadata.r#continue.filter(|next| !next.is_empty());
    let mut page = Page { version: body.metadata.resource_version, next, records: Vec::new(), nameless: Vec::new() };
    for item in body.items.unwrap_or_default() {
        match read(&item, rules) {
            Ok(record) => page.records.push(record),
            Err(reason) => page.nameless.push(reason),
        }
    }
    Ok(page)
}

/// Reads a line, and the version of the cluster after it.
pub(super) fn event(line: &[u8], rules: &Rules) -> Result<(Event, Option<String>), Failure> {
    let Line { r#type, object } =
        serde_json::from_slice(line).map_err(|e| Failure::malformed(format!("an event of the watch: {e}")))?;
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let version = version.filter(|version| !version.is_empty()).map(str::to_owned);
    let event = match (&*r#type, read(&object, rules)) {
        ("BOOKMARK", _) => Event::Bookmark,
        ("ERROR", _) => return Err(Status::read(&object).failure()),
        ("ADDED" | "MODIFIED", Ok(record)) => Event::Applied(record),
        ("ADDED" | "MODIFIED", Err(reason)) => Event::Nameless(reason),
        ("DELETED", Ok(record)) => Event::Deleted(record.key),
        // Which one is gone only a new list tells.
        ("DELETED", Err(reason)) => return Err(Failure::malformed(format!("a deletion of {reason}"))),
        (other, _) => return Err(Failure::malformed(format!("an event of the unknown type {other:?}"))),
    };
    Ok((event, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::default()
    }

    #[test]
    fn a_page_is_a_list_of_slices_and_nothing_else_is() {
        let good = r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7","continue":""},"items":null}"#;
        let read = page(good.as_bytes(), &rules()).unwrap();
        assert_eq!((read.version.as_str(), read.next, read.records.len()), ("7", None, 0));
        for bad in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"kind":"EndpointSliceList","items":[]}"#,
            r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":""},"items":[]}"#,
            r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[]}"#,
            r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":{}}"#,
        ] {
            assert!(page(bad.as_bytes(), &rules()).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_items_leave_the_others() {
        let body = r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},
            "items":[null,{"metadata":{"name":"a"},"addressType":"IPv4"},{"metadata":{"name":"b"},"addressType":5}]}"#;
        let read = page(body.as_bytes(), &rules()).unwrap();
        assert_eq!((read.records.len(), read.nameless.len()), (2, 1));
        assert!(read.records[0].content.is_ok() && read.records[1].content.is_err());
    }

    #[test]
    fn events_are_told_apart() {
        let read = |line: &str| event(line.as_bytes(), &rules());
        let slice = r#"{"metadata":{"name":"a","resourceVersion":"9"},"addressType":"IPv4"}"#;
        let added = read(&format!(r#"{{"type":"ADDED","object":{slice}}}"#)).unwrap();
        assert!(matches!(added, (Event::Applied(_), Some(version)) if version == "9"));
        let deleted = read(&format!(r#"{{"type":"DELETED","object":{slice}}}"#)).unwrap();
        assert!(matches!(deleted, (Event::Deleted(key), _) if &*key.name == "a"));
        let bookmark = read(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"},"endpoints":null}}"#);
        assert_eq!(bookmark.unwrap(), (Event::Bookmark, Some("8".into())));
        assert!(matches!(read(r#"{"type":"MODIFIED","object":7}"#), Ok((Event::Nameless(_), None))));
        let gone = read(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#);
        assert!(matches!(gone, Err(Failure::Gone)));
        for bad in ["{", "7", r#"{"type":"DELETED","object":{}}"#, r#"{"type":"RENAMED","object":{}}"#] {
            assert!(matches!(read(bad), Err(Failure::Other { .. })), "{bad}");
        }
    }
}
