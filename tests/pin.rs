//! `pye pin`: files whose addresses were moved are good ELF files and run as before, at the same place in every process; interpreters made of them too.
//!
//! Tools that are missing are named on standard error; with `PYE_REQUIRE_TOOLS` set that is a failure.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Python;
use common::failing::{Failing, Fault};
use common::kills::{Left, kill_at_random_moments};
use common::loader::{imaged, link_image, output, site, succeeds};
use common::random::Random;
use common::tool::{self, fails, good, put};
use object::LittleEndian as LE;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64, Rela64};
use pye::elf::fixed::{Fixed, Kind, fix, with_search_path};

/// A base as `pye pin` chooses them, and one of a library of the tests' own.
const BASE: u64 = 0x4123_4560_0000;
const OTHER: u64 = 0x4abc_de00_0000;

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("PYE_REQUIRE_TOOLS").is_none(), "PYE_REQUIRE_TOOLS: {tool} is missing");
        let _ = writeln!(io::stderr(), "note: not tested with {tool}, which is missing");
    }
    found
}

/// Writes a program.
fn put_program(path: &Path, bytes: &[u8]) {
    put(path, bytes);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn fixed(path: &Path, base: u64) -> Fixed {
    let name = path.file_name().unwrap().to_str().unwrap();
    fix(&fs::read(path).unwrap(), name, base).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the tools say of a file that they should find nothing wrong with.
fn complaints(path: &Path) -> Vec<String> {
    let mut said = Vec::new();
    if has("readelf") {
        let read = output(Command::new("readelf").arg("-aW").arg(path));
        assert!(read.status.success(), "readelf {}", path.display());
        said.extend(String::from_utf8_lossy(&read.stderr).lines().map(str::to_owned));
    }
    if has("eu-elflint") {
        let lint = output(Command::new("eu-elflint").arg("--gnu-ld").arg(path));
        said.extend(String::from_utf8_lossy(&lint.stdout).lines().filter(|l| *l != "No errors").map(str::to_owned));
    }
    said
}

/// That the tools have nothing against `copy` that they do not have against `original`.
fn assert_accepted(copy: &Path, original: &Path) {
    let old = complaints(original);
    // Places move; the words stay.
    let words = |line: &String| line.chars().filter(|c| !c.is_ascii_hexdigit()).collect::<String>();
    let known: Vec<_> = old.iter().map(words).collect();
    let new: Vec<_> = complaints(copy).into_iter().filter(|line| !known.contains(&words(line))).collect();
    assert!(new.is_empty(), "{}: {new:#?}", copy.display());
}

/// The linkers and their options that make all kinds of files; those that are not at hand, or do not know the options, are named.
fn linkages() -> Vec<Vec<&'static str>> {
    vec![
        vec!["-Wl,-z,lazy"],
        vec!["-Wl,-z,now"],
        vec!["-Wl,-z,lazy", "-Wl,--hash-style=sysv", "-Wl,-z,noseparate-code"],
        vec!["-Wl,-z,now", "-Wl,-z,pack-relative-relocs"],
        vec!["-mtls-dialect=gnu2", "-Wl,-z,lazy"],
        vec!["-fuse-ld=lld", "-Wl,-z,lazy"],
        vec!["-fuse-ld=lld", "-Wl,-z,now", "-Wl,--pack-dyn-relocs=relr"],
        vec!["-Wl,-s"],
    ]
}

fn compile(arguments: &[&dyn AsRef<OsStr>], how: &[&str]) -> bool {
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-Wl,--build-id"]).args(arguments.iter().map(|a| a.as_ref())).args(how);
    let compiled = output(&mut cc);
    if !compiled.status.success() {
        let why = String::from_utf8_lossy(&compiled.stderr);
        let _ = writeln!(io::stderr(), "note: not tested: {how:?}: {}", why.lines().next().unwrap_or_default());
    }
    compiled.status.success()
}

#[test]
fn programs_and_libraries_of_all_linkers_run_at_their_base() {
    let directory = tempfile::tempdir().unwrap();
    let mut tested = 0;
    for (number, how) in linkages().iter().enumerate() {
        let place = directory.path().join(number.to_string());
        fs::create_dir_all(place.join("moved")).unwrap();
        let (library, program) = (place.join("libtest.so"), place.join("program"));
        let source = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pin").join(name);
        let made =
            compile(&[&"-shared", &"-fPIC", &source("library.c"), &"-o", &library, &"-Wl,-soname,libtest.so"], how)
                && compile(
                    &[&"-pie", &"-fPIE", &source("program.c"), &"-o", &program, &library, &"-Wl,-rpath,$ORIGIN"],
                    how,
                );
        if !made {
            continue;
        }
        // As where the linker does what the C library knows nothing of.
        if !output(Command::new(&program).arg("argument")).status.success() {
            let _ = writeln!(io::stderr(), "note: not tested: {how:?}: what it makes does not run here");
            continue;
        }
        tested += 1;
        let run = |program: &Path| succeeds(Command::new(program).arg("argument"));
        let stock = run(&program);
        let moved_library = fixed(&library, BASE);
        let moved_program = fixed(&program, OTHER);
        assert_eq!((moved_library.kind, moved_program.kind), (Kind::Library, Kind::Executable));
        assert_ne!(moved_library.build_id, moved_library.old_build_id);
        let (copy, started) = (place.join("moved/libtest.so"), place.join("moved/program"));
        put(&copy, &moved_library.bytes);
        put_program(&started, &moved_program.bytes);
        assert_accepted(&copy, &library);
        assert_accepted(&started, &program);
        let [first, second] = [(); 2].map(|()| run(&started));
        assert_eq!(first, second, "{how:?}: not at the same place");
        let at = |text: &str| text.lines().find(|line| line.starts_with("at ")).unwrap().to_owned();
        let rest =
            |text: &str| text.lines().filter(|line| !line.starts_with("at ")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rest(&first), rest(&stock), "{how:?}");
        let places: Vec<u64> =
            at(&first).split_whitespace().skip(1).map(|p| u64::from_str_radix(&p[2..], 16).unwrap()).collect();
        assert!((BASE..BASE + moved_library.span).contains(&places[0]), "{how:?}: {first}");
        assert!((OTHER..OTHER + moved_program.span).contains(&places[1]), "{how:?}: {first}");

        // The library's place is taken: it is loaded elsewhere.
        let squatter = place.join("libsquat.so");
        assert!(compile(&[&"-shared", &"-fPIC", &source("library.c"), &"-o", &place.join("other.so")], &[]));
        put(&squatter, fixed(&place.join("other.so"), BASE).bytes);
        let displaced = succeeds(Command::new(&started).arg("argument").env("LD_PRELOAD", &squatter));
        let displaced: Vec<_> = rest(&displaced);
        assert!(displaced.contains(&rest(&stock)[1]), "{how:?}: {displaced:?}");
        // With its debugging information left out the copy refers to the original.
        if !how.contains(&"-Wl,-s") {
            assert!(moved_library.left_out.iter().any(|name| name == ".debug_info"), "{:?}", moved_library.left_out);
            assert_eq!(moved_library.debug_link.as_deref(), Some("libtest.so"));
        }

        // A program that looks elsewhere for its libraries: before what the environment says.
        let apart = place.join("bin/program");
        put_program(&apart, &with_search_path(&fs::read(&program).unwrap(), "$ORIGIN/../moved").unwrap());
        assert_accepted(&apart, &program);
        let found = succeeds(Command::new(&apart).arg("argument").env("LD_LIBRARY_PATH", &place));
        assert_eq!(at(&found).split(' ').nth(1), at(&first).split(' ').nth(1), "{how:?}: not the moved library");
    }
    assert!(tested >= 4, "{tested} of {} ways to link", linkages().len());
}

/// A small library to be broken.
fn small_library(directory: &Path) -> Vec<u8> {
    let library = directory.join("libtest.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pin/library.c");
    assert!(compile(&[&"-shared", &"-fPIC", &"-s", &source, &"-o", &library], &["-Wl,-z,lazy"]));
    fs::read(library).unwrap()
}

fn header(bytes: &mut [u8]) -> &mut FileHeader64<LE> {
    object::pod::from_bytes_mut(bytes).unwrap().0
}

/// The entries of a table at an offset.
fn table<T: object::Pod>(bytes: &mut [u8], at: u64, count: usize) -> &mut [T] {
    object::pod::slice_from_bytes_mut(&mut bytes[at as usize..], count).unwrap().0
}

fn segments(bytes: &mut [u8]) -> &mut [ProgramHeader64<LE>] {
    let (at, count) = (header(bytes).e_phoff.get(LE), header(bytes).e_phnum.get(LE));
    table(bytes, at, count.into())
}

fn dynamic(bytes: &mut [u8]) -> &mut [Dyn64<LE>] {
    let segment = segments(bytes).iter().find(|s| s.p_type.get(LE) == elf::PT_DYNAMIC).copied().unwrap();
    table(bytes, segment.p_offset.get(LE), segment.p_filesz.get(LE) as usize / 16)
}

#[test]
fn what_is_not_known_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let good = small_library(directory.path());
    assert!(fix(&good, "libtest.so", BASE).is_ok());
    let refused = |what: &str, change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let error = fix(&bytes, "libtest.so", BASE).err().unwrap_or_else(|| panic!("{what}: accepted"));
        let said = format!("{error} {}", error.help().unwrap_or_default());
        assert!(said.contains(expected), "{what}: {said}");
    };
    refused("no ELF file", &|b| b[0] = 0, "no ELF magic");
    refused("32 bits", &|b| b[4] = 1, "64 bits");
    refused("another machine", &|b| header(b).e_machine.set(LE, elf::EM_PPC64), "machine");
    refused("fixed already", &|b| header(b).e_type.set(LE, elf::ET_EXEC), "nothing to pin");
    refused("an object file", &|b| header(b).e_type.set(LE, elf::ET_REL), "type 1");
    refused("no section headers", &|b| header(b).e_shnum.set(LE, 0), "section headers");
    refused(
        "no dynamic section",
        &|b| {
            segments(b)
                .iter_mut()
                .filter(|s| s.p_type.get(LE) == elf::PT_DYNAMIC)
                .for_each(|s| s.p_type.set(LE, elf::PT_NULL));
        },
        "dynamic section",
    );
    refused(
        "no build-id",
        &|b| {
            segments(b)
                .iter_mut()
                .filter(|s| s.p_type.get(LE) == elf::PT_NOTE)
                .for_each(|s| s.p_type.set(LE, elf::PT_NULL));
        },
        "build-id",
    );
    let tagged = |tag: elf::DynamicTag| move |b: &mut Vec<u8>| dynamic(b)[0].d_tag.set(LE, tag);
    refused("prelinked", &tagged(elf::DT_GNU_PRELINKED), "prelink --undo");
    refused("an unknown entry", &tagged(elf::DynamicTag(0x6000_1234)), "0x60001234");
    refused(
        "relocations without addends",
        &|b| {
            dynamic(b).iter_mut().filter(|d| d.d_tag.get(LE) == elf::DT_PLTREL).for_each(|d| d.d_val.set(LE, 17));
        },
        "DT_PLTREL 17",
    );
    refused(
        "an unknown relocation",
        &|b| {
            let at = dynamic(b).iter().find(|d| d.d_tag.get(LE) == elf::DT_RELA).unwrap().d_val.get(LE);
            // In the first segment places in the file and in memory are the same.
            table::<Rela64<LE>>(b, at, 1)[0].set_r_info(LE, false, 0, elf::RelocationType(77));
        },
        "type 77",
    );
    refused(
        "unwinding by addresses",
        &|b| {
            let at = segments(b).iter().find(|s| s.p_type.get(LE) == elf::PT_GNU_EH_FRAME).unwrap().p_offset.get(LE);
            b[at as usize + 1] = 0;
        },
        ".eh_frame_hdr",
    );
    // Programs name their dynamic loader.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pin/program.c");
    let (library, program) = (directory.path().join("libtest.so"), directory.path().join("program"));
    assert!(compile(&[&"-pie", &"-fPIE", &source, &"-o", &program, &library], &[]));
    let mut bytes = fs::read(&program).unwrap();
    assert!(fix(&bytes, "program", BASE).is_ok());
    let name = bytes.windows(8).position(|part| part == b"ld-linux").unwrap();
    bytes[name..name + 8].copy_from_slice(b"ld-musl-");
    let error = fix(&bytes, "program", BASE).unwrap_err();
    assert!(error.to_string().contains("one of musl"), "{error}");
    let moved = fix(&good, "libtest.so", BASE).unwrap().bytes;
    let error = fix(&moved, "libtest.so", OTHER).unwrap_err();
    assert!(error.help().unwrap().contains("moved already"), "{error}");
    for base in [BASE + 1, u64::MAX - 4095] {
        assert!(fix(&good, "libtest.so", base).is_err(), "{base:#x}");
    }
}

