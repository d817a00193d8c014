//! A command that is started to be measured: waits until it is ready, and ends it with all that it started.
//!
//! Each copy leads a process group of its own. It is ended by that group, and by number those of its descendants that have left the
//! group; nothing else is ever signalled. The leader is not reaped before the end, so that its number cannot become another's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::Serialize;

use super::processes::{self, Identity};
use crate::error::{Error, Result};

/// How long processes may take to end when asked to, before they are killed.
const GRACE: Duration = Duration::from_secs(10);

/// How often is looked whether something has happened.
const TICK: Duration = Duration::from_millis(20);

/// [`Ready::Settled`]: how often the size is looked at, how many equal sizes are enough, and what is equal (a 64th).
const SAMPLE: Duration = Duration::from_millis(200);
const SAMPLES: usize = 6;
const TOLERANCE: u64 = 64;

/// When a command is ready to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// So long after its start.
    After(Duration),
    /// When every copy has written this to its standard output or error.
    Says(String),
    /// When its processes are neither more nor fewer, nor larger or smaller, than a second before.
    Settled,
}

/// How a copy of the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// The number it had.
    pub pid: u32,
    /// Its exit status; `None` when a signal ended it.
    pub exit_status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was running still and has been ended.
    pub asked_to_end: bool,
}

/// The copies of a command. Dropping this ends them, too.
#[derive(Debug)]
pub struct Workers {
    children: Vec<Child>,
    /// A message for each copy that has said the word.
    said: Receiver<usize>,
}

