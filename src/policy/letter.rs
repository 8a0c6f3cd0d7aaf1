//! What a service's letter about an issued token says, and what stands on the screen only (S-12).

/// The letter to a user whose token was issued.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SetupLetter {
    /// Where the app is set up; empty if the service has no such page.
    pub link: Box<str>,
    /// Where the service id and the user id are told.
    pub ids: IdsTold,
    /// The language of the letter.
    pub language: LetterLanguage,
}

/// Where the ids of a setup are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdsTold {
    /// In the letter (P-A, P-D).
    #[default]
    Mail,
    /// On the screen only (P-B): who reads the mail then cannot begin a setup.
    Screen,
}

/// The language of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LetterLanguage {
    /// Japanese.
    #[default]
    Japanese,
    /// English.
    English,
}

/// The longest link, in octets.
const LINK_MAX: usize = 1024;

/// Why a link cannot be mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a setup link must be an https:// address of at most 1024 octets without blanks")]
pub struct LinkProblem;

impl SetupLetter {
    /// The link, if it can be mailed.
    ///
    /// # Errors
    /// [`LinkProblem`].
    pub fn link(text: &str) -> Result<Box<str>, LinkProblem> {
        let host =
            text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if host && plain && text.len() <= LINK_MAX { Ok(text.into()) } else { Err(LinkProblem) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_12_links_are_addresses() {
        for (link, good) in [
            ("https://otp.example.jp/setup", true),
            ("http://otp.example.jp/setup", false),
            ("https://", false),
            ("https:///x", false),
            ("https://a b", false),
            ("https://a\r\nBcc: x@y", false),
            ("", false),
        ] {
            assert_eq!(SetupLetter::link(link).is_ok(), good, "{link}");
        }
        assert!(SetupLetter::link(&format!("https://{}", "a".repeat(LINK_MAX))).is_err());
    }
}
