#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bklit_fuzz::targets::forwarded(data));
