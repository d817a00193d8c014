//! All that a loader reads of an image, beside what `pye verify` says of the file: for tests and fuzzing alike.

use pye::error::Error;
use pye::image::read::Image;
use pye::pye::read::Pye;

/// What verify says of the package; what opens its image then finds no more wrong than that, and reading what the image has of each module and page does not panic.
pub(crate) fn verify(bytes: &[u8]) -> Result<(), Error> {
    let pye = Pye::open(bytes)?;
    let verified = pye.verify();
    match Image::open(&pye) {
        Ok(Some(image)) => {
            for number in 0..image.len() as u32 {
                let entry = image.entry(number);
                assert_eq!(image.find(entry.record), Some(number));
                match image.runs(&entry) {
                    Ok(runs) => assert!(runs.count() > 0 || verified.is_err(), "verified, but a module has no pages"),
                    Err(error) => assert!(verified.is_err(), "verified, but a module's pages cannot be read: {error}"),
                }
                for row in entry.patches.0..entry.patches.0 + entry.patches.1 {
                    let (_, made) = image.patch(row);
                    image.made(made).expect("opening has seen to that");
                }
            }
            (0..image.pages()).for_each(|page| drop((image.bits(page), image.crc(page))));
        }
        Ok(None) => {}
        Err(error) => assert!(verified.is_err(), "verified, but its image cannot be opened: {error}"),
    }
    verified
}
