//! Which step a code belongs to: the whole window, another time of the day, or two codes in a row.

use super::hotp::Generator;
use super::{Code, Drift, Moving, Parameters, Period, Step, step_at};
use crate::clock::Wall;

/// What a token says about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Finding {
    /// Right, and newer than anything accepted before.
    Fresh {
        /// What to record as used.
        step: Step,
        /// Steps from now, whatever the drift (positive: the token is ahead); for a counter, codes that were skipped.
        offset: i16,
    },
    /// Right once: its step is not newer than the last accepted one (RFC 6238 §5.2).
    Used {
        /// The step it belongs to.
        step: Step,
    },
    /// No step in the window shows this code.
    None,
}

/// How many counters up to the last accepted one are recognised as used; older codes are simply wrong.
const COUNTERS_REMEMBERED: u64 = 3;

/// Looks for the code in the whole window, always in the same number of computations.
///
/// The window lies around now, moved by the drift, or behind the last counter. If two steps show the same code, the
/// later one counts, because its being recorded kills both; if one of them is used, the code is used.
pub fn examine(
    secret: &[u8],
    parameters: &Parameters,
    code: &Code,
    now: Wall,
    last: Option<Step>,
    drift: Drift,
) -> Finding {
    let Some(generator) = fitting_generator(secret, parameters, code) else { return Finding::None };
    let (expected, from, to) = match parameters.moving {
        Moving::Time { period } => {
            let expected = step_at(now, period).0;
            let (back, forward) =
                (i64::from(parameters.window.back()), i64::from(parameters.window.forward()));
            let middle = i64::from(drift.steps());
            (
                expected,
                expected.saturating_add_signed(middle - back),
                expected.saturating_add_signed(middle + forward),
            )
        }
        Moving::Counter { look_ahead } => {
            let Some(next) = next_counter(last) else { return Finding::None };
            (next, next.saturating_sub(COUNTERS_REMEMBERED), next.saturating_add(look_ahead.codes()))
        }
    };
    let (mut fresh, mut used) = (None, None);
    for step in (from..=to).map(Step) {
        if code.fits(generator.truncated(step)) {
            let place = if last.is_some_and(|last| step <= last) { &mut used } else { &mut fresh };
            *place = Some(step);
        }
    }
    match (used, fresh) {
        (Some(step), _) => Finding::Used { step },
        (None, Some(step)) => Finding::Fresh { step, offset: distance(expected, step) },
        (None, None) => Finding::None,
    }
}

/// How far around now a wrong code is looked for, in seconds: a day (S-05).
const OTHER_TIME_SECONDS: u64 = 86_400;

/// For a code that no window holds: how many seconds the token's clock would be ahead (negative: behind) for the code
/// to be right, the nearest such time within a day. `None` for a counter token or when there is none.
///
/// It is a guess for operators, never a reason to accept: among a day's steps of 30 s, one wrong code of six digits in
/// 170 fits by chance. It costs some thousand HMACs, so call it only for what is logged, and not under load.
pub fn other_time(secret: &[u8], parameters: &Parameters, code: &Code, now: Wall) -> Option<i64> {
    let Moving::Time { period } = parameters.moving else { return None };
    let generator = fitting_generator(secret, parameters, code)?;
    let here = step_at(now, period).0;
    nearest_first(period)
        .find(|&offset| {
            here.checked_add_signed(offset).is_some_and(|step| code.fits(generator.truncated(Step(step))))
        })
        .map(|offset| offset.saturating_mul(i64::try_from(period.seconds()).unwrap_or(i64::MAX)))
}

/// How far ahead of the last counter a resynchronisation looks (RFC 4226 §7.4), in codes.
const RESYNC_COUNTERS: u64 = 100;

/// What two codes in a row have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Resync {
    /// The step of the second code: both are used now.
    pub step: Step,
    /// The distance of the token's clock; zero for a counter.
    pub drift: Drift,
}

/// Finds two consecutive codes, in order, in a wide window: a day around now, or a hundred counters ahead (OTP-12).
/// Neither may be as old as the last accepted one. Takes the pair nearest to now.
pub fn resync(
    secret: &[u8],
    parameters: &Parameters,
    first: &Code,
    second: &Code,
    now: Wall,
    last: Option<Step>,
) -> Option<Resync> {
    let generator = fitting_generator(secret, parameters, first)?;
    if second.digits() != parameters.digits {
        return None;
    }
    let pair_ends_at = |step: u64| {
        let next = step.checked_add(1).map(Step)?;
        let both = first.fits(generator.truncated(Step(step))) && second.fits(generator.truncated(next));
        (both && last.is_none_or(|last| Step(step) > last)).then_some(next)
    };
    match parameters.moving {
        Moving::Time { period } => {
            let here = step_at(now, period).0;
            nearest_first(period).find_map(|offset| {
                let step = pair_ends_at(here.checked_add_signed(offset)?)?;
                // The pair ends now, not when its first code was shown.
                Some(Resync { step, drift: Drift::from_steps(distance(here, step)) })
            })
        }
        Moving::Counter { .. } => {
            let next = next_counter(last)?;
            let step = (next..=next.saturating_add(RESYNC_COUNTERS)).find_map(pair_ends_at)?;
            Some(Resync { step, drift: Drift::default() })
        }
    }
}

/// The key made ready, unless the code has another length than the token's codes.
fn fitting_generator(secret: &[u8], parameters: &Parameters, code: &Code) -> Option<Generator> {
    if code.digits() != parameters.digits {
        return None;
    }
    Generator::new(secret, parameters.algorithm)
}

/// The first counter that is not used; `None` when the token is exhausted.
fn next_counter(last: Option<Step>) -> Option<u64> {
    last.map_or(Some(0), |last| last.0.checked_add(1))
}

/// 0, -1, 1, -2, 2 … to the end of the day. Late comes before early: a code is always typed after it was shown.
fn nearest_first(period: Period) -> impl Iterator<Item = i64> {
    let steps = i64::try_from(OTHER_TIME_SECONDS / period.seconds()).unwrap_or(0);
    std::iter::once(0).chain((1..=steps).flat_map(|offset| [-offset, offset]))
}

/// Steps from one to the other, cut to what fits.
fn distance(from: u64, to: Step) -> i16 {
    let apart = i128::from(to.0) - i128::from(from);
    i16::try_from(apart).unwrap_or(if apart < 0 { i16::MIN } else { i16::MAX })
}
