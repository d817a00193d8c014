//! What a `.pye` file holds, counted from its tables of holes: each distinct blob, how often it is used, and what merging saved.

use std::collections::HashMap;

use crate::blob::{Kind, Store};
use crate::error::Result;
use crate::holes::{Blob, Fill, Reader};
use crate::merge::Totals;
use crate::pye::read::Pye;

/// A distinct blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The section.
    pub store: Store,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes, the final NUL not counted.
    pub len: u64,
    /// How it stands in the `.pyc` that uses it (one of them: equal bytes may stand in several ways).
    pub kind: Kind,
    /// Payloads it stands for.
    pub uses: u64,
}

/// All blobs of a file.
#[derive(Debug)]
pub struct Census {
    /// Distinct blobs, by section and offset.
    pub blobs: Vec<Counted>,
    /// What merging did, by [`Store`].
    pub totals: [Totals; Store::ALL.len()],
    /// References that were cut out in rows.
    pub references: u64,
    /// Holes in all.
    pub holes: u64,
}

/// Counts all blobs of `pye`. Takes some 50 bytes of memory for each distinct one, which is at least three bytes of the file.
///
/// # Errors
/// A broken record or table of holes.
pub fn census(pye: &Pye<'_>) -> Result<Census> {
    let mut uses: HashMap<(Store, u64, u64), (Kind, u64)> = HashMap::new();
    let mut census = Census { blobs: Vec::new(), totals: Default::default(), references: 0, holes: 0 };
    for module in pye.modules() {
        let module = module?;
        let mut reader = Reader::new(module.holes);
        while let Some((_, fill)) = reader.hole().map_err(|e| e.within(crate::split::HOLES).in_module(module.path))? {
            census.holes += 1;
            match fill {
                Fill::Blob(Blob { kind, len, offset }) => {
                    let (store, width) = (kind.store(), kind.store().width() as u64);
                    census.totals[store as usize].cut.add((len + 1) * width);
                    uses.entry((store, offset * width, len * width)).or_insert((kind, 0)).1 += 1;
                }
                Fill::References1(numbers) => census.references += numbers.len() as u64,
                Fill::References2(numbers) => census.references += numbers.len() as u64,
            }
        }
    }
    census.blobs = uses
        .into_iter()
        .map(|((store, offset, len), (kind, uses))| Counted { store, offset, len, kind, uses })
        .collect();
    census.blobs.sort_unstable_by_key(|b| (b.store, b.offset + b.len, std::cmp::Reverse(b.len)));
    // Sorted by their ends, a blob and all its tails are neighbours, the longest first.
    let mut last = None;
    for blob in &census.blobs {
        let totals = &mut census.totals[blob.store as usize];
        let size = blob.len + blob.store.width() as u64;
        totals.distinct.add(size);
        let end = (blob.store, blob.offset + blob.len);
        if last != Some(end) {
            totals.stored.add(size);
            last = Some(end);
        }
    }
    census.blobs.sort_unstable_by_key(|b| (b.store, b.offset, b.len));
    Ok(census)
}
