//! Names and filters of an LDAP search; see `sekisho::fuzzing::filter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::filter(octets));
