//! CPython 3.12.

use super::{Layout, NUMBERS, OBJECTS, V3_12, VERSION};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_12.minor,
    size: V3_12.code,
    objects: OBJECTS,
    notes: &[
        (144, 8), // co_weakreflist
        (152, 8), // _co_cached
        (160, 8), // _co_instrumentation_version
        (168, 8), // _co_monitoring
        (184, 8), // co_extra
    ],
    // after _co_firsttraceable
    unset: &[(180, 4)],
    cached: 152,
    version: VERSION,
    numbers: NUMBERS,
};
