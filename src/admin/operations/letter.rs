//! The letter that goes out when a token is issued: what it says, and what became of it (S-12).

use super::Operations;
use crate::admin::protocol::MailShown;
use crate::admin::time_text;
use crate::clock::Wall;
use crate::policy::{Profile, SetupIds};

/// What a letter is about.
pub(super) struct Letter<'a> {
    pub profile: &'a Profile,
    pub user: &'a str,
    pub service_id: &'a str,
    pub user_id: &'a str,
    pub until: Wall,
}

impl Letter<'_> {
    fn subject(&self) -> String {
        "ワンタイムパスワード利用開始のご案内 / Your one-time password token".to_owned()
    }

    /// The ids are in it only where the service says so: in P-B they appear on the screen alone.
    fn text(&self) -> String {
        let until = time_text(self.until);
        let ids = match self.profile.life.setup_ids {
            SetupIds::Mail => format!(
                "サービスID / service id: {}\nユーザID / user id: {}\n",
                self.service_id, self.user_id
            ),
            SetupIds::Screen => String::new(),
        };
        format!(
            "{} 様\n\nトークンアプリの初期設定を行ってください。\nSet up the token app with your start password.\n\n{ids}\
             期限 / until: {until}\n",
            self.user
        )
    }
}

impl Operations {
    /// Sends the letter, or says what would have been sent.
    pub(super) async fn send(&self, to: Option<&str>, letter: &Letter<'_>) -> MailShown {
        let Some(to) = to else { return MailShown::NoAddress };
        MailShown::WouldHaveBeen { to: to.to_owned(), subject: letter.subject(), text: letter.text() }
    }
}
