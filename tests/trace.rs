//! `pye trace` on real interpreters and processes of all sorts: what the profile tells, and that the program does not notice.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::Python;
use pye::profile::Profile;

/// A directory with a program in it.
struct Program {
    directory: tempfile::TempDir,
}

impl Program {
    fn new(text: &str) -> Program {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("app.py"), text).unwrap();
        Program { directory }
    }

    /// A further file.
    fn with(self, name: impl AsRef<Path>, text: &str) -> Program {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    fn path(&self) -> String {
        self.file("app.py").to_str().unwrap().into()
    }

    /// The program as it is.
    fn stock(&self, python: &Python) -> Command {
        let mut command = Command::new(&python.path);
        command.arg("app.py");
        self.here(command)
    }

    /// The program under `pye trace`.
    fn traced(&self, python: &Python) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pye"));
        command.args(["trace", "--output", "out.profile", "--"]).arg(&python.path).arg("app.py");
        self.here(command)
    }

    fn here(&self, mut command: Command) -> Command {
        command.current_dir(self.directory.path()).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
        command.stdin(Stdio::null());
        command
    }

    fn profile(&self) -> Profile {
        Profile::read(&self.file("out.profile")).unwrap()
    }

    /// Runs it both ways: the same must come out. Returns what it prints, and the profile.
    fn both(&self, python: &Python) -> (String, Profile) {
        let stock = self.stock(python).output().unwrap();
        let traced = self.traced(python).output().unwrap();
        let told = summary(&traced);
        let stderr = traced.stderr.strip_suffix(told.as_bytes()).unwrap_or_else(|| panic!("{traced:?}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!((text(&traced.stdout), text(stderr)), (text(&stock.stdout), text(&stock.stderr)), "{python:?}");
        assert_eq!(traced.status.code(), stock.status.code(), "{python:?}");
        (text(&traced.stdout), self.profile())
    }

    /// The names of the program's functions in the order of the profile.
    fn functions(&self, profile: &Profile) -> Vec<String> {
        let text = profile.to_text();
        let rows = text.lines().filter_map(|line| line.strip_prefix("function\t")?.split_once('\t'));
        let names = rows.filter_map(|(_, rest)| rest.strip_prefix(&self.path())?.strip_prefix('\t'));
        names.map(|name| name.split('\t').next().unwrap().to_owned()).collect()
    }

    /// How many processes ran a function.
    fn count(&self, profile: &Profile, name: &str) -> u32 {
        let text = profile.to_text();
        let tail = format!("\t{}\t{name}\t", self.path());
        let row = text.lines().find(|line| line.contains(&tail)).unwrap_or_else(|| panic!("no {name}: {text}"));
        row.split('\t').nth(1).unwrap().parse().unwrap()
    }
}

/// What pye itself says at the end.
fn summary(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines = stderr.split_inclusive('\n').filter(|line| line.starts_with("pye: "));
    lines.collect()
}

/// Those that tell of functions, debug builds among them.
fn telling() -> impl Iterator<Item = &'static Python> {
    let all = common::pythons().iter().chain(common::debug_pythons());
    all.filter(|python| python.at_least(3, 12))
}

/// The others.
fn older() -> impl Iterator<Item = &'static Python> {
    common::pythons().iter().filter(|python| !python.at_least(3, 12))
}

