from collections.abc import Callable, Sequence
from os import PathLike
from types import CodeType, ModuleType
from typing import Any, Literal

__version__: str

class Packages:
    """The stores of this process."""

    def __init__(self) -> None:
        """Raises RuntimeError where the interpreter's objects are not laid out as expected."""
    def open(self, root: str | None, path: str, candidates: Sequence[str]) -> str:
        """Opens the package file, or the directory of single files, at path, to stand for the directory root, and returns root. Without
        root, that one of candidates is taken below which sources of the package stand. Raises OSError with the reason."""
    def find(self, directory: str, name: str) -> tuple[int, int, bool, str, str | None] | str | Literal[False] | None:
        """What directory holds under name: a module (store, number, whether it is a package, source, .pyc), an extension module's
        file, False when it holds nothing of that name, or None when the stock finder has to be asked."""
    def supply(self, origin: str) -> tuple[int, int, bool, str, str | None] | None:
        """The module made of the source origin, as find returns it."""
    def load(self, store: int, number: int, origin: str, fresh: bool) -> CodeType | None:
        """A module's code, or None when the stock loader has to load it; fresh: its source has just been looked at."""
    def invalidate(self) -> None:
        """Forgets which directories have been looked at."""
    def keep_at_end(self) -> None:
        """Has what the interpreter would free at its end, and must not, kept. To be called once."""
    def status(self) -> dict[str, Any]:
        """What was loaded, and what was not and why."""

class BeforeFork:
    """A handler for os.register_at_fork. Does not keep the finder alive."""

    def __init__(self, packages: Packages, finder: Any) -> None: ...
    def __call__(self) -> None:
        """Has the finder open what waits, by open_for(), and makes images ready, so that children share it."""

class LoaderBase:
    """What loaders inherit, before SourceFileLoader: attributes name, path, _packages, _store, _number and _found are theirs to set."""

    def __init__(self, *arguments: object) -> None: ...
    def exec_module(self, module: ModuleType) -> None:
        """As SourceFileLoader.exec_module; gives the pages of the stores back when the outermost import has ended."""
    def get_code(self, fullname: str) -> CodeType | None:
        """As SourceFileLoader.get_code, with the code from the store where that can be."""

def build_image(
    path: str,
    root: str,
    output: str,
    profile: str | None = None,
    progress: Callable[[int], object] | None = None,
    relocate: str | None = None,
) -> dict[str, Any]:
    """Writes the package at path, which stands for the directory root, to output, with an image for this interpreter. Raises OSError with the reason."""

class LoadError(OSError):
    """A cache cannot be used: the message says why. It can be dumped again."""

def dump(obj: object, path: str | PathLike[str]) -> None:
    """Saves obj and all it leads to in the file path, for load by this very build of CPython 3.12 or later. Exact tuple, str, bytes, int, float, complex, bool, None and
    Ellipsis can be saved. What is one object stays one; equal strings, bytes and numbers may become one.

    Raises TypeError for an object of another type, ValueError for a tuple that contains itself, OSError when the file cannot be written, RuntimeError in another
    interpreter. The file is complete or as it was before."""

def load(path: str | PathLike[str], *, verify: bool = False) -> Any:
    """Maps the file path that dump has saved and returns the object: immortal, and shared with forked processes, and with others where the interpreter's address is fixed.
    It stays mapped until the process ends; loading the file again returns the same object.

    Raises LoadError when the file is missing, damaged in its head or tables, cut short, saved by another build, not to be trusted, or its addresses are taken; RuntimeError in
    another interpreter. With verify=True all of the file is read, and damage found anywhere in it; so it is where the interpreter's address changes from start to start."""

def main(argv: Sequence[str], executable: str, package: str) -> int:
    """Runs the command line; returns the exit status."""
