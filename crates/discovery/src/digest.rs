//! FNV-1a, 64 bit: the same number for the same bytes on every machine and in every version, which the standard
//! library's hashers do not promise. For comparing and for finding damage, not against forgery.

/// A running digest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Of nothing.
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        Self::new().bytes(bytes).end()
    }

    /// Goes on with these bytes.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    /// Goes on with one field: its end is marked, so that `ab` + `c` is not `a` + `bc`.
    pub(crate) fn field(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).bytes(&[0xff])
    }

    /// The value, finished by the 64-bit mixer of MurmurHash3: sums of digests then do not cancel out.
    pub(crate) fn end(self) -> u64 {
        let mut x = self.0;
        x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_values_of_fnv_1a_are_met() {
        assert_eq!(Digest::new().bytes(b"").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Digest::new().bytes(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Digest::new().bytes(b"foobar").0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn borders_of_fields_count() {
        assert_ne!(Digest::new().field("ab").field("c").end(), Digest::new().field("a").field("bc").end());
    }
}