#[test]
fn damaged_files_are_refused_or_moved_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let good = small_library(directory.path());
    for len in (0..good.len()).step_by(61) {
        assert!(fix(&good[..len], "libtest.so", BASE).is_err(), "cut at {len}");
    }
    // Headers and tables lie in front and at the end; every byte of those, and some of the rest.
    let tables = (0..0x800).chain(good.len() - 0x900..good.len()).chain((0x800..good.len() - 0x900).step_by(7));
    for at in tables {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        let _ = fix(&bytes, "libtest.so", BASE);
        let _ = with_search_path(&bytes, "$ORIGIN/../lib");
    }
}

/// Interpreters that can have images and are loaded anywhere.
fn movable() -> Vec<&'static Python> {
    let (movable, fixed): (Vec<_>, Vec<_>) = imaged().into_iter().partition(|python| {
        let bytes = fs::read(&python.path).unwrap();
        bytes[16..18] == elf::ET_DYN.0.to_le_bytes()
    });
    if movable.is_empty() {
        let names: Vec<_> = fixed.iter().map(|python| python.path.display().to_string()).collect();
        let _ =
            writeln!(io::stderr(), "note: nothing to pin: no CPython 3.12 or later but of fixed addresses ({names:?})");
    }
    movable
}

/// A virtual environment, made by hand: not every interpreter has the module venv.
fn environment(python: &Path, name: &str, place: &Path) -> PathBuf {
    let venv = place.join("venv");
    fs::create_dir_all(venv.join(format!("lib/python{name}/site-packages"))).unwrap();
    fs::create_dir(venv.join("bin")).unwrap();
    symlink(python, venv.join("bin/python")).unwrap();
    symlink("python", venv.join("bin/python3")).unwrap();
    put(venv.join("pyvenv.cfg"), format!("home = {}\n", python.parent().unwrap().display()));
    venv
}

