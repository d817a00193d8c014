//! Deliberate errors: a checker that does not report each of them checks nothing.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;

fn layout() -> Layout {
    Layout::new::<[u8; 64]>()
}

/// Reads a byte at an address of the caller's choice.
#[unsafe(no_mangle)]
pub extern "C" fn peek(address: usize) -> u8 {
    // SAFETY: none; the caller is after an error.
    unsafe { std::ptr::with_exposed_provenance::<u8>(black_box(address)).read_volatile() }
}

/// Writes behind what it has allocated.
#[unsafe(no_mangle)]
pub extern "C" fn overrun() {
    // SAFETY: none; this is the error.
    unsafe {
        let memory = black_box(alloc(layout()));
        memory.add(layout().size()).write_volatile(1);
        dealloc(memory, layout());
    }
}

/// Reads what it has freed.
#[unsafe(no_mangle)]
pub extern "C" fn use_after_free() -> u8 {
    // SAFETY: none; this is the error.
    unsafe {
        let memory = black_box(alloc(layout()));
        dealloc(memory, layout());
        memory.read_volatile()
    }
}

/// Decides by what nobody has written.
#[unsafe(no_mangle)]
pub extern "C" fn undecided() -> u8 {
    // SAFETY: none; this is the error.
    unsafe {
        let memory = black_box(alloc(layout()));
        let value = memory.read_volatile();
        let answer = if black_box(value) > 100 { black_box(overhead(1)) } else { black_box(overhead(2)) };
        dealloc(memory, layout());
        answer
    }
}

/// What a branch is taken for.
#[inline(never)]
fn overhead(value: u8) -> u8 {
    value + black_box(1)
}

/// As a program.
#[allow(dead_code, reason = "of a library there is no main function")]
fn main() {
    black_box(use_after_free());
}
