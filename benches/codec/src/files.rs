//! `codec files`: whole processes on a tree of files, warm cache: their time, their memory, and what they write.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Common;
use crate::corpus::Corpus;
use crate::stats::{least, median, range};
use crate::table::{Style, Table, mb, percent};

/// Time and memory of `pye convert` and `pye link` beside `cp -r`, and the sizes of packages
///
/// In turn, each into a place of its own, after all that was written before is on the disk. What was written is emptied outside the time, but removed
/// only at the end: ext4 does not use a removed file's inode again for a minute or more, and searches past it for every new file, which made `cp -r` ten times as
/// slow. So the first round waits, too, until files are made quickly.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// The program to measure [default: built from the checkout]
    #[arg(long, value_name = "FILE")]
    pye: Option<PathBuf>,

    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Write below DIR, on the file system to be measured [default: bench-out]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// A command that reads the tree and writes something.
struct Contender {
    name: &'static str,
    /// Times `cp -r` that it may take.
    target: Option<f64>,
    program: PathBuf,
    arguments: Vec<String>,
    /// Where it writes: this name after a directory for each run.
    output: &'static str,
    scratch: PathBuf,
    /// Runs so far.
    runs: usize,
    seconds: Vec<f64>,
}

impl Contender {
    /// Where the latest run wrote.
    fn place(&self) -> PathBuf {
        self.scratch.join(format!("{}-{}", self.name.replace(" ", "-"), self.runs))
    }

    /// The command, writing where nothing is yet.
    fn command(&mut self) -> Result<Command> {
        self.runs += 1;
        let place = self.place();
        std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(place.join(self.output)).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }

    /// Runs it to its end: seconds.
    fn run(&mut self) -> Result<f64> {
        let mut command = self.command()?;
        let named = || self.program.display().to_string();
        let start = Instant::now();
        let status = command.status().with_context(named)?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(status.success(), "{} {}: {status}", named(), self.arguments.join(" "));
        Ok(seconds)
    }

