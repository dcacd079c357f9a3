//! HPACK (RFC 7541) in both directions, apart from any library: header blocks written octet by octet, right or wrong,
//! and a strict reader of what the other side wrote.
//!
//! ```
//! use testkit::hpack::{Block, Reader};
//!
//! let block = Block::new().indexed(2).huffman("x-name", "value").keep("x-kept", "1").to_bytes();
//! let mut reader = Reader::new();
//! let fields = reader.read(&block).unwrap();
//! assert_eq!(fields[0], (":method".to_owned(), "GET".to_owned()));
//! assert_eq!(reader.read(&[0x80 | 62]).unwrap(), [("x-kept".to_owned(), "1".to_owned())]);
//! ```

mod tables;

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use tables::{HUFFMAN_LENGTHS, STATIC};

/// A name and a value.
pub type Field = (String, String);

/// The table's size until SETTINGS say otherwise.
const TABLE: usize = 4096;
/// What an entry counts beyond its octets.
const ENTRY: usize = 32;

/// A header block as it is written.
#[derive(Debug, Clone, Default)]
pub struct Block(BytesMut);

impl Block {
    /// An empty block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The beginning of a GET: its method, scheme, path and authority, in plain literals.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new().indexed(2).indexed(6).plain(":path", path).plain(":authority", "a")
    }

    /// An entry of the tables: 1 to 61 of the static one, from 62 on what was kept, the newest first.
    #[must_use]
    pub fn indexed(self, index: u64) -> Self {
        self.integer(0x80, 7, index)
    }

    /// A literal that is not kept.
    #[must_use]
    pub fn plain(self, name: &str, value: &str) -> Self {
        self.octets(&[0]).text(name).text(value)
    }

    /// A literal that is kept in the table.
    #[must_use]
    pub fn keep(self, name: &str, value: &str) -> Self {
        self.octets(&[0x40]).text(name).text(value)
    }

    /// A literal that nobody on the way may keep.
    #[must_use]
    pub fn never(self, name: &str, value: &str) -> Self {
        self.octets(&[0x10]).text(name).text(value)
    }

    /// A literal that is not kept, in Huffman code.
    #[must_use]
    pub fn huffman(self, name: &str, value: &str) -> Self {
        let (name, value) = (huffman(name.as_bytes()), huffman(value.as_bytes()));
        let named = self.octets(&[0]).integer(0x80, 7, name.len() as u64).octets(&name);
        named.integer(0x80, 7, value.len() as u64).octets(&value)
    }

    /// A change of the table's size.
    #[must_use]
    pub fn resize(self, size: u64) -> Self {
        self.integer(0x20, 5, size)
    }

    /// An integer with a prefix of so many bits, in an octet that has the bits of `first` set.
    #[must_use]
    pub fn integer(mut self, first: u8, prefix: u32, value: u64) -> Self {
        let most = (1 << prefix) - 1;
        if value < most {
            self.0.put_u8(first | value as u8);
            return self;
        }
        self.0.put_u8(first | most as u8);
        let mut rest = value - most;
        while rest >= 0x80 {
            self.0.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.put_u8(rest as u8);
        self
    }

    /// Anything else.
    #[must_use]
    pub fn octets(mut self, octets: &[u8]) -> Self {
        self.0.put_slice(octets);
        self
    }

    /// A string as it is: its length, its octets.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.integer(0, 7, text.len() as u64).octets(text.as_bytes())
    }

    /// As on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

/// Each symbol's code, from the lengths: the code is canonical. 256 is EOS.
fn codes() -> [u32; 257] {
    let mut order: Vec<usize> = (0..HUFFMAN_LENGTHS.len()).collect();
    order.sort_by_key(|symbol| (HUFFMAN_LENGTHS[*symbol], *symbol));
    let (mut codes, mut next, mut before) = ([0; 257], 0, HUFFMAN_LENGTHS[order[0]]);
    for symbol in order {
        next <<= HUFFMAN_LENGTHS[symbol] - before;
        before = HUFFMAN_LENGTHS[symbol];
        codes[symbol] = next;
        next += 1;
    }
    codes
}

/// The Huffman code of these octets, filled up with ones.
#[must_use]
pub fn huffman(octets: &[u8]) -> Vec<u8> {
    let codes = codes();
    let mut bits: Vec<bool> = Vec::new();
    for octet in octets {
        let (code, length) = (codes[usize::from(*octet)], HUFFMAN_LENGTHS[usize::from(*octet)]);
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }
    bits.resize(bits.len().next_multiple_of(8), true);
    bits.chunks(8).map(|octet| octet.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
}

/// What Huffman code says.
fn unhuffman(octets: &[u8]) -> Result<Vec<u8>, String> {
    let codes = codes();
    let (mut text, mut code, mut length) = (Vec::new(), 0_u32, 0);
    for bit in octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        let symbol = (0..256_usize).find(|at| HUFFMAN_LENGTHS[*at] == length && codes[*at] == code);
        if let Some(symbol) = symbol {
            text.push(symbol as u8);
            (code, length) = (0, 0);
        }
    }
    let padded = length < 8 && code == (1 << length) - 1;
    padded.then_some(text).ok_or_else(|| format!("bad Huffman padding: {length} bits"))
}

