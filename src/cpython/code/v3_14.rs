//! CPython 3.14: adds `_co_unique_id`, which only the free-threaded build sets.

use super::{Layout, NUMBERS, SLOTS, V3_14, VERSION, notes};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_14.minor,
    size: V3_14.code,
    objects: SLOTS,
    notes: notes(V3_14.minor),
    // _co_unique_id; after _co_firsttraceable
    unset: &[(184, 8), (196, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