impl Workers {
    /// Starts `count` copies. What they write, to standard output or error, goes to this process's standard error.
    ///
    /// # Errors
    /// One cannot be started; those that were are ended again.
    pub fn start(command: &[OsString], count: u32, ready: &Ready) -> Result<Workers> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(Error::malformed("a command", "none"));
        };
        let failed = |e: io::Error| {
            let what = io::Error::new(e.kind(), format!("{}: {e}", name.to_string_lossy()));
            Error::io("cannot start", what)
        };
        let (sender, said) = mpsc::channel();
        let mut workers = Workers { children: Vec::new(), said };
        for index in 0..count as usize {
            let mut command = Command::new(name);
            command.args(arguments).stdin(Stdio::null()).process_group(0);
            if let Ready::Says(word) = ready {
                let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
                let (out, err) = (child.stdout.take(), child.stderr.take());
                workers.children.push(child);
                if let (Some(out), Some(err)) = (out, err) {
                    listen(out, word, index, sender.clone());
                    listen(err, word, index, sender.clone());
                }
            } else {
                let own = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
                workers.children.push(command.stdout(own).spawn().map_err(failed)?);
            }
        }
        Ok(workers)
    }

    /// The numbers of the copies.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// Waits until all are ready, at most for `timeout` (which [`Ready::After`] does not need), or until `stop` is set.
    ///
    /// # Errors
    /// A copy has ended before, none is ready in time, or `stop` was set.
    pub fn wait(&mut self, ready: &Ready, timeout: Duration, stop: &AtomicBool) -> Result<()> {
        let start = Instant::now();
        let mut waiting: Vec<bool> = vec![true; self.children.len()];
        let mut sizes = VecDeque::new();
        let mut next = start;
        loop {
            match self.said.recv_timeout(TICK) {
                Ok(index) => waiting[index] = false,
                Err(RecvTimeoutError::Timeout) => {}
                // All outputs are at their end: the ends of the processes follow, or nothing more will be said.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
            }
            let is_ready = match ready {
                Ready::After(time) => start.elapsed() >= *time,
                Ready::Says(_) => !waiting.contains(&true),
                Ready::Settled if Instant::now() >= next => {
                    next = Instant::now() + SAMPLE;
                    sizes.push_back(self.size()?);
                    if sizes.len() > SAMPLES {
                        sizes.pop_front();
                    }
                    sizes.len() == SAMPLES && settled(sizes.make_contiguous())
                }
                Ready::Settled => false,
            };
            if let Some(index) = self.ended() {
                return Err(self.ended_early(index));
            }
            if is_ready {
                return Ok(());
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::io("cannot measure", io::Error::new(io::ErrorKind::Interrupted, "interrupted")));
            }
            if !matches!(ready, Ready::After(_)) && start.elapsed() >= timeout {
                let what = match ready {
                    Ready::Says(word) => {
                        let late = waiting.iter().filter(|waits| **waits).count();
                        format!("{late} of {} commands did not write {word:?}", waiting.len())
                    }
                    _ => "its memory did not settle".into(),
                };
                let why = format!("{what} within {} s", timeout.as_secs_f32());
                return Err(Error::io("cannot measure the command", io::Error::new(io::ErrorKind::TimedOut, why)));
            }
        }
    }

    /// The first copy that has ended.
    #[must_use]
    pub fn ended(&self) -> Option<usize> {
        self.children.iter().position(has_ended)
    }

    fn ended_early(&self, index: usize) -> Error {
        let pid = self.children[index].id();
        let how = match peek(&self.children[index]) {
            Some(End { exit_status: Some(status), .. }) => format!("exit status {status}"),
            Some(End { signal: Some(signal), .. }) => format!("signal {signal}"),
            _ => "in an unknown way".into(),
        };
        Error::unsupported(
            "a command that runs while it is measured",
            format!("process {pid} ended before: {how}"),
            "let it wait when its work is done, for input or asleep; --ready TEXT measures as soon as it has written TEXT",
        )
    }

    /// Number and size of all processes of the command.
    fn size(&self) -> Result<(usize, u64)> {
        let all = super::roll_up(&processes::trees(&self.pids())?);
        Ok((all.processes.len(), all.processes.iter().map(|sums| sums.resident + sums.swapped).sum()))
    }

    /// Asks all processes of the command to end (SIGTERM), kills those that have not after some seconds, and says how the copies
    /// ended.
    #[must_use]
    pub fn end(mut self) -> Vec<End> {
        self.finish()
    }

    fn finish(&mut self) -> Vec<End> {
        let children = std::mem::take(&mut self.children);
        let roots: Vec<_> = children.iter().map(Child::id).collect();
        let before: Vec<_> = children.iter().map(has_ended).collect();
        // Those that have left the group of their ancestor. Where `/proc` cannot be listed the groups are all that is known.
        let others: Vec<_> =
            processes::trees(&roots).unwrap_or_default().into_iter().filter(|p| !roots.contains(&p.id.pid)).collect();
        let signal = |signal: Signal| {
            for pid in roots.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
                // An error means that nobody is left in it.
                let _ = rustix::process::kill_process_group(pid, signal);
            }
            others.iter().for_each(|process| send(process, signal));
        };
        let any_runs = || {
            others.iter().any(|process| processes::runs(process.id))
                || roots.iter().any(|group| processes::group_runs(*group).unwrap_or(false))
        };
        if !children.is_empty() {
            signal(Signal::TERM);
            let deadline = Instant::now() + GRACE;
            while any_runs() && Instant::now() < deadline {
                thread::sleep(TICK);
            }
            if any_runs() {
                signal(Signal::KILL);
            }
        }
        let ends = children.into_iter().zip(before).filter_map(|(mut child, before)| {
            let status: ExitStatus = child.wait().ok()?;
            Some(End { pid: child.id(), exit_status: status.code(), signal: status.signal(), asked_to_end: !before })
        });
        ends.collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Signals this very process: the descriptor holds it, and the second look shows that it is the right one.
fn send(process: &Identity, signal: Signal) {
    let Some(pid) = i32::try_from(process.id.pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        && processes::runs(process.id)
    {
        // It may end just now, which is what is wanted.
        let _ = rustix::process::pidfd_send_signal(handle, signal);
    }
}

/// Whether a child has ended, without reaping it.
fn has_ended(child: &Child) -> bool {
    peek(child).is_some()
}

/// How a child has ended, without reaping it.
fn peek(child: &Child) -> Option<End> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    let status = rustix::process::waitid(WaitId::Pid(pid), options).ok()??;
    Some(End {
        pid: child.id(),
        exit_status: status.exit_status(),
        signal: status.terminating_signal(),
        asked_to_end: false,
    })
}