#[test]
fn what_runs_is_told_in_order_of_its_first_run() {
    let program = Program::new(
        r"import sys
import second
def decorate(function):
    return function
def never():
    pass
class Outer:
    class Inner:
        pass
    @decorate
    def method(self):
        return [x for x in (y for y in 'ab')]
def generate():
    yield 1
def unused():
    yield 2
async def work():
    async for item in asynchronous():
        pass
async def asynchronous():
    yield 3
def raises():
    raise ValueError
double = lambda x: 2 * x; triple = lambda x: 3 * x
class Meta(type):
    def __new__(cls, *args):
        return super().__new__(cls, *args)
class Made(metaclass=Meta):
    pass
unused()
[double(n) for n in range(1000)]
assert list(generate()) == [1]
triple(1)
Outer().method(); Outer().method()
try:
    work().send(None)
except StopIteration:
    pass
import third
try:
    raises()
except ValueError:
    print('raised')
exec('def made(): pass\nmade()')
print(second.later(), __file__)
sys.exit(7)
",
    )
    .with("second.py", "def later():\n    return 'later'\n")
    .with("third.py", "");
    for python in telling() {
        let (_, profile) = program.both(python);
        let expected = [
            "Outer",
            "Outer.Inner",
            "decorate",
            "Meta",
            "Made",
            "Meta.__new__",
            "<lambda>",
            "generate",
            "Outer.method",
            "Outer.method.<locals>.<genexpr>",
            "work",
            "asynchronous",
            "raises",
        ];
        assert_eq!(program.functions(&profile), expected, "{python:?}");
        let path = |name| program.file(name).to_str().unwrap().to_owned();
        let modules = ["app.py", "second.py", "third.py"].map(|name| profile.module(&path(name)).unwrap());
        assert!(modules.is_sorted(), "{modules:?}");
        // By name, file and line: two lambdas on one line are one.
        let rank = |name, line| profile.function(&program.path(), name, line);
        assert!(rank("Outer", 7) < rank("decorate", 3) && rank("decorate", 3) < rank("<lambda>", 24));
        assert_eq!((rank("never", 5), rank("unused", 15), rank("Outer", 8)), (None, None, None));
        assert!(profile.function(&path("second.py"), "later", 1) > rank("raises", 22));
        assert_eq!((profile.processes(), profile.processes_with_functions()), (1, 1));
        // What was there before the program, where it is not frozen.
        let library = common::stdlib(python).join("encodings/utf_8.py");
        assert!(profile.module(library.to_str().unwrap()).is_some(), "{python:?}");
    }
}

#[test]
fn functions_whose_code_is_looked_at_are_told_of_at_the_end() {
    let program = Program::new(
        r"import inspect
def looked_at(a, *, b=1):
    return a
def unused(c):
    return c
def ran(d):
    return inspect.signature(looked_at)
print(ran(1))
",
    );
    for python in telling() {
        let (printed, profile) = program.both(python);
        assert_eq!(printed, "(a, *, b=1)\n");
        assert_eq!(program.functions(&profile), ["ran", "looked_at"], "{python:?}");
        // What the tracer itself uses for that is no part of it.
        assert!(!profile.to_text().contains("/ctypes/"), "{}", profile.to_text());
    }
}

#[test]
fn every_process_is_told_of_however_it_ends() {
    let program = Program::new(
        r"import multiprocessing, os, signal, subprocess, sys, time

def everywhere(): pass
def in_parent(): pass
def at_exit(): everywhere(); in_exit()
def in_exit(): pass
def in_underscore_exit(): pass
def in_killed(): pass
def in_terminated(): pass
def in_handler(*_): os._exit(0)
def in_spawned(number): everywhere(); only_there(); return number
def only_there(): pass
def in_pool(number): everywhere(); return number
def after_exec(): pass

def fork(function):
    pid = os.fork()
    if pid == 0:
        everywhere()
        function()
        os._exit(1)
    return os.waitpid(pid, 0)[1]

def underscore():
    in_underscore_exit()
    os._exit(0)

def killed():
    in_killed()
    os.kill(os.getpid(), signal.SIGKILL)

def terminated():
    signal.signal(signal.SIGTERM, in_handler)
    in_terminated()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

def replaced():
    os.execv(sys.executable, [sys.executable, __file__, 'exec'])

if __name__ == '__main__':
    if sys.argv[1:] == ['exec']:
        everywhere()
        after_exec()
        sys.exit(0)
    everywhere()
    in_parent()
    print(fork(underscore), fork(killed), fork(terminated), fork(replaced), fork(at_exit))
    for method in 'spawn', 'forkserver':
        context = multiprocessing.get_context(method)
        process = context.Process(target=in_spawned, args=(1,))
        process.start()
        process.join()
        print(process.exitcode)
    with multiprocessing.get_context('fork').Pool(2) as pool:
        print(pool.map(in_pool, range(3)))
    print(subprocess.call([sys.executable, __file__, 'exec']), subprocess.call(['true']))
",
    );
    for python in telling() {
        let (printed, profile) = program.both(python);
        assert_eq!(printed, "0 9 0 0 256\n0\n0\n[0, 1, 2]\n0 0\n", "{python:?}");
        let count = |name| program.count(&profile, name);
        for name in ["in_parent", "in_exit", "in_underscore_exit", "in_killed", "in_terminated", "in_handler"] {
            assert_eq!(count(name), 1, "{name}: {python:?}");
        }
        assert_eq!((count("in_spawned"), count("only_there"), count("after_exec")), (2, 2, 2), "{python:?}");
        assert!((1..=2).contains(&count("in_pool")), "{python:?}");
        // This one, five forks and what one of them became, the two methods' processes, who has served from the pool, and the subprocess.
        assert_eq!(count("everywhere"), 1 + 6 + 2 + count("in_pool") + 1, "{python:?}");
        // The parent's order comes first.
        let place = |name| program.functions(&profile).iter().position(|function| function == name);
        assert!(place("everywhere") < place("in_parent") && place("in_parent") < place("in_killed"));
        assert!(place("in_killed") < place("in_spawned"));
        // The servers that multiprocessing starts for itself are processes as well.
        assert!(profile.processes() >= 12 && profile.processes() == profile.processes_with_functions(), "{python:?}");
    }
}