/// All of a tree: paths, what links lead to, contents.
fn listing(tree: &Path) -> Vec<(PathBuf, Option<PathBuf>, Vec<u8>)> {
    let mut found: Vec<_> = walkdir::WalkDir::new(tree)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .map(|path| {
            let link = fs::read_link(&path).ok();
            let bytes = if path.is_file() && link.is_none() { fs::read(&path).unwrap() } else { Vec::new() };
            (path, link, bytes)
        })
        .collect();
    found.sort();
    found
}

fn python(venv: &Path, code: &str) -> Command {
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-c", code]).env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("LD_PRELOAD");
    // For the order of sets.
    command.env("PYTHONHASHSEED", "0");
    command
}

const ADDRESS: &str = "import sys; print(id(str), sys.prefix, sys.version)";

#[test]
fn a_pinned_interpreter_is_the_same_but_for_its_place() {
    let uses = "import ctypes, decimal, hashlib, json, multiprocessing, sqlite3, ssl, sys, threading, zlib
print(ctypes.pythonapi.Py_IsInitialized(), ssl.OPENSSL_VERSION, sqlite3.connect(':memory:').execute('select 1').fetchone(), sys.flags, sys.path[1:])
try:
    raise KeyError(1)
except KeyError as error:
    print(repr(error))";
    for interpreter in movable() {
        let place = tempfile::tempdir().unwrap();
        let venv = environment(&interpreter.path, &interpreter.name(), place.path());
        let before = listing(&venv);
        let stock = succeeds(&mut python(&venv, uses));
        let report = good(&[&"pin", &"--venv", &venv]);
        let [first, second] = [(); 2].map(|()| succeeds(&mut python(&venv, ADDRESS)));
        assert_eq!(first, second, "{}", interpreter.path.display());
        let base = report["base"].as_u64().unwrap();
        let address: u64 = first.split(' ').next().unwrap().parse().unwrap();
        assert!((base..base + report["span"].as_u64().unwrap()).contains(&address), "{report}: {first}");
        assert_eq!(succeeds(&mut python(&venv, uses)), stock, "{}", interpreter.path.display());

        let moved = |what: &str| -> Option<(PathBuf, PathBuf)> {
            Some((report[what]["path"].as_str()?.into(), report[what]["original"].as_str()?.into()))
        };
        let files: Vec<_> = ["program", "library"].into_iter().filter_map(moved).collect();
        for (copy, original) in &files {
            assert_accepted(copy, original);
            let mode = fs::metadata(copy).unwrap().permissions().mode();
            assert_eq!(mode & 0o022, 0, "{}: others may write", copy.display());
        }
        if has("ldd") {
            let told = succeeds(Command::new("ldd").arg(&files[0].0));
            assert!(!told.contains("not found"), "{told}");
            assert!(files.len() < 2 || told.contains(&format!("{base:016x}")), "{told}");
        }
        if has("gdb") {
            let raise = "import os, signal\ndef inner():\n    os.kill(os.getpid(), signal.SIGTRAP)\ninner()";
            let mut gdb = Command::new("gdb");
            gdb.args(["-nx", "-q", "-batch", "-ex", "run", "-ex", "bt 8", "--args"]);
            gdb.arg(venv.join("bin/python")).args(["-c", raise]).env("DEBUGINFOD_URLS", "").stdin(Stdio::null());
            let told = String::from_utf8_lossy(&output(&mut gdb).stdout).into_owned();
            assert!(told.contains("os_kill") && told.contains("PyObject_Vectorcall"), "{told}");
            // With its debugging information, where the original has it: places in sources.
            let left_out = report["left_out"].as_array().unwrap().iter().any(|name| name == ".debug_line");
            assert!(!left_out || told.contains("posixmodule.c:"), "{told}");
        }

        // Once more is refused, and so is making one of it.
        assert!(fails(&[&"pin", &"--venv", &venv]).contains("pye pin --undo"));
        let undone = good(&[&"pin", &"--undo", &"--venv", &venv]);
        assert_eq!(undone["base"], report["base"]);
        assert_eq!(listing(&venv), before, "{}", interpreter.path.display());
        assert_eq!(good(&[&"pin", &"--undo", &"--venv", &venv])["undone"], true);
    }
}

