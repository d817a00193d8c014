//! CPython 3.13: adds `co_executors`.

use super::{Layout, NUMBERS, OBJECTS, VERSION};
use crate::image::fields::NOTES_3_13;

pub(super) const LAYOUT: Layout = Layout {
    minor: 13,
    size: 200,
    objects: OBJECTS,
    notes: NOTES_3_13,
    // after _co_firsttraceable
    unset: &[(188, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
