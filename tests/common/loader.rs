//! Runs Python programs with and without pye: the staged package, packages of trees, and what the loader says it did.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Python, cache_dir, debug_pythons, other_pythons, pythons, tool};

/// A script of `tests/loader`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loader").join(name)
}

/// The directory with the package `pye`: the one that `PYE_TEST_SITE` names, as `tests/memory/run` does for one that is built in a way of its own, or one built once.
pub(crate) fn site() -> &'static Path {
    static SITE: OnceLock<PathBuf> = OnceLock::new();
    SITE.get_or_init(|| {
        if let Some(site) = std::env::var_os("PYE_TEST_SITE") {
            return site.into();
        }
        let stage = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/stage");
        let output = Command::new(stage).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.expect("bash runs python/stage");
        assert!(output.status.success(), "python/stage: {}", output.status);
        PathBuf::from(String::from_utf8(output.stdout).expect("a path in UTF-8").trim())
    })
}

/// The interpreters that pye serves: 3.9 and later, and the debug builds among them.
pub(crate) fn served() -> Vec<&'static Python> {
    let all = pythons().iter().chain(debug_pythons());
    let mut served: Vec<&Python> = all.filter(|python| python.at_least(3, 9)).collect();
    served.dedup();
    assert!(!served.is_empty(), "no CPython of 3.9 or later: there is nothing to test the loader with");
    served
}

/// The interpreters that images can be made for: 3.12 and later, debug builds and second builds of a version among them.
pub(crate) fn imaged() -> Vec<&'static Python> {
    let all = pythons().iter().chain(other_pythons()).chain(debug_pythons());
    let mut imaged: Vec<&Python> = all.filter(|python| python.at_least(3, 12)).collect();
    imaged.dedup();
    assert!(!imaged.is_empty(), "no CPython of 3.12 or later: there is nothing to test images with");
    imaged
}

/// Roots and the package files that stand for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packages(Vec<(PathBuf, PathBuf)>);

impl Packages {
    /// One root.
    pub(crate) fn one(root: &Path, file: &Path) -> Packages {
        Packages(vec![(root.to_path_buf(), file.to_path_buf())])
    }

    /// Roots and their files.
    pub(crate) fn of(pairs: &[(PathBuf, PathBuf)]) -> Packages {
        Packages(pairs.to_vec())
    }

    /// Links each of `roots`, for the version of `python` only, to a package file in `directory`.
    pub(crate) fn link(python: &Python, roots: &[&Path], directory: &Path) -> Packages {
        let link = |(number, root): (usize, &&Path)| {
            let file = directory.join(format!("{number}.pye"));
            let tag = format!("cpython-{}{}", python.version.0, python.version.1);
            let report = tool::good(&[&"link", root, &"-o", &file, &"--tag", &tag]);
            assert!(report["packages"][0]["modules"].as_u64() > Some(0), "nothing in {}: {report}", root.display());
            (root.to_path_buf(), file)
        };
        Packages(roots.iter().enumerate().map(link).collect())
    }

    /// As `link`, with an image for `python` in each package.
    pub(crate) fn link_image(python: &Python, roots: &[&Path], directory: &Path) -> Packages {
        let link = |(number, root): (usize, &&Path)| {
            let file = directory.join(format!("{number}.pye"));
            link_image(python, root, &file, &[]);
            (root.to_path_buf(), file)
        };
        Packages(roots.iter().enumerate().map(link).collect())
    }

    fn variable(&self) -> String {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let entries = self.0.iter().map(|(root, file)| format!("{}={}", text(root), text(file)));
        entries.collect::<Vec<_>>().join(":")
    }
}

/// Links `root` to `file` with an image for `python`; `options` are further ones of `pye link`.
pub(crate) fn link_image(python: &Python, root: &Path, file: &Path, options: &[&str]) {
    let tag = format!("cpython-{}{}", python.version.0, python.version.1);
    let mut command =
        tool::command(&[&"link", &root, &"-o", &file, &"--tag", &tag, &"--image", &"--python", &python.path]);
    // The interpreter makes the image with the extension module, which it must find.
    command.args(options).arg("--json").env("PYTHONPATH", site()).env_remove("PYTHONHOME");
    let printed = succeeds(&mut command);
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{command:?}: {e}: {printed}"));
    assert!(report["packages"][0]["modules"].as_u64() > Some(0), "nothing in {}: {report}", root.display());
}

/// A run of an interpreter.
pub(crate) struct Run<'a> {
    /// The interpreter.
    pub(crate) python: &'a Python,
    /// Directories for `PYTHONPATH`.
    pub(crate) path: &'a [&'a Path],
    /// Further variables.
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Where it runs.
    pub(crate) directory: &'a Path,
}