    /// Runs it and asks every millisecond for its anonymous memory: the most seen, in bytes, and how often it was asked.
    fn peak(&mut self) -> Result<(u64, u64)> {
        let mut child = self.command()?.spawn().with_context(|| self.program.display().to_string())?;
        let status_file = format!("/proc/{}/status", child.id());
        let (mut most, mut asked) = (0, 0);
        loop {
            if let Ok(text) = std::fs::read_to_string(&status_file)
                && let Some(bytes) = unshared(&text)
            {
                most = most.max(bytes);
                asked += 1;
            }
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "{}: {status}", self.program.display());
                return Ok((most, asked));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Bytes of anonymous memory, shared memory included (a temporary file in memory would count there).
fn unshared(status: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    Some((field("RssAnon:")? + field("RssShmem:")?) * 1024)
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let common = &options.common;
    let corpus = common.corpus()?;
    let [tree] = &corpus.directories[..] else { bail!("one directory at a time") };
    let pye = match &options.pye {
        Some(pye) => std::fs::canonicalize(pye).with_context(|| pye.display().to_string())?,
        None => build()?,
    };
    let scratch = options.scratch.clone().unwrap_or_else(|| crate::default_directory(""));
    std::fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    // Removed at the end, also after an error.
    let scratch = tempfile::Builder::new().prefix("files-").tempdir_in(&scratch)?;

    let text = |path: &Path| path.to_string_lossy().into_owned();
    let contender = |name, target, program: &Path, arguments: &[&str], output| Contender {
        name,
        target,
        program: program.into(),
        arguments: arguments.iter().map(|s| s.to_string()).collect(),
        output,
        scratch: scratch.path().into(),
        runs: 0,
        seconds: Vec::new(),
    };
    let tree_text = text(tree);
    let mut contenders = [
        contender("cp -r", None, Path::new("cp"), &["-r", &tree_text], "copy"),
        contender("pye convert", Some(2.0), &pye, &["convert", &tree_text, "--output"], "converted"),
        contender("pye link", Some(1.5), &pye, &["link", &tree_text, "--output"], "linked.pye"),
    ];

    // Once untimed: the tree is in the page cache afterwards, and so are the programs.
    for contender in &mut contenders {
        contender.run()?;
        empty(&contender.place())?;
    }
    let settled = settle(&corpus, scratch.path(), if common.smoke { Duration::ZERO } else { SETTLE_AT_MOST })?;
    let rounds = common.rounds(options.rounds.into());
    for round in 0..rounds {
        let count = contenders.len();
        for turn in 0..count {
            let contender = &mut contenders[(round + turn) % count];
            sync()?;
            let seconds = contender.run()?;
            contender.seconds.push(seconds);
            empty(&contender.place())?;
        }
    }

    let style = common.style();
    let heading = common.heading(&[
        format!("corpus: {}", corpus.describe()),
        format!("rounds: {rounds}, in turn, warm cache, on {}; {settled}", file_system(scratch.path())),
    ]);
    print!("{heading}{}", times(&contenders).print(style));

    println!();
    let mut memory = Table::new(&["process", "peak anonymous", "of the input", "target", "times asked"]);
    for contender in &mut contenders[1..] {
        let (most, asked) = contender.peak()?;
        let met = if most * 2 < corpus.bytes { "< 50 % met" } else { "< 50 % missed" };
        let part = percent(most, corpus.bytes);
        memory.row(vec![contender.name.into(), mb(most), part, met.into(), asked.to_string()]);
        empty(&contender.place())?;
    }
    print!("{}", memory.print(style));

    println!();
    print!("{}", sizes(&corpus, &pye, scratch.path(), style)?);
    Ok(())
}

fn times(contenders: &[Contender]) -> Table {
    let mut table = Table::new(&["process", "median s", "best s", "× cp -r", "over rounds", "target"]);
    for contender in contenders {
        let ratios: Vec<f64> = contender.seconds.iter().zip(&contenders[0].seconds).map(|(s, cp)| s / cp).collect();
        let ratio = median(ratios.iter().copied());
        let target = contender.target.map_or_else(String::new, |target| {
            format!("≤ {target} {}", if ratio <= target { "met" } else { "missed" })
        });
        table.row(vec![
            contender.name.into(),
            format!("{:.3}", median(contender.seconds.iter().copied())),
            format!("{:.3}", least(contender.seconds.iter().copied())),
            format!("{ratio:.2}"),
            range(&ratios),
            target,
        ]);
    }
    table
}

/// The packages of the corpus' parts beside the files they hold, as `pye link --json` tells it.
fn sizes(corpus: &Corpus, pye: &Path, scratch: &Path, style: Style) -> Result<String> {
    let mut table = Table::new(&[
        "package of",
        "modules",
        ".pyc",
        "package",
        "of .pyc",
        "saved: duplicates",
        "saved: tails",
        "payload",
    ]);
    let list = scratch.join("list");
    let output = scratch.join("part.pye");
    for (name, found) in corpus.parts()? {
        // The trees themselves, not their files: names follow from the relative paths.
        let roots: Vec<PathBuf> = match name.as_str() {
            "all" => corpus.directories.clone(),
            _ => corpus.directories.iter().map(|d| d.join(&name)).filter(|d| d.is_dir()).collect(),
        };
        let lines: String = roots.iter().map(|r| format!("{}\n", r.display())).collect();
        std::fs::write(&list, lines)?;
        let linked = Command::new(pye)
            .args(["link", "--json", "--files-from"])
            .arg(&list)
            .arg("--output")
            .arg(&output)
            .stdin(Stdio::null())
            .output()
            .context("pye link")?;
        ensure!(linked.status.success(), "pye link: {}", String::from_utf8_lossy(&linked.stderr));
        let report: Value = serde_json::from_slice(&linked.stdout).context("pye link --json")?;
        let package = &report["packages"][0];
        let number = |value: &Value| value.as_u64().context("pye link --json: expected a number");
        let mut sums = [0; 3];
        for section in package["sections"].as_array().context("pye link --json: expected sections")? {
            for (sum, stage) in sums.iter_mut().zip(["cut", "distinct", "stored"]) {
                *sum += number(&section[stage]["bytes"])?;
            }
        }
        let [cut, distinct, stored] = sums;
        let (pyc, file) = (number(&package["pyc_bytes"])?, number(&package["file_bytes"])?);
        let on_disk: u64 = found.iter().filter_map(|f| std::fs::metadata(&f.path).ok()).map(|m| m.len()).sum();
        ensure!(pyc == on_disk, "{name}: linked {pyc} of {on_disk} bytes");
        let written = std::fs::metadata(&output)?.len();
        ensure!(file == written, "{name}: {file} bytes reported, {written} written");
        table.row(vec![
            name,
            number(&package["modules"])?.to_string(),
            mb(pyc),
            mb(file),
            percent(file, pyc),
            mb(cut - distinct),
            mb(distinct - stored),
            mb(stored),
        ]);
    }
    Ok(table.print(style))
}

/// Builds `pye` as its users would, and says where it is.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--bin", "pye", "--message-format", "json-render-diagnostics"])
        .current_dir(crate::checkout())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo; --pye names a program that is built already")?;
    ensure!(output.status.success(), "cargo build: {}", output.status);
    let messages = output.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<Value>(l).ok());
    let mut programs = messages.filter_map(|m| Some(PathBuf::from(m["executable"].as_str()?)));
    programs.next().context("cargo build named no program")
}

