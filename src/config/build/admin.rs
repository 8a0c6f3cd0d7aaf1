//! Who may act, as whom, and what needs a second person.

use super::Report;
use crate::admin::caller::{DAEMON, Guise, Operators};
use crate::config::file;
use crate::config::problem::Key;
use crate::policy::{Act, ActorRole, Authority, Roles};
use std::path::PathBuf;
use std::time::Duration;

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The socket.
    pub socket: PathBuf,
    /// The group whose members may open it too.
    pub group: Option<String>,
    /// Who may act as whom.
    pub operators: Operators,
    /// Who may do what, and what needs a second person.
    pub authority: Authority,
    /// How long a request waits for a second person: a minute to 90 days.
    pub request_lifetime: Duration,
}

/// What root and the daemon's own user may be, where no operator is named: the counter, and any customer, who has to
/// prove to be one.
const USUAL: [&str; 4] = ["counter", "master:*", "admin:*", "user:*"];

pub(super) fn admin(written: &file::Admin, report: &mut Report<'_>) -> Option<Admin> {
    let at = Key::of(&["admin"]);
    let mut authority = Authority::default();
    for (act, roles) in roles(written.may.as_ref()) {
        authority.allow(act, roles);
    }
    for act in written.four_eyes.iter().flat_map(|acts| &acts.0) {
        authority.demand_second(meant(*act));
    }
    Some(Admin {
        socket: report.path(&at.name("socket"), written.socket.as_ref()?),
        group: written.socket_group.clone(),
        operators: operators(written.operator.as_deref(), &at, report),
        authority,
        request_lifetime: report.length(
            &at.name("request-lifetime"),
            written.request_lifetime,
            Duration::from_secs(60)..=Duration::from_secs(90 * 86_400),
        ),
    })
}

fn operators(written: Option<&[file::Operator]>, at: &Key, report: &mut Report<'_>) -> Operators {
    let mut operators = Operators::default();
    let Some(written) = written else {
        for name in ["root", DAEMON] {
            let guises = USUAL.iter().filter_map(|text| Guise::parse(text)).collect();
            operators.0.insert(name.to_owned(), guises);
        }
        return operators;
    };
    for (index, operator) in written.iter().enumerate() {
        let key = at.name("operator").item(index);
        let right =
            "write the name of an operating-system user, or daemon for the one that the daemon runs as";
        let name =
            report.need(&key.name("name"), operator.name.clone().filter(|name| !name.is_empty()), right);
        let right = r#"write roles such as ["counter"], or "counter:*" for any name"#;
        let texts = report.need(&key.name("as"), operator.r#as.as_ref(), right);
        let (Some(name), Some(texts)) = (name, texts) else { continue };
        let mut guises = Vec::new();
        for text in &texts.0 {
            match Guise::parse(text) {
                Some(guise) => guises.push(guise),
                None => report.refuse(
                    &key.name("as"),
                    format!("{text} is no role"),
                    "write counter, auditor, master, admin or user, each alone or with :*",
                ),
            }
        }
        if operators.0.insert(name, guises).is_some() {
            report.refuse(&key.name("name"), "this operator is there twice", "leave one of them");
        }
    }
    operators
}

/// What a table of acts and roles says.
pub(super) fn roles(written: Option<&file::May>) -> Vec<(Act, Roles)> {
    let Some(may) = written else { return Vec::new() };
    let table = [
        (Act::Look, &may.look),
        (Act::ContractEnable, &may.contract_enable),
        (Act::ContractDisable, &may.contract_disable),
        (Act::Issue, &may.issue),
        (Act::Confirm, &may.confirm),
        (Act::Register, &may.register),
        (Act::Exchange, &may.exchange),
        (Act::UndoExchange, &may.undo_exchange),
        (Act::Revoke, &may.revoke),
        (Act::Suspend, &may.suspend),
        (Act::Resume, &may.resume),
        (Act::Renew, &may.renew),
        (Act::Stop, &may.stop),
        (Act::Resync, &may.resync),
        (Act::Release, &may.release),
        (Act::LoginCode, &may.login_code),
        (Act::UserAdd, &may.user_add),
        (Act::UserRemove, &may.user_remove),
        (Act::Import, &may.import),
        (Act::Export, &may.export),
        (Act::Keys, &may.keys),
        (Act::Decide, &may.decide),
    ];
    let said = table.into_iter().filter_map(|(act, roles)| Some((act, roles.as_ref()?)));
    said.map(|(act, roles)| (act, roles.0.iter().map(|role| actor(*role)).collect())).collect()
}

fn actor(role: file::ActorRole) -> ActorRole {
    match role {
        file::ActorRole::Counter => ActorRole::Counter,
        file::ActorRole::Master => ActorRole::Master,
        file::ActorRole::Admin => ActorRole::Admin,
        file::ActorRole::User => ActorRole::User,
        file::ActorRole::Auditor => ActorRole::Auditor,
    }
}

fn meant(act: file::Act) -> Act {
    match act {
        file::Act::ContractEnable => Act::ContractEnable,
        file::Act::ContractDisable => Act::ContractDisable,
        file::Act::Issue => Act::Issue,
        file::Act::Confirm => Act::Confirm,
        file::Act::Register => Act::Register,
        file::Act::Exchange => Act::Exchange,
        file::Act::UndoExchange => Act::UndoExchange,
        file::Act::Revoke => Act::Revoke,
        file::Act::Suspend => Act::Suspend,
        file::Act::Resume => Act::Resume,
        file::Act::Renew => Act::Renew,
        file::Act::Stop => Act::Stop,
        file::Act::Resync => Act::Resync,
        file::Act::Release => Act::Release,
        file::Act::LoginCode => Act::LoginCode,
    }
}
