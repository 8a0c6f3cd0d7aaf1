//! A damaged journal; see `sekisho::fuzzing::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::record(octets));
