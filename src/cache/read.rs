//! The head of a cache and its tables.

use std::ops::Range;

use super::{Head, NAMES, PARTS, Part, START};
use crate::bytes::u32_at;
use crate::elf;
use crate::error::{Error, Result};
use crate::image::{BITS_ROW, PAGE, relocations};

/// A cache. Its objects have not been looked at.
#[derive(Clone, Debug)]
pub struct Cache<'a> {
    bytes: &'a [u8],
    /// The head's bytes: no two caches have the same.
    pub identity: &'a [u8],
    /// The head.
    pub head: Head,
    crcs: &'a [u8],
    bits: &'a [u8],
}

/// Whether a file is a cache, as far as its sections tell.
pub fn is_cache(bytes: &[u8]) -> bool {
    elf::read::sections(bytes, [NAMES[0]]).is_ok_and(|[head]| head.is_some())
}

impl<'a> Cache<'a> {
    /// Finds the sections; checks the head and the table of CRCs against their own CRC32, and that the objects are all there.
    ///
    /// # Errors
    /// It is no cache, is damaged, cut short or of another version.
    pub fn open(bytes: &'a [u8]) -> Result<Cache<'a>> {
        let found = elf::read::sections(bytes, NAMES)?;
        let part = |part: Part| bytes.get(found[part as usize].clone().unwrap_or_default()).unwrap_or_default();
        let Some(head_at) = found[Part::Head as usize].clone() else {
            return Err(Error::malformed(format!("a section {}", NAMES[0]), "none"));
        };
        let identity = &bytes[head_at];
        let head = Head::parse(identity).map_err(|e| e.within(NAMES[Part::Head as usize]))?;
        let objects = found[Part::Objects as usize].clone().unwrap_or(START as usize..START as usize);
        let (crcs, bits) = (part(Part::Pages), part(Part::Relocations));
        let pages = head.pages as usize;
        let sizes: [(Part, usize, usize); PARTS - 1] = [
            (Part::Objects, objects.len(), PAGE),
            (Part::Pages, crcs.len(), 4),
            (Part::Relocations, bits.len(), BITS_ROW),
        ];
        for (part, len, each) in sizes {
            let expected = pages.checked_mul(each);
            if expected != Some(len) {
                let error = Error::malformed(format!("{each} bytes for each of {pages} pages"), format!("{len} bytes"));
                return Err(error.within(NAMES[part as usize]));
            }
        }
        if objects.start as u64 != START {
            let error = Error::malformed(format!("objects from byte {START} on"), objects.start.to_string());
            return Err(error.within(NAMES[Part::Objects as usize]));
        }
        let actual = crc32fast::hash(crcs);
        if actual != head.pages_crc {
            let error = Error::malformed(format!("CRC32 {:08x}", head.pages_crc), format!("{actual:08x}"));
            return Err(error.within(NAMES[Part::Pages as usize]));
        }
        Ok(Cache { bytes, identity, head, crcs, bits })
    }

    /// Offsets of the objects in the file.
    pub fn extent(&self) -> Range<u64> {
        START..START + u64::from(self.head.pages) * PAGE as u64
    }

    /// The words of a page that hold addresses in the interpreter's file.
    ///
    /// # Errors
    /// They are damaged.
    pub fn bits(&self, page: u32) -> Result<&'a [u8]> {
        relocations::bits(self.bits, page).map_err(|e| e.within(NAMES[Part::Relocations as usize]))
    }

    /// That every page, and each row of relocations, has its CRC32.
    ///
    /// # Errors
    /// The first that has another.
    pub fn verify(&self) -> Result<()> {
        for page in 0..self.head.pages {
            self.bits(page)?;
            let at = START as usize + page as usize * PAGE;
            let (crc, actual) = (u32_at(self.crcs, page as usize * 4), crc32fast::hash(&self.bytes[at..at + PAGE]));
            if crc != Some(actual) {
                let expected = format!("CRC32 {:08x} of a page", crc.unwrap_or(0));
                return Err(Error::malformed(expected, format!("{actual:08x}")).at(at));
            }
        }
        Ok(())
    }
}
