#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kaisar_agent_fuzz::run("tunnel", bytes));
