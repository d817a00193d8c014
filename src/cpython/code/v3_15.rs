//! CPython 3.15: as 3.14.

use super::{Layout, NUMBERS, OBJECTS, V3_15, VERSION};
use crate::image::fields::NOTES_3_14;

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_15.minor,
    size: V3_15.code,
    objects: OBJECTS,
    notes: NOTES_3_14,
    // _co_unique_id; after _co_firsttraceable
    unset: &[(184, 8), (196, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
