//! Numbers and octets in as little room as they need, for what is kept in memory by the million and never leaves it.
//!
//! A number is written as LEB128: seven bits an octet, lowest first, the highest bit set where more follow. A run of octets
//! stands behind its length.

/// Writes a number.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// Writes a run of octets.
pub fn put_run(out: &mut Vec<u8>, octets: &[u8]) {
    put_number(out, u64::try_from(octets.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(octets);
}

/// How many octets a run of this length takes.
pub fn run_size(length: usize) -> usize {
    let mut size = 1 + length;
    let mut rest = length >> 7;
    while rest > 0 {
        size += 1;
        rest >>= 7;
    }
    size
}

/// What is left to read of octets that were written here. What is not there reads as zero or as nothing.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these octets.
    pub const fn new(octets: &'a [u8]) -> Reader<'a> {
        Reader(octets)
    }

    /// Whether nothing is left.
    pub const fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// One octet.
    pub fn octet(&mut self) -> u8 {
        let Some((octet, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *octet
    }

    /// Octets of which there are always so many.
    pub fn array<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// A number.
    pub fn number(&mut self) -> u64 {
        // What nearly every number is.
        if let Some((octet @ 0..=0x7f, rest)) = self.0.split_first() {
            self.0 = rest;
            return u64::from(*octet);
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet();
            value |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                break;
            }
        }
        value
    }

    /// A run of octets.
    pub fn run(&mut self) -> &'a [u8] {
        let length = self.number();
        self.octets(length)
    }

    /// So many octets.
    pub fn octets(&mut self, count: u64) -> &'a [u8] {
        let split = usize::try_from(count).ok().and_then(|count| self.0.split_at_checked(count));
        let (octets, rest) = split.unwrap_or_default();
        self.0 = rest;
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, small in 0..300_u64, run in prop::collection::vec(any::<u8>(), 0..20_000)) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_run(&mut out, &run);
            put_number(&mut out, small);
            let before = out.len();
            put_run(&mut out, &run);
            prop_assert_eq!(out.len() - before, run_size(run.len()));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number(), number);
            prop_assert_eq!(reader.run(), run.as_slice());
            prop_assert_eq!(reader.number(), small);
            prop_assert_eq!(reader.run(), run.as_slice());
            prop_assert!(reader.is_done());
        }

        #[test]
        fn no_octets_panic(octets: Vec<u8>) {
            let mut reader = Reader::new(&octets);
            while !reader.is_done() {
                reader.number();
                reader.run();
                reader.array::<3>();
            }
        }
    }
}
