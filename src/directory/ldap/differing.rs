//! A row by what differs from the one before it: entries of one kind say nearly the same, octet for octet.
//!
//! ```text
//! difference  parts, until the row is whole
//! part        n, below 128: the next n octets are those of the row before
//!             128 + n · m · n octets: these stand in place of m octets there
//! ```

/// The most octets that one part speaks of.
const MOST: usize = 127;
/// So many octets in a row that are alike are no accident, and worth a part.
const ALIKE: usize = 3;
/// Where two rows differ, this many octets of either are looked through for the place where they are alike again: a key's.
const REACH: usize = 40;
/// By how much the two lengths may differ there.
const SHIFT: usize = 4;

/// The most octets that [`put`] writes for a row of this length.
pub const fn room(length: usize) -> usize {
    2 * length + 4
}

/// Writes `row` by what differs from `before`.
pub fn put(out: &mut Vec<u8>, before: &[u8], row: &[u8]) {
    let (mut rest, mut old) = (row, before);
    while !rest.is_empty() {
        let alike = rest.iter().zip(old).take(MOST).take_while(|(new, old)| new == old).count();
        if alike > 0 {
            out.push(count(alike));
            (rest, old) = (behind(rest, alike), behind(old, alike));
            continue;
        }
        let (new, gone) = until_alike(rest, old);
        out.push(128 | count(new));
        out.push(count(gone));
        out.extend_from_slice(rest.get(..new).unwrap_or_default());
        (rest, old) = (behind(rest, new), behind(old, gone));
    }
}

/// Reads what [`put`] has written of one row, all of `difference`.
pub fn read(difference: &[u8], before: &[u8], row: &mut Vec<u8>) {
    let (mut rest, mut old) = (difference.iter().copied(), before);
    while let Some(part) = rest.next() {
        if part < 128 {
            let alike = usize::from(part);
            row.extend_from_slice(old.get(..alike).unwrap_or_default());
            old = behind(old, alike);
        } else {
            let gone = rest.next().map_or(0, usize::from);
            row.extend(rest.by_ref().take(usize::from(part & 127)));
            old = behind(old, gone);
        }
    }
}

/// How long the row is that a difference makes.
pub fn length(difference: &[u8]) -> usize {
    let (mut rest, mut length) = (difference, 0);
    while let Some((part, behind_it)) = rest.split_first() {
        let octets = usize::from(part & 127);
        length += octets;
        rest = if *part < 128 { behind_it } else { behind(behind_it, octets + 1) };
    }
    length
}

/// How many octets of either are passed until both go on alike.
fn until_alike(rest: &[u8], old: &[u8]) -> (usize, usize) {
    for new in 1..REACH.min(rest.len()) {
        let Some(next) = rest.get(new..new + ALIKE) else { break };
        for gone in new.saturating_sub(SHIFT)..=new + SHIFT {
            if old.get(gone..gone + ALIKE) == Some(next) {
                return (new, gone);
            }
        }
    }
    (rest.len().min(MOST), old.len().min(MOST))
}

fn behind(octets: &[u8], count: usize) -> &[u8] {
    octets.get(count..).unwrap_or_default()
}

/// None is above [`MOST`].
fn count(octets: usize) -> u8 {
    u8::try_from(octets).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn difference(before: &[u8], row: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(room(row.len()));
        put(&mut out, before, row);
        assert!(out.len() <= room(row.len()), "{} of {}", out.len(), row.len());
        out
    }

    #[test]
    fn what_is_alike_takes_an_octet() {
        let row = b"\x03\x0bcn=u0001235\x01\x81\x88\x00\x05\x14kkkkkkkkkkkkkkkkkkkk\x00\x06\x05\x05cn=p6\x00";
        let before =
            b"\x03\x0bcn=u0001234\x01\x81\x88\x00\x05\x14abcdefghijklmnopqrst\x00\x06\x05\x05cn=p6\x00";
        assert_eq!(difference(before, row).len(), 1 + 3 + 1 + 22 + 1);
        assert_eq!(difference(before, before), [u8::try_from(before.len()).unwrap()]);
        let longer =
            b"\x03\x0ccn=u00012345\x01\x81\x88\x00\x05\x14abcdefghijklmnopqrst\x00\x06\x05\x05cn=p6\x00";
        assert_eq!(difference(before, longer).len(), 1 + 3 + 1 + 3 + 1);
    }

    proptest! {
        #[test]
        fn every_row_comes_back_as_it_was(
            before in prop_oneof!["[ab]{0,300}", ".{0,100}"],
            row in prop_oneof!["[ab]{0,300}", ".{0,300}"],
            (at, other) in (any::<prop::sample::Index>(), "[ac]{0,9}"),
        ) {
            let mut alike = before.clone().into_bytes();
            let place = at.index(alike.len() + 1);
            alike.splice(place..(place + 3).min(alike.len()), other.bytes());
            for row in [row.as_bytes(), &alike] {
                let difference = difference(before.as_bytes(), row);
                let mut read_again = Vec::new();
                read(&difference, before.as_bytes(), &mut read_again);
                prop_assert_eq!(&read_again, row);
                prop_assert_eq!(length(&difference), row.len());
            }
        }
    }
}
