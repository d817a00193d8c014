"""Which generation of each package file processes have mapped."""
import os


class Generations:
    """The generations of package files, numbered from 0, by the inodes that they have.

    An inode is given to another file only when nobody has it open or mapped any more: so what is mapped now is the newest file that had
    its inode.
    """

    def __init__(self, packages):
        self._packages = [os.path.realpath(str(package)) for package in packages]
        self._numbers = {}
        self.current = {}
        for package in self._packages:
            self.replaced(package)

    def replaced(self, package):
        """There is a new file of this name."""
        package = os.path.realpath(str(package))
        self.current[package] = self.current.get(package, -1) + 1
        self._numbers[package, os.stat(package).st_ino] = self.current[package]

    def mapped(self, maps):
        """Of the text of a /proc/PID/maps: {"mappings": all, "of_packages", "of_deleted": those of package files that have been
        replaced, "generations": {package: the numbers, in order}}. An inode that no generation has had is number -1."""
        found = {"mappings": 0, "of_packages": 0, "of_deleted": 0, "generations": {}}
        for line in maps.splitlines():
            found["mappings"] += 1
            # Address, rights, offset, device, inode, path.
            fields = line.split(None, 5)
            if len(fields) < 6:
                continue
            path = fields[5]
            deleted = path.endswith(" (deleted)")
            if deleted:
                path = path[:-len(" (deleted)")]
            if path in self.current:
                found["of_packages"] += 1
                found["of_deleted"] += deleted
                found["generations"].setdefault(path, set()).add(self._numbers.get((path, int(fields[4])), -1))
        found["generations"] = {path: sorted(numbers) for path, numbers in found["generations"].items()}
        return found
