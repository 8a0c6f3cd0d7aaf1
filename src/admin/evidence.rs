//! The line of evidence that every act leaves: begun, done, refused, or waiting for a second person.

use super::caller::Actor;
use super::deed::Deed;
use super::refusal::Refuse;
use crate::audit::Line;
use crate::clock::Wall;
use crate::identity::RequestId;
use crate::policy::Act;
use crate::tokens::User;

/// What became of an act.
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    /// Everything is proven and it begins: if nothing follows, look whether the directory was changed.
    Begun,
    /// It was done.
    Done,
    /// It was not, for this reason.
    Refused(&'a Refuse),
    /// It waits for a second person.
    Asked,
    /// A second person has let it happen, or not.
    Decided(&'static str),
}

/// An act as the evidence has it.
pub struct Acted<'a> {
    /// Which act.
    pub act: Act,
    /// Who answers for it; nobody for the setup of an app.
    pub actor: Option<&'a Actor>,
    /// The user it is done to.
    pub user: Option<&'a User>,
    /// The token it is done to.
    pub serial: Option<&'a str>,
    /// The contract it is done to, if it is not the user's.
    pub contract: Option<&'a str>,
    /// Exactly what is done.
    pub deed: Option<&'a Deed>,
    /// Its number, for `sekisho why`.
    pub id: RequestId,
    /// The request of a first person that it goes back to, and who that was.
    pub request: Option<(&'a str, &'a str)>,
}

impl Acted<'_> {
    /// The line. Never a password, a code or a key.
    pub fn line(&self, outcome: Outcome<'_>, now: Wall) -> Box<[u8]> {
        let mut line = Line::new(now, self.act.text());
        line = match outcome {
            Outcome::Begun => line.text("outcome", "begun"),
            Outcome::Done => line.text("outcome", "done"),
            Outcome::Refused(why) => line.text("outcome", "refused").text("reason", why.word()),
            Outcome::Asked => line.text("outcome", "pending"),
            Outcome::Decided(word) => line.text("outcome", word),
        };
        line = line.shown("request", self.id);
        if let Some(user) = self.user {
            line = line.text("user", &user.name).entry("entry", user.id);
        }
        let users = self.user.and_then(|user| user.contract.as_ref()).map(|contract| contract.as_str());
        if let Some(contract) = self.contract.or(users) {
            line = line.text("contract", contract);
        }
        if let Some(serial) = self.serial {
            line = line.text("token", serial);
        }
        if let Some(deed) = self.deed {
            line = line.shown("deed", deed).text("digest", &deed.digest());
        }
        if let Some((request, asked_by)) = self.request {
            line = line.text("four_eyes", request).text("asked_by", asked_by);
        }
        match self.actor {
            Some(actor) => {
                let by = &actor.caller.evidence;
                line.text("actor", &actor.name).text("role", actor.role.text()).text("by", by).finish()
            }
            None => line.text("actor", "app").finish(),
        }
    }
}
