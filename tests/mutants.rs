//! Packages that were changed where it matters, by seeds: many interpreters load each, in a process of its own. None dies, and none gives a module that stock Python would
//! not give, unless the changed file is good in itself, which only files with checksums made anew can be.
//!
//! `PYE_MUTANTS` says how many of portable packages, a quarter of that of packages with images; `PYE_MUTANTS_FROM` is the first seed. What fails is named with its seed:
//! `PYE_MUTANTS=1 PYE_MUTANTS_FROM=seed` repeats it.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use common::Python;
use common::loader::{Project, imaged, served, site};
use common::mutate::{Mended, Mutant, Mutator};
use common::random::Random;
use pye::pye::read::Pye;
use rayon::prelude::*;
use serde_json::Value;

/// Mutants of portable packages, unless `PYE_MUTANTS` says otherwise.
const MUTANTS: usize = 600;

/// An interpreter that loads packages, each in a child of its own.
struct Loader {
    process: Child,
    paths: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Loader {
    fn new(python: &Python, root: &Path) -> Loader {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants/load.py");
        let mut command = python.command();
        command.arg(script).arg(root).env("PYE_TEST_SITE", site());
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a probed interpreter runs");
        let paths = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Loader { process, paths, answers }
    }

    fn load(&mut self, path: &Path) -> Value {
        writeln!(self.paths, "{}", path.display()).expect("the interpreter reads paths");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the interpreter answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    /// Has it end, which it must do well.
    fn end(self) {
        let Loader { mut process, paths, .. } = self;
        drop(paths);
        assert!(process.wait().expect("it has been started").success());
    }
}

/// What became of mutants.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    mutants: usize,
    refused: usize,
    /// All modules came from the package and are equal.
    equal: usize,
    /// Some were left to the stock import, the others are equal.
    left: usize,
    /// Another file is found than stock Python finds: only where the checksums of tables were made anew.
    found: usize,
    /// Other code came from it: only where it is good in itself, or a module's checksum was made anew.
    code: usize,
    /// `pye verify` finds nothing wrong with them.
    verified: usize,
}

impl Figures {
    fn add(self, more: Figures) -> Figures {
        Figures {
            mutants: self.mutants + more.mutants,
            refused: self.refused + more.refused,
            equal: self.equal + more.equal,
            left: self.left + more.left,
            found: self.found + more.found,
            code: self.code + more.code,
            verified: self.verified + more.verified,
        }
    }
}

/// Figures by what was made anew, and what must not be.
#[derive(Default)]
struct Outcome {
    figures: [Figures; 3],
    failures: Vec<String>,
}

impl Outcome {
    fn add(mut self, more: Outcome) -> Outcome {
        for (figures, more) in self.figures.iter_mut().zip(more.figures) {
            *figures = figures.add(more);
        }
        self.failures.extend(more.failures);
        self
    }

