//! What `pye inspect` tells of an image.

use serde::Serialize;

use super::common::count;
use super::output::{size, table};
use crate::bytes::hex;
use crate::error::Result;
use crate::image::read::Image;
use crate::image::{Area, Relocate};
use crate::pye::NAMES;
use crate::pye::read::Pye;

/// An image. Sizes are in bytes.
#[derive(Serialize)]
pub(crate) struct ImageReport {
    /// The interpreter that it is for, as in `3.12.1`, with the letters of a release that is not final.
    python: String,
    hexversion: u32,
    /// Of the file with the interpreter's types.
    build_id: String,
    /// Where that file was loaded.
    interpreter_at: u64,
    /// Where the package's first byte would be mapped.
    base: u64,
    root: String,
    modules: u64,
    /// Code objects, and the first of their versions.
    code_objects: u32,
    first_version: u32,
    /// Tuples' slots that are filled in each process.
    patches: u32,
    relocate: Relocate,
    /// Words that hold addresses in the interpreter's file.
    relocations: u64,
    /// Pages with such a word.
    relocated_pages: u64,
    pages: u32,
    sections: Vec<SectionRow>,
}

#[derive(Serialize)]
struct SectionRow {
    section: &'static str,
    bytes: u64,
    /// What the profile's modules need, from the start.
    hot: u64,
    relocations: u64,
}

impl ImageReport {
    /// That of a package, if it has one.
    pub(crate) fn of(pye: &Pye<'_>) -> Result<Option<ImageReport>> {
        let Some(image) = Image::open(pye)? else { return Ok(None) };
        let head = &image.head;
        let (mut relocations, mut relocated_pages) = (0, 0);
        let mut page = 0;
        let mut sections = Vec::new();
        for area in Area::ALL {
            let mut here = 0;
            for _ in 0..image.size(area) / crate::image::PAGE as u64 {
                let words: u32 = image.bits(page)?.iter().map(|byte| byte.count_ones()).sum();
                here += u64::from(words);
                relocated_pages += u64::from(words != 0);
                page += 1;
            }
            relocations += here;
            sections.push(SectionRow {
                section: NAMES[area.part()],
                bytes: image.size(area),
                hot: head.hot[area as usize],
                relocations: here,
            });
        }
        Ok(Some(ImageReport {
            python: version(head.hexversion),
            hexversion: head.hexversion,
            build_id: hex(&head.build_id),
            interpreter_at: head.interpreter,
            base: head.base,
            root: image.root.into(),
            modules: image.len() as u64,
            code_objects: head.versions.1,
            first_version: head.versions.0,
            patches: image.patches(),
            relocate: head.relocate,
            relocations,
            relocated_pages,
            pages: image.pages(),
            sections,
        }))
    }

    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "\nImage for CPython {}, build-id {}, of {}\n{} and {} at {:#x}, relocated {}\n\n",
            self.python,
            self.build_id,
            self.root,
            count(self.modules, "module"),
            count(self.code_objects.into(), "code object"),
            self.base,
            match self.interpreter_at {
                0 => "never: the interpreter's addresses are fixed".to_owned(),
                at => format!("{} where the interpreter is not loaded at {at:#x}", self.relocate.name()),
            }
        );
        let rows = self.sections.iter().map(|row| {
            let name = row.section.to_owned();
            [name, size(row.bytes), size(row.hot), row.relocations.to_string()]
        });
        out.push_str(&table(["section of the image", "size", "in the profile", "relocations"], rows));
        out.push_str(&format!(
            "{} of {} pages have relocations; {} filled in each process\n",
            self.relocated_pages,
            self.pages,
            count(self.patches.into(), "slot")
        ));
        out
    }
}

/// `sys.hexversion` as people write it.
fn version(hex: u32) -> String {
    let [major, minor, micro, level] = hex.to_be_bytes();
    let release = match level >> 4 {
        0xa => format!("a{}", level & 0xf),
        0xb => format!("b{}", level & 0xf),
        0xc => format!("rc{}", level & 0xf),
        _ => String::new(),
    };
    format!("{major}.{minor}.{micro}{release}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_written_as_cpython_does() {
        assert_eq!(super::version(0x030c_01f0), "3.12.1");
        assert_eq!(super::version(0x030f_00b2), "3.15.0b2");
        assert_eq!(super::version(0x030d_00c1), "3.13.0rc1");
    }
}
