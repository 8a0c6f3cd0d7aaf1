//! What each token has used up: last step, drift, failures in a row, and the claim of the request that is being judged.
//!
//! A code counts once because of two rules. *Claim*: before the password is asked for, a request claims its step;
//! another request with the same code finds the claim and is refused. *Settle*: inside one map entry the step is taken
//! only if nothing at or above it was taken meanwhile. The second rule alone makes a second accept impossible; the
//! first one keeps the second request from ever reaching the directory. A claim ends only after its step was taken or
//! given up, so there is no moment in which neither tells of the code.

use super::marks::TokenMark;
use super::slots::Slots;
use crate::identity::{EntryId, RequestId};
use crate::otp::{Drift, Step};
use crate::tokens::{FAILURES_DISABLE, Past};
use ahash::RandomState;
use dashmap::{DashMap, Entry};

/// The slots of all tokens that were ever used or tried; a token without a slot has a clean past.
pub struct Tokens {
    slots: Slots<Kept>,
    /// Of the requests in flight. Whoever needs both tables holds an entry of this one first.
    claims: DashMap<EntryId, Claim, RandomState>,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens { slots: Slots::default(), claims: super::large() }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    version: u32,
    last: Option<Step>,
    drift: Drift,
    failures: u16,
    imprint: u32,
}

/// A slot as it is kept by the million: as few octets as it can do with, and none of them padding.
#[derive(Clone, Copy, Default)]
struct Kept {
    version: u32,
    imprint: u32,
    /// The last step, in halves: as one number it would have to lie at a multiple of eight.
    last: [u32; 2],
    drift: i16,
    /// The highest bit tells whether there is a last step.
    failures: u16,
}

const HAS_LAST: u16 = 1 << 15;

#[derive(Clone, Copy)]
struct Claim {
    step: Step,
    by: RequestId,
}

/// Whether a request may go on with its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Claimed {
    /// The code is this request's to settle or release.
    Yes,
    /// The code is used up, or another request is being judged for it.
    Taken,
}

/// One code of one token, as a request wants to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The token's entry.
    pub token: EntryId,
    /// Tells this binding of the token from an earlier one with another key.
    pub imprint: u32,
    /// The step or counter that the code belongs to.
    pub step: Step,
    /// The drift to remember when the code is accepted.
    pub drift: Drift,
    /// Whether a new key starts a new count of steps (HOTP) or time goes on (TOTP).
    pub renewal: Renewal,
}

/// What a new key means for the last accepted step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Time goes on whatever the key is: the last step stays (TOTP).
    KeepsStep,
    /// A new key counts from its own beginning (HOTP).
    RestartsCounter,
}

impl Tokens {
    /// What is remembered of a token that is bound with this imprint now.
    pub fn past(&self, token: EntryId, imprint: u32, renewal: Renewal) -> Past {
        self.slots.get(token).map(|kept| Slot::from(kept).past(imprint, renewal)).unwrap_or_default()
    }

    /// Claims a code for `by`, before anybody is asked for the password.
    pub fn claim(&self, wanted: &Use, by: RequestId) -> Claimed {
        let entry = self.claims.entry(wanted.token);
        let claimed = matches!(&entry, Entry::Occupied(claim) if claim.get().by != by && wanted.step <= claim.get().step);
        let past = || self.past(wanted.token, wanted.imprint, wanted.renewal);
        if claimed || past().last.is_some_and(|last| wanted.step <= last) {
            return Claimed::Taken;
        }
        entry.insert(Claim { step: wanted.step, by });
        Claimed::Yes
    }

    /// The password was right: takes the step, unless it was taken meanwhile (then nothing changes but the claim).
    pub fn accept(&self, used: &Use, by: RequestId) -> Option<TokenMark> {
        self.take(used, by, |slot| {
            slot.drift = used.drift;
            slot.failures = 0;
        })
    }

    /// The password was wrong: the code is used up all the same, and it is one more failure.
    pub fn burn(&self, used: &Use, by: RequestId) -> Option<TokenMark> {
        self.take(used, by, |slot| slot.failures = slot.failures.saturating_add(1))
    }

    /// Nobody could say: the claim ends and nothing was used up.
    pub fn release(&self, token: EntryId, by: RequestId) {
        self.claims.remove_if(&token, |_, claim| claim.by == by);
    }

    /// Everything that is remembered of a token, as it is now.
    pub fn as_it_is(&self, token: EntryId) -> TokenMark {
        self.slots.get(token).map(Slot::from).unwrap_or_default().as_mark(token)
    }

