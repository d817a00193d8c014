//! CPython 3.15: as 3.14.

use super::{Layout, NUMBERS, OBJECTS, V3_15, VERSION};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_15.minor,
    size: V3_15.code,
    objects: OBJECTS,
    notes: &[
        (144, 8), // co_weakreflist
        (152, 8), // co_executors
        (160, 8), // _co_cached
        (168, 8), // _co_instrumentation_version
        (176, 8), // _co_monitoring
        (200, 8), // co_extra
    ],
    // _co_unique_id; after _co_firsttraceable
    unset: &[(184, 8), (196, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
