//! What a server's answer to a user's bind means. Only result 0 without a reservation lets anybody in.

use super::ber::{Malformed, Reader, SEQUENCE, number};
use super::connection::BindAnswer;
use super::settings::GraceLogins;
use crate::directory::PasswordAnswer;

/// What one server said about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It decided.
    Answer(PasswordAnswer),
    /// It could not say; another server might.
    NoAnswer,
}

/// Reads the answer to a bind: result code (RFC 4511 Appendix A), password policy control, sub-codes of Active
/// Directory.
pub fn meaning(answer: &BindAnswer, grace: GraceLogins) -> Meaning {
    let policy = match answer.policy.as_deref().map(Policy::parse) {
        None => Policy::default(),
        Some(Ok(policy)) => policy,
        Some(Err(Malformed)) => return Meaning::NoAnswer,
    };
    let decided = match answer.code {
        0 => policy.reservation(grace).unwrap_or(PasswordAnswer::Right),
        // invalidCredentials: the server may say why.
        49 => policy.refusal().or_else(|| active_directory(&answer.text)).unwrap_or(PasswordAnswer::Wrong),
        // constraintViolation: 389 Directory Server's "exceed password retry limit".
        19 => PasswordAnswer::Locked,
        // unwillingToPerform: 389 Directory Server's "account inactivated". Anything else is no word on the user.
        53 if answer.text.to_ascii_lowercase().contains("inactivated") => PasswordAnswer::Disabled,
        // noSuchObject, invalidDNSyntax, inappropriateAuthentication, insufficientAccessRights: this entry cannot
        // bind with a password.
        32 | 34 | 48 | 50 => PasswordAnswer::Wrong,
        _ => return Meaning::NoAnswer,
    };
    Meaning::Answer(decided)
}

/// The password policy response (draft-behera-ldap-password-policy §6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Policy {
    error: Option<u32>,
    grace_left: Option<u32>,
}

const PASSWORD_EXPIRED: u32 = 0;
const ACCOUNT_LOCKED: u32 = 1;
const CHANGE_AFTER_RESET: u32 = 2;

impl Policy {
    fn parse(value: &[u8]) -> Result<Policy, Malformed> {
        let mut policy = Policy::default();
        if value.is_empty() {
            return Ok(policy);
        }
        let mut fields = Reader::new(value).inside(SEQUENCE)?;
        if let Some(warning) = fields.optional(0xa0)?
            && let (0x81, left) = Reader::new(warning).element()?
        {
            policy.grace_left = Some(number(left)?);
        }
        policy.error = fields.optional(0x81)?.map(number).transpose()?;
        Ok(policy)
    }

    /// What is wrong although the bind succeeded.
    fn reservation(self, grace: GraceLogins) -> Option<PasswordAnswer> {
        let on_grace = self.grace_left.is_some() && grace == GraceLogins::Refused;
        match self.error {
            Some(PASSWORD_EXPIRED | ACCOUNT_LOCKED) => self.refusal(),
            Some(CHANGE_AFTER_RESET) => Some(PasswordAnswer::MustChange),
            _ => on_grace.then_some(PasswordAnswer::PasswordExpired),
        }
    }

    /// Why the bind was refused.
    fn refusal(self) -> Option<PasswordAnswer> {
        match self.error? {
            PASSWORD_EXPIRED => Some(PasswordAnswer::PasswordExpired),
            ACCOUNT_LOCKED => Some(PasswordAnswer::Locked),
            CHANGE_AFTER_RESET => Some(PasswordAnswer::MustChange),
            _ => None,
        }
    }
}

/// The sub-code in Active Directory's diagnostic message: `… AcceptSecurityContext error, data 52e, v4563`.
fn active_directory(text: &str) -> Option<PasswordAnswer> {
    let (_, rest) = text.split_once(", data ")?;
    let code = rest.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    match code.to_ascii_lowercase().as_str() {
        // Not at this time, not from this workstation, disabled.
        "530" | "531" | "533" => Some(PasswordAnswer::Disabled),
        "532" => Some(PasswordAnswer::PasswordExpired),
        "701" => Some(PasswordAnswer::Expired),
        "773" => Some(PasswordAnswer::MustChange),
        "775" => Some(PasswordAnswer::Locked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Meaning::{Answer, NoAnswer};
    use PasswordAnswer::{Disabled, Expired, Locked, MustChange, PasswordExpired, Right, Wrong};

    fn of(code: u32, text: &str, policy: Option<&[u8]>) -> Meaning {
        let answer = BindAnswer { code, text: text.to_owned(), policy: policy.map(<[u8]>::to_vec) };
        meaning(&answer, GraceLogins::Refused)
    }

    #[test]
    fn ldap_08_only_result_0_is_right() {
        for code in (0..200).chain([4096, u32::MAX]) {
            let expected = match code {
                0 => Answer(Right),
                19 => Answer(Locked),
                32 | 34 | 48 | 49 | 50 => Answer(Wrong),
                _ => NoAnswer,
            };
            assert_eq!(of(code, "", None), expected, "{code}");
        }
    }

    #[test]
    fn ldap_24_the_password_policy_control_is_heard_even_with_success() {
        for (code, policy, expected) in [
            (0, &[][..], Answer(Right)),
            (0, &[0x30, 0], Answer(Right)),
            (0, &[0x30, 3, 0x81, 1, 2], Answer(MustChange)),
            (0, &[0x30, 3, 0x81, 1, 1], Answer(Locked)),
            (0, &[0x30, 3, 0x81, 1, 0], Answer(PasswordExpired)),
            (0, &[0x30, 5, 0xa0, 3, 0x80, 1, 60], Answer(Right)),
            (0, &[0x30, 5, 0xa0, 3, 0x81, 1, 3], Answer(PasswordExpired)),
            (0, &[0x30, 9], NoAnswer),
            (49, &[0x30, 3, 0x81, 1, 1], Answer(Locked)),
            (49, &[0x30, 3, 0x81, 1, 0], Answer(PasswordExpired)),
            (49, &[0x30, 0], Answer(Wrong)),
            (49, &[0x30, 3, 0x81, 1, 8], Answer(Wrong)),
        ] {
            assert_eq!(of(code, "", Some(policy)), expected, "{code} {policy:02x?}");
        }
        let grace =
            BindAnswer { code: 0, text: String::new(), policy: Some(vec![0x30, 5, 0xa0, 3, 0x81, 1, 3]) };
        assert_eq!(meaning(&grace, GraceLogins::Accepted), Answer(Right));
    }

    #[test]
    fn ldap_25_active_directorys_sub_codes_are_read() {
        for (code, expected) in [
            ("52e", Wrong),
            ("525", Wrong),
            ("530", Disabled),
            ("531", Disabled),
            ("532", PasswordExpired),
            ("533", Disabled),
            ("701", Expired),
            ("773", MustChange),
            ("775", Locked),
        ] {
            let text = format!(
                "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {code}, v1db1\0"
            );
            assert_eq!(of(49, &text, None), Answer(expected), "{code}");
        }
        assert_eq!(of(53, "Account inactivated. Contact system administrator.", None), Answer(Disabled));
    }
}
