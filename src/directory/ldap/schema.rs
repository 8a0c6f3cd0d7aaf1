//! Which attributes a server's schema knows (RFC 4512 §4.2).
//!
//! Account states and identities have other names in each directory, and all of them are asked for. slapd looks up a name
//! that it does not know again for every attribute of every entry that it sends: with two dozen of them that was a third of its
//! time. So what everybody is read with leaves out what the schema does not have.

use super::connection::{Connection, Trouble, within};
use super::filter::Filter;
use super::message::{Scope, Search};
use super::reading::Reading;
use std::collections::HashSet;
use std::time::Duration;

/// What may be left out of a reading: the names that this server does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown(HashSet<String>);

impl Unknown {
    /// What is left to ask for of these attributes.
    pub fn without<'a>(&self, attributes: &'a [String]) -> Vec<&'a str> {
        let known = |name: &&str| !self.0.contains(&name.to_ascii_lowercase());
        attributes.iter().map(String::as_str).filter(known).collect()
    }
}

/// Asks a server, on a connection that ends with it. One that does not show its schema knows everything.
///
/// # Errors
/// It does not answer.
pub async fn unknown(
    mut connection: Connection,
    reading: &Reading,
    timeout: Duration,
) -> Result<Unknown, Trouble> {
    let asking = async {
        let [dn] = &*values(&mut connection, "", "subschemaSubentry").await? else {
            return Ok(Unknown::default());
        };
        let dn = String::from_utf8_lossy(dn).into_owned();
        let types = values(&mut connection, &dn, "attributeTypes").await?;
        connection.close().await;
        Ok(not_among(&types, &reading.foreign))
    };
    within(timeout, asking).await
}

/// The values of one attribute of one entry; none if it is not shown.
async fn values(connection: &mut Connection, dn: &str, attribute: &str) -> Result<Vec<Vec<u8>>, Trouble> {
    let filter = Filter::present("objectClass");
    let search = Search {
        base: dn,
        scope: Scope::Base,
        filter: filter.octets(),
        attributes: &[attribute],
        size_limit: 0,
        time_limit: 0,
        controls: &[],
    };
    let mut found = Vec::new();
    connection
        .search(&search, |raw| {
            let attributes = raw.attributes()?;
            found.extend(attributes.into_iter().flat_map(|(_, values)| values).map(<[u8]>::to_vec));
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Which of these names no definition has. Whatever stands between quotes counts as a name: asking for one too many only takes
/// time.
fn not_among(types: &[Vec<u8>], names: &[String]) -> Unknown {
    if types.is_empty() {
        return Unknown::default();
    }
    let quoted = types.iter().flat_map(|definition| definition.split(|octet| *octet == b'\''));
    let known: HashSet<Vec<u8>> = quoted.map(<[u8]>::to_ascii_lowercase).collect();
    let names = names.iter().map(|name| name.to_ascii_lowercase());
    Unknown(names.filter(|name| !known.contains(name.as_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_by_any_of_those_that_its_definition_has() {
        let types: Vec<Vec<u8>> = [
            "( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'it''s' SUP name )",
            "( 1.2.3 NAME 'NSACCOUNTLOCK' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec();
        let names = ["commonName", "nsAccountLock", "loginDisabled"].map(str::to_owned);
        assert_eq!(not_among(&types, &names), Unknown(HashSet::from(["logindisabled".to_owned()])));
        assert_eq!(not_among(&[], &names), Unknown::default(), "no schema to be seen");
    }
}
