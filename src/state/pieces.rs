//! Values one behind the other, by the million, in pieces that stay where they are: whoever grows by moving leaves holes behind.

/// Values of one piece.
const PIECE: usize = 64;

/// The values, each found by its number.
pub struct Pieces<T>(Vec<Vec<T>>);

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces(Vec::new())
    }
}

impl<T> Pieces<T> {
    /// Puts a value behind the others; gives its number. There are as many as numbers at most.
    pub fn push(&mut self, value: T) -> u32 {
        let full = match self.0.last() {
            None => 0,
            Some(last) if last.len() < PIECE => self.0.len() - 1,
            Some(_) => self.0.len(),
        };
        if self.0.len() == full {
            // The first one grows: where there are few, a piece for each part would be most of it.
            self.0.push(Vec::with_capacity(if full == 0 { 1 } else { PIECE }));
        }
        let last = self.0.last_mut().map_or(0, |last| {
            last.push(value);
            last.len() - 1
        });
        u32::try_from(full * PIECE + last).unwrap_or(u32::MAX)
    }

    /// The value of this number.
    pub fn get(&self, number: u32) -> Option<&T> {
        let (piece, place) = whereabouts(number)?;
        self.0.get(piece)?.get(place)
    }

    /// The same, to change.
    pub fn value_mut(&mut self, number: u32) -> Option<&mut T> {
        let (piece, place) = whereabouts(number)?;
        self.0.get_mut(piece)?.get_mut(place)
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For how many there is room.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.0.iter().map(Vec::capacity).sum()
    }
}

fn whereabouts(number: u32) -> Option<(usize, usize)> {
    let number = usize::try_from(number).ok()?;
    Some((number / PIECE, number % PIECE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_number_that_it_was_given() {
        let mut pieces = Pieces::default();
        assert!(pieces.is_empty() && pieces.get(0).is_none());
        for number in 0..1_000 {
            assert_eq!(pieces.push(number), number);
        }
        assert!((0..1_000).all(|number| pieces.get(number) == Some(&number)));
        assert!(pieces.get(1_000).is_none() && pieces.get(u32::MAX).is_none());
        *pieces.value_mut(777).unwrap() = 7;
        assert_eq!(pieces.iter().copied().sum::<u32>(), 499_500 - 770);
        assert_eq!((pieces.len(), pieces.room()), (1_000, 1_024));
    }
}
