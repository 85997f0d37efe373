#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| media_sanitizer::testing::check_invariants(data));
