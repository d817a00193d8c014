//! `codec speed`: MB/s of .pyc, one thread, all contenders in turn.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pye::convert::{self, Converter};
use pye::marshal::pyc::Header;
use pye::marshal::tape::Tape;
use pye::pye::read::{Module, Pye};
use pye::split::{self, DEFAULT_MIN_BLOB, Split, Splitter};

use crate::Common;
use crate::corpus::File;
use crate::peers::{self, PEERS, Read};
use crate::python::Python;
use crate::stats::{least, median, range};
use crate::table::{Style, Table};

/// Speed of reading, splitting and joining beside CPython's marshal.loads and two other crates
///
/// All files are in memory. Each round runs every contender once over all of them, on one thread, beginning with another contender each
/// time. Ratios are taken within a round; the median of them is printed. Every result is checked once before the first round.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// The interpreter that wrote the files [default: the one benches/corpus used, else python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,

    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Shortest string that is cut out, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MIN_BLOB)]
    min_blob: u32,

    /// Leave the other crates out: they take most of the time
    #[arg(long)]
    no_peers: bool,

    /// Write the paths of the files that another crate cannot read, with its reasons, to FILE
    #[arg(long, value_name = "FILE")]
    unread: Option<PathBuf>,
}

/// Files of a smoke test.
const SMOKE_FILES: usize = 200;

/// What is measured, in the order of the table.
struct Contender<'a> {
    name: &'static str,
    /// Times marshal.loads that it must reach.
    target: Option<f64>,
    /// Files and bytes of a round.
    files: usize,
    bytes: usize,
    /// One round: seconds.
    round: Box<dyn FnMut() -> Result<f64> + 'a>,
    /// MB/s of each round.
    speeds: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(
        name: &'static str,
        target: Option<f64>,
        files: usize,
        bytes: usize,
        round: impl FnMut() -> Result<f64> + 'a,
    ) -> Self {
        Contender { name, target, files, bytes, round: Box::new(round), speeds: Vec::new() }
    }
}

/// Seconds that `work` takes.
fn time(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // The other crates recurse once for each level of nesting.
    const STACK: usize = 1 << 29;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || measure(options))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn measure(options: &Options) -> Result<()> {
    let common = &options.common;
    let corpus = common.corpus()?;
    let files = &corpus.load(common.smoke.then_some(SMOKE_FILES))?[..];
    let bytes: usize = files.iter().map(|f| f.bytes.len()).sum();
    let interpreter = options.python.clone().or_else(|| corpus.python()).unwrap_or_else(|| "python3".into());
    let mut python = Python::start(&interpreter, files)?;
    let version = python.version.clone();
    // Seconds of marshal.loads, and of these those of freeing, by round.
    let freed = std::cell::RefCell::new(Vec::new());

    let converted = convert_all(files, options.min_blob)?;
    let views = open_all(files, &converted)?;
    let objects = check(files, &views, options.min_blob)?;

    let mut contenders = vec![Contender::new("CPython marshal.loads", None, files.len(), bytes, || {
        let round = python.round()?;
        freed.borrow_mut().push((round.seconds, round.freeing));
        Ok(round.seconds)
    })];
    let mut tape = Tape::new();
    contenders.push(Contender::new("pye tape", Some(8.0), files.len(), bytes, move || {
        time(|| {
            for file in files {
                let header = Header::parse(&file.bytes, None)?;
                tape.read(&file.bytes, header.version.header_len, header.version)?;
                black_box(tape.entries());
            }
            Ok(())
        })
    }));
    let (mut splitter, mut parts) = (Splitter::default(), Split::default());
    contenders.push(Contender::new("pye split", Some(5.0), files.len(), bytes, move || {
        time(|| {
            for file in files {
                splitter.split(&file.bytes, None, options.min_blob.into(), &mut parts)?;
                black_box(&parts);
            }
            Ok(())
        })
    }));
    let mut joined = Vec::new();
    let views = &views;
    contenders.push(Contender::new("pye join", Some(15.0), files.len(), bytes, move || {
        time(|| {
            for (pye, module) in views {
                let len = module.record.pyc_len as usize;
                split::join_into(module.control, module.holes, &pye.stores(), len, &mut joined, None)?;
                black_box(&joined);
            }
            Ok(())
        })
    }));
    let mut notes = Vec::new();
    let mut unread = String::new();
    for (name, read) in PEERS.iter().filter(|_| !options.no_peers) {
        if let Some(contender) = peer(name, *read, files, &mut notes, &mut unread) {
            contenders.push(contender);
        }
    }
    if let Some(path) = &options.unread {
        std::fs::write(path, unread).with_context(|| format!("cannot write {}", path.display()))?;
    }

    let rounds = common.rounds(options.rounds.into());
    for round in 0..rounds {
        // Each is first once in a while, so that none always runs in what another left in the caches.
        let count = contenders.len();
        for turn in 0..count {
            let contender = &mut contenders[(round + turn) % count];
            let seconds = (contender.round)()?;
            contender.speeds.push(contender.bytes as f64 / 1e6 / seconds);
        }
    }

    let freed = freed.borrow();
    let style = common.style();
    let taken =
        if files.len() == corpus.found.len() { String::new() } else { format!(", {} of them taken", files.len()) };
    print!(
        "{}",
        common.heading(&[
            format!("corpus: {}{taken}; {objects} objects", corpus.describe()),
            format!("{version}; rounds: {rounds}, in turn, one thread; --min-blob {}", options.min_blob),
        ])
    );
    print!("{}", table(&contenders).print(style));
    let part = median(freed.iter().map(|(all, freeing)| freeing / all));
    notes.insert(
        0,
        format!(
            "marshal.loads frees its result within the time, {:.0} % of it, with the garbage collector off; without \
             the freeing the ratios would be {:.2} times those shown",
            part * 100.0,
            1.0 - part
        ),
    );
    println!();
    for note in notes {
        println!("{}{}.", if style == Style::Markdown { "- " } else { "" }, note.trim_end_matches('.'));
    }
    Ok(())
}

