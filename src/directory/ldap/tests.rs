//! The LDAP client against a real slapd and against servers that lie.
//!
//! | requirement | test |
//! | --- | --- |
//! | LDAP-01, -07, -09 | `real::passwords_arrive_as_they_are` |
//! | LDAP-02 | `real::names_are_never_interpreted` and the tests of `filter` |

#[path = "../../../tests/harness/slapd.rs"]
mod slapd;

mod real;
