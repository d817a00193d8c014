//! A program whose modules come from an image behaves as under stock Python: whatever looks at code objects, runs them, copies them or
//! ends them; and an image that cannot be used is not, with the reason told.

mod common;

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use common::loader::{
    Packages, Project, Run, assert_same, embedded, from_images, image_states, imaged, link_image, loaded, output,
    reasons, reports, script, site, succeeds,
};
use common::{Python, debug_pythons, tool};
use pye::image::read::Image;
use pye::image::shape;
use pye::pye::Part;
use pye::pye::read::Pye;
use serde_json::Value;
use walkdir::WalkDir;

/// What nearly every run needs: nobody's `.pyc` is written.
const UNWRITTEN: &[(&str, &str)] = &[("PYTHONDONTWRITEBYTECODE", "1")];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image")
}

/// The modules of `tests/image/lib`, compiled, with a package that has an image of them.
struct Made<'a> {
    python: &'a Python,
    root: PathBuf,
    package: PathBuf,
    temporary: tempfile::TempDir,
}

impl<'a> Made<'a> {
    fn new(python: &'a Python) -> Made<'a> {
        Made::with(python, |_| ())
    }

    /// `more` may add modules.
    fn with(python: &'a Python, more: impl FnOnce(&Path)) -> Made<'a> {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("root");
        let library = directory().join("lib");
        for path in tool::paths(&library, &["py"]) {
            tool::put(root.join(&path), fs::read(library.join(&path)).unwrap());
        }
        more(&root);
        compile(python, &root);
        let package = temporary.path().join("0.pye");
        link_image(python, &root, &package, &[]);
        Made { python, root, package, temporary }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn packages(&self) -> Packages {
        Packages::one(&self.root, &self.package)
    }

    /// The commands without and with the package, and where the latter tells its status.
    fn both(&self, args: &[OsString], env: &[(&str, &str)]) -> (Command, Command, PathBuf) {
        let env = [UNWRITTEN, env].concat();
        let run = Run { python: self.python, path: &[&self.root], env: &env, directory: self.temporary.path() };
        let status = self.beside("status");
        let _ = fs::remove_file(&status);
        (run.stock(args), run.pye(args, &self.packages(), &status), status)
    }

    /// Runs it both ways: it must print the same and end alike.
    fn same(&self, args: &[OsString], env: &[(&str, &str)]) -> (Output, Vec<Value>) {
        let (mut stock, mut pye, status) = self.both(args, env);
        let (expected, got) = (output(&mut stock), output(&mut pye));
        assert_same(&expected, &got, &format!("{env:?} {pye:?}"));
        (got, reports(&status))
    }

    /// As `same`, for a program that ends with 0 and has modules from the image.
    fn same_from_image(&self, args: &[OsString], env: &[(&str, &str)]) -> Vec<Value> {
        let (got, reports) = self.same(args, env);
        assert!(got.status.success(), "{args:?}: {}", String::from_utf8_lossy(&got.stderr));
        assert!(from_images(&reports) > 0, "{}: {args:?}: {reports:?}", self.python.path.display());
        reports
    }

    /// Runs `program` both ways; returns how many modules came from the package, how many of those from its image, and every reason told.
    fn told(&self, program: &str) -> (u64, u64, Vec<String>) {
        let (_, reports) = self.same(&command(program), &[]);
        let told = [image_states(&reports), reasons(&reports)].concat();
        (loaded(&reports), from_images(&reports), told)
    }
}

/// Writes the `.pyc` of every module.
fn compile(python: &Python, root: &Path) {
    succeeds(python.command().args(["-m", "compileall", "-q", "-f"]).arg(root));
}

/// `-c PROGRAM`.
fn command(program: &str) -> Vec<OsString> {
    vec!["-c".into(), program.into()]
}

/// A script of `tests/image/same`.
fn same(name: &str) -> OsString {
    directory().join("same").join(name).into_os_string()
}

/// Uses functions, classes and constants of many modules.
const PROGRAM: &str = "from imaged import classes, constants, functions, hot, names, text
print(hot.calls(100), hot.attributes(100), functions.comprehended(4), functions.managed(True), constants.in_mixed('x'))
print(classes.Item('x'), classes.Child().cached, names.as_keys(), text.table(), functions.positional.__doc__)";
/// The package, and the modules that `PROGRAM` imports of it.
const MODULES: u64 = 7;

/// Every script of `tests/image/same` prints the same with modules from the image.
#[test]
fn all_that_looks_at_code_sees_what_it_sees_under_stock_python() {
    let scripts: Vec<OsString> = WalkDir::new(directory().join("same"))
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .map(PathBuf::into_os_string)
        .collect();
    assert!(scripts.len() > 20);
    for python in imaged() {
        let made = Made::new(python);
        for script in &scripts {
            made.same_from_image(std::slice::from_ref(script), &[]);
        }
    }
}

/// Names are interned as under stock Python where that is asked for, and in debug builds. Otherwise those of an image are objects of their own, equal but not the same.
#[test]
fn names_are_interned_when_asked_to() {
    for python in imaged() {
        let made = Made::new(python);
        let args = [directory().join("interning.py").into_os_string()];
        let env: &[(&str, &str)] = if python.debug { &[] } else { &[("PYE_NAMES", "intern")] };
        let (mut stock, mut pye, status) = made.both(&args, env);
        let (expected, got) = (output(&mut stock), output(&mut pye));
        assert!(from_images(&reports(&status)) > 0 && expected.status.success() && got.status.success(), "{got:?}");
        assert_same(&expected, &got, &format!("{pye:?}"));
    }
}

/// Seeds of hashes, options and environments that change how code is made, run, allocated or looked at.
#[test]
fn seeds_and_options_change_nothing() {
    /// Options of the interpreter, its environment, scripts of `tests/image/same`.
    type Ways<'a> = &'a [(&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str])];
    let ways: Ways<'_> = &[
        (&[], &[("PYTHONHASHSEED", "0")], &["constants.py", "naming.py", "classes.py", "executing.py"]),
        (&[], &[("PYTHONHASHSEED", "4294967295")], &["constants.py", "naming.py", "executing.py"]),
        (&[], &[("PYTHONHASHSEED", "random")], &["constants.py", "naming.py", "texts.py", "fresh_code.py"]),
        (&["-X", "no_debug_ranges"], &[], &["sources.py", "faults.py"]),
        (&["-X", "dev"], &[], &["constants.py", "ending.py", "weak.py"]),
        (&["-X", "tracemalloc"], &[], &["naming.py", "ending.py"]),
        (&["-O"], &[], &["classes.py", "running.py"]),
        (&["-OO"], &[], &["specialised.py", "constants.py"]),
        (&["-bb"], &[], &["classes.py"]),
        (&["-X", "frozen_modules=off"], &[], &["naming.py"]),
        (&[], &[("PYTHONMALLOC", "malloc")], &["constants.py", "ending.py", "extra.py"]),
        (&[], &[("PYTHONMALLOC", "debug")], &["naming.py", "ending.py"]),
        // Builds with a just-in-time compiler; the others know nothing of it.
        (&[], &[("PYTHON_JIT", "1")], &["specialised.py", "tracing.py", "collector.py", "copies.py"]),
        (&[], &[("PYE_RELOCATE", "lazy")], &["forks.py", "naming.py", "specialised.py", "ending.py"]),
        (&[], &[("PYE_RELOCATE", "at-fork")], &["forks.py", "naming.py", "specialised.py", "ending.py"]),
    ];
    for python in imaged() {
        let made = Made::new(python);
        for (options, env, scripts) in ways {
            for script in scripts.iter().step_by(if python.debug { 2 } else { 1 }) {
                let args: Vec<OsString> = options.iter().map(OsString::from).chain([same(script)]).collect();
                // An image is of one level, and of code with all its positions; without, the portable form serves.
                let other_code = ["-O", "-OO", "-X no_debug_ranges"].contains(&options.join(" ").as_str());
                if other_code {
                    made.same(&args, env);
                } else {
                    made.same_from_image(&args, env);
                }
            }
        }
    }
}

/// A program that is a module of the image, and one that is not there.
#[test]
fn modules_of_the_image_run_as_programs() {
    for python in imaged() {
        let made = Made::new(python);
        for args in [&["-m", "imaged", "one", "two"][..], &["-m", "imaged.hot"], &["-m", "imaged.ending"]] {
            made.same_from_image(&args.iter().map(OsString::from).collect::<Vec<_>>(), &[]);
        }
        for args in [&["-m", "imaged.nothing"][..], &["-c", "import imaged.fails; imaged.fails.deep(3)"]] {
            let (got, _) = made.same(&args.iter().map(OsString::from).collect::<Vec<_>>(), &[]);
            assert!(!got.status.success());
        }
    }
}

/// Every module of the standard library: its code object is the stock loader's in every value, type and field at any depth. (Every fourth
/// module on the debug builds, which are slow.)
#[test]
fn the_standard_library_has_the_code_objects_of_the_stock_loader() {
    let directory = tempfile::tempdir().unwrap();
    for python in imaged() {
        let tree = common::compiled_stdlib(python);
        let file = directory.path().join("stdlib.pye");
        link_image(python, &tree, &file, &["--exclude", "site-packages", "--exclude", "dist-packages"]);
        let run = Run { python, path: &[], env: UNWRITTEN, directory: directory.path() };
        let step = if python.debug { "4" } else { "1" };
        let args = [script("codes.py").into_os_string(), tree.clone().into(), step.into()];
        let status = directory.path().join("status");
        let _ = fs::remove_file(&status);
        let told = succeeds(&mut run.pye(&args, &Packages::one(&tree, &file), &status));
        let told: Value = serde_json::from_str(&told).unwrap();
        let modules = told["modules"].as_u64().unwrap();
        assert!(modules > if python.debug { 150 } else { 600 }, "{}: {told}", python.path.display());
        // What the script itself had imported before is asked for a second time.
        let imaged = from_images(&reports(&status));
        assert!(imaged * 100 >= modules * 95, "{}: {imaged} of {modules}", python.path.display());
    }
}

/// The loader's own tests, with images in both packages.
#[test]
fn projects_are_the_same_with_images() {
    for python in imaged() {
        let project = Project::with_images(python);
        let directory = project.directory.to_str().unwrap();
        let facts = script("facts.py");
        let (_, reports) = project.same(&[facts.to_str().unwrap(), directory, &project.extension], UNWRITTEN);
        assert!(from_images(&reports) >= 20, "{}: {reports:?}", python.path.display());
        let together = script("together.py");
        let args = [together.as_os_str(), project.directory.as_os_str()];
        let env = [UNWRITTEN, &[("PYTHONWARNINGS", "ignore")]].concat();
        let (_, mut pye, status) = project.both(&args, &env);
        let printed = succeeds(&mut pye);
        assert_eq!(printed.lines().last(), Some("interpreters"), "{}: {printed}", python.path.display());
        assert!(from_images(&common::loader::reports(&status)) > 10);
    }
}

/// A process that ends Python and starts it again: only the first life has an image.
#[test]
fn python_can_be_started_again_in_a_process() {
    for (python, reports) in embedded(imaged().into_iter().map(Project::with_images)) {
        assert!(from_images(&reports) >= 3, "{}", python.path.display());
    }
}

/// Twenty starts of each interpreter (PYE_STARTS says how many), each with another seed: all print and end alike. The debug builds also
/// count what is left at the end.
#[test]
fn interpreters_start_and_end_with_images() {
    let starts = std::env::var("PYE_STARTS").map_or(20, |starts| starts.parse().expect("PYE_STARTS is a number"));
    let program = format!("{PROGRAM}\nimport imaged.ending\nimport imaged.awaits\n");
    for python in imaged() {
        let made = Made::new(python);
        let mut args = command(&program);
        if python.debug {
            args.splice(0..0, ["-X".into(), "showrefcount".into()]);
        }
        let env = [("PYTHONHASHSEED", "random")];
        let (mut stock, mut pye, status) = made.both(&args, &env);
        let expected = output(&mut stock);
        assert!(expected.status.success());
        // Two at a time.
        let mut start =
            || pye.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        for first in (0..starts).step_by(2) {
            let children: Vec<_> = (first..starts.min(first + 2)).map(|number| (number, start())).collect();
            for (number, child) in children {
                let got = child.wait_with_output().expect("its output");
                let what = format!("{}: start {number}", python.path.display());
                assert_eq!(String::from_utf8_lossy(&got.stdout), String::from_utf8_lossy(&expected.stdout), "{what}");
                assert_eq!(got.status, expected.status, "{what}");
                // "[12 refs, 34 blocks]"
                let said = |output: &Output| {
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    said.lines().filter(|line| !line.ends_with(" blocks]")).collect::<Vec<_>>().join("\n")
                };
                assert_eq!(said(&got), said(&expected), "{what}");
            }
        }
        let reports = reports(&status);
        assert_eq!(reports.len(), starts);
        assert!(reports.iter().all(|report| from_images(std::slice::from_ref(report)) > MODULES), "{reports:?}");
    }
}

/// Modules for the count of references: alike, but for their names and constants.
fn many(root: &Path, count: usize) {
    tool::put(root.join("many/__init__.py"), "\"\"\"Many modules.\"\"\"\n");
    for n in 0..count {
        let text = format!(
            "\"\"\"Module {n} of many, with a docstring that is long enough to be kept as text of the file.\"\"\"\n\
             import sys\n\n\nclass Class{n}:\n    attribute_{n} = 'value {n}'\n\n    def method_{n}(self, argument_{n}=(1, {n}.5, 'of {n}')):\n\
             \x20       return argument_{n}, self.attribute_{n}, {n} in {{1, 2, 'three {n}'}}, [argument_{n}][-1:]\n\n\n\
             def run():\n    local_{n} = Class{n}()\n    return [local_{n}.method_{n}() for _ in range(3)], sys.intern('interned {n}')\n"
        );
        tool::put(root.join(format!("many/m{n}.py")), text);
    }
}

/// What the debug builds count grows no faster than under the stock loader, while modules are imported from the image, run, and reloaded.
#[test]
fn references_do_not_grow() {
    const COUNT: usize = 100;
    for python in debug_pythons().iter().filter(|python| python.at_least(3, 12)) {
        let made = Made::with(python, |root| many(root, COUNT));
        let args = [directory().join("references.py").into_os_string(), COUNT.to_string().into()];
        let (mut stock, mut pye, status) = made.both(&args, &[]);
        let counts = |command: &mut Command| -> Vec<i64> {
            let printed = succeeds(command);
            printed.split_whitespace().map(|count| count.parse().expect("a number")).collect()
        };
        let (expected, got) = (counts(&mut stock), counts(&mut pye));
        assert!(from_images(&reports(&status)) > COUNT as u64);
        // While fifty modules are imported (each keeps what fills its slots, once), fifty rounds run and fifty times one is reloaded.
        for ((what, kept), (expected, got)) in
            [("imported", 8), ("run", 1), ("reloaded", 1)].into_iter().zip(expected.into_iter().zip(got))
        {
            let most = expected.max(0) + kept * 50;
            assert!(got < most, "{}: {what}: {got}, stock {expected}", python.path.display());
        }
    }
}

/// Of the library itself: two megabytes that an import has in use are given back, but not what somebody else has written to.
#[test]
fn what_the_library_needs_no_more_is_given_back() {
    const COUNT: usize = 40;
    for python in imaged() {
        let made = Made::with(python, |root| {
            many(root, COUNT);
            let imports: String = (0..COUNT).map(|n| format!("import many.m{n}\n")).collect();
            tool::put(root.join("many/all.py"), format!("{imports}import __main__\nRESIDENT = __main__.resident()\n"));
            tool::put(root.join("many/last.py"), "def run():\n    return True\n");
        });
        let args = [directory().join("own.py").into_os_string()];
        for env in [&[][..], &[("PYE_IMAGE", "0")]] {
            let (_, mut pye, status) = made.both(&args, env);
            let told = succeeds(&mut pye);
            let words: Vec<&str> = told.split_whitespace().collect();
            let [meanwhile, after] = [0, 1].map(|n| words[n].parse::<u64>().expect("a number"));
            assert!(
                loaded(&reports(&status)) > COUNT as u64 && words[2] == "pye._finder",
                "{}: {told}",
                python.path.display()
            );
            assert!(after * 2 < meanwhile, "{}: {meanwhile} kB, {after} kB afterwards", python.path.display());
        }
    }
}

/// Every section damaged in many places: equal code or a fallback that says why; no process dies.
#[test]
fn damaged_images_are_refused_or_give_equal_code() {
    for python in imaged() {
        let made = Made::new(python);
        let mut command = python.command();
        command.arg(directory().join("damage.py")).arg(&made.root).arg(&made.package);
        command.arg(if python.debug { "8" } else { "24" }).env("PYE_TEST_SITE", site());
        let told = succeeds(&mut command);
        let counts: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        for what in ["refused", "image used in part", "image not used"] {
            assert!(counts[what].as_u64() > Some(5), "{}: {counts}", python.path.display());
        }
    }
}

/// Debug builds look at strings of the image when they end: only at those on pages that are sound.
#[test]
fn interpreters_end_whatever_is_damaged() {
    for python in imaged().into_iter().filter(|python| python.debug) {
        let made = Made::new(python);
        let whole = fs::read(&made.package).unwrap();
        let package = Pye::open(&whole).unwrap();
        let image = Image::open(&package).unwrap().expect("an image");
        let [names, pages] = [Part::ImageNames, Part::ImagePages].map(|part| package.range(part as usize));
        // The length of the first name; checksums stay.
        let mut name = whole.clone();
        name[names.start + 16..names.start + 24].fill(0x7f);
        // The list of each module's pages, and how many constants it has.
        let mut lists = whole.clone();
        lists[pages].fill(0xff);
        for number in 0..image.len() as u32 {
            let constants = image.entry(number).root as usize + shape::CONSTANTS;
            let address = u64::from_le_bytes(whole[constants..constants + 8].try_into().unwrap());
            if let Some(at) = address.checked_sub(image.head.base).filter(|at| *at < whole.len() as u64) {
                lists[at as usize + shape::SIZE..at as usize + shape::SIZE + 8]
                    .copy_from_slice(&(1_u64 << 20).to_le_bytes());
            }
        }
        for damaged in [name, lists] {
            fs::write(&made.package, damaged).unwrap();
            let (_, from_image, told) = made.told(PROGRAM);
            assert!(from_image < MODULES && told.iter().any(|told| told == "image damaged"), "{told:?}");
        }
    }
}

/// The image of another build of the same version, a debug build among them: its modules are used, its image is not.
#[test]
fn images_of_other_builds_are_not_used() {
    let mut tested = 0;
    for python in imaged() {
        let Some(other) = imaged().into_iter().find(|other| {
            other.version == python.version && other.path.canonicalize().ok() != python.path.canonicalize().ok()
        }) else {
            continue;
        };
        let mut made = Made::new(other);
        made.python = python;
        let (loaded, from_image, told) = made.told(PROGRAM);
        assert_eq!((loaded, from_image), (MODULES, 0), "{told:?}");
        assert!(told.iter().any(|told| told.contains("build") || told.contains("version")), "{told:?}");
        tested += 1;
    }
    if tested == 0 {
        let _ =
            writeln!(io::stderr(), "note: no two builds of one version at hand: not tested with each other's images");
    }
}

/// Of another minor version: nothing is used.
#[test]
fn images_of_other_versions_are_not_used() {
    for python in imaged() {
        let Some(other) = imaged().into_iter().find(|other| other.version != python.version) else { continue };
        let mut made = Made::new(other);
        compile(python, &made.root);
        made.python = python;
        let (loaded, from_image, told) = made.told(PROGRAM);
        assert_eq!((loaded, from_image), (0, 0), "{told:?}");
        assert!(!told.is_empty());
    }
}

/// Something else lies where the image, or a part of it, must be.
#[test]
fn images_whose_place_is_taken_are_not_used() {
    for python in imaged() {
        let made = Made::new(python);
        let (_, reports) = made.same(&command(PROGRAM), &[]);
        let base = reports[0]["loaded"]["stores"][0]["image"]["base"].as_u64().expect("an address");
        let bytes = fs::read(&made.package).unwrap();
        let package = Pye::open(&bytes).unwrap();
        let sections = [Part::ImageCode, Part::ImageNames, Part::ImageData].map(|part| package.range(part as usize));
        assert!(sections.iter().all(|section| !section.is_empty()));
        let first = |section: &Range<usize>| base + section.start as u64;
        let last = base + sections[2].end as u64 - 4096;
        for (address, used) in [
            (first(&sections[0]), false),
            (first(&sections[1]), false),
            (last, false),
            (first(&sections[0]) - (1 << 30), true),
        ] {
            let mut command = python.command();
            command.arg(directory().join("taken.py")).arg(&made.root).arg(&made.package).arg(address.to_string());
            let told = succeeds(command.env("PYE_TEST_SITE", site()));
            let (modules, state) = told.trim().split_once(' ').unwrap();
            assert_eq!(modules != "0", used, "{told}");
            assert_eq!(state == "mapped", used, "{told}");
        }
    }
}

/// The switch, and the ways to relocate: whatever is chosen, the program is the same, and what applies is told.
#[test]
fn images_are_switched_off_by_the_environment() {
    for python in imaged() {
        let made = Made::new(python);
        let (got, off) = made.same(&command(PROGRAM), &[("PYE_IMAGE", "0")]);
        assert!(got.status.success());
        assert_eq!((loaded(&off), from_images(&off)), (MODULES, 0));
        assert!(image_states(&off).iter().all(|state| state != "mapped"), "{off:?}");
        for way in ["never", "at-fork", "lazy", "nonsense"] {
            let (got, reports) = made.same(&command(PROGRAM), &[("PYE_RELOCATE", way)]);
            assert!(got.status.success());
            assert_eq!(loaded(&reports), MODULES, "{way}");
            assert!(!image_states(&reports).is_empty(), "{way}");
            let relocation = &reports[0]["loaded"]["stores"][0]["image"]["relocation"];
            if way != "nonsense" && from_images(&reports) > 0 {
                assert!(relocation == way || relocation == "none", "{way}: {reports:?}");
            }
        }
    }
}

/// Sources that were edited, touched or removed: those modules come from their files, the others from the image.
#[test]
fn edited_sources_are_compiled_anew() {
    for python in imaged().into_iter().filter(|python| !python.debug) {
        let made = Made::new(python);
        assert_eq!(made.told(PROGRAM).1, MODULES);
        let names = made.root.join("imaged/names.py");
        let text = fs::read_to_string(&names).unwrap();
        fs::write(&names, text.replace("\"größe\": 3", "\"edited\": 333333")).unwrap();
        let (got, reports) = made.same(&command(PROGRAM), &[]);
        assert!(String::from_utf8_lossy(&got.stdout).contains("'edited': 333333"));
        assert_eq!(from_images(&reports), MODULES - 1);
        assert!(reasons(&reports).iter().any(|reason| reason.contains("source changed")), "{reports:?}");
        // Touched, to another second.
        let hot = fs::File::open(made.root.join("imaged/hot.py")).unwrap();
        hot.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
        assert_eq!(made.told(PROGRAM).1, MODULES - 2);
        fs::remove_file(made.root.join("imaged/text.py")).unwrap();
        let (got, _) = made.same(&command(PROGRAM), &[]);
        assert!(!got.status.success());
    }
}

/// A package that is replaced by another, or deleted, while a process has it open: the process keeps the old one.
#[test]
fn processes_keep_a_package_that_is_replaced() {
    for python in imaged() {
        let made = Made::new(python);
        let good = fs::read(&made.package).unwrap();
        let other = made.beside("other");
        for change in ["os.remove(package)", "os.rename(other, package)"] {
            fs::write(&other, vec![0xaa; good.len()]).unwrap();
            let program = |change: &str| {
                format!(
                    "import os\npackage, other = os.environ['PACKAGE'], os.environ['OTHER']\nimport imaged.hot\n{change}\n{PROGRAM}\n\
                     import imaged.switched, importlib\nprint(importlib.reload(imaged.switched).answer())"
                )
            };
            let (_, mut pye, status) = made.both(&command(&program(change)), &[]);
            let got = succeeds(pye.env("PACKAGE", &made.package).env("OTHER", &other));
            assert_eq!(from_images(&reports(&status)), MODULES + 1, "{change}");
            assert_eq!(reasons(&reports(&status)), [""; 0], "{change}");
            let _ = fs::remove_file(&made.package);
            fs::write(&made.package, &good).unwrap();
            let (mut stock, _, _) = made.both(&command(&program("")), &[]);
            assert_eq!(got, succeeds(stock.env("PACKAGE", &made.package).env("OTHER", &other)), "{change}");
        }
    }
}

/// The root was moved with its package: code objects of the image name the old place, so it is not used.
#[test]
fn images_of_roots_that_were_moved_are_not_used() {
    for python in imaged().into_iter().filter(|python| !python.debug) {
        let mut made = Made::new(python);
        let moved = made.beside("moved");
        fs::rename(&made.root, &moved).unwrap();
        made.root = moved;
        let program = format!("{PROGRAM}\nprint(hot.calls.__code__.co_filename, hot.Point.moved.__code__.co_filename)");
        let (loaded, from_image, told) = made.told(&program);
        assert_eq!((loaded, from_image), (MODULES, 0), "{told:?}");
        assert!(told.iter().any(|told| told.contains("root") || told.contains("moved")), "{told:?}");
    }
}

/// By another user, who can write nowhere; and where the package cannot be read.
#[test]
fn another_user_needs_no_more_than_to_read() {
    if !tool::is_root() {
        let _ = writeln!(io::stderr(), "note: not root: images are not tested as another user");
        return;
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for python in imaged().into_iter().filter(|python| !python.debug) {
        let made = Made::new(python);
        let [site_copy, boot] = [made.beside("site"), made.beside("boot")];
        for (from, to) in [(site(), &site_copy), (&script("boot"), &boot)] {
            assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
        }
        mode(made.temporary.path(), 0o755);
        let as_nobody = || {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&python.path);
            command
        };
        if !as_nobody().args(["-c", ""]).status().unwrap().success() {
            let name = python.path.display();
            let _ = writeln!(io::stderr(), "note: {name} cannot be run by another user: not tested as one");
            continue;
        }
        let program = format!(
            "{PROGRAM}\nimport sys\nfor finder in sys.meta_path:\n    if type(finder).__module__.startswith('pye'):\n        \
             import pye\n        print(pye.status()['activations'][0])"
        );
        let (mut stock, pye, _) = made.both(&command(PROGRAM), &[]);
        let expected = succeeds(&mut stock);
        for (bits, image) in [(0o444, true), (0o000, false)] {
            mode(&made.package, bits);
            let mut command = as_nobody();
            command.args(["-c", &program]).envs(pye.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let path = std::env::join_paths([&boot, &made.root]).unwrap();
            command.env("PYTHONPATH", path).env("PYE_TEST_SITE", &site_copy).env_remove("PYE_TEST_STATUS");
            let printed = succeeds(command.current_dir("/"));
            let status = printed.strip_prefix(&expected).unwrap_or_else(|| panic!("{printed}"));
            assert_eq!(status.contains("'state': 'mapped'"), image, "{status}");
            assert!(image || status.contains("Permission denied"), "{status}");
        }
    }
}

/// On a file system that cannot be written to.
#[test]
fn a_file_system_that_is_read_only_will_do() {
    for python in imaged().into_iter().filter(|python| !python.debug) {
        let made = Made::new(python);
        let (mut stock, mut pye, status) = made.both(&command(PROGRAM), &[]);
        let expected = succeeds(&mut stock);
        let at = made.temporary.path().display();
        // A private view of the directory, in which it is read-only; the status goes elsewhere.
        let script = format!(
            "mount --bind '{at}' '{at}' && mount -o remount,bind,ro '{at}' || exit 125\n\
             ! touch '{at}/new' 2>/dev/null || exit 124\nexec \"$@\""
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let status_elsewhere = elsewhere.path().join(status.file_name().unwrap());
        pye.env("PYE_TEST_STATUS", &status_elsewhere);
        let mut unshared = Command::new("unshare");
        unshared.args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"]).arg(pye.get_program());
        unshared.args(pye.get_args()).envs(pye.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let got = output(unshared.current_dir("/"));
        if got.status.code() != Some(0) && !status_elsewhere.exists() {
            let why = String::from_utf8_lossy(&got.stderr);
            assert!(got.status.code() != Some(124), "it is not read-only: {why}");
            let why = why.lines().next().unwrap_or_default();
            let _ = writeln!(io::stderr(), "note: not tested on a read-only file system: {why}");
            return;
        }
        assert_eq!(String::from_utf8_lossy(&got.stdout), expected, "{}", String::from_utf8_lossy(&got.stderr));
        assert_eq!(from_images(&reports(&status_elsewhere)), MODULES);
    }
}
