//! CPython 3.15: as 3.14.

use super::{Layout, NUMBERS, OBJECTS, VERSION};
use crate::image::fields::NOTES_3_14;

pub(super) const LAYOUT: Layout = Layout {
    minor: 15,
    size: 208,
    objects: OBJECTS,
    notes: NOTES_3_14,
    // _co_unique_id; after _co_firsttraceable
    unset: &[(184, 8), (196, 4)],
    cached: 160,
    version: VERSION,
    numbers: NUMBERS,
};
