//! CPython 3.15: as 3.14.

use super::{Layout, NUMBERS, SLOTS, V3_15, VERSION, notes};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_15.minor,
    size: V3_15.code,
    objects: SLOTS,
    notes: notes(V3_15.minor),
    // _co_unique_id; after _co_firsttraceable
    unset: &[(184, 8), (196, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
