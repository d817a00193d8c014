//! CPython 3.13: adds `co_executors`.

use super::{Layout, NUMBERS, OBJECTS, V3_13, VERSION};
use crate::image::fields::NOTES_3_13;

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_13.minor,
    size: V3_13.code,
    objects: OBJECTS,
    notes: NOTES_3_13,
    // after _co_firsttraceable
    unset: &[(188, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
