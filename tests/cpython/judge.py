"""Runs test modules of CPython under the stock import and with the standard library served from packages, and tells what differs."""
import concurrent.futures
import pathlib
import time

import interpreter
import module
from judging import difference, process, program
from judging.command import Unusable, staged
from judging.interpreter import FORMS, STOCK
from judging.progress import Progress
from judging.report import table, told

# What is most likely to notice, in a few minutes: all that looks at code objects, imports, names, constants and their lives.
QUICK = """
test_code test_marshal test_import test_importlib test_inspect test_gc test_sys_settrace test_sys_setprofile test_monitoring test_traceback
test_unicode test_str test_tuple test_dict test_pickle test_weakref test_threading test_pkgutil test_runpy test_zipimport test_module test_dis
test_compile test_descr test_class test_types test_dataclasses test_opcache test_code_module test_frame test_generators test_coroutines
test_builtin test_capi.test_immortal test_capi.test_code test_capi.test_watchers test_slice test_set test_fork1 test_faulthandler test_sys
test_embed test_bdb test_trace test_linecache test_atexit test_copy test_hash test_long test_bytes test_enum test_ast test_future test_pyclbr
test_modulefinder test_compileall test_py_compile test_site test_reprlib test_keyword test_unittest.test_discovery test_source_encoding
test_interpreters
""".split()
# Differences of this judge, and why they are right.
LIST = pathlib.Path(__file__).resolve().parent / "explained.ini"


def main(arguments=None):
    """The command; its exit status: 0 no difference that is not explained, 1 some, 2 nothing could be judged."""
    return program.run("cpython", _options(arguments), judge, draw)


def _options(arguments):
    parser = program.parser(
        "cpython", "Runs CPython's test suite under the stock import and with the standard library, tests included, served from packages,\n"
        "module by module in virtual environments that differ in nothing else, and tells each test that ends otherwise.\n"
        "Differences that explained.ini explains are listed; any other fails the run. The interpreter must have its package test.",
        LIST, "module", 600)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="test modules, such as test_code; all of the suite when none is named")
    parser.add_argument("--quick", action="store_true", help="only those modules that are most likely to notice: a few minutes")
    parser.add_argument("--all", action="store_true", help="all modules of the suite, as without this")
    chosen = parser.parse_args(arguments)
    if sum((bool(chosen.modules), chosen.quick, chosen.all)) > 1:
        parser.error("MODULE, --quick and --all exclude each other")
    return chosen


def judge(chosen, work, entries, link=None):
    """Everything, as main writes it to --json. `link`: see Interpreter.make."""
    began = time.monotonic()
    tested = interpreter.Interpreter(chosen.python, (chosen.site or staged()).resolve(), work)
    forms = [form for form in tested.forms() if form in (chosen.forms or FORMS)]
    if not forms:
        raise Unusable("%s (%s): no such form for it" % (chosen.python, tested.about["build"]))
    # Of those for all versions, some are called otherwise in this one, or were not there yet.
    names = select(tested.modules(), chosen.modules or (QUICK if chosen.quick else None), some=not chosen.modules)
    progress = Progress(len(names))
    progress.step("compiling")
    tested.compile()
    before = tested.directories()
    pythons, stores = {}, {}
    for form in [STOCK, *forms]:
        progress.step("linking: %s" % form)
        pythons[form], stores[form] = tested.make(form, link)
    progress.step("running %d modules, %d at a time" % (len(names), chosen.jobs))
    modules, found = {}, []
    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        waiting = {pool.submit(compare, pythons, name, chosen.timeout, progress): name for name in names}
        try:
            for done in concurrent.futures.as_completed(waiting):
                modules[waiting[done]], differences = done.result()
                found += differences
                difference.explain(differences, entries, tested.version, tested.about["debug"])
                progress.done(differences)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            process.stop()
            raise
    progress.end()
    # Packages stand for directories that have not changed: of those that tests write to, later tests have the stock import.
    after = tested.directories()
    changed = sorted(path for path in before if after.get(path) != before[path])
    gone = difference.conclude(modules, found, entries, tested.version, tested.about["debug"], forms)
    return {
        "about": {"python": str(chosen.python), **tested.about}, "seconds": time.monotonic() - began, "forms": forms,
        "packages": {form: {"modules": stores[form]["modules"], "bytes": stores[form]["mapped_bytes"]} for form in forms},
        "changed": changed,
        "modules": {name: modules[name] for name in names},
        "differences": [vars(each) for each in found], "explained and gone": gone,
    }