#[test]
fn copies_of_an_interpreter_in_an_environment_are_replaced_and_put_back() {
    let Some(interpreter) = movable().into_iter().next() else { return };
    let place = tempfile::tempdir().unwrap();
    let venv = environment(&interpreter.path, &interpreter.name(), place.path());
    fs::remove_file(venv.join("bin/python")).unwrap();
    fs::copy(fs::canonicalize(&interpreter.path).unwrap(), venv.join("bin/python")).unwrap();
    let before = listing(&venv);
    good(&[&"pin", &"--venv", &venv]);
    assert_eq!(succeeds(&mut python(&venv, ADDRESS)), succeeds(&mut python(&venv, ADDRESS)));
    good(&[&"pin", &"--undo", &"--venv", &venv]);
    assert_eq!(listing(&venv), before);
}

#[test]
fn an_environment_that_is_reached_by_a_link_or_moved_stays_pinned() {
    let Some(interpreter) = movable().into_iter().next() else { return };
    let place = tempfile::tempdir().unwrap();
    let real = place.path().join("real");
    fs::create_dir(&real).unwrap();
    let linked = place.path().join("linked");
    symlink(&real, &linked).unwrap();
    let venv = environment(&interpreter.path, &interpreter.name(), &linked);
    let before = listing(&real.join("venv/bin"));
    let report = good(&[&"pin", &"--venv", &venv]);
    let address = |venv: &Path| succeeds(&mut python(venv, "print(id(str))"));
    let there = address(&venv);
    let moved = place.path().join("moved");
    fs::rename(real.join("venv"), &moved).unwrap();
    assert_eq!(address(&moved), there);
    let told = output(&mut tool::command(&[&"doctor", &"--json", &"--", &moved.join("bin/python")]));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["addresses"]["are"], &told["addresses"]["start"]), (&"pinned".into(), &report["base"]));
    good(&[&"pin", &"--undo", &"--venv", &moved]);
    fs::rename(&moved, real.join("venv")).unwrap();
    assert_eq!(listing(&real.join("venv/bin")), before);
    assert!(!venv.join("pye-pin").exists());
}

