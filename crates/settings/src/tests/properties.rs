//! Laws, on generated input.

use proptest::prelude::*;

use super::{Router, read};
use crate::substitute::substitute;
use crate::{Size, Span};

/// Text that is more often nearly right than noise is.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "routes:",
        "services:",
        "registries:",
        "consul:",
        "balance:",
        "tls:",
        "timeout:",
        "threads:",
        "a",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        ": ",
        ", ",
        "{ ",
        " }",
        "[ ",
        " ]",
        "\"",
        "'",
        "${PORT}",
        "${X:",
        "}",
        "$${",
        "&a ",
        "*a",
        "!!x ",
        "| ",
        "> ",
        "---\n",
        "# ",
        "1",
        "-1",
        "1e9",
        "5s",
        "64KiB",
        "~",
        "<<",
        "? ",
        "\t",
        "é",
        "\u{feff}",
        "\\",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_reads_or_is_refused_with_a_place(text in prop_oneof![nearly_yaml(), any::<String>()]) {
        for error in read::<Router>(&text).err().iter().flatten() {
            let shown = error.to_string();
            prop_assert!(shown.starts_with("r.yml:") && !shown.contains('\n'), "{shown}");
            prop_assert!(error.place().line >= 1 && error.place().column >= 1, "{shown}");
        }
    }

    #[test]
    fn spans_round_trip(millis in 0u64..=365 * 24 * 3_600_000) {
        let span = Span::from_millis(millis);
        prop_assert_eq!(span.to_string().parse(), Ok(span));
    }

    #[test]
    fn sizes_round_trip(bytes in prop_oneof![any::<u64>(), (0u64..1000, 0u32..5).prop_map(|(n, k)| n << (10 * k))]) {
        let size = Size::from_bytes(bytes);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn units_never_panic(text in "[0-9]{0,25}[a-zA-Z é.]{0,4}[0-9]{0,3}[a-z]{0,2}") {
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
        if let Ok(size) = text.parse::<Size>() {
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn escaped_text_is_itself(text in any::<String>()) {
        // A `$` just before the escape would be taken for a part of it.
        prop_assume!(!text.contains("$$"));
        let escaped = text.replace("${", "$${");
        prop_assert_eq!(substitute(&escaped, &|_| None), Ok(text.as_str().into()));
    }

    #[test]
    fn a_value_arrives_as_it_is(value in any::<String>(), before in "[a-z: ]{0,9}", after in "[a-z: ]{0,9}") {
        let text = format!("{before}${{V}}{after}");
        let expected = format!("{before}{value}{after}");
        prop_assert_eq!(substitute(&text, &|_| Some(value.clone())), Ok(expected.as_str().into()));
        let read = crate::parse::<String>(&format!("\"{text}\""), "r.yml".as_ref(), &|_| Some(value.clone()));
        prop_assert_eq!(read, Ok(expected));
    }
}
