//! Lines whose words stand below each other.

use std::fmt::Write;

/// A title for each column, and then a line for each row. The last column is as wide as it likes; nothing stands as `-`,
/// so that each line has as many words for programs that split it.
pub(super) fn text<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let shown = |word: &str| if word.is_empty() { "-".to_owned() } else { word.to_owned() };
    let rows: Vec<[String; N]> = std::iter::once(titles.map(shown))
        .chain(rows.iter().map(|row| row.each_ref().map(|word| shown(word))))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (column, (word, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match column + 1 == N {
                true => writeln!(text, "{word}"),
                false => write!(text, "{word:width$}  "),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn each_column_is_as_wide_as_its_widest_word() {
        let row = |words: [&str; 3]| words.map(str::to_owned);
        let told = text(["A", "LONG", "LAST"], &[row(["one", "", "as long as it likes"]), row(["", "2", ""])]);
        assert_eq!(told, "A    LONG  LAST\none  -     as long as it likes\n-    2     -\n");
        assert_eq!(text(["A", "B"], &[]), "A  B\n");
    }
}
