//! See `mspipe_fuzz::readers::schema`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: mspipe_fuzz::only_uncaught_panics_count(),
    |data: &[u8]| mspipe_fuzz::readers::schema(data)
);
