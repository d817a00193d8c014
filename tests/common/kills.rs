//! Kills commands at random moments of their run.
//!
//! `PYE_KILLS` says how many of each command are killed. Where `PYE_KILLS_TABLE` names a file, what came of it is appended there, a line a command.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process_group};

use super::number;
use super::random::Random;

/// How a killed run left things.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Neither as before nor as when it is done.
    pub(crate) half_way: bool,
    /// Files that are there neither before nor when it is done.
    pub(crate) leftovers: usize,
}

/// Waits until what a killed command has started, interpreters that compile, has ended as well.
fn wait_for_group(leader: u32, what: &str) {
    let group = Pid::from_raw(leader.cast_signed()).expect("a process");
    let since = Instant::now();
    while test_kill_process_group(group).is_ok() {
        assert!(since.elapsed() < Duration::from_secs(120), "what a killed {what} has started does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts what `start` gives, again and again, and kills it at a random moment of the time that a run takes, until `PYE_KILLS` runs have been killed, or else
/// `otherwise`. `start` puts everything as it was before, and `check` sees to it that all is well after each run, killed or done.
pub(crate) fn kill_at_random_moments(
    what: &str,
    otherwise: usize,
    mut start: impl FnMut() -> Command,
    mut check: impl FnMut() -> Left,
) {
    let kills = number("PYE_KILLS", otherwise);
    let mut spawn = || {
        let mut command = start();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().unwrap()
    };
    // The second run: the first may have had to read what is in memory afterwards.
    let mut whole = Duration::ZERO;
    for _ in 0..2 {
        let mut child = spawn();
        let started = Instant::now();
        assert!(child.wait().unwrap().success(), "{what} fails by itself");
        whole = started.elapsed();
        check();
    }
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let (mut killed, mut half_way, mut leftovers) = (0, 0, 0);
    for tries in 0.. {
        if killed == kills {
            break;
        }
        assert!(tries < 20 * kills, "hardly any run of {what} lasts until it is killed");
        let mut child = spawn();
        std::thread::sleep(whole.mul_f64(random.unit()));
        child.kill().unwrap();
        let done = child.wait().unwrap().code().is_some();
        wait_for_group(child.id(), what);
        let left = check();
        if !done {
            killed += 1;
            half_way += usize::from(left.half_way);
            leftovers += left.leftovers;
        }
    }
    let line = format!("{what:20} {kills:6} {half_way:9} {leftovers:9}\n");
    // Not `eprint!`: the test harness would hide it when the test passes.
    let _ = write!(io::stderr(), "{:20} {:>6} {:>9} {:>9}\n{line}", "command", "kills", "half-way", "leftovers");
    if let Some(table) = std::env::var_os("PYE_KILLS_TABLE") {
        let file = File::options().create(true).append(true).open(&table);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("PYE_KILLS_TABLE names a file");
    }
}
