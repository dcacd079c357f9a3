//! hot path
//!
//! Header blocks in.

use std::borrow::Cow;

use super::{
    TABLE, huffman, integer,
    table::{FIXED_FIELDS, Field, Name, Table, fixed},
};

/// What is remembered of the peer's heads.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table<Field>,
    /// For strings in Huffman code; kept, so that it is allocated once.
    text: Vec<u8>,
    /// A longer string is no field of any head we would take.
    longest: usize,
}

/// The block cannot be read, so that nothing after it can be either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Decoder {
    /// `longest`: the most bytes one string may have.
    pub(crate) fn new(longest: usize) -> Self {
        Self { table: Table::new(TABLE), text: Vec::new(), longest }
    }

    /// Reads a whole block and hands over each field. One that stands in the table is lent: a block may name it thousands of
    /// times, and whoever has enough of them copies no more.
    pub(crate) fn decode(&mut self, mut block: &[u8], mut take: impl FnMut(Cow<'_, Field>)) -> Result<(), Unreadable> {
        let mut resizes = 0;
        let mut begun = false;
        while let Some(&first) = block.first() {
            if first & 0xe0 == 0x20 {
                // RFC 7541, 4.2: at the beginning of a block, and at most two.
                resizes += 1;
                let size = integer::read(&mut block, 5).filter(|&size| size <= TABLE && !begun && resizes <= 2);
                self.table.resize(size.ok_or(Unreadable)?);
                continue;
            }
            begun = true;
            if first & 0x80 != 0 {
                let index = integer::read(&mut block, 7).ok_or(Unreadable)?;
                take(self.indexed(index).ok_or(Unreadable)?);
            } else {
                take(Cow::Owned(self.literal(&mut block, first)?));
            }
        }
        Ok(())
    }

    fn literal(&mut self, block: &mut &[u8], first: u8) -> Result<Field, Unreadable> {
        let (indexing, bits) = if first & 0x40 != 0 { (true, 6) } else { (false, 4) };
        let name = match integer::read(block, bits).ok_or(Unreadable)? {
            0 => Name::read(string(block, &mut self.text, self.longest)?),
            index => match self.indexed(index).ok_or(Unreadable)? {
                Cow::Owned(field) => field.name,
                Cow::Borrowed(field) => field.name.clone(),
            },
        };
        let mut field = Field::read(name, string(block, &mut self.text, self.longest)?);
        if first & 0xf0 == 0x10 {
            field.keep_secret();
        }
        if indexing {
            self.table.add(field.clone(), field.size());
        }
        Ok(field)
    }

    fn indexed(&self, index: usize) -> Option<Cow<'_, Field>> {
        match index.checked_sub(FIXED_FIELDS + 1) {
            None => fixed(index).map(Cow::Owned),
            Some(place) => self.table.get(place).map(Cow::Borrowed),
        }
    }
}

/// A string; `text` holds it if it came in Huffman code.
fn string<'t, 'b: 't>(block: &mut &'b [u8], text: &'t mut Vec<u8>, longest: usize) -> Result<&'t [u8], Unreadable> {
    let coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::read(block, 7).ok_or(Unreadable)?;
    let (string, rest) = block.split_at_checked(length).ok_or(Unreadable)?;
    *block = rest;
    if !coded {
        return if length <= longest { Ok(string) } else { Err(Unreadable) };
    }
    text.clear();
    huffman::decode(string, text, longest).ok_or(Unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(decoder: &mut Decoder, block: &[u8], expected: &[(&str, &str)]) {
        let mut fields = Vec::new();
        decoder.decode(block, |field| fields.push(field.into_owned())).unwrap();
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| Field::read(Name::read(name.as_bytes()), value.as_bytes())).collect();
        assert_eq!(fields, expected);
    }

    fn refused(block: &[u8]) {
        assert_eq!(Decoder::new(1000).decode(block, |_| ()), Err(Unreadable), "{block:x?}");
    }

    /// RFC 7541, C.3: three requests on one connection.
    #[test]
    fn requests_as_the_rfc_writes_them() {
        let mut decoder = Decoder::new(1000);
        let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        check(&mut decoder, b"\x82\x86\x84\x41\x0fwww.example.com", &first);
        let second = [first[0], first[1], first[2], first[3], ("cache-control", "no-cache")];
        check(&mut decoder, b"\x82\x86\x84\xbe\x58\x08no-cache", &second);
        let third =
            [first[0], (":scheme", "https"), (":path", "/index.html"), first[3], ("custom-key", "custom-value")];
        check(&mut decoder, b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value", &third);
    }

    #[test]
    fn names_from_either_table_and_fields_that_are_not_remembered() {
        let mut decoder = Decoder::new(1000);
        check(
            &mut decoder,
            b"\x40\x01a\x01b\x7e\x01c\x0f\x2f\x01d\x1f\x2f\x01e\xbe\xbf",
            &[("a", "b"), ("a", "c"), ("a", "d"), ("a", "e"), ("a", "c"), ("a", "b")],
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        refused(b"\x80"); // index 0
        refused(b"\xbe"); // beyond the table
        refused(b"\x7e\x01a"); // a name beyond the table
        refused(b"\x40\x01"); // cut off in a name
        refused(b"\x40\x01a\x02b"); // cut off in a value
        refused(b"\x40\x01a"); // without a value
        refused(b"\x82\x20"); // a size behind a field
        refused(b"\x3f\xe2\x1f"); // a size of 4097
        refused(b"\x20\x20\x20"); // three sizes
        refused(b"\xff\xff\xff\xff\xff\xff"); // an index without end
        refused(&[b"\x40\x01a\x7f\xea\x07".as_slice(), &[b'x'; 1001]].concat()); // longer than any field
    }

    #[test]
    fn what_stands_in_the_table_is_lent() {
        let mut decoder = Decoder::new(1000);
        let mut lent = Vec::new();
        decoder.decode(b"\x40\x01a\x01b\xbe\x82", |field| lent.push(matches!(field, Cow::Borrowed(_)))).unwrap();
        assert_eq!(lent, [false, true, false], "new, of the table, of the fixed one");
    }

    #[test]
    fn a_smaller_table_forgets() {
        let mut decoder = Decoder::new(1000);
        check(&mut decoder, b"\x40\x01a\x01b", &[("a", "b")]);
        check(&mut decoder, b"\x20\x3f\xe1\x1f\x40\x01c\x01d\xbe", &[("c", "d"), ("c", "d")]);
        assert_eq!(decoder.decode(b"\xbf", |_| ()), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(blocks: Vec<Vec<u8>>) {
            let mut decoder = Decoder::new(64);
            for block in blocks {
                let _read = decoder.decode(&block, |_| ());
                prop_assert!(decoder.table.limit <= TABLE);
            }
        }
    }
}
