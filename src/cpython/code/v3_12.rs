//! CPython 3.12.

use super::{Layout, NUMBERS, SLOTS, V3_12, VERSION, notes};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_12.minor,
    size: V3_12.code,
    objects: SLOTS,
    notes: notes(V3_12.minor),
    // after _co_firsttraceable
    unset: &[(180, 4)],
    cached: 152,
    version: VERSION,
    numbers: NUMBERS,
};
