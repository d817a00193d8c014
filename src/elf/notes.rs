//! ELF notes: what built a file, and which build it is.

use std::ops::Range;

use object::elf::NT_GNU_BUILD_ID;

use crate::bytes::u32_at;

/// Bytes of a note's head: lengths of name and content, type (`Elf64_Nhdr`).
const HEAD: usize = 12;

/// Where in `notes`, the contents of a `PT_NOTE` segment that is aligned to `align` bytes, the build-id is. None where there is none, or a note is cut off before it.
///
/// A name is padded to four bytes whatever the alignment; so is the content, but for segments that are aligned to eight.
pub fn build_id(notes: &[u8], align: usize) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let word = |i: usize| Some(u32_at(notes, at + i * 4)? as usize);
        let (name_len, len, kind) = (word(0)?, word(1)?, word(2)?);
        let name = at + HEAD;
        let start = name.checked_add(name_len.checked_next_multiple_of(4)?)?;
        let end = start.checked_add(len)?;
        let content = notes.get(start..end)?;
        if kind == NT_GNU_BUILD_ID.0 as usize && !content.is_empty() && notes.get(name..name + name_len)? == b"GNU\0" {
            return Some(start..end);
        }
        at = end.checked_next_multiple_of(if align == 8 { 8 } else { 4 })?;
    }
}

#[cfg(test)]
mod tests {
    use super::build_id;

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let note = |kind: u32, name: &[u8], content: &[u8], align: usize| {
            let mut out = Vec::new();
            for word in [name.len() as u32, content.len() as u32, kind] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(name);
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(align), 0);
            out
        };
        for align in [4, 8] {
            let others = [note(1, b"GNU\0", &[1; 6], align), note(3, b"Go\0\0", &[2; 4], align)].concat();
            let notes = [others.clone(), note(3, b"GNU\0", &[7; 20], align)].concat();
            let id = others.len() + 16..others.len() + 36;
            assert_eq!(build_id(&notes, align), Some(id.clone()), "{align}");
            for cut in 0..id.end {
                assert_eq!(build_id(&notes[..cut], align), None, "{align}, {cut}");
            }
            assert_eq!(build_id(&note(3, b"GNU\0", &[], align), align), None);
            assert_eq!(build_id(&[0xff; 64], align), None);
        }
    }
}