#[test]
fn into_a_directory_of_its_own() {
    let Some(interpreter) = movable().into_iter().next() else { return };
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("pinned");
    let report = good(&[&"pin", &"--python", &interpreter.path, &"--output", &output, &"--base", &"0x456789a00000"]);
    assert_eq!(report["base"].as_u64(), Some(0x4567_89a0_0000));
    let run = |program: &Path| {
        succeeds(Command::new(program).args(["-c", "import sys; print(sys.prefix, sys.path)"]).env_remove("PYTHONPATH"))
    };
    assert_eq!(run(Path::new(report["program"]["path"].as_str().unwrap())), run(&interpreter.path));
    good(&[&"pin", &"--undo", &"--output", &output]);
    assert!(!output.exists());
    // What the user has there is not taken for one, in neither direction.
    put(place.path().join("mine/file"), "mine");
    let mine = place.path().join("mine");
    assert!(fails(&[&"pin", &"--python", &interpreter.path, &"--output", &mine]).contains("an empty directory"));
    tool::run(&[&"pin", &"--undo", &"--output", &mine]);
    assert_eq!(listing(&mine).len(), 2);
}

/// Programs of one file: a position-independent executable with all of Python in it.
fn static_programs(interpreter: &Python, place: &Path) -> Vec<PathBuf> {
    let ask = "import sys, sysconfig; v = sysconfig.get_config_var; print(v('LIBPL'), v('LIBRARY'), sysconfig.get_path('stdlib'), *v('LIBS').split(), *v('SYSLIBS').split())";
    let told = succeeds(Command::new(&interpreter.path).args(["-c", ask]));
    let [directory, library, stdlib, libraries @ ..] = &told.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let archive = Path::new(directory).join(library);
    if !archive.exists() {
        let _ = writeln!(io::stderr(), "note: not tested as one file: {} is missing", archive.display());
        return Vec::new();
    }
    let source = place.join("main.c");
    put(&source, "int Py_BytesMain(int, char **); int main(int c, char **v) { return Py_BytesMain(c, v); }");
    let ways: [&[&str]; 2] = [&["-Wl,-z,lazy"], &["-Wl,-z,now", "-Wl,-z,pack-relative-relocs"]];
    let make = |(number, how): (usize, &&[&str])| {
        let prefix = place.join(format!("static {number}"));
        let program = prefix.join("bin").join(format!("python{}", interpreter.name()));
        fs::create_dir_all(prefix.join("lib")).unwrap();
        fs::create_dir_all(prefix.join("bin")).unwrap();
        symlink(stdlib, prefix.join(format!("lib/python{}", interpreter.name()))).unwrap();
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"-pie", &"-fPIE", &source, &"-o", &program];
        arguments.extend([&"-Wl,--export-dynamic", &"-Wl,--whole-archive"].map(|a| a as &dyn AsRef<OsStr>));
        arguments.push(&archive);
        arguments.push(&"-Wl,--no-whole-archive");
        arguments.extend(libraries.iter().map(|library| library as &dyn AsRef<OsStr>));
        compile(&arguments, how).then_some(program)
    };
    ways.iter().enumerate().filter_map(make).collect()
}

