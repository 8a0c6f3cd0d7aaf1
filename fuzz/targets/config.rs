//! Any text as configuration; see `sekisho::fuzzing::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::config(octets));