fn settled(sizes: &[(usize, u64)]) -> bool {
    let (least, most) = (sizes.iter().map(|s| s.1).min().unwrap_or(0), sizes.iter().map(|s| s.1).max().unwrap_or(0));
    sizes.windows(2).all(|pair| pair[0].0 == pair[1].0) && most - least <= most / TOLERANCE
}

/// Passes on what a process writes to standard error, as it comes, and tells when `word` was in it.
fn listen(mut output: impl Read + Send + 'static, word: &str, index: usize, sender: Sender<usize>) {
    let word = word.as_bytes().to_vec();
    thread::spawn(move || {
        let mut sender = Some(sender);
        let mut piece = [0; 4096];
        // The last bytes seen, fewer than the word has: it may come in two pieces.
        let mut seen = Vec::new();
        loop {
            let len = match output.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            // Nobody may be there to read it; the process must not be held up for that.
            let _ = io::stderr().write_all(&piece[..len]);
            if sender.is_some() {
                seen.extend_from_slice(&piece[..len]);
                if word.is_empty() || seen.windows(word.len()).any(|window| window == word) {
                    if let Some(sender) = sender.take() {
                        // Nobody listens any more when another process has failed.
                        let _ = sender.send(index);
                    }
                } else {
                    seen.drain(..seen.len().saturating_sub(word.len() - 1));
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn start(script: &str, count: u32, ready: &Ready) -> Workers {
        Workers::start(&["/bin/sh".into(), "-c".into(), script.into()], count, ready).unwrap()
    }

    fn running(pids: &[u32]) -> Vec<Identity> {
        processes::trees(pids).unwrap()
    }

    #[test]
    fn all_copies_are_awaited_and_all_they_started_is_ended() {
        let ready = Ready::Says("all set".into());
        // The word comes in two writes, once on each output; a child has left the group.
        let script = "setsid sleep 1000 & sleep 1000 & printf 'all '; printf 'set\\n'; wait";
        let mut workers = start(script, 2, &ready);
        workers.wait(&ready, LONG, &AtomicBool::new(false)).unwrap();
        let mut all = running(&workers.pids());
        while all.iter().filter(|process| process.command[0] == "sleep").count() < 4 {
            // `setsid` is on its way to become `sleep`.
            all = running(&workers.pids());
        }
        assert_eq!(all.len(), 6, "{all:?}");
        let ends = workers.end();
        assert!(ends.iter().all(|end| end.asked_to_end && end.signal == Some(15)), "{ends:?}");
        assert!(all.iter().all(|process| !processes::runs(process.id)), "{all:?}");
    }

    #[test]
    fn one_that_ends_early_is_named_with_its_status() {
        for (script, how) in [("exit 3", "exit status 3"), ("kill -KILL $$", "signal 9")] {
            let mut workers = start(script, 1, &Ready::Settled);
            let pid = workers.pids()[0];
            let error = workers.wait(&Ready::Settled, LONG, &AtomicBool::new(false)).unwrap_err();
            assert!(error.to_string().contains(&format!("process {pid} ended before: {how}")), "{error}");
            assert!(error.help().unwrap().contains("--ready"));
            assert!(!workers.end()[0].asked_to_end);
        }
    }

    #[test]
    fn one_that_never_says_it_is_given_up_and_so_is_an_interrupted_wait() {
        let ready = Ready::Says("never".into());
        let mut workers = start("sleep 1000", 2, &ready);
        let error = workers.wait(&ready, Duration::from_millis(1), &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains("2 of 2 commands did not write \"never\" within"), "{error}");
        let error = workers.wait(&ready, LONG, &AtomicBool::new(true)).unwrap_err().to_string();
        assert!(error.contains("interrupted"), "{error}");
        let all = running(&workers.pids());
        drop(workers);
        assert!(all.iter().all(|process| !processes::runs(process.id)));
    }

    #[test]
    fn a_size_is_settled_when_it_hardly_changes() {
        assert!(settled(&[(2, 6400), (2, 6500), (2, 6450)]));
        assert!(!settled(&[(2, 6400), (2, 6600)]));
        assert!(!settled(&[(2, 6400), (3, 6400)]));
    }
}
