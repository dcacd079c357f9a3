//! The Huffman code of RFC 7541, appendix B. Only read: writing it costs more than the bytes it saves, since what is
//! repeated is indexed anyway.
//!
//! The code is canonical: codes of one length follow each other, in the order of their symbols. So the lengths are the
//! whole table, and a code is found by comparing with the last of each length.

/// The length of each symbol's code, in bits; the last is the end of the string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

const LONGEST: usize = 30;
const END: u16 = 256;
/// Codes up to this length, which is nearly all of what is sent, are looked up at once.
const QUICK: u32 = 9;

/// All codes of one length.
#[derive(Clone, Copy)]
struct Length {
    /// The first code of this length.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in `symbols`.
    at: usize,
}

struct Code {
    lengths: [Length; LONGEST + 1],
    /// All symbols by length, then by value.
    symbols: [u16; 257],
    /// Symbol and length by the next `QUICK` bits; length 0 if the code is longer.
    quick: [(u8, u8); 1 << QUICK],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut code = Code {
        lengths: [Length { first: 0, count: 0, at: 0 }; LONGEST + 1],
        symbols: [0; 257],
        quick: [(0, 0); 1 << QUICK],
    };
    let (mut next, mut at, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        next <<= 1;
        code.lengths[length] = Length { first: next, count: 0, at };
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[at] = symbol as u16;
                if length <= QUICK as usize {
                    let spare = QUICK as usize - length;
                    let mut fill = 0;
                    while fill < 1 << spare {
                        code.quick[((next as usize) << spare) + fill] = (symbol as u8, length as u8);
                        fill += 1;
                    }
                }
                code.lengths[length].count += 1;
                (at, next) = (at + 1, next + 1);
            }
            symbol += 1;
        }
        length += 1;
    }
    code
}

/// Appends the decoded string. `None` if it is no valid code, or longer than `most`.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>, most: usize) -> Option<()> {
    // The bits not yet decoded, from the top.
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut bytes = coded.iter();
    loop {
        while have <= 56 {
            let Some(&byte) = bytes.next() else { break };
            bits |= u64::from(byte) << (56 - have);
            have += 8;
        }
        let (symbol, length) = CODE.quick[(bits >> (64 - QUICK)) as usize];
        let (symbol, length) = if length > 0 { (u16::from(symbol), u32::from(length)) } else { long(bits)? };
        if length > have || symbol == END {
            break;
        }
        if out.len() == most {
            return None;
        }
        out.push(symbol as u8);
        bits <<= length;
        have -= length;
    }
    // What is left is padding: less than a byte of ones. An end of the string that was written out is no padding.
    let ones = u64::MAX << (64 - have.clamp(1, 7));
    let padded = have == 0 || (have < 8 && bits & ones == ones);
    padded.then_some(())
}

/// A code longer than `QUICK`.
fn long(bits: u64) -> Option<(u16, u32)> {
    (QUICK + 1..=LONGEST as u32).find_map(|length| {
        let of = &CODE.lengths[length as usize];
        let offset = ((bits >> (64 - length)) as u32).wrapping_sub(of.first);
        (offset < of.count).then(|| (CODE.symbols[of.at + offset as usize], length))
    })
}

/// Encodes, for tests.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let (mut out, mut bits, mut have) = (Vec::new(), 0_u64, 0_u32);
    for &byte in text {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        let of = &CODE.lengths[length as usize];
        let symbols = &CODE.symbols[of.at..of.at + of.count as usize];
        let offset = symbols.iter().position(|&s| s == u16::from(byte)).unwrap() as u32;
        bits = bits << length | u64::from(of.first + offset);
        have += length;
        while have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    if have > 0 {
        out.push((bits << (8 - have)) as u8 | (0xff >> have));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out, 1000).map(|()| out)
    }

    /// RFC 7541, C.4 and C.6.
    #[test]
    fn as_the_rfc_writes_it() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(encode(b"www.example.com"), coded);
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn wrong_padding_and_a_written_end_are_refused() {
        assert_eq!(decoded(&[0xff]), None, "eight bits of padding");
        assert_eq!(decoded(&[0x07, 0xff]), None, "a byte of padding behind a code");
        assert_eq!(decoded(&[0b0000_0000]), None, "padding of zeros");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), None, "the end of the string");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(decode(&encode(b"abc"), &mut Vec::new(), 2), None, "longer than it may be");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text: Vec<u8>) {
            prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }

        #[test]
        fn nothing_makes_it_panic(coded: Vec<u8>) {
            let _text = decoded(&coded);
        }
    }
}
