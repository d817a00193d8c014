//! The pages of this library itself: its code and constants. The kernel maps sixteen around each that is used, two megabytes in all for what an import needs; once it has ended they are in nobody's use.

#![allow(unsafe_code)]

use super::{loaded, pages};
use crate::image::PAGE;
use crate::map::Placed;

/// The segments that nothing is written to.
#[derive(Debug)]
pub struct Own(Vec<Placed>);

impl Own {
    /// Asks the dynamic loader. None, where that does not tell.
    pub fn find() -> Own {
        let placed = loaded::of(Own::find as fn() -> Own as usize as u64, |file| {
            let constant = file.segments().filter(|(_, flags)| flags & libc::PF_W == 0);
            // Whole pages: what shares one with the end of a segment is not looked at.
            let whole = constant.map(|(s, _)| (s.start as usize).next_multiple_of(PAGE)..s.end as usize / PAGE * PAGE);
            let whole = whole.filter(|pages| pages.start < pages.end);
            // SAFETY: the loader maps segments privately; this library's stay as long as code of it runs. The compiler takes them for constant, and they are what the file has: relocated words
            // are in other segments, and where the linker was told otherwise, or a debugger writes, `give_back` finds a written page, and leaves it.
            whole.map(|pages| unsafe { Placed::loaded(pages) }).collect()
        });
        Own(placed.unwrap_or_default())
    }

    /// Gives them back, but for pages that have been written to: what is used next comes from the page cache again. Where that cannot be told, none.
    pub fn give_back(&self) {
        for placed in &self.0 {
            pages::give_back(placed, std::iter::once(0..(placed.len() / PAGE) as u32), |_| false, |_| true);
        }
    }
}
