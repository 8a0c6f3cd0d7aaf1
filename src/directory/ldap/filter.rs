//! Search filters (RFC 4515) as data: the text comes from the operator, names from the network are put in as octets.
//!
//! Because a name never becomes text of a filter, there is nothing in it to escape: `*` is an asterisk.

use super::ber::{OCTET_STRING, Writer};
use ldap3::asn1::{ASNTag, PL, StructureTag, TagClass};

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUALITY: u8 = 0xa3;
const PRESENT: u8 = 0x87;
const EQUALITY_CHOICE: u64 = 3;

/// The place of the name in a user filter.
pub const PLACE: &str = "{user}";

/// A filter, encoded as RFC 4511 §4.5.1 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Vec<u8>);

/// What is wrong with a filter's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    /// The text is no filter.
    #[error(
        "this is not an LDAP filter (RFC 4515); write for example (&(objectClass=inetOrgPerson)(uid={{user}}))"
    )]
    Syntax,
    /// The name stands nowhere.
    #[error("{{user}} is missing; write for example (uid={{user}})")]
    PlaceMissing,
    /// The name stands where it cannot be compared exactly.
    #[error(
        "{{user}} can only stand in an equality, once in each; write for example (uid={{user}}) or (mail={{user}}@example.jp)"
    )]
    PlaceMisused,
}

impl Filter {
    /// Reads the text of a filter.
    ///
    /// # Errors
    /// The text is no filter.
    pub fn parse(text: &str) -> Result<Filter, FilterProblem> {
        Ok(Filter(encode(&tree(text)?, &Place::AsIs)))
    }

    /// `(attribute=value)`.
    pub fn equals(attribute: &str, value: &[u8]) -> Filter {
        let mut writer = Writer::new();
        writer.within(EQUALITY, |inside| {
            inside.put(OCTET_STRING, attribute.as_bytes()).put(OCTET_STRING, value);
        });
        Filter(writer.octets().to_vec())
    }

    /// `(attribute=*)`.
    pub fn present(attribute: &str) -> Filter {
        let mut writer = Writer::new();
        writer.put(PRESENT, attribute.as_bytes());
        Filter(writer.octets().to_vec())
    }

    /// True where this is false.
    pub fn not(filter: &Filter) -> Filter {
        Filter::join(NOT, std::slice::from_ref(filter))
    }

    /// True where one of these is. Of none: never true.
    pub fn any(filters: &[Filter]) -> Filter {
        Filter::join(OR, filters)
    }

    /// True where all of these are. Of none: always true.
    pub fn all(filters: &[Filter]) -> Filter {
        Filter::join(AND, filters)
    }

    /// The encoded octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    fn join(tag: u8, filters: &[Filter]) -> Filter {
        let mut writer = Writer::new();
        writer.within(tag, |inside| {
            for filter in filters {
                inside.raw(&filter.0);
            }
        });
        Filter(writer.octets().to_vec())
    }
}

/// The filter that finds a user, with `{user}` in the place of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFilter {
    tree: Tree,
    names: Vec<NamePattern>,
}

/// Where a user's names stand: the attribute, and what surrounds the name in its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    /// The attribute that `{user}` is compared with.
    pub attribute: Box<str>,
    before: Box<str>,
    after: Box<str>,
}

type Tree = StructureTag;

enum Place<'a> {
    AsIs,
    Name(&'a [u8]),
    Anybody,
}

impl UserFilter {
    /// Reads the text.
    ///
    /// # Errors
    /// The text is no filter, or `{user}` is missing or stands where it cannot be compared exactly.
    pub fn parse(text: &str) -> Result<UserFilter, FilterProblem> {
        let tree = tree(text)?;
        let mut names = Vec::new();
        collect(&tree, &mut names)?;
        if names.is_empty() { Err(FilterProblem::PlaceMissing) } else { Ok(UserFilter { tree, names }) }
    }

    /// The filter for one name, whatever octets it has.
    pub fn for_name(&self, name: &str) -> Filter {
        Filter(encode(&self.tree, &Place::Name(name.as_bytes())))
    }

    /// The filter for everybody who has a name.
    pub fn for_everybody(&self) -> Filter {
        Filter(encode(&self.tree, &Place::Anybody))
    }

    /// Where the names stand.
    pub fn names(&self) -> &[NamePattern] {
        &self.names
    }
}

impl NamePattern {
    /// The name in a value of the attribute: what is left without the surroundings.
    pub fn name<'v>(&self, value: &'v str) -> Option<&'v str> {
        let head = value.get(..self.before.len())?;
        let rest = value.get(self.before.len()..)?;
        let at = rest.len().checked_sub(self.after.len())?;
        let (name, tail) = rest.split_at_checked(at)?;
        (head.eq_ignore_ascii_case(&self.before) && tail.eq_ignore_ascii_case(&self.after)).then_some(name)
    }
}

fn tree(text: &str) -> Result<Tree, FilterProblem> {
    ldap3::parse_filter(text.trim()).map(ASNTag::into_structure).map_err(|_| FilterProblem::Syntax)
}