    /// The mark of a settled code could not be made durable and nobody was answered: the token is again what it was
    /// `before`, unless it has changed since, or had changed in between. Then the code stays used up: nobody can say
    /// any more who was told what.
    pub fn take_back(&self, before: &TokenMark, version: u32) {
        self.slots.change_held(before.token, |kept| {
            if kept.version == version && before.version.checked_add(1) == Some(version) {
                // A version of its own: what was written under the old one, if anything was, is older.
                *kept = Slot { version: version.saturating_add(1), ..Slot::of(before) }.into();
            }
        });
    }

    /// A wrong code: one more failure in a row for this token.
    pub fn fail(&self, token: EntryId, imprint: u32, renewal: Renewal) -> TokenMark {
        self.slots.change(token, |kept| {
            let mut slot = Slot::from(*kept);
            slot.rebind(imprint, renewal);
            slot.failures = slot.failures.saturating_add(1);
            let mark = slot.mark(token);
            *kept = slot.into();
            mark
        })
    }

    /// The user has shown a right code of another token: failures below the limit are over. A disabled token stays
    /// disabled until it is bound anew.
    pub fn forgive(&self, token: EntryId, imprint: u32, renewal: Renewal) -> Option<TokenMark> {
        let forgive = |kept: &mut Kept| {
            let mut slot = Slot::from(*kept);
            if !(1..FAILURES_DISABLE).contains(&slot.past(imprint, renewal).failures) {
                return None;
            }
            slot.rebind(imprint, renewal);
            slot.failures = 0;
            let mark = slot.mark(token);
            *kept = slot.into();
            Some(mark)
        };
        self.slots.change_held(token, forgive).flatten()
    }

    /// Takes over a mark from the journal, if it is newer than what is here.
    pub fn replay(&self, mark: &TokenMark) {
        self.slots.change(mark.token, |kept| {
            if mark.version > kept.version {
                *kept = Slot::of(mark).into();
            }
        });
    }

    /// Hands every slot that is worth keeping to `sink`, while requests go on.
    pub fn each_mark(&self, mut sink: impl FnMut(TokenMark)) {
        self.slots.each(|token, kept| {
            if kept.version > 0 {
                sink(Slot::from(kept).as_mark(token));
            }
        });
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many tokens are disabled by too many failures.
    pub fn disabled(&self) -> usize {
        let mut disabled = 0;
        self.slots.each(|_, kept| disabled += usize::from(Slot::from(kept).failures >= FAILURES_DISABLE));
        disabled
    }

    fn take(&self, used: &Use, by: RequestId, change: impl FnOnce(&mut Slot)) -> Option<TokenMark> {
        let mark = self.settle(used, change);
        self.release(used.token, by);
        mark
    }

    fn settle(&self, used: &Use, change: impl FnOnce(&mut Slot)) -> Option<TokenMark> {
        self.slots.change(used.token, |kept| {
            let mut slot = Slot::from(*kept);
            if !slot.take(used) {
                return None;
            }
            change(&mut slot);
            let mark = slot.mark(used.token);
            *kept = slot.into();
            Some(mark)
        })
    }
}

/// The same changes on a mark instead of a slot: what would become of it, where others have to agree first.
impl TokenMark {
    /// A right code; `None` if its step was taken meanwhile.
    pub fn accepted(&self, used: &Use) -> Option<TokenMark> {
        self.changed(|slot| {
            let taken = slot.take(used);
            if taken {
                slot.drift = used.drift;
                slot.failures = 0;
            }
            taken
        })
    }

    /// A right code with a wrong password; `None` if its step was taken meanwhile.
    pub fn burned(&self, used: &Use) -> Option<TokenMark> {
        self.changed(|slot| {
            let taken = slot.take(used);
            slot.failures = slot.failures.saturating_add(u16::from(taken));
            taken
        })
    }

    /// A wrong code.
    pub fn failed(&self, imprint: u32, renewal: Renewal) -> Option<TokenMark> {
        self.changed(|slot| {
            slot.rebind(imprint, renewal);
            slot.failures = slot.failures.saturating_add(1);
            true
        })
    }

    /// A right code of another token of the user; `None` if there is nothing to forgive.
    pub fn forgiven(&self, imprint: u32, renewal: Renewal) -> Option<TokenMark> {
        self.changed(|slot| {
            let failed = (1..FAILURES_DISABLE).contains(&slot.past(imprint, renewal).failures);
            slot.rebind(imprint, renewal);
            slot.failures = 0;
            failed
        })
    }

