//! Starts the measured processes, waits until all are ready, holds them, ends them.
//!
//! Each is `program… -- FILE OFFSET+LENGTH…` and runs [`super::reader::run`]. All read the same pipe as standard input, which
//! nobody writes to: when the parent closes it, or dies in whatever way, all of them see its end and exit.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, PipeWriter, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::Region;
use super::reader::{Extent, FAILED, READY};
use crate::error::{Error, Result};

/// Processes started before the answers are awaited: each has a pipe until it has answered, and a thread that reads it, so
/// this bounds open files far below the usual limit of 1,024.
const BATCH: u32 = 64;

/// Longest answer that is read, in bytes: 17 for each of at most 256 regions, or an error with a path in it.
const MAX_ANSWER: u64 = 16 << 10;

/// How long processes may take to end by themselves before they are killed.
const GRACE: Duration = Duration::from_secs(2);

/// A process that has read all its pages and holds them.
#[derive(Debug)]
pub struct Reader {
    /// Its process number.
    pub pid: u32,
    /// Where each region lies, in the order of the regions.
    pub addresses: Vec<u64>,
}

/// The processes; dropping this ends and reaps them.
#[derive(Debug)]
pub struct Children {
    /// Those started: none is reaped before the drop, unless it died, so that no number can be another process's.
    started: Vec<Child>,
    ready: Vec<Reader>,
    /// The write end of their standard input.
    hold: Option<PipeWriter>,
}

impl Children {
    /// Starts `count` processes and returns when all hold all pages. `timeout` is for each 64 of them.
    ///
    /// # Errors
    /// One cannot be started, dies, says that it failed, or has not answered in time: the error names it.
    pub fn start(
        file: &Path,
        regions: &[Region],
        count: u32,
        program: &[impl AsRef<OsStr>],
        timeout: Duration,
    ) -> Result<Children> {
        let (Some((name, arguments)), Ok((input, hold))) = (program.split_first(), io::pipe()) else {
            return Err(Error::io("cannot start processes", io::Error::other("no program or no pipe")));
        };
        let mut all = Children { started: Vec::new(), ready: Vec::new(), hold: Some(hold) };
        let extents: Vec<_> = regions.iter().map(|r| Extent { offset: r.offset, len: r.len }.to_string()).collect();
        while all.started.len() < count as usize {
            let first = all.started.len();
            let batch = BATCH.min(count - first as u32);
            let mut answers = Vec::new();
            for _ in 0..batch {
                let input = input.try_clone().map_err(|e| Error::io("cannot start a process", e))?;
                let mut command = Command::new(name);
                command.args(arguments).arg("--").arg(file).args(&extents);
                command.stdin(input).stdout(Stdio::piped());
                let mut child = command.spawn().map_err(|e| {
                    let which = format!("{} of {count}: {e}", all.started.len() + 1);
                    Error::io("cannot start process", io::Error::new(e.kind(), which))
                })?;
                answers.extend(child.stdout.take());
                all.started.push(child);
            }
            all.await_answers(first, answers, regions.len(), count, timeout)?;
        }
        Ok(all)
    }

    /// Waits for the answers of the processes from number `first` on.
    fn await_answers(
        &mut self,
        first: usize,
        answers: Vec<ChildStdout>,
        regions: usize,
        count: u32,
        timeout: Duration,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let waiting = answers.len();
        let (sender, receiver) = mpsc::channel();
        for (index, answer) in answers.into_iter().enumerate() {
            let sender = sender.clone();
            // One thread a pipe is the plain way to wait for many with a timeout. It ends with its process at the latest, and
            // the drop of `Children` ends the process.
            thread::spawn(move || {
                let mut line = Vec::new();
                let read = BufReader::new(answer.take(MAX_ANSWER)).read_until(b'\n', &mut line);
                // Nobody listens any more when another process has failed.
                let _ = sender.send((index, read.map(|_| line)));
            });
        }
        drop(sender);
        let mut lines = vec![None; waiting];
        for _ in 0..waiting {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((index, line)) = receiver.recv_timeout(left) else {
                let late = lines.iter().position(Option::is_none).unwrap_or(0);
                let why = format!("no answer within {} s", timeout.as_secs_f32());
                return Err(self.failed(first + late, count, io::ErrorKind::TimedOut, why));
            };
            let line = line.map_err(|e| Error::io("cannot read the answer of a process", e))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split_whitespace();
            match words.next() {
                Some(READY) => {}
                Some(FAILED) => {
                    let why = line.trim_start_matches(FAILED).trim();
                    return Err(self.failed(first + index, count, io::ErrorKind::Other, why));
                }
                _ => {
                    let why = match self.started[first + index].wait_a_little() {
                        Some(status) => format!("it ended early: {status}"),
                        None => format!("it answered {line:?}"),
                    };
                    return Err(self.failed(first + index, count, io::ErrorKind::Other, why));
                }
            }
            let addresses = words.map(|word| u64::from_str_radix(word, 16)).collect::<Result<Vec<_>, _>>();
            match addresses {
                Ok(addresses) if addresses.len() == regions => lines[index] = Some(addresses),
                _ => {
                    let why = format!("it answered {line:?}");
                    return Err(self.failed(first + index, count, io::ErrorKind::Other, why));
                }
            }
        }
        let processes = self.started[first..].iter().zip(lines);
        self.ready
            .extend(processes.filter_map(|(child, addresses)| Some(Reader { pid: child.id(), addresses: addresses? })));
        Ok(())
    }

