//! CPython 3.13: adds `co_executors`.

use super::{Layout, NUMBERS, SLOTS, V3_13, VERSION, notes};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_13.minor,
    size: V3_13.code,
    objects: SLOTS,
    notes: notes(V3_13.minor),
    // after _co_firsttraceable
    unset: &[(188, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
