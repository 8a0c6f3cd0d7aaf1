//! How far a token's clock is from ours, as its accepted codes have shown.

/// The expected distance of a token's clock from ours: positive when the token is ahead.
///
/// Kept in quarters of a step, because it is an average: somebody who types slowly looks like somebody with a slow
/// clock, and a single late code must not move the window away from the present. The drift moves the window and
/// never widens it (OTP-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Drift(i16);

impl Drift {
    /// The largest distance that a resynchronisation can set, in steps: a day of the shortest period.
    pub const MAX: i16 = 5760;
    /// The largest distance that accepted codes alone can lead to, in steps. Farther is for an operator to say.
    pub const LEARNED_MAX: i16 = 10;

    const QUARTERS: i16 = 4;

    /// The given number of whole steps, cut to ±[`Drift::MAX`].
    pub fn from_steps(steps: i16) -> Drift {
        Drift(steps.clamp(-Drift::MAX, Drift::MAX) * Drift::QUARTERS)
    }

    /// The stored form, cut to the bounds.
    pub fn from_quarters(quarters: i16) -> Drift {
        let most = Drift::MAX * Drift::QUARTERS;
        Drift(quarters.clamp(-most, most))
    }

    /// The form to store.
    pub const fn quarters(self) -> i16 {
        self.0
    }

    /// Whole steps, the nearest; halves go towards zero.
    pub fn steps(self) -> i16 {
        let whole = (self.0.abs() + 1) / Drift::QUARTERS;
        whole * self.0.signum()
    }

    /// The drift after a code was accepted `offset` steps from now: a quarter of the way towards it, at least a
    /// quarter of a step. Only for codes of a clock, and only after success.
    #[must_use]
    pub fn learned(self, offset: i16) -> Drift {
        let gap = i32::from(Drift::from_steps(offset).0) - i32::from(self.0);
        let quarters = i32::from(Drift::QUARTERS);
        let next = i32::from(self.0) + gap / quarters + (gap % quarters).signum();
        let next = i16::try_from(next).unwrap_or(self.0);
        let too_far = next.abs() > Drift::LEARNED_MAX * Drift::QUARTERS && next.abs() > self.0.abs();
        if too_far { self } else { Drift(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn otp_10_one_late_code_moves_nothing_and_a_habit_does() {
        let once = Drift::default().learned(-1);
        assert_eq!((once.steps(), once.quarters()), (0, -1));
        let habit = (0..8).fold(Drift::default(), |drift, _| drift.learned(-1));
        assert_eq!(habit, Drift::from_steps(-1));
        assert_eq!((0..8).fold(habit, |drift, _| drift.learned(0)), Drift::default());
    }

    #[test]
    fn whole_steps_come_back_as_they_went() {
        for steps in [-5760, -14, -3, -1, 0, 1, 3, 5760] {
            assert_eq!(Drift::from_steps(steps).steps(), steps);
        }
        let rounded: Vec<i16> = (-7..=7).map(|quarters| Drift::from_quarters(quarters).steps()).collect();
        assert_eq!(rounded, [-2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2]);
    }

    proptest! {
        #[test]
        fn otp_10_learning_is_bounded_and_goes_towards_what_was_seen(start in -40i16..=40, seen: i16) {
            let old = Drift::from_quarters(start);
            let new = old.learned(seen);
            prop_assert!(new.steps().abs() <= Drift::LEARNED_MAX);
            let gap = |drift: Drift| (i32::from(drift.quarters()) - 4 * i32::from(seen)).abs();
            prop_assert!(gap(new) <= gap(old));
        }
    }
}
