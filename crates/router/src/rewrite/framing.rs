//! hot path
//!
//! How the answer of an HTTP/1.1 instance says where it ends. hyper reads one length of several and one coding of several;
//! what it does not read would reach the client, who knows nothing of it or reads it otherwise.

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::list;

/// Whether the answer can be passed on: its codings are none, or one `chunked` (any other would be lost with its field), and
/// its lengths are one number, however often it stands there. It is put down once.
#[must_use]
pub fn settle(headers: &mut HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(first) = codings.next() {
        return codings.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return true };
    if lengths.next().is_none() && is_number(first) {
        return true;
    }
    let length = one(headers.get_all(CONTENT_LENGTH).iter());
    length.map(|length| headers.insert(CONTENT_LENGTH, length)).is_some()
}

/// The one number that all say (RFC 9112, 6.3); as it was first written.
fn one<'a>(lengths: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let mut said: Option<(u64, HeaderValue)> = None;
    for value in lengths {
        // A value that is empty or no ASCII has no elements, and is no number.
        list(value).next()?;
        for text in list(value) {
            let value = HeaderValue::from_str(text).ok().filter(is_number)?;
            let number = text.parse().ok()?;
            match &said {
                Some((earlier, _)) if *earlier != number => return None,
                Some(_) => {}
                None => said = Some((number, value)),
            }
        }
    }
    said.map(|(_, value)| value)
}

fn is_number(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn settled(fields: &[(HeaderName, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        let left = |headers: &HeaderMap| {
            let all = headers.get_all(CONTENT_LENGTH);
            all.iter().map(|length| length.to_str().unwrap()).collect::<Vec<_>>().join("|")
        };
        settle(&mut headers).then(|| left(&headers))
    }

    #[test]
    fn lengths_that_agree_are_one() {
        let lengths =
            |values: &[&'static str]| settled(&values.iter().map(|value| (CONTENT_LENGTH, *value)).collect::<Vec<_>>());
        for (values, left) in [
            (&[][..], Some("")),
            (&["5"], Some("5")),
            (&["5, 5"], Some("5")),
            (&["5,5 ,\t5", "5"], Some("5")),
            (&["5", "5"], Some("5")),
            (&["05", "5"], Some("05")),
            (&["5, 6"], None),
            (&["5", "6"], None),
            (&["+5"], None),
            (&["5, x"], None),
            (&["5", ""], None),
            (&[""], None),
            (&["18446744073709551616, 18446744073709551616"], None),
        ] {
            assert_eq!(lengths(values).as_deref(), left, "{values:?}");
        }
    }

    #[test]
    fn one_chunked_is_the_only_coding() {
        let codings = |values: &[&'static str]| {
            settled(&values.iter().map(|value| (TRANSFER_ENCODING, *value)).collect::<Vec<_>>()).is_some()
        };
        assert!(codings(&["chunked"]) && codings(&["Chunked"]));
        for values in
            [&["gzip, chunked"][..], &["gzip"], &["chunked", "identity"], &["chunked", "chunked"], &["chunked,"], &[""]]
        {
            assert!(!codings(values), "{values:?}");
        }
    }
}
