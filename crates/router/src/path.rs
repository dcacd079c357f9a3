//! hot path
//!
//! The one form of a request path: what routes are matched against is what the instance gets.
//!
//! Two parsers that read a path differently are a way around every rule about paths. So each path is brought to one
//! form (RFC 3986, 6.2.2) before anything looks at it:
//!
//! * escapes of unreserved characters are decoded (`%41` is `A`), all others kept in upper-case hex;
//! * characters that a URI may not hold (`"`, `|`, everything beyond ASCII) are escaped;
//! * `.` and `..` are resolved, **repeated slashes are one slash** (as nginx does): clients that join `https://host/`
//!   and `/v1/pets` are common and mean no harm, and `//a` must not reach another service than `/a`. A slash at the
//!   end is kept.
//!
//! Refused, because no reading of it is safe: encoded slash or backslash, backslash, control characters, broken
//! escapes, `..` above the root, dot segments with a parameter (`/..;/`, which servlet containers read as `/../`) and
//! escapes of escapes (`%252e`): these change when they are normalised a second time.

use std::borrow::Cow;

use model::Refusal;

#[cfg(test)]
mod tests;

/// The normal form of a path; borrowed when it is normal already. `*` (of `OPTIONS *`) is its own normal form.
///
/// Normalising a normal path changes nothing.
///
/// # Errors
/// [`Refusal::BadRequest`] naming the rule, as the module's documentation lists them.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if path == "*" || is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(Refusal::BadRequest("the path must begin with a slash"));
    }
    resolve(&canonical(path)?).map(Cow::Owned)
}

/// The segments of a normal path: `/a/b` has `a` and `b`, `/a/` has `a` and an empty one, `*` has none.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'))
}

/// One scan that tells whether there is nothing to do. May say no to a normal path, never yes to another.
fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        let normal = match byte {
            b'/' => {
                let segment = &path[at + 1..];
                match segment.first() {
                    Some(b'/') => false,
                    Some(b'.') => !begins_with_dot_segment(segment),
                    _ => true,
                }
            }
            b'%' => {
                let normal = is_normal_escape(&path[at..]);
                at += 2;
                normal
            }
            other => PLAIN[usize::from(other)],
        };
        if !normal {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether the text begins with an escape that stays as it is.
fn is_normal_escape(text: &[u8]) -> bool {
    let &[_, high, low, ref rest @ ..] = text else { return false };
    if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
        return false;
    }
    let Some(octet) = octet(high, low) else { return false };
    !octet.is_ascii_control()
        && !is_unreserved(octet)
        && !matches!(octet, b'/' | b'\\')
        && !is_escaped_twice(octet, rest)
}

/// Whether the escaped octet is a `%` that, decoded, would begin another escape.
fn is_escaped_twice(octet: u8, rest: &[u8]) -> bool {
    octet == b'%' && rest.first().is_some_and(u8::is_ascii_hexdigit) && rest.get(1).is_some_and(u8::is_ascii_hexdigit)
}

/// Whether the first segment of the text is `.` or `..`, plain or with a parameter behind it.
fn begins_with_dot_segment(text: &[u8]) -> bool {
    let dots = text.iter().take_while(|&&b| b == b'.').count();
    let rest = &text[dots..];
    (1..=2).contains(&dots) && (matches!(rest.first(), None | Some(b'/' | b';')) || rest.starts_with(b"%3B"))
}

/// Escapes in their one form, everything dangerous refused; segments as they were.
fn canonical(path: &str) -> Result<String, Refusal> {
    let mut out = String::with_capacity(path.len() + 8); // room for a few characters that must be escaped
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let escaped = bytes.next().zip(bytes.next()).and_then(|(high, low)| octet(high, low));
                match escaped.ok_or(Refusal::BadRequest("the path holds a % without two hexadecimal digits"))? {
                    b'/' => return Err(Refusal::BadRequest("the path holds an encoded slash")),
                    b'\\' => return Err(BACKSLASH),
                    octet if octet.is_ascii_control() => return Err(CONTROL),
                    octet if is_unreserved(octet) => out.push(char::from(octet)),
                    octet => push_escaped(&mut out, octet),
                }
            }
            b'\\' => return Err(BACKSLASH),
            b' ' | b'#' | b'?' => {
                return Err(Refusal::BadRequest("the path holds a space, # or ? that is not encoded"));
            }
            byte if byte.is_ascii_control() => return Err(CONTROL),
            byte if byte == b'/' || is_path_character(byte) => out.push(char::from(byte)),
            byte => push_escaped(&mut out, byte),
        }
    }
    // Looked for in the result: `%25%32%65` becomes `%252e` only now.
    let twice = out.match_indices("%25").any(|(at, _)| is_escaped_twice(b'%', &out.as_bytes()[at + 3..]));
    if twice { Err(Refusal::BadRequest("the path is encoded twice")) } else { Ok(out) }
}

/// Dot segments and repeated slashes resolved.
fn resolve(path: &str) -> Result<String, Refusal> {
    let mut out = String::with_capacity(path.len());
    let mut segments = segments(path).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" | "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or(Refusal::BadRequest("the path leads above the root"))?;
                out.truncate(parent);
            }
            _ if begins_with_dot_segment(segment.as_bytes()) => {
                return Err(Refusal::BadRequest("the path holds a dot segment with a parameter"));
            }
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            out.push('/');
        }
    }
    Ok(out)
}

fn push_escaped(out: &mut String, octet: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(octet >> 4)]));
    out.push(char::from(HEX[usize::from(octet & 15)]));
}

/// The octet two hexadecimal digits stand for.
pub(crate) fn octet(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The characters that stay as they are, looked up because every path is scanned.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = is_path_character(byte as u8);
        byte += 1;
    }
    plain
};

/// `pchar` of RFC 3986 without the escapes.
const fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

const BACKSLASH: Refusal = Refusal::BadRequest("the path holds a backslash");
const CONTROL: Refusal = Refusal::BadRequest("the path holds a control character");
