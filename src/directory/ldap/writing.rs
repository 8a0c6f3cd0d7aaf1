//! Whether acts on tokens could be written to this directory, found out without changing anything.

use super::act::{ASSERTION, Act, Edit};
use super::connection::{Connection, Identity, Trouble, within};
use super::filter::Filter;
use super::message::{NO_SUCH_OBJECT, SUCCESS, Scope, Search};
use super::reading::Reading;
use super::settings::Settings;
use super::{act, message};
use crate::directory::entry::Entry;
use std::fmt;

/// What keeps acts from being written; the daemon judges all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// Another layout is only read.
    Layout,
    /// The schema does not know these classes and attributes.
    Schema(Vec<&'static str>),
    /// The assertion control (RFC 4528) is not offered.
    Assertion,
    /// There is no such entry, or it is not shown to us.
    Container(&'static str, String),
    /// `bind-dn` may not write here, or the server takes no changes: its result code and words.
    Rights(String, u32, String),
    /// There is no key to seal token keys with.
    SealKey,
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lacks::Layout => f.write_str("only layout = \"oath\" is written to"),
            Lacks::Schema(names) => {
                write!(f, "the schema lacks {}; load conf/ldap/sekisho.ldif", names.join(", "))
            }
            Lacks::Assertion => f.write_str("the server does not offer the assertion control (RFC 4528)"),
            Lacks::Container(key, dn) => {
                write!(
                    f,
                    "{key} = {dn:?} does not exist or is not shown to bind-dn; add it, or let it be read"
                )
            }
            Lacks::Rights(dn, code, words) => {
                let words = crate::identity::Escaped(words.as_bytes());
                write!(
                    f,
                    "bind-dn may not write {dn:?} (result {code} {words}); see Writing to the directory in \
                     docs/operations.md"
                )
            }
            Lacks::SealKey => f.write_str("there is no key that seals; set seal-key-file"),
        }
    }
}

/// What has to be in the schema: of OATH's module, and of ours.
const NAMES: &[&str] = &[
    "oathTOTPToken",
    "oathTOTPUser",
    "oathTOTPParams",
    "sekishoUser",
    "sekishoToken",
    "sekishoContractEntry",
    "sekishoOwner",
    "sekishoPendingToken",
    "sekishoReissueFrom",
    "sekishoSetupUntil",
];

/// Asks the servers in order, until one answers.
///
/// # Errors
/// None could be asked; the trouble of the last one.
pub async fn writing_lacks(settings: &Settings) -> Result<Vec<Lacks>, Trouble> {
    if !settings.layout.takes_changes() {
        return Ok(vec![Lacks::Layout]);
    }
    let mut result = Ok(Vec::new());
    for server in &settings.servers {
        let asking = async {
            let mut connection =
                Connection::open(settings, server, Identity::Service, settings.timeout).await?;
            let lacks = ask(&mut connection, settings).await?;
            connection.close().await;
            Ok(lacks)
        };
        result = within(settings.timeout.saturating_mul(5), asking).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn ask(connection: &mut Connection, settings: &Settings) -> Result<Vec<Lacks>, Trouble> {
    let mut lacks = Vec::new();
    let anything = Filter::present("objectClass");
    let root =
        read(connection, "", &anything, &["supportedControl", "subschemaSubentry"], Scope::Base).await?;
    let says = |entry: &Option<Entry>, name: &str, value: &str| {
        entry.as_ref().is_some_and(|entry| entry.all(name).any(|one| one == value.as_bytes()))
    };
    let asserts = says(&root, "supportedControl", ASSERTION);
    if !asserts {
        lacks.push(Lacks::Assertion);
    }
    let schema = root.as_ref().and_then(|root| root.text("subschemaSubentry").ok().flatten());
    if let Some(schema) = schema {
        let wanted = ["objectClasses", "attributeTypes"];
        let filter = Filter::equals("objectClass", b"subschema");
        let schema = read(connection, schema, &filter, &wanted, Scope::Base).await?;
        let missing: Vec<_> = NAMES.iter().copied().filter(|name| !defines(schema.as_ref(), name)).collect();
        if !missing.is_empty() {
            lacks.push(Lacks::Schema(missing));
        }
    }
    if settings.keyring.ids().is_empty() {
        lacks.push(Lacks::SealKey);
    }
    let mut places = Vec::new();
    for (key, dn) in [("token-base", &settings.token_base), ("contract-base", &settings.contract_base)] {
        match read(connection, dn, &anything, &["objectClass"], Scope::Base).await? {
            Some(entry) => places.push(entry),
            None => lacks.push(Lacks::Container(key, dn.clone())),
        }
    }
    if let Ok(reading) = Reading::new(settings) {
        let some = read(connection, &settings.base, &reading.users, &["objectClass"], Scope::Subtree).await?;
        places.extend(some);
    }
    for place in places.iter().filter(|_| asserts) {
        if let Some((code, words)) = refuses(connection, place).await? {
            lacks.push(Lacks::Rights(place.dn.clone(), code, words));
        }
    }
    Ok(lacks)
}

/// Tries a change that changes nothing: a class that the entry has is added once more. Who may write is told that the
/// value exists, everybody else that they may not.
async fn refuses(connection: &mut Connection, place: &Entry) -> Result<Option<(u32, String)>, Trouble> {
    let Some(class) = place.all("objectClass").next().and_then(|class| std::str::from_utf8(class).ok())
    else {
        return Ok(None);
    };
    let still = Filter::present("objectClass");
    let edits = [Edit::add("objectClass", class)];
    let answer = connection.act(&Act::Modify { dn: &place.dn, edits: &edits, still: &still }).await?;
    Ok(match answer.code {
        SUCCESS | act::ATTRIBUTE_OR_VALUE_EXISTS => None,
        code => Some((code, answer.text)),
    })
}

/// One entry; of several, any.
async fn read(
    connection: &mut Connection,
    base: &str,
    filter: &Filter,
    attributes: &[&str],
    scope: Scope,
) -> Result<Option<Entry>, Trouble> {
    let search = Search {
        base,
        scope,
        filter: filter.octets(),
        attributes,
        size_limit: 1,
        time_limit: 0,
        controls: &[],
    };
    let mut found = None;
    let end = connection
        .search(&search, |raw| {
            found = Some(Entry::new(raw.dn, None, raw.attributes()?));
            Ok(())
        })
        .await?;
    match end.code {
        SUCCESS | NO_SUCH_OBJECT | message::SIZE_LIMIT_EXCEEDED => Ok(found),
        // Hidden is as good as absent.
        act::INSUFFICIENT_ACCESS_RIGHTS => Ok(None),
        code => Err(Trouble::Search(code, end.text)),
    }
}

/// Whether a schema defines a name: `NAME 'x'` or `NAME ( 'x' 'y' )` (RFC 4512 §4.1).
fn defines(schema: Option<&Entry>, name: &str) -> bool {
    let quoted = format!("'{name}'");
    let all = schema.into_iter().flat_map(|schema| {
        schema.all("objectClasses").chain(schema.all("attributeTypes")).collect::<Vec<_>>()
    });
    all.into_iter().any(|definition| String::from_utf8_lossy(definition).contains(&quoted))
}
