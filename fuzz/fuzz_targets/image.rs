//! A package with an image, changed where it matters, eight bytes of input a change, with checksums made anew: `pye verify` and what opens an image say what is wrong, and never panic.

#![no_main]

// What a fuzz target does not use of them.
#[allow(dead_code)]
#[path = "../../tests/common/file.rs"]
mod file;
#[allow(dead_code)]
#[path = "../../tests/common/mutate.rs"]
mod mutate;
#[allow(dead_code)]
#[path = "../../tests/common/opened.rs"]
mod opened;
#[allow(dead_code)]
#[path = "../../tests/common/random.rs"]
mod random;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use mutate::Mutator;

/// Most changes: after more, nothing is what it was.
const CHANGES: usize = 32;

fuzz_target!(|data: &[u8]| {
    static MUTATOR: OnceLock<Mutator> = OnceLock::new();
    let mutator = MUTATOR.get_or_init(|| Mutator::new(include_bytes!("../seeds/pye/image.pye").to_vec()));
    let seeds = data.as_chunks().0.iter().map(|seed| u64::from_le_bytes(*seed));
    let bytes = mutator.changed(seeds.take(CHANGES));
    let _ = opened::verify(&bytes);
});
