"""The modules below BENCH_ZIP_ROOT have their code from the zip BENCH_ZIP, by zipimport.

They keep their names of files in the directory, so that extension modules and data beside them are found: as far as zipimport
can go for packages that have such.
"""
import os
import sys
import zipimport
from importlib.machinery import ModuleSpec, SourceFileLoader

_archive, _root = os.environ["BENCH_ZIP"], os.environ["BENCH_ZIP_ROOT"]
_importers = {}


class Loader(SourceFileLoader):
    """Of one module: its code by zipimport, all else as from its file."""

    def __init__(self, name, path, importer):
        super().__init__(name, path)
        self._importer = importer

    def get_code(self, fullname):
        return self._importer.get_code(fullname)


class Finder:
    """Asks the zip before the directories are asked."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        for directory in (_root,) if path is None else path:
            if not directory.startswith(_root):
                continue
            importer = _importers.get(directory)
            if importer is None:
                importer = _importers[directory] = zipimport.zipimporter(_archive + directory[len(_root):])
            spec = importer.find_spec(name) if hasattr(importer, "find_spec") else importer.find_module(name)
            if spec is None or getattr(spec, "loader", importer) is None:
                continue
            package = importer.is_package(name)
            last = name.rpartition(".")[2]
            file = os.path.join(directory, last, "__init__.py") if package else os.path.join(directory, last + ".py")
            spec = ModuleSpec(name, Loader(name, file, importer), origin=file, is_package=package)
            spec.has_location = True
            if package:
                spec.submodule_search_locations[:] = [os.path.join(directory, last)]
            return spec
        return None


sys.meta_path.insert(0, Finder)