    /// Checks that none has ended.
    ///
    /// # Errors
    /// One has: the error names it.
    pub fn all_alive(&mut self) -> Result<()> {
        for index in 0..self.started.len() {
            let state = self.started[index].try_wait().map_err(|e| Error::io("cannot wait for a process", e))?;
            if let Some(status) = state {
                let count = self.started.len() as u32;
                return Err(self.failed(index, count, io::ErrorKind::Other, format!("it ended early: {status}")));
            }
        }
        Ok(())
    }

    /// Those that are ready.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Reader> {
        self.ready.iter()
    }

    /// How many are ready.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether none is ready.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    fn failed(&self, index: usize, count: u32, kind: io::ErrorKind, why: impl Display) -> Error {
        let pid = self.started[index].id();
        let what = format!("process {pid} ({} of {count}): {why}", index + 1);
        Error::io("cannot measure", io::Error::new(kind, what))
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        drop(self.hold.take());
        let deadline = Instant::now() + GRACE;
        for child in &mut self.started {
            // Errors here mean that it is gone, which is what is wanted.
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() >= deadline {
                    let _ = child.kill();
                    let _ = child.wait();
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The end of a process that has closed its output: it may still be on its way.
trait WaitALittle {
    fn wait_a_little(&mut self) -> Option<ExitStatus>;
}

impl WaitALittle for Child {
    fn wait_a_little(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + GRACE;
        loop {
            match self.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                state => return state.ok().flatten(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, count: u32, timeout: Duration) -> Result<Children> {
        let regions = [Region { name: "a".into(), offset: 0, len: 1 }];
        Children::start(Path::new("file"), &regions, count, &["/bin/sh", "-c", script], timeout)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn all_are_held_until_dropped_and_then_gone() {
        let mut children = start("echo ready 7f00; exec cat", 70, LONG).unwrap();
        assert_eq!(children.len(), 70);
        assert!(children.iter().all(|reader| reader.addresses == [0x7f00]));
        children.all_alive().unwrap();
        let pids: Vec<_> = children.iter().map(|reader| reader.pid).collect();
        drop(children);
        for pid in pids {
            // Reaped: not even a zombie of ours is left. Another program may have got the number since, but not us as parent.
            let parent = procfs::process::Process::new(pid as i32).and_then(|p| p.stat()).map(|stat| stat.ppid);
            assert!(parent.is_err() || parent.unwrap() != std::process::id() as i32);
        }
    }

    #[test]
    fn a_process_that_dies_fails_or_babbles_is_named() {
        for (script, why) in [
            ("exit 3", "it ended early: exit status: 3"),
            ("kill -BUS $$", "it ended early: signal: 7"),
            ("echo failed no such thing", "no such thing"),
            ("echo ready; cat", "it answered \"ready\\n\""),
            ("echo ready x; cat", "it answered \"ready x\\n\""),
        ] {
            let error = start(script, 2, LONG).unwrap_err().to_string();
            assert!(error.contains("process ") && error.contains(" of 2)") && error.contains(why), "{error}");
        }
        let error = Children::start(Path::new("f"), &[], 1, &["/does/not/exist"], LONG).unwrap_err().to_string();
        assert!(error.contains("cannot start process: 1 of 1"), "{error}");
    }

    #[test]
    fn a_process_that_dies_after_its_answer_is_named() {
        let mut children = start("echo ready 1", 1, LONG).unwrap();
        children.started[0].wait_a_little().unwrap();
        let error = children.all_alive().unwrap_err().to_string();
        assert!(error.contains("it ended early: exit status: 0"), "{error}");
    }

    #[test]
    fn a_process_that_never_answers_is_named_and_ended() {
        let error = start("exec cat", 2, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("(1 of 2): no answer within 0.05 s"), "{error}");
    }
}
