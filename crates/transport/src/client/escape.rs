//! Words in URLs.

use std::fmt::Write as _;

/// A word as one segment of a path, or one value of a query: all but unreserved characters percent-encoded (RFC 3986,
/// 2.3).
#[must_use]
pub fn escaped(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_leave_their_segment() {
        assert_eq!(escaped("com.networknt.pets-1.0.0_x~y"), "com.networknt.pets-1.0.0_x~y");
        assert_eq!(escaped("a?b#c%d&e/../ é"), "a%3Fb%23c%25d%26e%2F..%2F%20%C3%A9");
    }
}