#[test]
fn a_program_of_one_file_is_loaded_by_the_kernel_at_its_base() {
    let mut tested = 0;
    for interpreter in movable().into_iter().filter(|python| !python.debug) {
        let place = tempfile::tempdir().unwrap();
        for (number, program) in static_programs(interpreter, place.path()).iter().enumerate() {
            let venv = environment(program, &interpreter.name(), &place.path().join(format!("{number}")));
            let stock =
                succeeds(&mut python(&venv, "import sys, json, ssl; print(sys.prefix, sys.path, json.dumps([1]))"));
            let report = good(&[&"pin", &"--venv", &venv]);
            assert!(report["library"].is_null(), "{report}");
            let copy = Path::new(report["program"]["path"].as_str().unwrap());
            assert_eq!(fs::read(copy).unwrap()[16..18], elf::ET_EXEC.0.to_le_bytes());
            assert_accepted(copy, program);
            let [first, second] = [(); 2].map(|()| succeeds(&mut python(&venv, ADDRESS)));
            assert_eq!(first, second);
            let again =
                succeeds(&mut python(&venv, "import sys, json, ssl; print(sys.prefix, sys.path, json.dumps([1]))"));
            assert_eq!(again, stock);
            tested += 1;
        }
    }
    let _ = writeln!(io::stderr(), "note: {tested} programs of one file pinned");
}

