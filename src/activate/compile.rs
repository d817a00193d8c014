//! Byte-compiling what has not been compiled yet, by the interpreter itself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::environment::SWITCH;
use super::interpreter::Interpreter;
use crate::error::{Error, Result};

/// Run in the interpreter.
const COMPILER: &str = include_str!("compile.py");

/// Fewer sources than this are not worth another process.
const BATCH: usize = 32;

/// Compiles `sources` to where the interpreter would put them. Those that do not compile are left: the import would say why. Names
/// with line breaks are skipped.
///
/// The processes hold `lock` through their standard error, which they do not use: until the last has ended nobody else has it, even if
/// this one is killed.
///
/// # Errors
/// The interpreter cannot be run, or ends early.
pub fn compile(interpreter: &Interpreter, sources: &[&Path], lock: &File) -> Result<()> {
    let io = |e| Error::io("cannot compile with", e).in_file(&interpreter.executable);
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let worker = || -> io::Result<()> {
        let mut child = Command::new(&interpreter.executable)
            .args(["-I", "-B", "-c", COMPILER])
            .env(SWITCH, "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(lock.try_clone()?)
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipe"));
        };
        let mut answers = BufReader::new(output);
        let mut all = || -> io::Result<()> {
            let mut answer = Vec::new();
            while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                let name = source.as_os_str().as_bytes();
                if name.contains(&b'\n') {
                    continue;
                }
                input.write_all(&[name, b"\n"].concat())?;
                answer.clear();
                if answers.read_until(b'\n', &mut answer)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(())
        };
        let result = all();
        drop(input);
        // What the process says of its end is the better reason.
        let status = child.wait()?;
        if status.success() { result } else { Err(io::Error::other(status.to_string())) }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors.min(sources.len().div_ceil(BATCH))).map(|_| scope.spawn(worker)).collect();
        // All are waited for, also when one has failed.
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        results
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|_| Err(io::Error::other("a panic"))).map_err(io))
    })
}
