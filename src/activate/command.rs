//! Which interpreter a command line will use, and what its arguments tell it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The longest first line that is looked at, in bytes: Linux reads 256 (`BINPRM_BUF_SIZE`), installers write longer ones for
/// the shell.
const SHEBANG: u64 = 4096;

/// A Python command line, taken apart: `python [option]… (script | -c code | -m module) [argument]…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PythonLine {
    /// The interpreter's own options. Those that take no value stand alone each.
    pub options: Vec<OsString>,
    /// The program and its arguments, from `-c`, `-m` or the script on; code and module are words of their own.
    pub program: Vec<OsString>,
}

impl PythonLine {
    /// Takes the words after the interpreter apart. Options are those of every CPython: `-W` and `-X` take a value, `-c` and `-m` end
    /// them, and letters may stand together (`-Im module`).
    pub fn of(words: &[OsString]) -> PythonLine {
        let mut line = PythonLine::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            let letters = match bytes.strip_prefix(b"-") {
                // `-` is standard input, taken for the program.
                None | Some([]) => {
                    line.program.push(word.clone());
                    break;
                }
                Some([b'-', ..]) => {
                    line.options.push(word.clone());
                    if bytes == b"--check-hash-based-pycs" {
                        line.options.extend(words.next().cloned());
                    }
                    continue;
                }
                Some(letters) => letters,
            };
            for (at, letter) in letters.iter().enumerate() {
                let option = OsString::from(format!("-{}", char::from(*letter)));
                if !b"cmWX".contains(letter) {
                    line.options.push(option);
                    continue;
                }
                // The value is the rest of the word, or the next word.
                let rest = &letters[at + 1..];
                let value = if rest.is_empty() { words.next().cloned() } else { Some(OsStr::from_bytes(rest).into()) };
                let list = if b"cm".contains(letter) { &mut line.program } else { &mut line.options };
                list.push(option);
                list.extend(value);
                break;
            }
            if !line.program.is_empty() {
                break;
            }
        }
        line.program.extend(words.cloned());
        line
    }

    /// The first of `options` (such as `-I`) that is given.
    pub fn given(&self, options: &[&'static str]) -> Option<&'static str> {
        let mut words = self.options.iter();
        while let Some(word) = words.next() {
            if word == "-W" || word == "-X" {
                words.next();
            } else if let Some(found) = options.iter().find(|option| word == *option) {
                return Some(found);
            }
        }
        None
    }
}

/// The interpreter that a command will use, as far as can be seen: its first word when that is a Python, the one in the first line of a
/// script, else `python3`. Both of the latter may be wrong for a program that starts its interpreters by other means.
pub fn interpreter(command: &[OsString]) -> PathBuf {
    let python3 = || PathBuf::from("python3");
    let Some(first) = command.first() else { return python3() };
    if is_python(Path::new(first)) {
        return first.into();
    }
    search(Path::new(first)).and_then(|script| shebang(&script)).unwrap_or_else(python3)
}

/// Whether a program is a Python by its name: `python`, `python3.13`, `python3.13d`, `python3-dbg`.
pub fn is_python(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().as_bytes();
    name.strip_prefix(b"python").is_some_and(|rest| {
        let version = rest.strip_suffix(b"-dbg").or_else(|| rest.strip_suffix(b"d")).unwrap_or(rest);
        version.iter().all(|b| b.is_ascii_digit() || *b == b'.')
    })
}

/// Where a command word is: itself when it has a slash, else the first executable of that name on `PATH`.
pub fn search(program: &Path) -> Option<PathBuf> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return Some(program.to_path_buf());
    }
    let executable =
        |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|directory| directory.join(program)).find(executable)
}

/// The Python of a script's first line: `#!/path/python`, `#!/usr/bin/env python3`, or what installers write where the path is too
/// long for the kernel or has blanks: `#!/bin/sh`, then `'''exec' "/path/python" "$0" "$@"`.
fn shebang(script: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    File::open(script).ok()?.take(SHEBANG).read_to_end(&mut head).ok()?;
    let mut lines = head.split(|b| *b == b'\n');
    let mut words = lines.next()?.strip_prefix(b"#!")?.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let path = |word: &[u8]| Some(PathBuf::from(OsStr::from_bytes(word))).filter(|path| is_python(path));
    let program = words.next()?;
    if program.ends_with(b"/env") {
        // Options and assignments of env stand before the program.
        return words.find(|word| !word.starts_with(b"-") && !word.contains(&b'=')).and_then(path);
    }
    if program.ends_with(b"/sh") {
        let line = lines.next()?.strip_prefix(b"'''exec' ")?;
        let quoted = line.strip_prefix(b"\"").and_then(|rest| rest.split(|b| *b == b'"').next());
        return path(quoted.or_else(|| line.split(u8::is_ascii_whitespace).next())?);
    }
    path(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn options_end_where_the_program_starts() {
        for (line, options, program) in [
            ("", "", ""),
            ("app.py -I", "", "app.py -I"),
            ("-I app.py", "-I", "app.py"),
            ("-X dev -W error -Xfrozen_modules=off app.py -m", "-X dev -W error -X frozen_modules=off", "app.py -m"),
            ("-BIm json.tool -E", "-B -I", "-m json.tool -E"),
            ("-bWerror -cpass x", "-b -W error", "-c pass x"),
            ("--check-hash-based-pycs always -B - x", "--check-hash-based-pycs always -B", "- x"),
        ] {
            let expected = PythonLine { options: words(options), program: words(program) };
            assert_eq!(PythonLine::of(&words(line)), expected, "{line}");
        }
    }

    #[test]
    fn options_are_not_looked_for_in_values() {
        for (line, found) in
            [("-bI a.py", Some("-I")), ("-X -S -W -E a.py", None), ("-WE a.py -S", None), ("-sE -", Some("-E"))]
        {
            assert_eq!(PythonLine::of(&words(line)).given(&["-I", "-E", "-S"]), found, "{line}");
        }
    }

    #[test]
    fn the_interpreter_is_the_first_word_or_the_script_s() {
        let directory = tempfile::tempdir().unwrap();
        let long = "#!/bin/sh\n'''exec' \"/a b/bin/python3.13\" \"$0\" \"$@\"\n' '''\n";
        for (text, python) in [
            ("#!/opt/v/bin/python -I\nimport x\n", "/opt/v/bin/python"),
            ("#!/usr/bin/env -S python3.12 -B\n", "python3.12"),
            (long, "/a b/bin/python3.13"),
            ("#!/bin/sh\necho\n", "python3"),
            ("\u{7f}ELF", "python3"),
        ] {
            let script = directory.path().join("script");
            std::fs::write(&script, text).unwrap();
            assert_eq!(interpreter(&[script.into()]), PathBuf::from(python), "{text}");
        }
        assert_eq!(interpreter(&words("/x/python3.13-dbg a.py")), PathBuf::from("/x/python3.13-dbg"));
        assert!(!is_python(Path::new("python-config")) && !is_python(Path::new("ipython")));
    }
}