#[test]
fn images_fit_every_process_of_a_pinned_interpreter_and_are_relocated_where_its_place_is_taken() {
    for interpreter in movable() {
        let place = tempfile::tempdir().unwrap();
        let venv = environment(&interpreter.path, &interpreter.name(), place.path());
        let report = good(&[&"pin", &"--venv", &venv]);
        let base = report["base"].as_u64().unwrap();
        let tree = place.path().join("tree");
        put(
            tree.join("some.py"),
            "'''Some text'''\ndef f(a, *, b=(1, 'two', None)):\n    return a in {'x', 'y'}, b, int, str\n",
        );
        let pinned = Python { version: interpreter.version, path: venv.join("bin/python"), debug: interpreter.debug };
        succeeds(Command::new(&pinned.path).args(["-m", "compileall", "-q"]).arg(&tree));
        let package = place.path().join("package.pye");
        link_image(&pinned, &tree, &package, &[]);
        // A library at the base comes first: one that is preloaded.
        let squatter = place.path().join("libsquat.so");
        let library = place.path().join("library.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pin/library.c");
        assert!(compile(
            &[&"-shared", &"-fPIC", &source, &"-o", &library, &"-Wl,-z,undefs"],
            &["-Wl,-z,lazy", "-DQUIET", "-Dof_program=of_own", "-include", own_header(place.path()).to_str().unwrap()]
        ));
        put(&squatter, fixed(&library, base).bytes);
        let run = |preload: Option<&Path>| {
            let code = "import some, pye, sys
image = pye.status()['activations'][0]['loaded']['stores'][0]['image']
print(some.f('x'), some.f.__code__.co_consts, some.__doc__)
print(image['state'], image['relocation'], image['loaded'], id(str))";
            let mut command = python(&venv, code);
            command
                .env("PYTHONPATH", std::env::join_paths([&boot(), &tree]).unwrap())
                .env("PYE_PACKAGES", format!("{}={}", tree.display(), package.display()));
            if let Some(library) = preload {
                command.env("LD_PRELOAD", library);
            }
            let text = succeeds(&mut command);
            let mut lines = text.lines().map(str::to_owned);
            (lines.next().unwrap(), lines.next().unwrap())
        };
        let path = std::env::join_paths([&tree]).unwrap();
        let stock = "import some; print(some.f('x'), some.f.__code__.co_consts, some.__doc__)";
        let stock = succeeds(python(&venv, stock).env("PYTHONPATH", path));
        let (first, second) = (run(None), run(None));
        assert_eq!(first.0, stock.trim_end());
        assert_eq!(first, second, "not the same in two processes");
        assert!(first.1.starts_with("mapped none 1 "), "{first:?}");
        let displaced = run(Some(&squatter));
        assert_eq!(displaced.0, first.0);
        let [state, relocation, ..] = displaced.1.split(' ').collect::<Vec<_>>()[..] else { panic!("{displaced:?}") };
        assert_eq!((state, relocation), ("mapped", "at-fork"), "{displaced:?}");
        let address: u64 = displaced.1.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(!(base..base + report["span"].as_u64().unwrap()).contains(&address), "{displaced:?}");

        let doctor = |preload: Option<&Path>| {
            let mut doctor = tool::command(&[&"doctor", &"--json", &"--", &pinned.path]);
            if let Some(library) = preload {
                doctor.env("LD_PRELOAD", library);
            }
            let told = output(&mut doctor);
            serde_json::from_slice::<serde_json::Value>(&told.stdout).unwrap()["addresses"]["are"].clone()
        };
        assert_eq!((doctor(None), doctor(Some(&squatter))), ("pinned".into(), "displaced".into()));
        // An image of the interpreter as it was fits no more, and the other way round.
        good(&[&"pin", &"--undo", &"--venv", &venv]);
        let unpinned = run(None);
        assert_eq!(unpinned.0, first.0);
        assert!(!unpinned.1.starts_with("mapped"), "{unpinned:?}");
    }
}

/// Declares what the library wants of a program, so that it stands alone.
fn own_header(place: &Path) -> PathBuf {
    let header = place.join("own.h");
    put(&header, "int of_own = 29;\n");
    header
}

/// The directory that activates what `PYE_PACKAGES` names.
fn boot() -> PathBuf {
    site().join("pye/boot")
}

