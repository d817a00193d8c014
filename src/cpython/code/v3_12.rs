//! CPython 3.12.

use super::{Layout, NUMBERS, OBJECTS, VERSION};
use crate::image::fields::NOTES_3_12;

pub(super) const LAYOUT: Layout = Layout {
    minor: 12,
    size: 192,
    objects: OBJECTS,
    notes: NOTES_3_12,
    // after _co_firsttraceable
    unset: &[(180, 4)],
    cached: 152,
    version: VERSION,
    numbers: NUMBERS,
};
