//! Any bytes as a `.pyc` of every version, split at a threshold that the first byte chooses: the `.pye` is verified and joins to the same
//! bytes. When the data parses it is split, else kept raw.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pye::convert::{Converter, Options};
use pye::marshal::version::VERSIONS;
use pye::pye::read::Pye;

thread_local! {
    /// Kept from input to input, as `pye convert` keeps them from file to file: nothing may be left over.
    static BUFFERS: RefCell<(Converter, Vec<u8>)> = RefCell::default();
}

fuzz_target!(|data: &[u8]| {
    let Some((first, pyc)) = data.split_first() else { return };
    BUFFERS.with_borrow_mut(|(converter, joined)| {
        for version in VERSIONS.iter().map(Some).chain([None]) {
            let options = Options { min_blob: u32::from(*first).max(1), min_bytes: 0, python_version: version };
            let (file, raw) =
                converter.convert_bytes(pyc, b"m.cpython-312.pyc", options).expect("the format holds all");
            let raw = raw.is_some();
            let pye = Pye::open(file).expect("what is written can be opened");
            pye.verify().expect("what is written is whole");
            let module = pye.module(0).expect("there is one module");
            assert_eq!(raw, module.holes.is_empty() && module.record.python == (0, 0));
            pye.join_into(&module, joined).expect("what is written can be joined");
            assert!(joined == pyc, "joined to other bytes");
        }
    });
});