/// Reads the header blocks of one direction of a connection, and refuses what RFC 7541 does not allow.
#[derive(Debug)]
pub struct Reader {
    table: VecDeque<Field>,
    /// What the other side set the table to.
    limit: usize,
    /// What our SETTINGS allow it.
    allowed: usize,
    /// The smallest size allowed since the last block: if below `limit`, a change has to come first.
    due: Option<usize>,
    /// Names of the last block whose fields nobody may keep.
    never: Vec<String>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// With the table a connection begins with.
    #[must_use]
    pub fn new() -> Self {
        Self { table: VecDeque::new(), limit: TABLE, allowed: TABLE, due: None, never: Vec::new() }
    }

    /// Our SETTINGS_HEADER_TABLE_SIZE, once acknowledged.
    pub fn allow(&mut self, size: usize) {
        self.allowed = size;
        self.due = Some(self.due.map_or(size, |due| due.min(size)));
    }

    /// How many entries it keeps.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.table.len()
    }

    /// The names of the last block's fields that came as never to be kept.
    #[must_use]
    pub fn never(&self) -> &[String] {
        &self.never
    }

    /// The fields of a whole block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        self.never.clear();
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(first) = rest.first().copied() {
            if first & 0xe0 == 0x20 {
                let size = integer(&mut rest, 5)?;
                self.resize(size, fields.is_empty())?;
                continue;
            }
            if let Some(due) = self.due.take()
                && due < self.limit
            {
                return Err(format!("no change of the table's size from {} to {due}", self.limit));
            }
            fields.push(self.field(first, &mut rest)?);
        }
        Ok(fields)
    }

    fn resize(&mut self, size: usize, first: bool) -> Result<(), String> {
        if !first || size > self.allowed {
            return Err(format!("a change of the table's size to {size}, first: {first}, allowed: {}", self.allowed));
        }
        if self.due.is_some_and(|due| size <= due) {
            self.due = None;
        }
        self.limit = size;
        self.evict();
        Ok(())
    }

    fn field(&mut self, first: u8, rest: &mut &[u8]) -> Result<Field, String> {
        if first & 0x80 != 0 {
            let index = integer(rest, 7)?;
            return self.entry(index);
        }
        let keep = first & 0x40 != 0;
        let index = integer(rest, if keep { 6 } else { 4 })?;
        let name = if index == 0 { string(rest)? } else { self.entry(index)?.0 };
        let field = (name, string(rest)?);
        if first & 0xf0 == 0x10 {
            self.never.push(field.0.clone());
        }
        if keep {
            self.table.push_front(field.clone());
            self.evict();
        }
        Ok(field)
    }

    fn entry(&self, index: usize) -> Result<Field, String> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            return Ok(((*name).to_owned(), (*value).to_owned()));
        }
        let kept = index.checked_sub(STATIC.len() + 1).and_then(|at| self.table.get(at));
        kept.cloned().ok_or_else(|| format!("no entry {index}"))
    }

    fn evict(&mut self) {
        let size = |(name, value): &Field| name.len() + value.len() + ENTRY;
        while self.table.iter().map(size).sum::<usize>() > self.limit {
            self.table.pop_back();
        }
    }
}

fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, String> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(octet(rest)?) & most;
    if value < most {
        return Ok(value);
    }
    for shift in (0..28).step_by(7) {
        let next = octet(rest)?;
        value += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("an integer that is too long".into())
}

fn string(rest: &mut &[u8]) -> Result<String, String> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or("a string that is cut")?;
    *rest = after;
    let text = if coded { unhuffman(text)? } else { text.to_vec() };
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn octet(rest: &mut &[u8]) -> Result<u8, String> {
    let (first, after) = rest.split_first().ok_or("a block that is cut")?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, C.4.1 to C.4.3 and C.6.1: requests and a response in Huffman code.
    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        let mut reader = Reader::new();
        let host = huffman(b"www.example.com");
        assert_eq!(host, [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]);
        let first = Block::new().octets(&[0x82, 0x86, 0x84, 0x41, 0x8c]).octets(&host).to_bytes();
        assert_eq!(reader.read(&first).unwrap()[3], (":authority".into(), "www.example.com".into()));
        let second = [&[0x82, 0x86, 0x84, 0xbe, 0x58, 0x86][..], &huffman(b"no-cache")].concat();
        assert_eq!(reader.read(&second).unwrap()[4], ("cache-control".into(), "no-cache".into()));
        assert_eq!(reader.kept(), 2);
        assert_eq!(Block::new().integer(0, 5, 1337).to_bytes()[..], [31, 154, 10]);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for block in [&[0x80][..], &[0xbe], &[0x82, 0x20], &[0x3f, 0xe2, 0x1f], &[0, 1], &[0, 0x81, 0, 0], &[0xff]] {
            assert!(Reader::new().read(block).is_err(), "{block:?}");
        }
        let mut reader = Reader::new();
        reader.allow(0);
        assert!(reader.read(&[0x82]).is_err(), "a smaller table is to be acknowledged");
        reader.allow(0);
        assert!(reader.read(&[0x20, 0x82]).is_ok());
    }
}
