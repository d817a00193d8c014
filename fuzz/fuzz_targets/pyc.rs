//! Any bytes as a `.pyc` of every version: an error with a place, or objects that are written back the same.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pye::marshal::pyc::Header;
use pye::marshal::tape::Tape;
use pye::marshal::version::VERSIONS;
use pye::marshal::write;

thread_local! {
    /// Kept from input to input, as `pye convert` keeps them from file to file: nothing may be left over.
    static BUFFERS: RefCell<(Tape, Vec<u8>)> = RefCell::default();
}

fuzz_target!(|data: &[u8]| {
    if let Err(error) = Header::parse(data, None) {
        assert!(error.offset().is_some_and(|offset| offset <= data.len() as u64), "{error}");
    }
    BUFFERS.with_borrow_mut(|(tape, out)| {
        for version in &VERSIONS {
            // The magic number is overridden, so that one input tries the layouts of all versions.
            let Ok(header) = Header::parse(data, Some(version)) else { continue };
            let _ = header.validation();
            match tape.read(data, version.header_len, version) {
                Ok(summary) => {
                    out.clear();
                    write::write(tape, data, version, out);
                    assert!(
                        data[version.header_len..summary.end] == out[..],
                        "Python {version}: written back differently"
                    );
                    assert_eq!(tape.get(0).map(|root| root.next as usize), Some(tape.entries().len()));
                }
                Err(error) => assert!(error.offset().is_some_and(|offset| offset <= data.len() as u64), "{error}"),
            }
            assert!(tape.entries().len() <= data.len());
        }
    });
});
