//! PSKC, CSV and lists of otpauth URIs; see `sekisho::fuzzing::formats`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sekisho::fuzzing::formats(octets));
