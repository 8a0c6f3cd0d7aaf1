//! What an entry says about its account, in the words of OpenLDAP, Active Directory, 389 and FreeIPA.
//!
//! What cannot be read refuses: an account is never open because of a value that nobody understands.

use super::assembly::Find;
use crate::clock::Wall;
use crate::directory::entry::{Dn, Entry, NeverOr, Unreadable};
use crate::tokens::{Account, AccountStanding};
use std::time::Duration;

/// The user's attribute that names its password policy.
pub(super) const POLICY: &str = "pwdPolicySubentry";

/// Every attribute that is read here, of the user and of the policy.
pub(super) const ATTRIBUTES: &[&str] = &[
    "pwdAccountLockedTime",
    "pwdStartTime",
    "pwdEndTime",
    "pwdLastSuccess",
    POLICY,
    "pwdLockoutDuration",
    "pwdMaxIdle",
    "nsAccountLock",
    "loginDisabled",
    "krbPrincipalExpiration",
    "krbPasswordExpiration",
    "userAccountControl",
    "accountExpires",
    "msDS-User-Account-Control-Computed",
];

/// userAccountControl: ACCOUNTDISABLE.
const DISABLED: i64 = 0x2;
/// msDS-User-Account-Control-Computed: LOCKOUT and PASSWORD_EXPIRED, which userAccountControl itself does not keep.
const LOCKED: i64 = 0x10;
const PASSWORD_EXPIRED: i64 = 0x80_0000;

/// Reads the account. `lock_lasts` is how long a lock of the default policy holds, if known.
pub(super) fn read(user: &Entry, lock_lasts: Option<Duration>, find: &Find<'_>) -> Account {
    let policy = user.text(POLICY).ok().flatten().and_then(Dn::parse).and_then(|dn| find(&dn));
    let seconds = |name: &str| {
        let seconds = policy.as_deref().unwrap_or(user).integer(name).ok().flatten();
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
    };
    let computed = user.integer("msDS-User-Account-Control-Computed");
    let has = |flags: Result<Option<i64>, Unreadable>, bit| {
        flags.map_or(true, |flags| flags.unwrap_or(0) & bit != 0)
    };
    let is_true = |name| user.boolean(name).map_or(true, |value| value.unwrap_or(false));

    let standing = if is_true("nsAccountLock")
        || is_true("loginDisabled")
        || has(user.integer("userAccountControl"), DISABLED)
    {
        AccountStanding::Disabled
    } else if has(computed, LOCKED) {
        AccountStanding::Locked(None)
    } else {
        lock(user, seconds("pwdLockoutDuration").or(lock_lasts))
    };

    let or_past = |time: Result<Option<Wall>, Unreadable>| time.unwrap_or(Some(Wall::default()));
    let expires = match user.file_time("accountExpires") {
        Ok(None | Some(NeverOr::Never)) => None,
        Ok(Some(NeverOr::At(time))) => Some(time),
        Err(_) => Some(Wall::default()),
    };
    let idle = seconds("pwdMaxIdle").filter(|idle| !idle.is_zero());
    let ends = [
        or_past(user.time("pwdEndTime")),
        or_past(user.time("krbPrincipalExpiration")),
        or_past(user.time("krbPasswordExpiration")),
        idle.and_then(|idle| or_past(user.time("pwdLastSuccess")).map(|last| last.plus(idle))),
        expires,
        has(computed, PASSWORD_EXPIRED).then(Wall::default),
    ];
    let begins = user.time("pwdStartTime").unwrap_or(Some(Wall::from_seconds(u64::MAX)));
    Account { standing, begins, ends: ends.into_iter().flatten().min() }
}

/// `pwdAccountLockedTime` stays after the lock has run out, so its presence alone locks nobody (LDAP-24).
fn lock(user: &Entry, lasts: Option<Duration>) -> AccountStanding {
    const LOCKED_TIME: &str = "pwdAccountLockedTime";
    let since = match (user.text(LOCKED_TIME), user.time(LOCKED_TIME)) {
        (Ok(None), _) => return AccountStanding::Enabled,
        // The year 0 is the standard's way of writing "until an administrator releases it".
        (Ok(Some(text)), Ok(Some(since))) if !text.starts_with("0000") => since,
        _ => return AccountStanding::Locked(None),
    };
    match lasts {
        Some(lasts) if lasts.is_zero() => AccountStanding::Locked(None),
        Some(lasts) => AccountStanding::Locked(Some(since.plus(lasts))),
        // Only the directory knows how long: its bind decides.
        None => AccountStanding::Enabled,
    }
}
