//! Other crates that read marshal, and which files they can read.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use crate::corpus::File;

/// A crate that reads a whole `.pyc`: returns why not, when it cannot.
pub(crate) type Read = fn(&[u8]) -> Result<(), String>;

/// The crates, by name and version.
pub(crate) const PEERS: [(&str, Read); 2] =
    [("marshal-parser 0.1.1", marshal_parser), ("python_marshal 0.4.9", python_marshal)];

fn marshal_parser(pyc: &[u8]) -> Result<(), String> {
    let read = ::marshal_parser::MarshalObject::parse_pyc(pyc).map_err(|e| e.to_string())?;
    match std::hint::black_box(&read).inner() {
        ::marshal_parser::Object::Code(_) => Ok(()),
        _ => Err("no code object".into()),
    }
}

/// With `load_bytes`, which is faster than its `load_pyc`: that takes a `Read` byte by byte.
fn python_marshal(pyc: &[u8]) -> Result<(), String> {
    let magic = pyc.first_chunk::<4>().ok_or("no header")?;
    let version =
        ::python_marshal::magic::PyVersion::from_magic(u32::from_le_bytes(*magic)).map_err(|e| e.to_string())?;
    let body = pyc.get(16..).ok_or("no header")?;
    let read = ::python_marshal::load_bytes(body, version).map_err(|e| e.to_string())?;
    match &std::hint::black_box(&read).0 {
        ::python_marshal::Object::Code(_) => Ok(()),
        // A flagged code object stands among the references, and what is returned is its number.
        ::python_marshal::Object::StoreRef(at)
            if matches!(read.1.get(*at), Some(::python_marshal::Object::Code(_))) =>
        {
            Ok(())
        }
        _ => Err("no code object".into()),
    }
}

/// Which files a crate can read.
pub(crate) struct Readable {
    /// Indices of those it can.
    pub(crate) files: Vec<usize>,
    /// The others, by why not.
    pub(crate) refused: BTreeMap<String, Vec<usize>>,
}

/// Tries every file; a panic is a refusal, too.
pub(crate) fn try_all(read: Read, files: &[File]) -> Readable {
    let mut readable = Readable { files: Vec::new(), refused: BTreeMap::new() };
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for (index, file) in files.iter().enumerate() {
        let result = panic::catch_unwind(AssertUnwindSafe(|| read(&file.bytes))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
            Err(format!("panic: {}", text.lines().next().unwrap_or_default()))
        });
        match result {
            Ok(()) => readable.files.push(index),
            Err(why) => readable.refused.entry(why).or_default().push(index),
        }
    }
    panic::set_hook(hook);
    readable
}