#[test]
fn a_forking_server_is_ended_by_sigterm_and_its_workers_by_sigkill() {
    let program = Program::new(
        r"import os, signal, socket, sys
def on_first_request(): return b'first'
def on_later_request(): import late; return late.answer()
def end(*_):
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    for worker in workers:
        os.waitpid(worker, 0)
    in_handler()
    sys.exit(5)
def in_handler(): pass
def serve():
    answers = [on_first_request, on_later_request]
    while True:
        connection, _ = listener.accept()
        connection.sendall(answers.pop(0)() + b'\n')
        connection.close()
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
workers = []
# One at a time, so that it is known who answers what.
for number in range(1):
    pid = os.fork()
    if pid == 0:
        serve()
    workers.append(pid)
signal.signal(signal.SIGTERM, end)
print(listener.getsockname()[1], flush=True)
while True:
    signal.pause()
",
    )
    .with("late.py", "def answer(): return b'later'\n");
    for python in telling() {
        let mut server = program.traced(python).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        for expected in ["first\n", "later\n"] {
            let mut answer = String::new();
            let mut connection = TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap();
            connection.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, expected);
        }
        // To pye, not to the server.
        let killed = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let output = server.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let profile = program.profile();
        for name in ["serve", "on_first_request", "on_later_request", "end", "in_handler"] {
            assert_eq!(program.count(&profile, name), 1, "{python:?}");
        }
        let late = program.file("late.py");
        assert!(profile.function(late.to_str().unwrap(), "answer", 1).is_some(), "{python:?}");
        assert_eq!(profile.processes(), 2);
        assert!(summary(&output).contains("functions of 2 processes in out.profile"), "{output:?}");
    }
}

#[test]
fn the_programs_own_tools_see_what_they_see_without_it() {
    // The tracer has one of 4, 3 and 5, gives way where it is asked for, and in the end has none.
    for tools in ["[4]", "[3]", "[5]", "[0]", "[4, 1]", "[2, 3, 4, 5]"] {
        let program = Program::new(&format!("tools = {tools}\n{TOOLS}"));
        for python in telling() {
            let (printed, profile) = program.both(python);
            assert!(printed.contains("trace call fresh") && printed.contains("('other', 1)"), "{printed}");
            let told: &[&str] =
                if tools == "[2, 3, 4, 5]" { &["called"] } else { &["called", "other", "fresh", "in_child"] };
            for name in told {
                program.count(&profile, name);
            }
        }
    }
}

/// Uses every way there is to watch a program; `tools` are numbers for `sys.monitoring`.
const TOOLS: &str = r"import sys
def called(n): return n
def other(): return called(1)

events = []
def start(tool):
    def begun(code, offset): events.append((tool, 'start', code.co_name))
    def returned(code, offset, value): events.append((tool, 'return', code.co_name)); return sys.monitoring.DISABLE
    sys.monitoring.use_tool_id(tool, 'mine')
    assert sys.monitoring.get_tool(tool) == 'mine'
    sys.monitoring.register_callback(tool, sys.monitoring.events.PY_START, begun)
    sys.monitoring.register_callback(tool, sys.monitoring.events.PY_RETURN, returned)
    sys.monitoring.set_events(tool, sys.monitoring.events.PY_START | sys.monitoring.events.PY_RETURN)
