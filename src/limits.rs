//! Every cap in one place, each with its reason. Reaching one is an error that names it, never a panic.

/// Largest `.pyc` that is read, in bytes: marshal's own sizes are `i32 ≥ 0` (CPython `Python/marshal.c`, `SIZE32_MAX`),
/// so no single object can be longer, and offsets into the file fit the tape's `u32`.
pub const MAX_PYC_BYTES: u64 = 0x7fff_ffff;

/// Nested `r_object` calls CPython allows, leaves included (`MAX_MARSHAL_STACK_DEPTH` in `Python/marshal.c`, all but Windows).
pub const MAX_DEPTH: usize = 2000;

/// Most objects that can carry a reference number (`Python/marshal.c`: indices are read as non-negative `i32`, and
/// `w_ref` stops at `0x7ffffffe`).
pub const MAX_REFS: u32 = 0x7fff_fffe;

/// Largest `.pye` that is opened, in bytes: half the smallest user address space in use (47 bits), and far above any
/// package; a larger claim is a lie.
pub const MAX_PYE_BYTES: u64 = 1 << 46;

/// Most modules in one package: record numbers are stored as `u32` plus one.
pub const MAX_MODULES: u64 = 0xffff_fffe;

/// Most bytes of names (dotted names and paths) in one package: they are addressed by `u32`.
pub const MAX_NAMES_BYTES: u64 = u32::MAX as u64;

/// Longest relative path of a module, in bytes: Linux's `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;

/// Longest name of one file or directory, in bytes: Linux's `NAME_MAX`.
pub const MAX_NAME_BYTES: usize = 255;

/// Largest profile of use that is read, in bytes: the largest programs have 10^6 functions, of 100 bytes each in a profile.
pub const MAX_PROFILE_BYTES: u64 = 1 << 28;

/// Largest `--min-blob`: above it nothing would be split any more.
pub const MAX_MIN_BLOB: u32 = 1 << 30;

/// Most processes one measurement starts: each is a whole process, and 1,024 show all there is to see.
pub const MAX_PROCESSES: u32 = 1024;

/// Most regions one measurement maps: a package has fewer than ten; every one becomes an argument of each process.
pub const MAX_REGIONS: usize = 256;

/// A module joined in memory may be at most so many times as long as the `.pye` that holds it: blobs are stored once however often a
/// module has them, so a small file could claim gigabytes. Real modules stay below 3; the writer keeps one that would not
/// uncut. `pye unpack` writes to a file and has no such cap.
pub const MAX_EXPANSION: u64 = 16;

/// What a module may take in memory whatever the size of its `.pye`, in bytes.
pub const MIN_EXPANDED: u64 = 1 << 24;

/// Bytes of addresses of a program that is given another search path: the copy is as long as they are. The largest interpreters of one file take some 100 MB.
pub const MAX_PROGRAM_SPAN: u64 = 1 << 28;
