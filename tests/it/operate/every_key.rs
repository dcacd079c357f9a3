//! An error at every key of the example files is told with the line and column of that key (decision 29).

use std::{fs, path::Path};

use router::settings::Settings;

/// A key as it stands in a file: line, column, and the bytes of its name without quotes.
#[derive(Debug)]
struct Key {
    line: usize,
    column: usize,
    name: std::ops::Range<usize>,
}

/// Every key of our own files: a word, perhaps quoted, and a colon before a space or the end of the line, outside of
/// comments and other quotes.
fn keys(text: &str) -> Vec<Key> {
    let mut found = Vec::new();
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let content = without_comment(line);
        let mut quoted = false;
        for (at, letter) in content.char_indices() {
            let ends_name = letter == ':' && content[at + 1..].chars().next().is_none_or(char::is_whitespace);
            if letter == '"' {
                quoted = !quoted;
            } else if ends_name && !quoted {
                found.push(key_before(content, at, number + 1, start));
            }
        }
        start += line.len();
    }
    found
}

fn without_comment(line: &str) -> &str {
    let comment = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with(' ');
    let end = line.match_indices('#').find(comment).map_or(line.len(), |(at, _)| at);
    line[..end].trim_end()
}

fn key_before(content: &str, colon: usize, line: usize, start: usize) -> Key {
    let (name, quotes) = match content[..colon].strip_suffix('"') {
        Some(quoted) => (quoted.rfind('"').expect("a quote that opens") + 1..colon - 1, 1),
        None => (content[..colon].rfind([' ', '{', '[']).map_or(0, |at| at + 1)..colon, 0),
    };
    Key { line, column: name.start - quotes + 1, name: start + name.start..start + name.end }
}

fn place_of_error(text: &str) -> Option<(usize, usize, String)> {
    let read = settings::parse::<Settings>(text, Path::new("example.yml"), &|_| None);
    let mistakes = read.err()?;
    assert_eq!(mistakes.len(), 1, "one was made: {mistakes}");
    mistakes.into_iter().next().map(|error| (error.place().line, error.place().column, error.to_string()))
}

/// The key misspelt, and written twice. Names that are the user's to choose (services, headers) cannot be misspelt.
fn check(file: &str, text: &str, key: &Key) -> bool {
    let name = &text[key.name.clone()];
    let told = |kind: &str, changed: &str, line: usize| {
        let Some((found, column, error)) = place_of_error(changed) else { return false };
        assert_eq!((found, column), (line, key.column), "{file}: {name} {kind}: {error}");
        assert!(error.starts_with(&format!("example.yml:{line}:{}: ", key.column)), "{error}");
        true
    };
    let mut misspelt = text.to_owned();
    misspelt.insert_str(key.name.end, "-zzz");
    let known = told("misspelt", &misspelt, key.line);

    // A line of its own before it in a block, so that the second of the two is where the key was, one line further.
    let line = text.lines().nth(key.line - 1).expect("the key's line");
    let before = &line[..key.column - 1];
    if before.chars().all(|letter| letter == ' ') {
        let start = key.name.start - usize::from(line[key.column - 1..].starts_with('"')) - before.len();
        let mut twice = text.to_owned();
        twice.insert_str(start, &format!("{before}{}: ~\n", &line[key.column - 1..].split(':').next().unwrap()));
        assert!(told("twice", &twice, key.line + 1), "{file}: {name} written twice is accepted");
    }
    known
}

#[test]
fn a_wrong_key_is_told_where_it_stands() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut counts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (file, text) =
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap());
        assert_eq!(place_of_error(&text), None, "{file} itself reads");
        let text = uncommented(&text);
        let keys = keys(&text);
        let known = keys.iter().filter(|key| check(&file, &text, key)).count();
        counts.push((file, keys.len(), known));
    }
    let reference = counts.iter().find(|(file, ..)| file == "router.yml").expect("the reference file");
    // What is not known are names of registries, tokens, services, headers, parameters and labels.
    assert!(reference.1 >= 120 && reference.2 + 26 >= reference.1, "file, keys, known keys: {counts:?}");
}

/// The file with the keys in force that it has in comments because they are no defaults: block by block, as far as they
/// do not stand for other keys.
fn uncommented(text: &str) -> String {
    let in_force = |line: &str| {
        let (indent, content) = line.split_at(line.len() - line.trim_start().len());
        let rest = content.strip_prefix("# ")?;
        let (name, _) = rest.trim_start().trim_start_matches("- ").split_once(':')?;
        name.chars()
            .all(|letter| letter.is_ascii_lowercase() || "_1".contains(letter))
            .then(|| format!("{indent}{rest}"))
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut start = 0;
    while start < lines.len() {
        let block: Vec<String> = lines[start..].iter().map_while(|line| in_force(line)).collect();
        let end = start + block.len();
        let mut changed = lines.clone();
        changed.splice(start..end, block);
        if place_of_error(&changed.join("\n")).is_none() {
            lines = changed;
        }
        start = end + 1;
    }
    lines.join("\n") + "\n"
}

#[test]
fn keys_are_found_where_they_are() {
    let text = "a: { b: \"x: y\", \"c|d\": http://e:1 } # f: g\n  - h:\n";
    let found: Vec<_> = keys(text).into_iter().map(|key| (key.line, key.column, &text[key.name])).collect();
    assert_eq!(found, [(1, 1, "a"), (1, 6, "b"), (1, 17, "c|d"), (2, 5, "h")]);
}
