//! `${NAME}` and `${NAME:default}` in one scalar.

use std::borrow::Cow;

/// What is wrong with a placeholder, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// Replaces each placeholder by its variable or its default. One pass: what comes out is not looked at again.
///
/// `$${` is a literal `${`; a `$` before anything else is itself. `Cow::Borrowed` means that nothing was replaced.
pub(crate) fn substitute<'a>(text: &'a str, env: &dyn Fn(&str) -> Option<String>) -> Result<Cow<'a, str>, Refused> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let Some((inside, after)) = from[2..].split_once('}') else {
            return Err(refused("`${` without `}`", "close it, or write `$${` for a literal `${`"));
        };
        out.push_str(&value_of(inside, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The value for what stands between the braces.
fn value_of(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Refused> {
    let (name, default) = match inside.split_once(':') {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(refused(
            format!("{name:?} in `${{...}}` is not the name of an environment variable"),
            "use letters, digits and `_`, or write `$${` for a literal `${`",
        ));
    }
    match default {
        Some(default) if default.contains("${") => {
            Err(refused(format!("the default of `${{{name}}}` holds another `${{`"), "defaults are literal text"))
        }
        // A shell reads this as the default after the dash; guessing would be wrong for one of the two readers.
        Some(default) if default.starts_with('-') => Err(refused(
            format!("`${{{name}:-...}}` is the notation of shells"),
            format!("write `${{{name}:default}}` without `-`"),
        )),
        Some(default) => Ok(env(name).unwrap_or_else(|| default.to_owned())),
        None => env(name).ok_or_else(|| {
            refused(
                format!("environment variable {name:?} is not set"),
                format!("set it, or give a default: `${{{name}:default}}`"),
            )
        }),
    }
}

fn refused(problem: impl Into<String>, remedy: impl Into<String>) -> Refused {
    Refused { problem: problem.into(), remedy: remedy.into() }
}
