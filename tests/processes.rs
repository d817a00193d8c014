//! Threads, forks, other processes, other interpreters and other lives of Python in one process, with modules from packages; and the
//! count of references on the debug builds.

mod common;

use std::fs;
use std::process::Command;

use common::debug_pythons;
use common::loader::{Project, embedded, loaded, output, reports, script, served, succeeds};

#[test]
fn threads_forks_processes_and_sub_interpreters_import_as_ever() {
    for python in served() {
        let project = Project::new(python, &[]);
        let together = script("together.py");
        let args = [together.as_os_str(), project.directory.as_os_str()];
        let env = [("PYTHONWARNINGS", "ignore"), ("PYTHONDONTWRITEBYTECODE", "1")];
        let (_, mut pye, status) = project.both(&args, &env);
        let printed = succeeds(&mut pye);
        assert_eq!(printed.lines().last(), Some("interpreters"), "{}: {printed}", python.path.display());
        assert!(loaded(&reports(&status)) > 20);
    }
}

/// No assertion of the debug build fails, and what it counts grows no faster than under the stock loader: by less than one reference a
/// round.
#[test]
fn references_do_not_grow() {
    for python in debug_pythons().iter().filter(|python| python.at_least(3, 9)) {
        let project = Project::new(python, &[]);
        let references = script("references.py");
        let names = ["app.mod", "single", "app.fails", "app.sub.leaf", "both", "plain", "twice"];
        let args = [&[references.to_str().unwrap()], &names[..]].concat();
        let (mut stock, mut pye, _) = project.both(&args, &[("PYTHONDONTWRITEBYTECODE", "1")]);
        let count = |command: &mut Command, loader: &str| -> i64 {
            let printed = succeeds(command);
            let (count, by) = printed.trim().split_once(' ').expect("a number and a loader");
            assert_eq!(by.starts_with("pye"), loader == "pye", "{by}");
            count.parse().expect("a number")
        };
        let (expected, got) = (count(&mut stock, "stock"), count(&mut pye, "pye"));
        // Twenty rounds.
        assert!(got < expected.max(0) + 20, "{}: {got} more references, stock {expected}", python.path.display());
    }
}

/// Tells when the finder is gone, and when what the interpreter keeps to its end is.
const ENDING: &str = "
import os, sys, app.mod
class Tells:
    def __init__(self, what):
        self.what = what
    def __del__(self, write=os.write):
        write(1, self.what)
[finder] = [finder for finder in sys.meta_path if type(finder).__module__ == 'pye._finder']
finder.tells = Tells(b'finder, ')
del finder, app
sys.tells = Tells(b'sys')
";

/// No handler keeps it, nor with it the modules that its own refers to.
#[test]
fn the_finder_ends_with_the_modules() {
    // 3.10 and 3.11 leave cycles of a program's own finders, too, to their last steps.
    for python in served().into_iter().filter(|python| !((3, 10)..=(3, 11)).contains(&python.version)) {
        let project = Project::new(python, &[]);
        let (_, mut pye, _) = project.both(&["-c", ENDING], &[("PYTHONDONTWRITEBYTECODE", "1")]);
        assert_eq!(succeeds(&mut pye), "finder, sys", "{}", python.path.display());
    }
}

/// A process that ends Python and starts it again: the first life is served, later ones import as usual.
#[test]
fn python_can_be_started_again_in_a_process() {
    embedded(served().into_iter().map(|python| Project::new(python, &[])));
}

/// Path files, editable installs of both kinds, hooks and finders of others.
#[test]
fn finders_and_path_files_of_others_keep_their_place() {
    for python in served().into_iter().filter(|python| !python.debug) {
        let project = Project::new(python, &[]);
        let outside = project.directory.join("outside");
        common::tool::put(outside.join("edited.py"), "WHERE = 'outside'\n");
        common::tool::put(project.directory.join("cwd/other.py"), "");
        let finders = script("finders.py");
        let args = [finders.as_os_str(), outside.as_os_str()];
        let (mut stock, mut pye, status) = project.both(&args, &[("PYTHONDONTWRITEBYTECODE", "1")]);
        let (expected, got) = (output(&mut stock), output(&mut pye));
        common::loader::assert_same(&expected, &got, &format!("{}", python.path.display()));
        assert!(expected.status.success(), "{}", String::from_utf8_lossy(&expected.stderr));
        assert!(loaded(&reports(&status)) >= 3, "{}", fs::read_to_string(&status).unwrap());
    }
}