/// The attribute and the value of an equality.
fn equality(tree: &Tree) -> Option<(&[u8], &[u8])> {
    match (&tree.class, tree.id, &tree.payload) {
        (TagClass::Context, EQUALITY_CHOICE, PL::C(parts)) => match parts.as_slice() {
            [StructureTag { payload: PL::P(attribute), .. }, StructureTag { payload: PL::P(value), .. }] => {
                Some((attribute, value))
            }
            _ => None,
        },
        _ => None,
    }
}

fn collect(tree: &Tree, names: &mut Vec<NamePattern>) -> Result<(), FilterProblem> {
    if let Some((attribute, value)) = equality(tree) {
        let attribute = std::str::from_utf8(attribute).map_err(|_| FilterProblem::Syntax)?;
        let value = std::str::from_utf8(value).unwrap_or_default();
        let mut parts = value.split(PLACE);
        let (before, after, more) = (parts.next(), parts.next(), parts.next());
        if attribute.contains(PLACE) || more.is_some() {
            return Err(FilterProblem::PlaceMisused);
        }
        if let (Some(before), Some(after)) = (before, after) {
            names.push(NamePattern {
                attribute: attribute.into(),
                before: before.into(),
                after: after.into(),
            });
        }
        return Ok(());
    }
    match &tree.payload {
        PL::C(parts) => parts.iter().try_for_each(|part| collect(part, names)),
        PL::P(octets) if String::from_utf8_lossy(octets).contains(PLACE) => Err(FilterProblem::PlaceMisused),
        PL::P(_) => Ok(()),
    }
}

fn encode(tree: &Tree, place: &Place<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    write(tree, place, &mut writer);
    writer.octets().to_vec()
}

fn write(tree: &Tree, place: &Place<'_>, writer: &mut Writer) {
    if let Some((attribute, value)) = equality(tree)
        && let Ok(value) = std::str::from_utf8(value)
        && let Some((before, after)) = value.split_once(PLACE)
    {
        match place {
            Place::AsIs => {}
            Place::Name(name) => {
                let value = [before.as_bytes(), name, after.as_bytes()].concat();
                writer.within(EQUALITY, |inside| {
                    inside.put(OCTET_STRING, attribute).put(OCTET_STRING, &value);
                });
                return;
            }
            Place::Anybody => {
                writer.put(PRESENT, attribute);
                return;
            }
        }
    }
    let class = match tree.class {
        TagClass::Universal => 0x00,
        TagClass::Application => 0x40,
        TagClass::Context => 0x80,
        TagClass::Private => 0xc0,
    };
    let tag = class | u8::try_from(tree.id & 0x1f).unwrap_or(0);
    match &tree.payload {
        PL::P(octets) => {
            writer.put(tag, octets);
        }
        PL::C(parts) => {
            writer.within(tag | 0x20, |inside| parts.iter().for_each(|part| write(part, place, inside)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldap_02_a_name_is_compared_and_never_interpreted() {
        let filter = UserFilter::parse("(&(objectClass=inetOrgPerson)(uid={user}))").unwrap();
        for name in ["*", "a*", ")(uid=*", "\\", "\0", "alice)(objectClass=*", "{user}"] {
            let expected = Filter::all(&[
                Filter::equals("objectClass", b"inetOrgPerson"),
                Filter::equals("uid", name.as_bytes()),
            ]);
            assert_eq!(filter.for_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn everybody_is_who_has_a_name() {
        let filter = UserFilter::parse("(|(uid={user})(mail={user}@example.jp))").unwrap();
        assert_eq!(filter.for_everybody(), Filter::any(&[Filter::present("uid"), Filter::present("mail")]));
        let [uid, mail] = filter.names() else { panic!() };
        assert_eq!((&*uid.attribute, uid.name("alice")), ("uid", Some("alice")));
        assert_eq!((&*mail.attribute, mail.name("alice@Example.JP")), ("mail", Some("alice")));
        assert_eq!(mail.name("alice@example.com"), None);
        assert_eq!(mail.name("jp"), None);
    }

    #[test]
    fn what_cannot_be_compared_exactly_is_refused() {
        for (text, problem) in [
            ("uid", FilterProblem::Syntax),
            ("(uid=alice)", FilterProblem::PlaceMissing),
            ("(uid={user}*)", FilterProblem::PlaceMisused),
            ("(uid~={user})", FilterProblem::PlaceMisused),
            ("(uid={user}{user})", FilterProblem::PlaceMisused),
            ("(uid:caseExactMatch:={user})", FilterProblem::PlaceMisused),
        ] {
            assert_eq!(UserFilter::parse(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn a_filters_text_means_what_rfc_4515_says() {
        assert_eq!(Filter::parse("(cn=a\\2ab)"), Ok(Filter::equals("cn", b"a*b")));
        assert_eq!(Filter::parse("(cn=*)"), Ok(Filter::present("cn")));
        let not = Filter::parse("(!(cn=a))").unwrap();
        assert_eq!(not.octets().first(), Some(&0xa2));
    }
}