def stop(tool):
    sys.monitoring.set_events(tool, 0)
    sys.monitoring.free_tool_id(tool)

called(0)
for tool in tools:
    start(tool)
other(); other()
print([event for event in events if event[2] in ('called', 'other')])
try:
    sys.monitoring.use_tool_id(9, 'x')
except ValueError as error:
    print(error)

def trace(frame, event, argument):
    if frame.f_code.co_name in ('called', 'other', 'fresh'):
        print('trace', event, frame.f_code.co_name, frame.f_lineno)
    return trace
def fresh(): return called(2)
sys.settrace(trace)
fresh(); fresh()
sys.settrace(None)
sys.setprofile(lambda frame, event, argument: print('profile', event, frame.f_code.co_name) if event != 'c_call' else None)
fresh()
sys.setprofile(None)

for tool in tools:
    stop(tool)
import cProfile, pstats
profiler = cProfile.Profile()
profiler.runcall(other)
print(sorted((key[2], value[0]) for key, value in pstats.Stats(profiler).stats.items() if key[2] in ('called', 'other')))

import os
def in_child(): return called(3)
def events_of(tool):
    start(tool)
    called(1)
    if os.fork() == 0:
        # What this tool has switched off stays off.
        called(1); in_child()
        print([event for event in events if event[2] in ('called', 'in_child')], flush=True)
        os._exit(0)
    os.wait()
    stop(tool)
events.clear()
events_of(2)
";

#[test]
fn the_interpreters_own_tests_of_monitoring_pass() {
    // They start by checking that nobody else is there: told so, the rest of them must not notice.
    let program = Program::new(
        r"import sys
import unittest
monitoring = sys.monitoring
get_tool, get_events, all_events = monitoring.get_tool, monitoring.get_events, monitoring._all_events
def is_tracer(tool):
    return get_tool(tool) == 'pye'
def others():
    tracer = sum(1 << tool for tool in range(6) if is_tracer(tool))
    events = {name: tools & ~tracer for name, tools in all_events().items()}
    return {name: tools for name, tools in events.items() if tools}
monitoring.get_tool = lambda tool: None if is_tracer(tool) else get_tool(tool)
monitoring.get_events = lambda tool: 0 if is_tracer(tool) else get_events(tool)
monitoring._all_events = others
program = unittest.main('test.test_monitoring', argv=['app.py'], exit=False, testRunner=unittest.TextTestRunner(stream=open('log', 'w')))
print(program.result.testsRun, program.result.wasSuccessful())
",
    );
    // Some installations come without the interpreter's tests.
    let with_tests = telling().filter(|python| common::stdlib(python).join("test/test_monitoring.py").exists());
    let mut run = 0;
    for python in with_tests {
        let (printed, _) = program.both(python);
        let log = fs::read_to_string(program.file("log")).unwrap();
        // Some of the tests print.
        let (tests, passed) = printed.lines().last().unwrap().split_once(' ').unwrap();
        assert!(passed == "True" && tests.parse::<u32>().unwrap() >= 60, "{python:?}: {printed}{log}");
        run += 1;
    }
    assert!(run > 0, "no interpreter has its tests");
}

#[test]
fn a_program_may_close_all_files_and_use_their_numbers() {
    let program = Program::new(
        r"import os
def before(): pass
def after(): pass
def in_child(): pass
before()
os.closerange(3, 1024)
files = []
while not files or files[-1].fileno() < 300:
    files.append(open('file-%d' % len(files), 'w'))
after()
if os.fork() == 0:
    in_child()
    os._exit(0)
os.wait()
os.chdir('/')
for file in files:
    file.write('mine')
    file.close()
os.closerange(3, 1024)
def at_last(): pass
at_last()
",
    );
    for python in telling() {
        let (_, profile) = program.both(python);
        assert_eq!(program.functions(&profile), ["before", "after", "at_last", "in_child"], "{python:?}");
        for number in 0.. {
            let Ok(text) = fs::read_to_string(program.file(format!("file-{number}"))) else {
                assert!(number > 200, "only {number} files");
                break;
            };
            assert_eq!(text, "mine");
        }
    }
}