    /// Prints the figures; fails where something failed.
    fn told(self, what: &str) {
        let mut table = format!("mutants of {what}\n{:24}", "checksums made anew");
        let columns = ["mutants", "refused", "equal", "in part", "found", "code", "verified"];
        columns.iter().for_each(|column| write!(table, "{column:>10}").unwrap());
        for (name, f) in ["none", "of sections", "of sections and modules"].iter().zip(self.figures) {
            if f.mutants > 0 {
                write!(table, "\n{name:24}").unwrap();
                let numbers = [f.mutants, f.refused, f.equal, f.left, f.found, f.code, f.verified];
                numbers.iter().for_each(|number| write!(table, "{number:>10}").unwrap());
            }
        }
        // Not `eprintln!`: the test harness would hide it when the test passes.
        let _ = writeln!(io::stderr(), "{table}");
        assert!(self.failures.is_empty(), "{} failures:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

/// Whether `pye verify` finds nothing wrong.
///
/// # Errors
/// It panics.
fn verified(bytes: &[u8]) -> Result<bool, String> {
    catch_unwind(|| Pye::open(bytes).and_then(|pye| pye.verify()).is_ok()).map_err(|_| "verification panics".to_owned())
}

/// The seeds, `one_in` times fewer than are wanted, that are for interpreter `number` of `all`.
fn seeds(one_in: usize, number: usize, all: usize) -> impl Iterator<Item = u64> {
    let first = common::number("PYE_MUTANTS_FROM", 0);
    let count = common::number("PYE_MUTANTS", MUTANTS).div_ceil(one_in);
    (first..first + count).filter(move |seed| seed % all == number).map(|seed| seed as u64)
}

/// Whether the figures are of enough mutants to say that all kinds were met.
fn enough(figures: &Figures) -> bool {
    figures.mutants >= 100
}

/// What a mutant may give.
#[derive(Clone, Copy)]
struct Allowed {
    /// Other files, and so on, than stock Python finds.
    found: bool,
    /// Other code: of a file that is good in itself, and of any other.
    code: [bool; 2],
}

/// Has `loader` load a mutant.
fn judge(loader: &mut Loader, path: &Path, mutant: &Mutant, allowed: Allowed) -> (Figures, Option<String>) {
    let mut figures = Figures { mutants: 1, ..Figures::default() };
    let verified = match verified(&mutant.bytes) {
        Ok(verified) => verified,
        Err(failure) => return (figures, Some(failure)),
    };
    figures.verified = verified.into();
    fs::write(path, &mutant.bytes).expect("the temporary directory is writable");
    let answer = loader.load(path);
    fs::remove_file(path).expect("it has just been written");
    let any = |what: &str| answer[what].as_array().is_some_and(|list| !list.is_empty());
    let failure = if answer["status"] != 0 {
        Some(format!("the interpreter ends with status {answer}"))
    } else if answer["refused"].is_string() {
        figures.refused = 1;
        verified.then(|| format!("verified, but refused: {answer}"))
    } else if any("code") {
        figures.code = 1;
        let good = allowed.code[usize::from(!verified)];
        (!good).then(|| format!("other code, verified {verified}: {answer}"))
    } else if any("found") {
        figures.found = 1;
        (!allowed.found).then(|| format!("another file, verified {verified}: {answer}"))
    } else {
        *(if answer["left"] == 0 { &mut figures.equal } else { &mut figures.left }) = 1;
        None
    };
    (figures, failure)
}

fn named(seed: u64, python: &Python, mutant: &Mutant, failure: &str) -> String {
    format!("seed {seed}, {}: {failure}\n    {}", python.path.display(), mutant.what)
}

#[test]
fn mutants_of_portable_packages_give_equal_modules_or_none() {
    let pythons = served();
    let outcomes = pythons.par_iter().enumerate().map(|(number, python)| {
        let mut outcome = Outcome::default();
        let mut seeds = seeds(1, number, pythons.len()).peekable();
        if seeds.peek().is_none() {
            return outcome;
        }
        let project = Project::new(python, &[]);
        let mutator = Mutator::new(fs::read(project.beside("0.pye")).unwrap());
        let mut loader = Loader::new(python, &project.directory.join("lib"));
        for seed in seeds {
            let mended = match Random::new(!seed).below(8) {
                0..3 => Mended::Nothing,
                3..7 => Mended::Sections,
                _ => Mended::Modules,
            };
            let mutant = mutator.mutant(seed, mended);
            let allowed = match mended {
                Mended::Nothing => Allowed { found: false, code: [false, false] },
                // Tables with other checksums are other tables, which the loader takes for what they say. A module has a checksum of its own.
                Mended::Sections => Allowed { found: true, code: [true, false] },
                Mended::Modules => Allowed { found: false, code: [true, true] },
            };
            let (figures, failure) = judge(&mut loader, &project.beside("mutant.pye"), &mutant, allowed);
            outcome.figures[mended as usize] = outcome.figures[mended as usize].add(figures);
            outcome.failures.extend(failure.map(|failure| named(seed, python, &mutant, &failure)));
        }
        loader.end();
        outcome
    });
    let outcome = outcomes.reduce(Outcome::default, Outcome::add);
    let [nothing, sections, modules] = outcome.figures;
    outcome.told("portable packages");
    for figures in [nothing, sections].iter().filter(|figures| enough(figures)) {
        assert!(figures.refused > 0 && figures.equal > 0 && figures.left > 0, "{figures:?}");
    }
    assert!(!enough(&modules) || modules.code > 0 && modules.verified > 0, "{modules:?}");
}

/// An image is a program: only damage is to be found when it is loaded. What else is wrong with it `pye verify` tells, whatever it is.
#[test]
fn mutants_of_packages_with_images_give_equal_modules_or_none() {
    let pythons = imaged();
    let outcomes = pythons.par_iter().enumerate().map(|(number, python)| {
        let mut outcome = Outcome::default();
        let mut seeds = seeds(4, number, pythons.len()).peekable();
        if seeds.peek().is_none() {
            return outcome;
        }
        let project = Project::with_images(python);
        let mutator = Mutator::new(fs::read(project.beside("0.pye")).unwrap());
        let mut loader = Loader::new(python, &project.directory.join("lib"));
        for seed in seeds {
            let mutant = mutator.mutant(seed, Mended::Nothing);
            // Characters of text are not looked at when an image is used.
            let allowed = Allowed { found: false, code: [mutant.text; 2] };
            let (figures, failure) = judge(&mut loader, &project.beside("mutant.pye"), &mutant, allowed);
            outcome.figures[Mended::Nothing as usize] = outcome.figures[Mended::Nothing as usize].add(figures);
            outcome.failures.extend(failure.map(|failure| named(seed, python, &mutant, &failure)));

            let mutant = mutator.mutant(seed, Mended::Sections);
            let figures = &mut outcome.figures[Mended::Sections as usize];
            figures.mutants += 1;
            match verified(&mutant.bytes) {
                Ok(verified) => {
                    figures.verified += usize::from(verified);
                    figures.refused += usize::from(!verified);
                }
                Err(failure) => outcome.failures.push(named(seed, python, &mutant, &failure)),
            }
        }
        loader.end();
        outcome
    });
    let outcome = outcomes.reduce(Outcome::default, Outcome::add);
    let [nothing, sections, _] = outcome.figures;
    outcome.told("packages with images; those with checksums made anew are verified only");
    // Damaged in the image, they come from the portable sections.
    assert!(!enough(&nothing) || nothing.refused > 0 && nothing.equal > 0, "{nothing:?}");
    assert!(!enough(&sections) || sections.refused > 0 && sections.verified > 0, "{sections:?}");
}

/// With the same seed the same file, and with another one another.
#[test]
fn seeds_decide_what_is_changed() {
    let package = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/pye/image.pye")).unwrap();
    let mutator = Mutator::new(package.clone());
    for mended in [Mended::Nothing, Mended::Sections] {
        let [first, again, other] = [1, 1, 2].map(|seed| mutator.mutant(seed, mended).bytes);
        assert!(first == again && first != other && first != package);
    }
    // Nothing changed, nothing to put right.
    assert!(mutator.changed(std::iter::empty()) == package);
    // What is put right gets past the checksums: only what they do not cover is found by them.
    let found = |mended| {
        let errors = (0..400).filter_map(|seed| {
            let mutant = mutator.mutant(seed, mended).bytes;
            Pye::open(&mutant).and_then(|pye| pye.verify()).err()
        });
        errors.filter(|error| error.to_string().contains("CRC32")).count()
    };
    let (nothing, sections) = (found(Mended::Nothing), found(Mended::Sections));
    assert!(nothing > 200 && sections < 40, "{nothing} {sections} of 400 are found by a CRC32");
}
