//! Whether slapd's `otp` overlay guards the users' binds: then a bind with the password alone fails, or uses a code up
//! behind our back, and sekisho must not run against this tree (LDAP-23).

use super::connection::{Connection, Identity, Trouble, within};
use super::filter::Filter;
use super::message::{SUCCESS, Scope, Search};
use super::settings::Settings;
use crate::directory::entry::{Dn, Entry};

/// What the server's own configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The overlay is active where our users are.
    Yes,
    /// It is not.
    No,
    /// The server does not show its configuration, or is no OpenLDAP.
    Unknown,
}

/// Asks every server in turn, until one shows its configuration.
///
/// # Errors
/// No server could be asked; the trouble of the last one.
pub async fn otp_overlay_guards(settings: &Settings) -> Result<Guarded, Trouble> {
    let mut result = Ok(Guarded::Unknown);
    for server in &settings.servers {
        let asking = async {
            let mut connection =
                Connection::open(settings, server, Identity::Service, settings.timeout).await?;
            let guarded = ask(&mut connection, settings).await?;
            connection.close().await;
            Ok(guarded)
        };
        match within(settings.timeout.saturating_mul(2), asking).await {
            Ok(Guarded::Unknown) => result = Ok(Guarded::Unknown),
            known => {
                result = known;
                if result.is_ok() {
                    break;
                }
            }
        }
    }
    result
}

async fn ask(connection: &mut Connection, settings: &Settings) -> Result<Guarded, Trouble> {
    let filter = Filter::any(&[Filter::present("olcOverlay"), Filter::present("olcSuffix")]);
    let search = Search {
        base: "cn=config",
        scope: Scope::Subtree,
        filter: filter.octets(),
        attributes: &["olcOverlay", "olcSuffix"],
        size_limit: 0,
        time_limit: 0,
        controls: &[],
    };
    let mut entries = Vec::new();
    let end = connection
        .search(&search, |raw| {
            entries.push(Entry::new(raw.dn, None, raw.attributes()?));
            Ok(())
        })
        .await?;
    if end.code != SUCCESS || entries.is_empty() {
        return Ok(Guarded::Unknown);
    }
    Ok(if is_guarded(&entries, &settings.base) { Guarded::Yes } else { Guarded::No })
}

/// An overlay guards the database that it stands in, and all of them if that is the frontend.
fn is_guarded(entries: &[Entry], base: &str) -> bool {
    let base = Dn::parse(base);
    let holds_base = |database: &Entry| {
        let mut suffixes =
            database.all("olcSuffix").filter_map(|dn| Dn::parse(std::str::from_utf8(dn).ok()?));
        // A database below the base holds users of ours, too.
        suffixes
            .any(|suffix| base.as_ref().is_some_and(|base| base.is_within(&suffix) || suffix.is_within(base)))
    };
    let databases: Vec<Dn> =
        entries.iter().filter(|entry| holds_base(entry)).filter_map(|entry| Dn::parse(&entry.dn)).collect();
    entries.iter().filter(|entry| is_otp(entry)).any(|overlay| {
        let dn = Dn::parse(&overlay.dn);
        let ours = dn.as_ref().is_some_and(|dn| databases.iter().any(|database| dn.is_within(database)));
        ours || overlay.dn.to_ascii_lowercase().contains("olcdatabase={-1}frontend")
    })
}

/// `olcOverlay: {1}otp`.
fn is_otp(entry: &Entry) -> bool {
    entry.all("olcOverlay").any(|name| {
        let name = String::from_utf8_lossy(name);
        name.rsplit('}').next().is_some_and(|name| name.eq_ignore_ascii_case("otp"))
    })
}
