//! Integers with a prefix of a few bits (RFC 7541, 5.1).

/// Reads one; `bits` is the size of its prefix. `None` if it is cut off, or larger than anything here can mean.
pub(super) fn read(block: &mut &[u8], bits: u32) -> Option<usize> {
    let (&first, mut rest) = block.split_first()?;
    let full = (1_usize << bits) - 1;
    let mut value = usize::from(first) & full;
    if value == full {
        let mut shift = 0;
        loop {
            let (&next, after) = rest.split_first()?;
            rest = after;
            value += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                break;
            }
            shift += 7;
            // Beyond 2^28: no length, index or size is as large.
            if shift > 21 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

/// Writes one; `first` holds what stands before its prefix.
pub(super) fn write(out: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let full = (1_usize << bits) - 1;
    if value < full {
        out.push(first | value as u8);
        return;
    }
    out.push(first | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of RFC 7541, C.1.
    #[test]
    fn as_the_rfc_writes_them() {
        let mut out = Vec::new();
        write(&mut out, 0, 5, 10);
        write(&mut out, 0, 5, 1337);
        write(&mut out, 0, 8, 42);
        assert_eq!(out, [0b01010, 0b11111, 0b1001_1010, 0b1010, 42]);
    }

    #[test]
    fn too_large_or_cut_off_is_none() {
        for bytes in
            [&[][..], &[0x1f], &[0x1f, 0x80], &[0x1f, 0x80, 0x80, 0x80, 0x80, 0x01], &[0x1f, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(read(&mut &*bytes, 5), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0_usize..(1 << 28), bits in 1_u32..=7, after: u8) {
            let mut out = Vec::new();
            write(&mut out, 0, bits, value);
            out.push(after);
            let mut block = &out[..];
            prop_assert_eq!(read(&mut block, bits), Some(value));
            prop_assert_eq!(block, &[after]);
        }
    }
}