#[test]
fn exceptions_from_handlers_of_signals_reach_the_program() {
    let program = Program::new(
        r"import signal
def expire(*_): raise TimeoutError
signal.signal(signal.SIGALRM, expire)
code = compile('def fresh(): pass\nfresh()', '/no/such/file.py', 'exec')
def run():
    # Functions with other names each, so that the tracer has to write.
    for number in range(1000000):
        body = code.co_consts[0].replace(co_qualname='f%d' % number, co_name='f')
        exec(code.replace(co_consts=(body,) + code.co_consts[1:]), {})
    print('lost')
for round in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        run()
    except TimeoutError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
print('all')
",
    );
    for python in telling() {
        let (printed, profile) = program.both(python);
        assert_eq!(printed, "all\n", "{python:?}");
        assert!(profile.function("/no/such/file.py", "f0", 1).is_some(), "{python:?}");
    }
}

#[test]
fn names_of_any_kind_are_kept_and_those_that_are_no_text_left_out() {
    let odd = "a\tb\nc\\d\re";
    let wrong = OsStr::from_bytes(b"not\xfftext");
    let program = Program::new(
        r"import os, sys
here = os.path.dirname(os.path.abspath(__file__))
for name in sorted(os.listdir(here)):
    if not name.startswith('lib'):
        sys.path.append(os.path.join(here, name))
import odd, wrong
def last(): pass
last()
",
    )
    .with(Path::new(odd).join("odd.py"), "def ünï(): pass\nünï()\n")
    .with(Path::new(wrong).join("wrong.py"), "def lost(): pass\nlost()\n");
    for python in telling() {
        let (_, profile) = program.both(python);
        let path = program.file(odd).join("odd.py");
        let path = path.to_str().unwrap();
        assert!(profile.module(path).is_some() && profile.function(path, "ünï", 1).is_some(), "{python:?}");
        assert_eq!(program.functions(&profile), ["last"]);
        assert!(!profile.to_text().contains("wrong.py"));
    }
}

#[test]
fn older_interpreters_tell_of_modules_alone() {
    let program = Program::new(
        "import os, sys
import one
if os.fork() == 0:
    import two
    os._exit(0)
os.wait()
sys.exit(3)
",
    )
    .with("one.py", "def f(): pass\nf()\n")
    .with("two.py", "");
    for python in older() {
        let (_, profile) = program.both(python);
        let rank = |name| profile.module(program.file(name).to_str().unwrap());
        assert!(rank("one.py").is_some() && rank("two.py").is_some() && rank("app.py").is_some(), "{python:?}");
        assert!(!python.at_least(3, 6) || rank("one.py") < rank("two.py"), "{python:?}");
        assert_eq!((profile.functions(), profile.processes(), profile.processes_with_functions()), (0, 2, 0));
        let output = program.traced(python).output().unwrap();
        assert!(summary(&output).contains("modules alone of 2 of them: older than CPython 3.12"), "{output:?}");
    }
}

#[test]
fn exit_statuses_and_errors_are_as_help_says() {
    let program = Program::new("import os, sys\nif sys.argv[1:]: os.kill(os.getpid(), int(sys.argv[1]))\n");
    let python = telling().next().expect("a CPython from 3.12 on");
    let output = program.traced(python).arg("9").output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 9));
    assert_eq!(program.profile().processes(), 1);
    fs::remove_file(program.file("out.profile")).unwrap();

    let pye = || program.here(Command::new(env!("CARGO_BIN_EXE_pye")));
    let output = pye().args(["trace", "--", "true"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("from a Python process, got none (the command ended with exit status 0)"), "{stderr}");
    let output = pye().args(["trace", "--", "/no/such/program"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/program: cannot run"));
    assert_eq!(fs::read_dir(program.directory.path()).unwrap().count(), 1, "no profile of nothing");
    let output =
        pye().args(["trace", "--output", "no/such/file", "--"]).arg(&python.path).arg("app.py").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such: cannot create a file in"));
    assert_eq!(pye().arg("trace").output().unwrap().status.code(), Some(2));

    // Standard input is the command's.
    let mut cat = pye();
    cat.args(["trace", "--output", "out.profile", "--"]).arg(&python.path);
    cat.args(["-c", "import sys; print(sys.stdin.read())"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut cat = cat.stderr(Stdio::null()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"told").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"told\n");
}
