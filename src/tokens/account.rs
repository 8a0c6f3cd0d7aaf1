//! What the directory itself says about an account: disabled, locked, not begun, expired.

use crate::clock::Wall;
use crate::outcome::Reason;

/// The directory's own verdict on an account, read with the entry and judged at the moment of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Account {
    /// Whether the directory lets the account be used at all.
    pub standing: AccountStanding,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
}

/// Whether the directory lets an account be used, apart from its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AccountStanding {
    /// It may be used.
    #[default]
    Enabled,
    /// Switched off: `nsAccountLock`, `userAccountControl`, `loginDisabled`.
    Disabled,
    /// Locked by the directory's password policy until the given time, or for good (`pwdAccountLockedTime`).
    Locked(Option<Wall>),
}

impl Account {
    /// Why the account may not be used at `now`, if so.
    pub fn refusal(&self, now: Wall) -> Option<Reason> {
        match self.standing {
            AccountStanding::Disabled => return Some(Reason::AccountDisabled),
            AccountStanding::Locked(None) => return Some(Reason::AccountLocked),
            AccountStanding::Locked(Some(until)) if now < until => return Some(Reason::AccountLocked),
            AccountStanding::Locked(Some(_)) | AccountStanding::Enabled => {}
        }
        let outside =
            self.begins.is_some_and(|begins| now < begins) || self.ends.is_some_and(|ends| now >= ends);
        outside.then_some(Reason::AccountExpired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldap_24_a_timed_lock_ends_and_a_permanent_one_does_not() {
        let at = Wall::from_seconds;
        let locked = |until| Account { standing: AccountStanding::Locked(until), ..Account::default() };
        assert_eq!(locked(None).refusal(at(u64::MAX)), Some(Reason::AccountLocked));
        assert_eq!(locked(Some(at(100))).refusal(at(99)), Some(Reason::AccountLocked));
        assert_eq!(locked(Some(at(100))).refusal(at(100)), None);
    }

    #[test]
    fn dates_bound_an_account_on_both_sides() {
        let at = Wall::from_seconds;
        let account = Account { begins: Some(at(10)), ends: Some(at(20)), ..Account::default() };
        for (now, refusal) in
            [(9, Some(Reason::AccountExpired)), (10, None), (19, None), (20, Some(Reason::AccountExpired))]
        {
            assert_eq!(account.refusal(at(now)), refusal, "{now}");
        }
        let disabled = Account { standing: AccountStanding::Disabled, ..account };
        assert_eq!(disabled.refusal(at(15)), Some(Reason::AccountDisabled));
    }
}