    /// What two nodes know of one token, put together: of steps the higher, of the rest what is newer. Where neither
    /// follows from the other (an engine forgot something in between), the failures are the higher ones and the
    /// version is new; so is a counter's doubt kept.
    #[must_use]
    pub fn merged(&self, other: &TokenMark) -> TokenMark {
        let (newer, older) = if other.version >= self.version { (other, self) } else { (self, other) };
        if older.imprint != newer.imprint && older.version < newer.version {
            return *newer;
        }
        let mut merged = TokenMark { last: newer.last.max(older.last), ..*newer };
        if older.version == newer.version {
            merged.failures = newer.failures.max(older.failures);
            merged = if older.is_doubted() { merged.doubted() } else { merged };
        }
        if merged != *newer || (older.version == newer.version && merged != *older) {
            merged.version = newer.version.saturating_add(1);
        }
        merged
    }

    fn changed(&self, change: impl FnOnce(&mut Slot) -> bool) -> Option<TokenMark> {
        let mut slot = Slot::of(self);
        change(&mut slot).then(|| slot.mark(self.token))
    }
}

impl From<Slot> for Kept {
    fn from(slot: Slot) -> Kept {
        let last = slot.last.map_or(0, |step| step.0);
        let has_last = if slot.last.is_some() { HAS_LAST } else { 0 };
        Kept {
            version: slot.version,
            imprint: slot.imprint,
            last: [(last >> 32) as u32, last as u32],
            drift: slot.drift.quarters(),
            // Far beyond the limit nobody needs to know how far.
            failures: slot.failures.min(HAS_LAST - 1) | has_last,
        }
    }
}

impl From<Kept> for Slot {
    fn from(kept: Kept) -> Slot {
        let [high, low] = kept.last.map(u64::from);
        Slot {
            version: kept.version,
            last: (kept.failures & HAS_LAST != 0).then_some(Step(high << 32 | low)),
            drift: Drift::from_quarters(kept.drift),
            failures: kept.failures & !HAS_LAST,
            imprint: kept.imprint,
        }
    }
}

impl Slot {
    fn of(mark: &TokenMark) -> Slot {
        Slot {
            version: mark.version,
            last: mark.last,
            drift: Drift::from_quarters(mark.drift),
            failures: mark.failures,
            imprint: mark.imprint,
        }
    }

    fn past(&self, imprint: u32, renewal: Renewal) -> Past {
        let mut slot = *self;
        slot.rebind(imprint, renewal);
        Past { last: slot.last, drift: slot.drift, failures: slot.failures }
    }

    /// A token with another key is another token: its failures and drift are over.
    fn rebind(&mut self, imprint: u32, renewal: Renewal) {
        if self.imprint == imprint {
            return;
        }
        // Version 0 has never been marked: there is no earlier binding to tell this one from.
        if self.version > 0 {
            self.drift = Drift::default();
            self.failures = 0;
            if renewal == Renewal::RestartsCounter {
                self.last = None;
            }
        }
        self.imprint = imprint;
    }

    /// Takes the step for good; `false` if it, or a later one, was taken already.
    fn take(&mut self, used: &Use) -> bool {
        self.rebind(used.imprint, used.renewal);
        let fresh = self.last.is_none_or(|last| used.step > last);
        if fresh {
            self.last = Some(used.step);
        }
        fresh
    }

    /// The changed slot as a mark, under a new version.
    fn mark(&mut self, token: EntryId) -> TokenMark {
        self.version = self.version.saturating_add(1);
        self.as_mark(token)
    }