def select(suite, wanted, some=False):
    """Of the suite those named, or below a name: `test_capi` takes `test.test_capi.test_code`. A name that takes none is an error,
    or, where `some` will do, all of them being such."""
    if wanted is None:
        return suite

    def takes(each, name):
        short, each = name.removeprefix("test."), each.removeprefix("test.")
        return short == each or short.startswith(each + ".")

    missing = [each for each in wanted if not any(takes(each, name) for name in suite)]
    if len(missing) > (len(wanted) - 1 if some else 0):
        raise Unusable("no such test module: %s" % " ".join(missing))
    return [name for name in suite if any(takes(each, name) for each in wanted)]


def compare(pythons, name, limit, progress):
    """Runs a module in each form: what became of it by form, and the differences."""
    def ran(form):
        with progress.running("%s (%s)" % (name, form)):
            return module.run(pythons[form], name, limit)

    stock = ran(STOCK)
    result, found = {STOCK: stock.figures()}, []
    # Nothing to hold others against.
    if stock.crashed or stock.status == "no tests ran":
        return result, found
    for form in pythons:
        if form == STOCK:
            continue
        run = ran(form)
        differences = difference.differences(name, form, stock, run)
        differences, unsteady = difference.confirm(differences, lambda: difference.differences(name, form, ran(STOCK), ran(form)))
        result[form] = {**run.figures(), "unsteady": unsteady}
        found += differences
    return result, found


def draw(results):
    """The report."""
    about = results["about"]
    lines = ["%s: CPython %s%s" % (about["python"], about["build"], ", debug build" if about["debug"] else ""), ""]
    rows = [["form", "modules", "passed", "failed", "not run", "tests", "passed", "skipped", "other", "seconds", "different", "explained", "unsteady"]]
    rows += [_row(results, form) for form in [STOCK, *results["forms"]]]
    lines += table(rows)
    lines += ["changed by tests, and since then left to the stock import: %s" % path for path in results["changed"]]
    unsteady = [(name, form, each.get("unsteady")) for name, forms in results["modules"].items() for form, each in forms.items() if each.get("unsteady")]
    if unsteady:
        lines += ["", "Unsteady: differed once, and not when both were run again:"]
        lines += table([[form, test] for name, form, tests in unsteady for test in tests])
    lines += told(results)
    return "\n".join(lines) + "\n"


def _row(results, form):
    ran = [each[form] for each in results["modules"].values() if form in each]
    tests = {}
    for each in ran:
        for became, number in each["tests"].items():
            tests[became] = tests.get(became, 0) + number
    passed = sum(each["status"] == "passed" for each in ran)
    empty = sum(each["status"] == "no tests ran" for each in ran) + len(results["modules"]) - len(ran)
    found = [each for each in results["differences"] if each["form"] == form]
    cells = [len(results["modules"]), passed, len(results["modules"]) - passed - empty, empty, sum(tests.values()), tests.get("passed", 0),
             tests.get("skipped", 0), sum(tests.values()) - tests.get("passed", 0) - tests.get("skipped", 0),
             "%.0f" % sum(each["seconds"] for each in ran)]
    if form != STOCK:
        cells += [len(found), sum(each["reason"] is not None for each in found), sum(len(each.get("unsteady", ())) for each in ran)]
    return [form] + [str(cell) for cell in cells] + [""] * (13 - 1 - len(cells))
