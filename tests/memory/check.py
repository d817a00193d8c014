"""Runs pye's extension module, and the library's tests, under memory checkers; first the checkers are checked."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target")) / "memory"
# Optimised a little: what is checked is what is done, and checkers are slow. Line numbers are all that reports need.
PROFILE = {
    "CARGO_%s_%s" % (profile, key): value
    for profile in ("PROFILE_DEV", "PROFILE_TEST")
    for key, value in (("OPT_LEVEL", "1"), ("DEBUG", "line-tables-only"))
}
# What is compiled once needs no incremental compilation.
PROFILE["CARGO_INCREMENTAL"] = "0"

# Made in the interpreter itself, unlike `pye link --image`, which runs one with -I: that would not see PYTHONMALLOC.
BUILD = "import sys; from pye._native import build_image; print(build_image(*sys.argv[1:])['modules'])"
# Errors that every checker must report, and one that only valgrind can.
ERRORS = ("overrun", "use_after_free", "past_an_object", "freed_object")
UNDECIDED = "undecided"
# What the small form runs under valgrind, which takes its time: texts and code from packages, copies of run-once code, forks, the end.
FEW = ("again.py", "copies.py", "ending.py", "forks.py", "texts.py")
# Tests of the library and the command that need no extension module, which an instrumented program could not load.
TESTS = ("conformance", "elf", "hostile", "image_format", "marshal", "package")


class Unusable(Exception):
    """Something is missing; the text says what."""


def main(arguments=None):
    """The command; its exit status: 0 nothing found, 1 something, 2 nothing could be checked."""
    parser = argparse.ArgumentParser(
        prog="tests/memory/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs the extension module of pye in interpreters under AddressSanitizer and valgrind, with the memory of Python's objects from malloc,\n"
        "and the library's own tests with AddressSanitizer. Each checker must first report deliberate errors. What valgrind reports of the\n"
        "stock interpreter, too, is told apart.",
        epilog="Interpreters need --quick or not: those of PYE_PYTHONS (prefixes, /opt/pythons unless set; debug builds) and of pyenv, if no --python is given.\n"
        "An interpreter with a C library of its own needs the debugging symbols of that for valgrind: --symbols DIRECTORY, where its libc6-dbg is unpacked.",
    )
    parser.add_argument("checkers", nargs="*", metavar="CHECKER", help="address, valgrind; both if none is named")
    parser.add_argument("--quick", action="store_true", help="in minutes: fewer interpreters, scripts and damages, no tests of the library")
    parser.add_argument("--python", type=pathlib.Path, action="append", default=[], help="an interpreter, 3.9 to 3.15 (again for more)")
    parser.add_argument("--symbols", type=pathlib.Path, help="a directory with usr/lib/debug/.build-id")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.checkers) - {"address", "valgrind"}
    if unknown:
        parser.error("no such checker: %s" % ", ".join(sorted(unknown)))
    work = pathlib.Path(tempfile.mkdtemp(prefix="pye-memory-"))
    try:
        pythons = [Python(path) for path in chosen.python or found(chosen.quick)]
        problems = checked = 0
        for name in chosen.checkers or ["address", "valgrind"]:
            checker = Address(work / name) if name == "address" else Valgrind(work / name, chosen.quick, chosen.symbols)
            if name == "address" and not chosen.quick:
                problems += checker.library()
            for python in pythons:
                result = check(checker, python, chosen.quick)
                checked += result is not None
                problems += result or 0
    except Unusable as reason:
        print("memory-check: %s" % reason, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not checked:
        print("memory-check: no interpreter could be checked", file=sys.stderr)
        return 2
    print("memory-check: %s" % ("nothing found" if not problems else "%d runs with errors" % problems))
    return 1 if problems else 0


def found(quick):
    """Debug builds, and builds whose images are relocated."""
    prefixes = os.environ.get("PYE_PYTHONS", "/opt/pythons").split(":")
    debug = [path for prefix in prefixes for path in sorted(pathlib.Path(prefix).glob("usr/bin/python3.1[0-9]d"))]
    versions = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
    release = sorted(versions.glob("3.*/bin/python"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.parent.name)])
    release = [path for path in release if 9 <= int(path.parent.parent.name.split(".")[1]) <= 15]
    if quick:
        debug, release = debug[-1:], [path for path in release if path.parent.parent.name.startswith("3.12.")][-1:]
    if not debug + release:
        raise Unusable("no interpreter found: name one with --python")
    return debug + release


class Python:
    """An interpreter."""

    def __init__(self, path):
        self.path = path
        ask = "import sys, sysconfig; print(*sys.version_info[:2], hasattr(sys, 'gettotalrefcount'), sysconfig.get_paths()['stdlib'])"
        major, minor, debug, self.library = subprocess.run([path, "-ISc", ask], check=True, capture_output=True, text=True).stdout.split()
        self.version = int(major), int(minor)
        self.tag = "cpython-%s%s" % (major, minor)
        self.name = "%s.%s%s" % (major, minor, "d" if debug == "True" else "")
        self.images = self.version >= (3, 12)


class Checker:
    """What runs a command and tells what it reported."""

    # Seconds for one run.
    limit = 900

    def __init__(self, work):
        self.work = work
        work.mkdir()
        self.site = self.stage()
        self.canary = work / "libcanary.so"
        self.runs = 0

    def environment(self, reports):
        raise NotImplementedError

    def prefix(self, reports):
        return []

    def errors(self, reports):
        """The errors in a directory of reports, each a text."""
        raise NotImplementedError

    def kind(self, error):
        """What of an error is the same in another process."""
        return error

    def run(self, command, env=None, checked=True):
        """Runs it; its status, output and what was reported."""
        self.runs += 1
        reports = pathlib.Path(tempfile.mkdtemp(prefix="reports-", dir=self.work))
        full = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYE_"))}
        full.update(PYTHONMALLOC="malloc", PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="1", PYTHONNOUSERSITE="1", PYTHONPATH=str(self.site))
        full.update(self.environment(reports))
        full.update(env or {})
        command = [str(part) for part in (self.prefix(reports) if checked else []) + list(command)]
        try:
            done = subprocess.run(
                command, env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=self.limit, errors="replace",
            )
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            status, output = "no end within %d s" % self.limit, (late.stdout or b"").decode(errors="replace")
        errors = self.errors(reports)
        shutil.rmtree(reports)
        return status, output, errors

    def prove(self, python):
        """That it reports every deliberate error in this interpreter, and nothing where there is none."""
        canary = [python.path, HERE / "canary.py", self.canary]
        status, output, errors = self.run([*canary, "none"])
        if status != 0 or output != "end\n":
            raise Unusable("%s: the interpreter alone: %s\n%s%s" % (python.path, status, output, "\n".join(errors)))
        if errors:
            raise NotRun("the interpreter alone has errors, such as:\n%s" % "\n".join(errors[0].splitlines()[:3]))
        for name in self.deliberate:
            _, output, errors = self.run([*canary, name])
            if not any("canary" in error for error in errors):
                raise Unusable("%s: %s is not reported: this checker checks nothing\n%s%s" % (python.path, name, output, "\n".join(errors)))


class Address(Checker):
    """AddressSanitizer: the extension module is instrumented, malloc and free of the whole process are replaced."""

    deliberate = ERRORS
    name = "address"

    def stage(self):
        def told(*command):
            done = subprocess.run(command, env={**os.environ, **self.toolchain}, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise Unusable("%s: %s" % (" ".join(map(str, command)), done.returncode))
            return done.stdout.strip()

        name, _, value = subprocess.run([TOP / "fuzz/toolchain"], check=True, capture_output=True, text=True).stdout.strip().partition("=")
        self.toolchain = {name: value}
        host = re.search("host: (.*)", told("rustc", "-vV"))[1]
        self.flags = ["-Zsanitizer=address", "-Cforce-frame-pointers=yes"]
        # With a target named, what only the build runs is not instrumented.
        self.build = {**self.toolchain, **PROFILE, "RUSTFLAGS": " ".join(self.flags), "CARGO_BUILD_TARGET": host}
        # Rust comes with the runtime for programs, to be linked in. The same as a library, for interpreters: but for what starts it before all other libraries,
        # which is for a program only; the dynamic loader does it for what is preloaded.
        libraries = pathlib.Path(told("rustc", "--print", "target-libdir"))
        archives = list(libraries.glob("librustc*_rt.asan.a"))
        if len(archives) != 1:
            raise Unusable("no runtime of AddressSanitizer in %s" % libraries)
        archive, self.runtime = self.work / "runtime.a", self.work / "runtime.so"
        shutil.copy(archives[0], archive)
        told("ar", "d", archive, *(member for member in told("ar", "t", archive).split() if "preinit" in member))
        told("cc", "-shared", "-o", self.runtime, "-Wl,--whole-archive", archive, "-Wl,--no-whole-archive", "-lpthread", "-ldl", "-lrt", "-lm")
        compile_canary = ["rustc", *self.flags, "-O", "-g", "--edition", "2024", HERE / "canary.rs"]
        told(*compile_canary, "--crate-type", "cdylib", "-o", self.work / "libcanary.so")
        told(*compile_canary, "--crate-type", "bin", "-o", self.work / "canary")
        return stage({**self.build, "CARGO_TARGET_DIR": str(TARGET / "address"), "DEBUG": "1"})

    def environment(self, reports):
        options = {
            # Interpreters leave much behind on purpose. Whether pye does is asked by what counts mappings and memory in long runs.
            "detect_leaks": 0,
            "log_path": reports / "report",
            # As CPython's own documentation has it: programs ask for too much and expect a MemoryError.
            "allocator_may_return_null": 1,
        }
        return {"LD_PRELOAD": str(self.runtime), "ASAN_OPTIONS": ":".join("%s=%s" % each for each in options.items())}

    def errors(self, reports):
        return [path.read_text(errors="replace") for path in sorted(reports.iterdir())]

    def library(self):
        """The tests of the library and the command, all instrumented; leaks are looked for as well."""
        done = subprocess.run([self.work / "canary"], capture_output=True, text=True)
        if "AddressSanitizer: heap-use-after-free" not in done.stderr:
            raise Unusable("a program's deliberate error is not reported: this checker checks nothing\n%s" % done.stderr)
        command = ["cargo", "test", "--locked", "--lib", "--bins", *(word for name in TESTS for word in ("--test", name))]
        # These go through all pages of their own process, or limit its addresses; the sanitizer maps terabytes of them.
        command += ["--", "--skip", "measure::live", "--skip", "every_command_names"]
        print("address: %s" % " ".join(command), flush=True)
        # Where python/stage has built most of what they need.
        env = {**os.environ, **self.build, "CARGO_TARGET_DIR": str(TARGET / "address" / "python")}
        env["LSAN_OPTIONS"] = "suppressions=%s:print_suppressions=0" % (HERE / "leaks.supp")
        return subprocess.run(command, env=env, cwd=TOP).returncode != 0


class Valgrind(Checker):
    """Memcheck: all code of the process is checked, also for values that nobody has written."""

    deliberate = (*ERRORS, UNDECIDED)
    name = "valgrind"
    limit = 3600

    def __init__(self, work, quick, symbols):
        self.quick = quick
        self.symbols = symbols
        super().__init__(work)

    def stage(self):
        if not shutil.which("valgrind"):
            raise Unusable("valgrind is missing")
        compile_canary = ["rustc", "-O", "-g", "--edition", "2024", HERE / "canary.rs", "--crate-type", "cdylib", "-o", self.work / "libcanary.so"]
        if subprocess.run(compile_canary).returncode:
            raise Unusable("rustc cannot compile tests/memory/canary.rs")
        self.options = []
        if self.symbols:
            # By their names beside the libraries, which is the one way that valgrind looks for them in a directory of our choice.
            self.options = ["--extra-debuginfo-path=%s" % (self.work / "symbols")]
        return stage({} if self.quick else {**PROFILE, "CARGO_TARGET_DIR": str(TARGET / "valgrind"), "DEBUG": "1"})

    def environment(self, reports):
        # The C library's functions for these processors read whole vectors where a part is enough; valgrind takes that for errors.
        return {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512VL,-EVEX"}

    def prefix(self, reports):
        return ["valgrind", "-q", "--trace-children=yes", "--num-callers=30", "--suppressions=%s" % (HERE / "valgrind.supp"), "--log-file=%s/%%p" % reports, *self.options]

    def errors(self, reports):
        errors = []
        for path in sorted(reports.iterdir()):
            # What valgrind has to say of itself, such as of a system call that it does not know and so refuses, it marks in another way.
            lines = [re.sub(r"^==\d+== ?", "", line) for line in path.read_text(errors="replace").splitlines() if not re.match(r"--\d+-- ", line)]
            blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", "\n".join(lines))]
            errors += [block for block in blocks if block and not block.startswith("Warning:")]
        return errors

    def kind(self, error):
        return re.sub(r"0x[0-9A-Fa-f]+|\d+", "", error.partition(" Address ")[0])

    def prove(self, python):
        self.find_symbols(python)
        status, output, errors = self.run([python.path, "-c", "pass"])
        if any("function redirection" in error for error in errors):
            raise NotRun("its C library has no symbols here (libc6-dbg of the same version; --symbols)")
        super().prove(python)

    def find_symbols(self, python):
        """Lays the symbols of the C library that the interpreter uses out where valgrind looks."""
        if not self.symbols:
            return
        maps = subprocess.run([python.path, "-ISc", "print(open('/proc/self/maps').read())"], check=True, capture_output=True, text=True).stdout
        for path in sorted(set(re.findall(r"(/\S+\.so[.\d]*)$", maps, re.MULTILINE))):
            notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True).stdout
            identity = re.search("Build ID: (..)([0-9a-f]+)", notes)
            file = identity and self.symbols.resolve() / "usr/lib/debug/.build-id" / identity[1] / (identity[2] + ".debug")
            link = self.work / "symbols" / path.lstrip("/")
            link = identity and link.with_name(identity[2] + ".debug")
            if file and file.exists() and not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)


class NotRun(Exception):
    """An interpreter cannot be run under a checker; the text says why."""


def stage(env):
    """The directory with the Python package, built so."""
    done = subprocess.run([TOP / "python/stage"], env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unusable("python/stage: %d" % done.returncode)
    return pathlib.Path(done.stdout.strip())


class Run:
    """One run of an interpreter: what it is called, what to run, with which package."""

    def __init__(self, name, arguments, package=None, root=None, image=False):
        self.name = name
        self.arguments = arguments
        self.package = package
        self.root = root
        self.image = image

    def environment(self, site, status):
        search = [str(self.root)] if self.root else []
        if not self.package:
            return {"PYTHONPATH": ":".join([str(site), *search])}
        return {
            "PYTHONPATH": ":".join([str(TOP / "tests/loader/boot"), *search]),
            "PYE_TEST_SITE": str(site),
            "PYE_TEST_PACKAGES": "%s=%s" % (self.root, self.package),
            "PYE_TEST_STATUS": str(status),
        }


def check(checker, python, quick):
    """All runs of an interpreter; how many found something. None where it cannot be run."""
    try:
        checker.prove(python)
    except NotRun as reason:
        print("%s: %s: NOT RUN: %s" % (checker.name, python.name, reason), flush=True)
        return None
    # There may be several of a version.
    place = pathlib.Path(tempfile.mkdtemp(prefix="%s-" % python.name, dir=str(checker.work)))
    problems = list(made(checker, python, place, quick))
    runs = scripts(checker, python, place, quick)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems += pool.map(lambda run: perform(checker, python, place, run), runs)
    problems = [problem for problem in problems if problem]
    for problem in problems:
        print("%s: %s: %s" % (checker.name, python.name, problem), flush=True)
    print("%s: %s: %d runs, %d with errors" % (checker.name, python.name, len(runs), len(problems)), flush=True)
    return len(problems)


def made(checker, python, place, quick):
    """Makes the packages; what was found meanwhile."""
    trees = []
    if python.images:
        # Written in the Python of 3.12.
        root = place / "root"
        shutil.copytree(TOP / "tests/image/lib", root, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([python.path, "-IS", "-m", "compileall", "-q", root], check=True)
        trees.append(("root", root, []))
    trees.append(("library", python.library, ["--exclude", "site-packages", "--exclude", "dist-packages"]))
    for name, tree, more in trees:
        file = place / ("%s.pye" % name)
        # Under valgrind, linking and laying out a library takes long: what of it is pye's is the same for a small one.
        checked = checker.name == "address" or name == "root"
        link = ["-m", "pye", "link", tree, "-o", file, "--tag", python.tag, "--jobs", "2", *more]
        yield verdict("link %s" % name, *checker.run([python.path, *link], checked=checked))
        if python.images:
            build = ["-c", BUILD, file, tree, place / ("%s-image.pye" % name)]
            yield verdict("image of %s" % name, *checker.run([python.path, *build], checked=checked))


def scripts(checker, python, place, quick):
    """What is run with the packages."""
    forms = [("portable", "", False)] + [("image", "-image", True)] * python.images
    slow = checker.name == "valgrind"
    runs = []
    for form, suffix, image in forms:
        package = dict(package=place / ("root%s.pye" % suffix), root=place / "root", image=image)
        for script in sorted((TOP / "tests/image/same").glob("*.py")) * python.images:
            # Fresh objects and sub-interpreters are the same in both forms, and slow.
            if not (slow and quick) or script.name in FEW and image:
                runs.append(Run("%s: %s" % (form, script.name), [script], **package))
        library = dict(package=place / ("library%s.pye" % suffix), root=python.library, image=image)
        if not (slow and quick) or image == python.images:
            runs.append(Run("%s: uses.py" % form, [HERE / "uses.py", "8" if slow and quick else "1"], **library))
        if not slow:
            runs.append(Run("%s: codes.py" % form, [TOP / "tests/loader/codes.py", python.library, "25" if quick else "3"], **library))
    if python.images:
        for script in ["roundtrip.py"] + ["refused.py"] * (not slow):
            directory = place / script
            directory.mkdir()
            runs.append(Run("cache: %s" % script, [TOP / "tests/cache" / script, directory]))
        if not slow:
            damaged = [TOP / "tests/image/damage.py", place / "root", place / "root-image.pye", "16" if quick else "200"]
            runs.append(Run("image: damage.py", damaged, root=place / "root"))
    if not slow and not quick:
        subprocess.run([python.path, "-IS", TOP / "tests/loader/project.py", place / "project"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [python.path, "-m", "pye", "link", place / "project/lib", "-o", place / "project.pye", "--tag", python.tag], check=True,
            env={**os.environ, **checker.environment(place), "PYTHONPATH": str(checker.site)}, stdout=subprocess.DEVNULL,
        )
        runs.append(Run("portable: damage.py", [TOP / "tests/loader/damage.py", place / "project", place / "project.pye"], root=place / "project/lib"))
    return runs


def perform(checker, python, place, run):
    """Runs it; what is wrong with it, or None."""
    status = place / ("status-%d" % id(run))
    env = run.environment(checker.site, status)
    if not run.package:
        env["PYE_TEST_SITE"] = str(checker.site)
    ended, output, errors = checker.run([python.path, *run.arguments], env)
    own = []
    if errors and ended == 0 and run.package:
        # The interpreter's own are not pye's.
        stock = Run(run.name, run.arguments, root=run.root)
        _, _, others = checker.run([python.path, *run.arguments], stock.environment(checker.site, status))
        kinds = {checker.kind(error) for error in others}
        own = [error for error in errors if checker.kind(error) in kinds]
        errors = [error for error in errors if checker.kind(error) not in kinds]
    if own:
        print("%s: %s: %s: %d errors that the stock interpreter has, too" % (checker.name, python.name, run.name, len(own)), flush=True)
    wrong = verdict(run.name, ended, output, errors)
    if wrong is None and run.package:
        # A process that has imported nothing has opened nothing.
        told = [json.loads(line)["loaded"] for line in status.read_text().splitlines()]
        stores = [store for loaded in told if loaded for store in loaded["stores"]]
        used = sum((store["image"] or {}).get("loaded") or 0 if run.image else store["loaded"] for store in stores)
        if not used:
            wrong = "%s: nothing came from the package: %s" % (run.name, stores)
    return wrong


def verdict(name, status, output, errors):
    """What is wrong with a run, or None."""
    if status == 0 and not errors:
        return None
    # Enough to know where to look.
    tail = output.splitlines()[-20:]
    shown = ["\n".join(error.splitlines()[:40]) for error in errors[:5]]
    return "%s: ended with %s, %d errors\n%s" % (name, status, len(errors), "\n\n".join(["\n".join(tail), *shown]))
