//! CPython 3.12.

use super::{Layout, NUMBERS, OBJECTS, V3_12, VERSION};
use crate::image::fields::NOTES_3_12;

pub(super) const LAYOUT: Layout = Layout {
    minor: V3_12.minor,
    size: V3_12.code,
    objects: OBJECTS,
    notes: NOTES_3_12,
    // after _co_firsttraceable
    unset: &[(180, 4)],
    cached: 152,
    version: VERSION,
    numbers: NUMBERS,
};
