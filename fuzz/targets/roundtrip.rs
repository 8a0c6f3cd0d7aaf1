//! Requests as a gateway writes them, and our replies; see `sekisho::fuzzing::roundtrip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::roundtrip(octets));
