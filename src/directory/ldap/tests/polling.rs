//! The table that is read again and again.

use super::*;

const EVERY: Mode = Mode::Poll { every: Duration::from_millis(50) };

fn people(count: usize) -> Options {
    let ldif = (0..count).map(|at| person_ldif(&format!("u{at}"))).collect();
    Options { ldif, ..Options::default() }
}

#[test]
fn ldap_10_changes_arrive_with_the_next_reading() {
    // More than one page.
    let slapd = Slapd::start(&people(1200));
    let bench = Bench::new(settings(&[slapd.port()], EVERY));
    bench.wait_known("u0", "loaded", is_active);
    bench.wait_known("u1199", "loaded", is_active);
    assert_eq!(bench.bindings.len(), 1200);
    slapd.delete(&slapd::token_dn("u0"));
    slapd.delete(&slapd::user_dn("u1199"));
    slapd.add_person("new", "x");
    bench.wait_known("u0", "without the token", |user| is_unusable(user, Defect::TokenNotFound));
    bench.wait_nobody("u1199");
    bench.wait_known("new", "known", |user| standings(user).is_empty());
}

#[test]
fn ldap_16_a_size_limit_leaves_the_table_as_it_was() {
    let limit = format!("limits dn.exact={} size.prtotal=6\n", slapd::SERVICE_DN);
    let slapd = Slapd::start(&Options { database: limit, ..people(3) });
    let bench = Bench::new(settings(&[slapd.port()], EVERY));
    bench.wait_known("u0", "loaded", is_active);
    for at in 3..8 {
        slapd.add_person(&format!("u{at}"), "x");
    }
    bench.wait_told("the size limit", |event| {
        matches!(event, Event::SyncBroken { trouble: Trouble::Search(4 | 11, _), .. })
    });
    assert!(matches!(bench.known("u7"), Known::Nobody));
    bench.wait_known("u2", "still there", is_active);
}

#[test]
fn ldap_16_a_referral_leaves_the_table_as_it_was() {
    let slapd = Slapd::start(&people(1));
    let bench = Bench::new(settings(&[slapd.port()], EVERY));
    bench.wait_known("u0", "loaded", is_active);
    slapd.change(&format!(
        "dn: ou=elsewhere,{}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\nref: ldap://127.0.0.1:1/ou=elsewhere,{}\n",
        slapd::BASE,
        slapd::BASE
    ));
    bench.wait_told("the referral", |event| {
        matches!(event, Event::SyncBroken { trouble: Trouble::Referral, .. })
    });
    slapd.add_person("new", "x");
    assert!(matches!(bench.known("new"), Known::Nobody));
    bench.wait_known("u0", "still there", is_active);
}
