//! stub replaced below
use super::live::Output;
use crate::measure::live::{Layout, Snapshot};
pub(super) fn page(_output: &Output<'_>, _snapshot: &Snapshot, _layout: &Layout) -> String {
    String::new()
}
