//! Datagrams, answers and the clock through the whole pipeline; see `sekisho::fuzzing::handle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::handle(octets));
