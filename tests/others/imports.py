"""In which way the modules of one run were imported: the proof that pye was in use, or was not."""
import os

from judging.command import Unusable
from judging.interpreter import STOCK, stores, unlike

OF_PYE = "pye._finder.Loader"
# Not what pye serves: extension modules, and what pytest compiles itself to have more to say of assertions.
NOT_SERVED = ("ExtensionFileLoader", "AssertionRewritingHook", "NamespaceLoader", "builtins.NoneType")


class Imports:
    """Of the process that ran the tests, by what pye_imports.py told.

    own        modules of the project that are Python's to import from a .pyc
    served     those of them that came from a package
    others     the names of the rest
    site       modules from the package of site-packages, and how many of them from its image
    library    the same of the standard library
    fallbacks  how often the packages were asked in vain, by reason
    """

    def __init__(self, told, site, library):
        own = {name: loader for name, loader in told["loaders"].items() if not loader.endswith(NOT_SERVED)}
        self.own = len(own)
        self.others = sorted(name for name, loader in own.items() if loader != OF_PYE)
        self.served = self.own - len(self.others)
        found = {store["root"]: store for store in stores(told["pye"])} if told["pye"] else {}
        self.site, self.library = _loaded(found.get(site)), _loaded(found.get(library))
        self.fallbacks = {}
        for store in found.values():
            for reason, count in store["fallbacks"].items():
                self.fallbacks[reason] = self.fallbacks.get(reason, 0) + count
        self._stores = found
        self._roots = site, library
        self._outside = sorted(name for name, file in told["files"].items() if file and not file.startswith(site + os.sep))

    def require(self, form):
        """Raises Unusable unless the installed project was what was tested, imported in this form and no other."""
        if self._outside:
            raise Unusable("not what is installed was tested: %s" % ", ".join(self._outside[:5]))
        if not self.own:
            raise Unusable("no module of the project was imported")
        if form == STOCK:
            if self._stores or self.served:
                raise Unusable("pye was active, and should not have been")
            return
        if not self.served:
            raise Unusable("no module of the project came from a package: %s" % (self.fallbacks or "no reason told"))
        for root in self._roots:
            reason = unlike(self._stores[root], form) if root in self._stores else "there is none"
            if reason:
                raise Unusable("the package of %s: %s" % (root, reason))

    def figures(self):
        """For --json."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def _loaded(store):
    image = (store or {}).get("image") or {}
    return {"modules": (store or {}).get("loaded", 0), "image": image.get("loaded", 0)}
