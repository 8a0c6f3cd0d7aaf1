//! The letter that goes out when a token is issued, and what became of it (S-12).

use super::Operations;
use super::scene::zone;
use crate::admin::protocol::MailShown;
use crate::clock::Wall;
use crate::mail::{Address, Issued, Language, Mailed};
use crate::policy::{IdsTold, LetterLanguage, Profile};
use jiff::Timestamp;

/// What a letter is about.
pub(super) struct About<'a> {
    pub profile: &'a Profile,
    pub user: &'a str,
    pub serial: &'a str,
    pub service_id: &'a str,
    pub user_id: &'a str,
    pub until: Wall,
}

impl Operations {
    /// Sends the letter, or says what would have been sent.
    pub(super) fn send(&self, to: Option<&str>, about: &About<'_>) -> MailShown {
        let Some(to) = to.map(str::to_owned) else { return MailShown::NoAddress };
        let settings = &about.profile.letter;
        let ids = match settings.ids {
            IdsTold::Mail => Mailed::Ids { service_id: about.service_id, user_id: about.user_id },
            IdsTold::Screen => Mailed::OnScreen,
        };
        let language = match settings.language {
            LetterLanguage::Japanese => Language::Japanese,
            LetterLanguage::English => Language::English,
        };
        let until = at_the_bank(about);
        let issued =
            Issued { user: about.user, link: &settings.link, serial: about.serial, until: &until, ids };
        let templates = &self.letters.templates;
        let letter = templates.write(language, &issued);
        let Some(post) = &self.letters.post else {
            return MailShown::WouldHaveBeen { to, subject: letter.subject, text: letter.text };
        };
        if templates.lacks_link(language, &issued) {
            let why = format!(
                "the letter says where the app is set up; give service.{} a setup-link",
                about.profile.name
            );
            return MailShown::NotSent { to, why };
        }
        let address: Address = match to.parse() {
            Ok(address) => address,
            Err(why) => return MailShown::NotSent { to, why: format!("{why}") },
        };
        match post.send(&address, &letter, about.serial) {
            Ok(()) => MailShown::Sent { to },
            Err(why) => MailShown::NotSent { to, why: why.to_string() },
        }
    }
}

/// The end of the setup on the clocks of the bank.
fn at_the_bank(about: &About<'_>) -> String {
    let seconds = i64::try_from(about.until.seconds()).unwrap_or(i64::MAX);
    let zoned = Timestamp::from_second(seconds).map(|time| time.to_zoned(zone(&about.profile.life)));
    zoned.map_or_else(
        |_| about.until.seconds().to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M %Z").to_string(),
    )
}
