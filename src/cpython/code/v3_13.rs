//! CPython 3.13: adds `co_executors`.

use super::{Layout, NUMBERS, OBJECTS, V3_13, VERSION};

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_13.minor,
    size: V3_13.code,
    objects: OBJECTS,
    notes: &[
        (144, 8), // co_weakreflist
        (152, 8), // co_executors
        (160, 8), // _co_cached
        (168, 8), // _co_instrumentation_version
        (176, 8), // _co_monitoring
        (192, 8), // co_extra
    ],
    // after _co_firsttraceable
    unset: &[(188, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
