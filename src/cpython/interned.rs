//! The interpreter's table of interned strings, before a fork.

use pyo3::prelude::*;
use pyo3::types::PyString;

/// What imports that are still to come may intern, as a part of what is interned: workers that began to import after the fork interned a seventh more (science, 3.13).
const TO_COME: usize = 4;

/// More than the interpreter has strings that are static and interned, which it keeps elsewhere and counts with the others: `python -I -S`, which has interned others, too,
/// counts 3,638 in all on 3.13.0, and 3,943 on 3.15.2.
const STATIC: usize = 4096;

/// Has the table of interned strings grow now, for all processes that are forked, where it would soon grow in each of them: a copy of some megabytes, of which nothing is shared.
///
/// It is a `dict`, with a power of two of indices and two thirds as many entries; when these are used up, and hardly any was given back, it doubles (Objects/dictobject.c,
/// `USABLE_FRACTION` and `GROWTH_RATE`). So it is filled up with strings that nothing else has, which are then let go. Where interned strings live forever (3.12) nothing is done.
pub fn make_room(py: Python<'_>) {
    let Some(now) = count(py) else {
        return;
    };
    // Too much by less than that.
    let in_table = now.saturating_sub(STATIC);
    let room = capacity(in_table) - in_table;
    if room > now / TO_COME {
        return;
    }
    drop(PyString::intern(py, "pye: one string"));
    if count(py) != Some(now) {
        return;
    }
    // One more than there is room for. Dropped when all have been made.
    let filling: Vec<_> = (0..=room).map(|n| PyString::intern(py, &format!("pye: string {n}"))).collect();
    drop(filling);
}

/// The number of interned strings, where the interpreter tells.
fn count(py: Python<'_>) -> Option<usize> {
    py.import("sys").and_then(|sys| sys.getattr("getunicodeinternedsize")?.call0()?.extract()).ok()
}

/// The entries of the smallest `dict` that holds `entries`.
fn capacity(entries: usize) -> usize {
    (3..usize::BITS - 1).map(|log| (2 << log) / 3).find(|capacity| *capacity >= entries).unwrap_or(entries)
}

#[cfg(test)]
mod tests {
    use super::capacity;

    #[test]
    fn a_dict_holds_two_thirds_of_a_power_of_two() {
        assert_eq!([0, 5, 6, 87_381, 87_382].map(capacity), [5, 5, 10, 87_381, 174_762]);
    }
}
