//! `pye` makes Python's constant data shared.
//!
//! The modules stand in the order data flows:
//! `.pyc bytes → marshal → split → blobs + control → pye (ELF)`; `link` joins many modules into one package file.

pub mod error;
pub mod limits;

pub mod bytes;

pub mod marshal;

pub mod map;

pub mod heap;
pub mod histogram;
pub mod trace;