#[test]
fn a_kill_at_any_moment_is_taken_back() {
    let Some(interpreter) = movable().into_iter().next() else { return };
    let place = tempfile::tempdir().unwrap();
    let venv = environment(&interpreter.path, &interpreter.name(), place.path());
    let before = listing(&venv);
    let stock = succeeds(&mut python(&venv, "print(1)"));
    let names = |listing: &[(PathBuf, Option<PathBuf>, Vec<u8>)]| -> Vec<PathBuf> {
        listing.iter().map(|(path, ..)| path.clone()).collect()
    };
    let pin = || tool::command(&[&"pin", &"--venv", &venv]);
    succeeds(&mut pin());
    let (old, whole) = (names(&before), names(&listing(&venv)));
    good(&[&"pin", &"--undo", &"--venv", &venv]);
    let check = || {
        let there = names(&listing(&venv));
        let half_way = there != old && there != whole;
        let leftovers = there.iter().filter(|path| !old.contains(path) && !whole.contains(path)).count();
        assert_eq!(succeeds(&mut python(&venv, "print(1)")), stock);
        tool::run(&[&"pin", &"--undo", &"--venv", &venv]);
        // A link that was being tried leads nowhere any more.
        let left: Vec<_> = listing(&venv).into_iter().filter(|entry| !before.contains(entry)).collect();
        assert!(left.is_empty(), "{left:?}");
        Left { half_way, leftovers }
    };
    kill_at_random_moments("pin", 30, pin, check);
}

#[test]
fn a_disk_that_is_full_at_any_byte_is_named_and_all_is_as_before() {
    let Some(interpreter) = movable().into_iter().next() else { return };
    let place = tempfile::tempdir().unwrap();
    let venv = environment(&interpreter.path, &interpreter.name(), place.path());
    let failing = Failing::new(place.path());
    let before = listing(&venv);
    let pin = || tool::command(&[&"pin", &"--venv", &venv]);
    succeeds(&mut pin());
    let new = listing(&venv).into_iter().filter(|entry| !before.contains(entry));
    let bytes: usize = new.map(|(.., bytes)| bytes.len()).sum();
    good(&[&"pin", &"--undo", &"--venv", &venv]);
    let mut random = Random::new(4);
    for round in 0..common::number("PYE_FAULTS", 12) {
        // The record is written last, and is small.
        let limit = if round % 4 == 0 { bytes - 1 - random.below(600) } else { random.below(bytes) };
        let mut pin = pin();
        failing.apply(&mut pin, &venv, Fault::Write(limit as u64));
        let result = output(&mut pin);
        let said = String::from_utf8_lossy(&result.stdout).into_owned() + &String::from_utf8_lossy(&result.stderr);
        assert_eq!(result.status.code(), Some(1), "{limit} of {bytes} bytes: {said}");
        assert!(said.contains("No space left on device"), "{limit} of {bytes} bytes: {said}");
        assert!(listing(&venv) == before, "{limit} of {bytes} bytes: something is left");
    }
    succeeds(&mut pin());
}

#[test]
fn originals_that_change_are_told_of() {
    let Some(interpreter) = movable().into_iter().find(|python| !python.debug) else { return };
    let place = tempfile::tempdir().unwrap();
    // An interpreter of the test's own, to be upgraded.
    let original = fs::canonicalize(&interpreter.path).unwrap();
    let own = place.path().join("own").join(original.file_name().unwrap());
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::copy(&original, &own).unwrap();
    let venv = environment(&own, &interpreter.name(), place.path());
    put(venv.join("pyvenv.cfg"), format!("home = {}\n", interpreter.path.parent().unwrap().display()));
    good(&[&"pin", &"--venv", &venv]);
    let outdated = || {
        let told = output(&mut tool::command(&[&"doctor", &"--json", &"--", &venv.join("bin/python")]));
        serde_json::from_slice::<serde_json::Value>(&told.stdout).unwrap()["addresses"]["outdated"].clone()
    };
    assert_eq!(outdated(), serde_json::json!([]));
    let later = std::time::SystemTime::now() + Duration::from_secs(9);
    fs::File::options().write(true).open(&own).unwrap().set_modified(later).unwrap();
    assert_eq!(outdated(), serde_json::json!([own]));
}

#[test]
fn what_cannot_be_pinned_is_refused() {
    for python in common::pythons().iter().filter(|python| python.at_least(3, 9) && !python.at_least(3, 12)) {
        let said = fails(&[&"pin", &"--python", &python.path, &"--output", &"never"]);
        assert!(said.contains("3.12 to 3.15"), "{said}");
    }
    for python in imaged() {
        if fs::read(&python.path).unwrap()[16..18] == elf::ET_EXEC.0.to_le_bytes() {
            let said = fails(&[&"pin", &"--python", &python.path, &"--output", &"never"]);
            assert!(said.contains("nothing to pin"), "{said}");
        }
    }
    assert!(!Path::new("never").exists());
}
