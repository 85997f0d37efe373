#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| infra_socketio::fuzz::handshake(data));