    fn as_mark(&self, token: EntryId) -> TokenMark {
        TokenMark {
            token,
            version: self.version,
            last: self.last,
            drift: self.drift.quarters(),
            failures: self.failures,
            imprint: self.imprint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_kept_whole_in_twenty_octets() {
        assert_eq!(size_of::<(EntryId, Kept)>(), 36);
        for last in [None, Some(Step(0)), Some(Step(28_333_334)), Some(Step(u64::MAX))] {
            for (drift, failures) in [(0, 0), (-4 * Drift::MAX, FAILURES_DISABLE), (4 * Drift::MAX, 32_767)] {
                let mark =
                    TokenMark { token: TOKEN, version: u32::MAX, last, drift, failures, imprint: u32::MAX };
                assert_eq!(Slot::from(Kept::from(Slot::of(&mark))).as_mark(TOKEN), mark);
            }
        }
        let many = TokenMark { failures: u16::MAX, ..Tokens::default().as_it_is(TOKEN) };
        assert_eq!(Slot::from(Kept::from(Slot::of(&many))).failures, 32_767);
    }

    #[test]
    fn what_two_nodes_know_keeps_the_higher_step() {
        let base =
            TokenMark { token: TOKEN, version: 5, last: Some(Step(10)), drift: 0, failures: 1, imprint: 1 };
        let newer = TokenMark { version: 6, last: Some(Step(12)), failures: 0, ..base };
        assert_eq!(base.merged(&newer), newer);
        assert_eq!(newer.merged(&base), newer);
        let fork = TokenMark { last: Some(Step(11)), failures: 3, ..base };
        let merged = base.merged(&fork);
        assert_eq!((merged.version, merged.last, merged.failures), (6, Some(Step(11)), 3));
        let behind = TokenMark { version: 9, last: Some(Step(3)), ..base };
        assert_eq!((behind.merged(&newer).last, behind.merged(&newer).version), (Some(Step(12)), 10));
        assert_eq!(newer.merged(&behind), behind.merged(&newer));
    }

    #[test]
    fn a_counter_that_one_of_two_nodes_doubts_is_known_only_by_a_later_word() {
        let known =
            TokenMark { token: TOKEN, version: 5, last: Some(Step(10)), drift: 0, failures: 1, imprint: 1 };
        let doubted = known.doubted();
        assert!(doubted.is_doubted() && !known.is_doubted());
        for merged in [known.merged(&doubted), doubted.merged(&known)] {
            assert!(merged.is_doubted() && merged.last == known.last, "{merged:?}");
        }
        let later = TokenMark { version: 6, last: Some(Step(11)), ..known };
        assert_eq!((later.merged(&doubted), doubted.merged(&later)), (later, later));
        let used = TokenMark { last: Some(Step(56_666_666)), ..known };
        assert_eq!((used.doubted(), used.is_doubted()), (used, false), "a clock's step is not a counter");
    }

    #[test]
    fn a_mark_changes_as_its_slot_does() {
        let tokens = Tokens::default();
        let before = tokens.as_it_is(TOKEN);
        assert_eq!(before.accepted(&code(10)), tokens.accept(&code(10), FIRST));
        let before = tokens.as_it_is(TOKEN);
        assert_eq!(before.accepted(&code(10)), None);
        assert_eq!(before.burned(&code(11)), tokens.burn(&code(11), FIRST));
        let before = tokens.as_it_is(TOKEN);
        assert_eq!(before.failed(1, Renewal::KeepsStep), Some(tokens.fail(TOKEN, 1, Renewal::KeepsStep)));
        let before = tokens.as_it_is(TOKEN);
        assert_eq!(before.forgiven(1, Renewal::KeepsStep), tokens.forgive(TOKEN, 1, Renewal::KeepsStep));
        assert_eq!(tokens.as_it_is(TOKEN).forgiven(1, Renewal::KeepsStep), None);
    }

    const TOKEN: EntryId = EntryId::new([7; 16]);
    const FIRST: RequestId = RequestId(1);
    const SECOND: RequestId = RequestId(2);

    fn code(step: u64) -> Use {
        Use {
            token: TOKEN,
            imprint: 1,
            step: Step(step),
            drift: Drift::default(),
            renewal: Renewal::KeepsStep,
        }
    }

    fn past(tokens: &Tokens) -> Past {
        tokens.past(TOKEN, 1, Renewal::KeepsStep)
    }

    #[test]
    fn s_02_a_settled_step_is_never_claimed_again() {
        let tokens = Tokens::default();
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        assert!(tokens.accept(&code(10), FIRST).is_some());
        assert_eq!(tokens.claim(&code(10), SECOND), Claimed::Taken);
        assert_eq!(tokens.claim(&code(9), SECOND), Claimed::Taken);
        assert_eq!(tokens.claim(&code(11), SECOND), Claimed::Yes);
    }

    #[test]
    fn otp_08_a_claimed_code_is_refused_to_a_second_request() {
        let tokens = Tokens::default();
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        assert_eq!(tokens.claim(&code(10), SECOND), Claimed::Taken);
        tokens.release(TOKEN, FIRST);
        assert_eq!(tokens.claim(&code(10), SECOND), Claimed::Yes);
    }

    #[test]
    fn a_later_claim_may_overtake_and_the_earlier_code_is_then_too_old() {
        let tokens = Tokens::default();
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        assert_eq!(tokens.claim(&code(11), SECOND), Claimed::Yes);
        assert!(tokens.accept(&code(11), SECOND).is_some());
        assert_eq!(tokens.accept(&code(10), FIRST), None);
        assert_eq!(past(&tokens).last, Some(Step(11)));
    }

    #[test]
    fn a_released_claim_leaves_nothing_behind() {
        let tokens = Tokens::default();
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        tokens.release(TOKEN, FIRST);
        assert!(tokens.is_empty());
    }

    #[test]
    fn a_code_that_could_not_be_made_durable_is_taken_back() {
        let tokens = Tokens::default();
        let before = tokens.as_it_is(TOKEN);
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        let mark = tokens.accept(&code(10), FIRST).unwrap();
        tokens.take_back(&before, mark.version);
        assert_eq!(tokens.claim(&code(10), SECOND), Claimed::Yes);
        let again = tokens.accept(&code(10), SECOND).unwrap();
        assert!(again.version > mark.version + 1, "what may have been written before is older");
    }

    #[test]
    fn s_02_nothing_is_taken_back_once_somebody_else_has_settled() {
        let tokens = Tokens::default();
        let before = tokens.as_it_is(TOKEN);
        let first = tokens.accept(&code(10), FIRST).unwrap();
        let _ = tokens.accept(&code(11), SECOND).unwrap();
        tokens.take_back(&before, first.version);
        assert_eq!(past(&tokens).last, Some(Step(11)));
        // Read before somebody else settled, and settled after: what was before is not known.
        let stale = tokens.as_it_is(TOKEN);
        let _ = tokens.accept(&code(12), FIRST).unwrap();
        let last = tokens.accept(&code(13), SECOND).unwrap();
        tokens.take_back(&stale, last.version);
        assert_eq!(past(&tokens).last, Some(Step(13)));
    }

    #[test]
    fn otp_16_a_burnt_code_is_used_up_and_counts() {
        let tokens = Tokens::default();
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        let mark = tokens.burn(&code(10), FIRST).unwrap();
        assert_eq!((mark.last, mark.failures, mark.version), (Some(Step(10)), 1, 1));
        assert_eq!(tokens.claim(&code(10), SECOND), Claimed::Taken);
    }

    #[test]
    fn otp_19_a_new_key_clears_the_failures_and_keeps_the_step_of_time() {
        let tokens = Tokens::default();
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        tokens.burn(&code(10), FIRST).unwrap();
        for _ in 1..FAILURES_DISABLE {
            let _ = tokens.fail(TOKEN, 1, Renewal::KeepsStep);
        }
        assert_eq!(past(&tokens).failures, FAILURES_DISABLE);
        assert_eq!(tokens.disabled(), 1);
        let renewed = tokens.past(TOKEN, 2, Renewal::KeepsStep);
        assert_eq!((renewed.failures, renewed.last), (0, Some(Step(10))));
        assert_eq!(tokens.past(TOKEN, 2, Renewal::RestartsCounter).last, None);
    }

    #[test]
    fn otp_20_success_clears_the_failures() {
        let tokens = Tokens::default();
        let _ = tokens.fail(TOKEN, 1, Renewal::KeepsStep);
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        assert_eq!(tokens.accept(&code(10), FIRST).unwrap().failures, 0);
    }

    #[test]
    fn a_right_code_of_another_token_forgives_failures_but_no_disabled_token() {
        let tokens = Tokens::default();
        assert_eq!(tokens.forgive(TOKEN, 1, Renewal::KeepsStep), None);
        let _ = tokens.fail(TOKEN, 1, Renewal::KeepsStep);
        assert_eq!(tokens.forgive(TOKEN, 1, Renewal::KeepsStep).unwrap().failures, 0);
        for _ in 0..FAILURES_DISABLE {
            let _ = tokens.fail(TOKEN, 1, Renewal::KeepsStep);
        }
        assert_eq!(tokens.forgive(TOKEN, 1, Renewal::KeepsStep), None);
        assert_eq!(past(&tokens).failures, FAILURES_DISABLE);
    }

    #[test]
    fn replaying_marks_in_any_order_and_number_gives_the_newest() {
        let tokens = Tokens::default();
        let first = tokens.fail(TOKEN, 1, Renewal::KeepsStep);
        assert_eq!(tokens.claim(&code(10), FIRST), Claimed::Yes);
        let second = tokens.accept(&code(10), FIRST).unwrap();
        for order in [[first, second, first], [second, first, first], [second, second, first]] {
            let replayed = Tokens::default();
            for mark in &order {
                replayed.replay(mark);
            }
            assert_eq!(past(&replayed), past(&tokens));
        }
        let mut kept = Vec::new();
        tokens.each_mark(|mark| kept.push(mark));
        assert_eq!(kept, [second]);
    }
}