/// Empties all files below `place`: their memory and their room on the disk are free again, their inodes are not.
fn empty(place: &Path) -> Result<()> {
    for entry in std::fs::read_dir(place).with_context(|| place.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            empty(&entry.path())?;
        } else {
            let named = || format!("cannot empty {}", entry.path().display());
            std::fs::OpenOptions::new().write(true).truncate(true).open(entry.path()).with_context(named)?;
        }
    }
    Ok(())
}

/// Longest wait until files are made quickly: ext4 keeps inodes back for a minute after their removal is on the disk, for five before.
const SETTLE_AT_MOST: Duration = Duration::from_secs(400);

/// Makes the corpus' tree with empty files, again and again, until that is quick; says what it found. Directories count: each has its
/// inodes, and those of its files, somewhere else on the disk.
fn settle(corpus: &Corpus, scratch: &Path, at_most: Duration) -> Result<String> {
    // A few times what a quiet machine takes for each file, and a fraction of what searching past removed inodes takes.
    const QUICK: Duration = Duration::from_micros(60);
    let start = Instant::now();
    for attempt in 0.. {
        sync()?;
        let directory = scratch.join(format!("settle-{attempt}"));
        let began = Instant::now();
        for found in &corpus.found {
            let path = directory.join(&found.relative);
            if std::fs::File::create(&path).is_err() {
                std::fs::create_dir_all(path.parent().unwrap_or(&directory))?;
                std::fs::File::create(&path).with_context(|| path.display().to_string())?;
            }
        }
        let each = began.elapsed() / corpus.found.len() as u32;
        let found = format!("making an empty file took {} µs", each.as_micros());
        if each <= QUICK {
            return Ok(found);
        }
        if start.elapsed() >= at_most {
            return Ok(format!("NOT SETTLED: {found}: what makes many files looks slow"));
        }
        std::thread::sleep(Duration::from_secs(20));
    }
    Ok(String::new())
}

/// Waits until all that was written is on the disk, so that this does not slow the next one down.
fn sync() -> Result<()> {
    let status = Command::new("sync").status().context("sync")?;
    ensure!(status.success(), "sync: {status}");
    Ok(())
}

/// The type of the file system that holds `path`.
fn file_system(path: &Path) -> String {
    let output = Command::new("df").arg("--output=fstype").arg(path).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    // A heading stands above it.
    text.lines().nth(1).unwrap_or("an unknown file system").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_and_shared_memory_are_added() {
        let status = "VmRSS:\t     900 kB\nRssAnon:\t     100 kB\nRssFile:\t     700 kB\nRssShmem:\t       2 kB\n";
        assert_eq!(unshared(status), Some(102 * 1024));
        assert_eq!(unshared("State:\tZ (zombie)\n"), None);
    }
}
