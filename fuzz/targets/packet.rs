//! Any octets as a packet; see `sekisho::fuzzing::packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::packet(octets));
