//! hot path
//!
//! The hash that routers agree on.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// XXH3 (64 bits, no seed) of an affinity key or an instance id.
///
/// Two routers behind one address must send a client to the same instance, also while one of them runs the next
/// version. The hash maps of the standard library and of hashbrown promise neither: they are seeded per process and
/// may change with any release. XXH3 is specified and frozen since its 0.8.0, and takes a few nanoseconds for a short
/// key. It is not made to withstand chosen input: a client that picks its own key can pick its instance, as with any
/// consistent hash of a public key.
///
/// Source: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The `number`th of a family of independent hashes of one instance id.
pub(crate) fn numbered(bytes: &[u8], number: u64) -> u64 {
    xxh3_64_with_seed(bytes, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specification() {
        // The first is the specification's own vector for no input; all were computed by the reference C library.
        assert_eq!(hash(b""), 0x2D06_8005_38D3_94C2);
        assert_eq!(hash(b"a"), 0xE6C6_32B6_1E96_4E1F);
        assert_eq!(hash(b"abc"), 0x78AF_5F94_892F_3950);
        assert_eq!(numbered(b"abc", 0), hash(b"abc"));
        assert_ne!(numbered(b"abc", 1), hash(b"abc"));
    }
}
