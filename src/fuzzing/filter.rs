//! Search filters: a name from the network is compared, never interpreted, whatever filter the operator wrote.

use super::Input;
use crate::directory::ldap::{Filter, UserFilter};
use ldap3::asn1::{PL, StructureTag, parse_tag};

/// The octets are a name and the text of a filter.
pub fn filter(octets: &[u8]) {
    let mut input = Input(octets);
    let length = usize::from(input.octet());
    let Ok(name) = std::str::from_utf8(input.take(length)) else { return };
    let Ok(usual) = UserFilter::parse("(&(objectClass=inetOrgPerson)(uid={user}))") else { return };
    let expected = Filter::all(&[
        Filter::equals("objectClass", b"inetOrgPerson"),
        Filter::equals("uid", name.as_bytes()),
    ]);
    assert!(usual.for_name(name) == expected, "a name changed the filter");

    let Ok(text) = std::str::from_utf8(input.0) else { return };
    let _ = Filter::parse(text).map(|filter| read(filter.octets()));
    let Ok(filter) = UserFilter::parse(text) else { return };
    let _ = read(filter.for_everybody().octets());
    let (named, other) = (filter.for_name(name), filter.for_name("x"));
    let (named, other) = (read(named.octets()), read(other.octets()));
    assert_eq!(
        named.map(|tag| shape(&tag)),
        other.map(|tag| shape(&tag)),
        "a name changed the filter's shape"
    );
    for pattern in filter.names() {
        let _ = pattern.name(name);
    }
}

/// Reads what we encode, as a server would.
fn read(octets: &[u8]) -> Option<StructureTag> {
    let parsed = parse_tag(octets).ok();
    assert!(parsed.as_ref().is_some_and(|(rest, _)| rest.is_empty()), "what we encode can be read");
    parsed.map(|(_, tag)| tag)
}

/// Tags and nesting, without contents.
fn shape(tag: &StructureTag) -> String {
    match &tag.payload {
        PL::P(_) => format!("{:?}{}", tag.class, tag.id),
        PL::C(parts) => {
            let parts: Vec<String> = parts.iter().map(shape).collect();
            format!("{:?}{}({})", tag.class, tag.id, parts.join(","))
        }
    }
}
