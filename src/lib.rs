//! `pye` makes Python's constant data shared.
//!
//! The modules stand in the order data flows:
//! `.pyc bytes → marshal → split → blobs + control → pye (ELF)`; `link` joins many modules into one package file.

pub mod error;
pub mod limits;

pub mod bytes;
pub mod map;

pub mod marshal;

pub mod blob;
pub mod holes;
pub mod split;

pub mod merge;

pub mod elf;
pub mod pye;

pub mod fsys;
pub mod tree;

pub mod convert;
pub mod dump;
pub mod link;
pub mod unpack;
pub mod verify;

pub mod measure;