impl Run<'_> {
    /// The command, without pye.
    pub(crate) fn stock<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        self.command(args, &[])
    }

    /// The command, with `packages`; what the loader did is appended to `status`.
    pub(crate) fn pye<S: AsRef<OsStr>>(&self, args: &[S], packages: &Packages, status: &Path) -> Command {
        let boot = script("boot");
        let mut command = self.command(args, &[&boot]);
        command.env("PYE_TEST_SITE", site()).env("PYE_TEST_PACKAGES", packages.variable());
        command.env("PYE_TEST_STATUS", status);
        command
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S], first: &[&Path]) -> Command {
        let mut command = super::bare(&self.python.path);
        let path = std::env::join_paths(first.iter().chain(self.path)).expect("no colon in a path");
        command.args(args).env("PYTHONPATH", path).current_dir(self.directory).stdin(Stdio::null());
        // Sets and their printed order must not differ between runs that are compared; no user's packages.
        command.env("PYTHONHASHSEED", "1").env("PYTHONNOUSERSITE", "1").env_remove("PYTHONDONTWRITEBYTECODE");
        command.envs(self.env.iter().copied());
        command
    }
}

/// Runs it to the end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs it; it must end with 0. Returns what it printed.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// What the processes of a run left in `status`, oldest first.
pub(crate) fn reports(status: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(status).unwrap_or_else(|e| panic!("no process has told its status: {e}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The stores of all processes.
fn stores(reports: &[Value]) -> impl Iterator<Item = &Value> {
    reports.iter().flat_map(|report| report["loaded"]["stores"].as_array().into_iter().flatten())
}

/// Modules that the processes of a run loaded from packages.
pub(crate) fn loaded(reports: &[Value]) -> u64 {
    stores(reports).map(|store| store["loaded"].as_u64().expect("a number")).sum()
}

/// Modules that the processes of a run took from images.
pub(crate) fn from_images(reports: &[Value]) -> u64 {
    stores(reports).filter_map(|store| store["image"]["loaded"].as_u64()).sum()
}

/// What has become of the images of the packages of a run: "mapped", or why not.
pub(crate) fn image_states(reports: &[Value]) -> Vec<String> {
    stores(reports).filter_map(|store| store["image"]["state"].as_str().map(str::to_owned)).collect()
}

/// The reasons for which modules were left to the stock import system, and packages refused.
pub(crate) fn reasons(reports: &[Value]) -> Vec<String> {
    let fallbacks = stores(reports).flat_map(|store| store["fallbacks"].as_object().into_iter().flatten());
    let mut reasons: Vec<String> = fallbacks.map(|(reason, _)| reason.clone()).collect();
    for report in reports {
        reasons.extend(report["reason"].as_str().map(str::to_owned));
        let refused = report["refused"].as_array().into_iter().flatten();
        reasons.extend(refused.map(|pair| pair[1].as_str().unwrap_or_default().to_owned()));
    }
    reasons
}

/// The version's standard library as a package: linked once, kept, and made anew when the library or the program changes.
pub(crate) fn stdlib_package(python: &Python) -> (PathBuf, PathBuf) {
    let tree = super::compiled_stdlib(python);
    let directory = cache_dir().join("loader");
    std::fs::create_dir_all(&directory).expect("the target directory is writable");
    let name = format!("{}-{:08x}.pye", python.name(), crc32fast::hash(tree.as_os_str().as_encoded_bytes()));
    let file = directory.join(name);
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    static LINKED: std::sync::Mutex<Vec<PathBuf>> = std::sync::Mutex::new(Vec::new());
    let mut linked = LINKED.lock().expect("nothing panics while it is held");
    if !linked.contains(&file) {
        let tag = format!("cpython-{}{}", python.version.0, python.version.1);
        let exclude = ["site-packages", "dist-packages"];
        tool::good(&[
            &"link",
            &tree,
            &"-o",
            &file,
            &"--tag",
            &tag,
            &"--exclude",
            &exclude[0],
            &"--exclude",
            &exclude[1],
        ]);
        linked.push(file.clone());
    }
    (tree, file)
}

/// Compiles the program that embeds Python, against interpreters that are built as a shared library and have their headers.
fn embedding(python: &Python, directory: &Path) -> Option<PathBuf> {
    let ask = "import os, sys, sysconfig
prefix = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
print(prefix, sysconfig.get_config_var('LDVERSION'), sysconfig.get_config_var('MULTIARCH') or '.')";
    let told = succeeds(python.command().args(["-c", ask]));
    let [prefix, version, multiarch] = told.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{told}") };
    let (prefix, name) = (Path::new(prefix), format!("python{version}"));
    let include = prefix.join("include").join(&name);
    let library = [prefix.join("lib"), prefix.join("lib").join(multiarch)];
    let library = library.into_iter().find(|l| l.join(format!("lib{name}.so")).exists())?;
    if !include.join("Python.h").exists() {
        return None;
    }
    let program = directory.join("embed");
    let mut cc = Command::new("cc");
    cc.arg(script("embed.c")).arg("-o").arg(&program).arg("-I").arg(&include);
    // Debian's `pyconfig.h` includes the one of the architecture.
    cc.arg("-idirafter").arg(prefix.join("include")).arg("-L").arg(&library);
    cc.arg(format!("-Wl,-rpath,{}", library.display())).arg(format!("-l{name}"));
    let compiled = output(&mut cc);
    if compiled.status.success() {
        return Some(program);
    }
    // A library for another version of the C library than the compiler's, for one.
    let why = String::from_utf8_lossy(&compiled.stderr);
    let why = why.lines().next().unwrap_or_default();
    let _ = writeln!(io::stderr(), "note: not tested embedded: {}: {why}", python.path.display());
    None
}

/// Runs a program that starts Python three times in its process, with each project whose interpreter can be embedded. Only the first life must be served. Returns what the
/// loader did in it.
pub(crate) fn embedded<'a>(projects: impl Iterator<Item = Project<'a>>) -> Vec<(&'a Python, Vec<Value>)> {
    let mut tested = Vec::new();
    for project in projects {
        let python = project.python;
        let Some(program) = embedding(python, project.temporary.path()) else { continue };
        let (_, pye, status) = project.both::<&str>(&[], &[("PYTHONDONTWRITEBYTECODE", "1")]);
        let mut command = Command::new(program);
        command.envs(pye.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let prefix = succeeds(python.command().args(["-c", "import sys; print(sys.prefix)"]));
        command.env("PYTHONHOME", prefix.trim()).current_dir(&project.directory);
        let printed = succeeds(&mut command);
        let lives: Vec<bool> = printed.lines().map(|line| line == "pye._finder").collect();
        assert_eq!(lives, [true, false, false], "{}: {printed}", python.path.display());
        tested.push((python, reports(&status)));
    }
    if tested.is_empty() {
        let _ = writeln!(
            io::stderr(),
            "note: no interpreter at hand is a shared library with headers: not tested embedded"
        );
    }
    tested
}

/// A project made by `tests/loader/project.py`, with a package for each of its roots.
pub(crate) struct Project<'a> {
    /// The interpreter it was compiled by.
    pub(crate) python: &'a Python,
    /// The directory with `lib`, `more` and `cwd`.
    pub(crate) directory: PathBuf,
    /// Name of its extension module.
    pub(crate) extension: String,
    /// Packages of `lib` and `more`.
    pub(crate) packages: Packages,
    temporary: tempfile::TempDir,
}

impl<'a> Project<'a> {
    /// Makes one; `options` are those of `project.py`.
    pub(crate) fn new(python: &'a Python, options: &[&str]) -> Project<'a> {
        Project::linked(python, options, Packages::link)
    }

    /// As `new`, with images in its packages.
    pub(crate) fn with_images(python: &'a Python) -> Project<'a> {
        Project::linked(python, &[], Packages::link_image)
    }

    fn linked(
        python: &'a Python,
        options: &[&str],
        link: impl Fn(&Python, &[&Path], &Path) -> Packages,
    ) -> Project<'a> {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let directory = temporary.path().join("project");
        let mut command = python.command();
        command.arg(script("project.py")).arg(&directory).args(options);
        let extension = succeeds(&mut command).trim().to_owned();
        let roots = ["lib", "more"].map(|name| directory.join(name));
        let packages = link(python, &[&roots[0], &roots[1]], temporary.path());
        Project { python, directory, extension, packages, temporary }
    }

    /// A file beside the project.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Runs the interpreter in the project's `cwd`; returns the commands without and with pye, and where that tells its status.
    pub(crate) fn both<S: AsRef<OsStr>>(&self, args: &[S], env: &[(&str, &str)]) -> (Command, Command, PathBuf) {
        let [cwd, lib, more] = ["cwd", "lib", "more"].map(|name| self.directory.join(name));
        let run = Run { python: self.python, path: &[&cwd, &lib, &more], env, directory: &cwd };
        let status = self.beside("status");
        let _ = std::fs::remove_file(&status);
        (run.stock(args), run.pye(args, &self.packages, &status), status)
    }

    /// Runs it without and with pye: it must print the same and end alike. Returns what it printed, and what the loader did.
    pub(crate) fn same<S: AsRef<OsStr>>(&self, args: &[S], env: &[(&str, &str)]) -> (Output, Vec<Value>) {
        let (mut stock, mut pye, status) = self.both(args, env);
        let expected = output(&mut stock);
        let got = output(&mut pye);
        assert_same(&expected, &got, &format!("{pye:?}"));
        (got, reports(&status))
    }
}

/// That two runs ended alike and printed the same, times apart.
pub(crate) fn assert_same(expected: &Output, got: &Output, what: &str) {
    let untimed = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        // "Ran 3 tests in 0.001s"
        text.lines()
            .map(|line| if line.starts_with("Ran ") { line.split(" in ").next().unwrap() } else { line }.to_owned())
            .collect()
    };
    for (stream, expected, got) in
        [("stderr", &expected.stderr, &got.stderr), ("stdout", &expected.stdout, &got.stdout)]
    {
        let (expected, got) = (untimed(expected), untimed(got));
        if let Some(line) = (0..expected.len().max(got.len())).find(|i| expected.get(*i) != got.get(*i)) {
            let all = got.join("\n");
            panic!(
                "{what}: {stream}, line {}: expected {:?}, got {:?}\n{all}",
                line + 1,
                expected.get(line),
                got.get(line)
            );
        }
    }
    assert_eq!(expected.status, got.status, "{what}");
}