fn table(contenders: &[Contender<'_>]) -> Table {
    let mut table = Table::new(&[
        "contender",
        "MB/s median",
        "MB/s best",
        "× marshal.loads",
        "over rounds",
        "target",
        "files read",
    ]);
    let base = &contenders[0].speeds;
    for contender in contenders {
        let ratios: Vec<f64> = contender.speeds.iter().zip(base).map(|(own, base)| own / base).collect();
        let best = -least(contender.speeds.iter().map(|s| -s));
        let target = contender.target.map_or_else(String::new, |target| {
            let met = if median(ratios.iter().copied()) >= target { "met" } else { "missed" };
            format!("{target} {met}")
        });
        table.row(vec![
            contender.name.into(),
            format!("{:.0}", median(contender.speeds.iter().copied())),
            format!("{best:.0}"),
            format!("{:.2}", median(ratios.iter().copied())),
            range(&ratios),
            target,
            contender.files.to_string(),
        ]);
    }
    table
}

/// Another crate as a contender over the files it can read, if there are any.
fn peer<'a>(
    name: &'static str,
    read: Read,
    files: &'a [File],
    notes: &mut Vec<String>,
    unread: &mut String,
) -> Option<Contender<'a>> {
    let readable = peers::try_all(read, files);
    for (why, indices) in &readable.refused {
        let first = files[indices[0]].path.display();
        notes.push(format!("{name} cannot read {} files (first: {first}): {why}", indices.len()));
        for index in indices {
            unread.push_str(&format!("{name}\t{}\t{why}\n", files[*index].path.display()));
        }
    }
    let bytes = readable.files.iter().map(|i| files[*i].bytes.len()).sum();
    let count = readable.files.len();
    let round = move || {
        time(|| {
            for index in &readable.files {
                read(&files[*index].bytes).map_err(anyhow::Error::msg)?;
            }
            Ok(())
        })
    };
    (count != 0).then(|| Contender::new(name, None, count, bytes, round))
}

/// The .pye of each file.
fn convert_all(files: &[File], min_blob: u32) -> Result<Vec<Vec<u8>>> {
    let mut converter = Converter::default();
    let options = convert::Options { min_blob, min_bytes: 0, python_version: None };
    let one = |file: &File| {
        let named = || file.path.display().to_string();
        let (pye, raw) = converter.convert_bytes(&file.bytes, b"module.pyc", options).with_context(named)?;
        ensure!(raw.is_none(), "{}: cannot be split: {raw:?}", named());
        Ok(pye.to_vec())
    };
    files.iter().map(one).collect()
}

type View<'a> = (Pye<'a>, Module<'a>);

fn open_all<'a>(files: &[File], converted: &'a [Vec<u8>]) -> Result<Vec<View<'a>>> {
    let one = |(file, bytes): (&File, &'a Vec<u8>)| {
        let open = || Pye::open(bytes).and_then(|pye| Ok((pye.module(0)?, pye)));
        let (module, pye) = open().with_context(|| file.path.display().to_string())?;
        Ok((pye, module))
    };
    files.iter().zip(converted).map(one).collect()
}

/// That pye's contenders do what they are timed for: the tape holds all of each file's objects, the split is the one that the .pye holds, and joining that
/// gives the file. Returns the number of objects.
fn check(files: &[File], views: &[View<'_>], min_blob: u32) -> Result<usize> {
    let (mut tape, mut splitter, mut parts, mut joined) =
        (Tape::new(), Splitter::default(), Split::default(), Vec::new());
    let mut objects = 0;
    for (file, (pye, module)) in files.iter().zip(views) {
        let named = || file.path.display().to_string();
        let header = Header::parse(&file.bytes, None).with_context(named)?;
        let summary = tape.read(&file.bytes, header.version.header_len, header.version).with_context(named)?;
        let entries = tape.entries();
        let spanned = entries.first().is_some_and(|root| root.next as usize == entries.len());
        ensure!(spanned && summary.end == file.bytes.len(), "{}: the tape does not span the file", named());
        objects += entries.len();
        splitter.split(&file.bytes, None, min_blob.into(), &mut parts).with_context(named)?;
        ensure!(
            parts.control == module.control && parts.holes == module.record.hole_count,
            "{}: split into other parts than its .pye holds",
            named()
        );
        let len = module.record.pyc_len as usize;
        split::join_into(module.control, module.holes, &pye.stores(), len, &mut joined, None).with_context(named)?;
        ensure!(joined == file.bytes, "{}: joined to other bytes", named());
    }
    Ok(objects)
}
