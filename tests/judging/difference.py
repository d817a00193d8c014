"""What differs between two runs of a module, and which differences are explained."""
import configparser
import fnmatch

# Runs of a pair that must agree on a difference before it counts: some tests depend on the time or on what else the machine does.
TRIES = 3


class Difference:
    """One test, or all of a module, that ends otherwise than under the stock import.

    test      its id; the module's name for the module as a whole
    stock     what becomes of it under the stock import
    pye       what becomes of it with modules from packages
    detail    why: traceback, or last lines printed
    """

    def __init__(self, module, form, test, stock, pye, detail="", crashed=False):
        self.module = module
        self.form = form
        self.test = test
        self.stock = stock
        self.pye = pye
        self.detail = detail
        self.crashed = crashed
        self.reason = None

    def key(self):
        return self.module, self.form, self.test


def differences(module, form, stock, pye):
    """All of them, of two runs: of the module as a whole, if no test tells it better, and of its tests."""
    found = []
    if stock.tests and (pye.tests or not pye.crashed):
        for test in sorted(set(stock.tests) | set(pye.tests)):
            before, after = stock.tests.get(test, "not run"), pye.tests.get(test, "not run")
            if before != after:
                found.append(Difference(module, form, test, before, after, pye.details.get(test, "")))
    if stock.status != pye.status and (pye.crashed or pye.status == "environment changed" or not found):
        found.insert(0, Difference(module, form, module, stock.status, pye.status, pye.tail, pye.crashed))
    return found


def confirm(found, again):
    """Of the differences those that come again, and the tests of the others, which are unsteady. What ends the process counts once seen.

    again  runs both once more and returns their differences
    """
    unsteady = []
    for _ in range(1, TRIES):
        if all(each.crashed for each in found):
            break
        more = again()
        seen = {(each.test, each.pye) for each in more}
        # A crash that came only now counts as well.
        found = found + [each for each in more if each.crashed and not any(old.crashed for old in found)]
        unsteady += [each.test for each in found if not each.crashed and (each.test, each.pye) not in seen]
        found = [each for each in found if each.crashed or (each.test, each.pye) in seen]
    return found, unsteady


class Explained:
    """An entry of the list: which differences it explains, and why. Of what is left out, any.

    tests     patterns of ids, or of the module's name, as the shell has them
    versions  "3.12" …
    builds    "debug", "release"
    forms     "portable", "image"
    """

    def __init__(self, name, entry):
        self.name = name
        unknown = set(entry) - {"tests", "versions", "builds", "forms", "reason"}
        if unknown or not entry.get("reason", "").strip() or not entry.get("tests", "").split():
            raise ValueError("[%s]: wants tests and a reason, and knows no %s" % (name, ", ".join(sorted(unknown)) or "more"))
        self.tests = entry["tests"].split()
        self.versions = entry.get("versions", "").split()
        self.builds = entry.get("builds", "").split()
        self.forms = entry.get("forms", "").split()
        self.reason = " ".join(entry["reason"].split())

    def applies(self, version, debug, form):
        """Whether it is about this interpreter and form."""
        build = "debug" if debug else "release"
        asked = ((self.versions, "%d.%d" % tuple(version)), (self.builds, build), (self.forms, form))
        return all(not wanted or value in wanted for wanted, value in asked)

    def explains(self, difference):
        """Whether it is about this test. A crash is never explained."""
        return not difference.crashed and any(fnmatch.fnmatchcase(difference.test, pattern) for pattern in self.tests)


def read(path):
    """The list; ValueError where an entry is wrong."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    return [Explained(name, parser[name]) for name in parser.sections()]


def explain(found, entries, version, debug):
    """Gives each difference the reason of the first entry that explains it; returns the entries that did, each with its form."""
    used = set()
    for difference in found:
        for entry in entries:
            if entry.applies(version, debug, difference.form) and entry.explains(difference):
                difference.reason = entry.reason
                used.add((entry.name, difference.form))
                break
    return used


def unused(entries, used, version, debug, form, tests):
    """The entries that are about some of `tests` (ids and names of modules that were run in this form), but explained nothing."""
    return [entry for entry in entries
            if entry.applies(version, debug, form) and (entry.name, form) not in used
            and any(fnmatch.fnmatchcase(test, pattern) for pattern in entry.tests for test in tests)]


def conclude(runs, found, entries, version, debug, forms):
    """Sorts and explains all that was found; returns the entries about what was run in a form that explain nothing any more.

    runs  by name and form what Run.figures tells; the ids are taken out
    """
    found.sort(key=Difference.key)
    used = explain(found, entries, version, debug)
    gone = []
    for form in forms:
        ran = [test for name, by_form in runs.items() if form in by_form for test in [name, *by_form[form]["ids"]]]
        gone += [{"name": entry.name, "form": form} for entry in unused(entries, used, version, debug, form, ran)]
    for by_form in runs.values():
        for figures in by_form.values():
            figures.pop("ids")
    return gone
