"""What lies beside a file that was named: its own to import, and nobody else's.

Python finds the modules beside a script because it is the only one. Here two files of two folders
may each have a ``helper.py`` beside them. So a folder is made a package with a name of its own,
and the files in it get an ``__import__`` that looks there first: at any time, also in a method
that runs much later, and without a word to the rest of the process.
"""

import builtins
import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_PREFIX = "ignite_threenet_folder_"

# There is one of these in a process, or a plugin would be none of ours.
_SHARED = {"ignite", "ignite_threenet", "ignite_threenet_plugins", "torch"}


class Neighbours:
    """The modules of one folder.

    Args:
        folder: the folder.

    Attributes:
        package: the name under which the folder is a package.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.absolute())
        self.package = _PREFIX + hashlib.sha256(self._folder.encode()).hexdigest()[:16]
        if self.package not in sys.modules:
            module = ModuleType(self.package, f"What lies in {self._folder}.")
            module.__path__ = [self._folder]
            module.__spec__ = ModuleSpec(self.package, None, is_package=True)
            sys.modules[self.package] = module
        if not any(isinstance(each, _Finder) for each in sys.meta_path):
            sys.meta_path.insert(0, _Finder())

    @property
    def builtins(self) -> dict[str, Any]:
        """What code of the folder has for Python's builtins."""
        return vars(builtins) | {"__import__": self._import}

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what Python's ``__import__`` does, but look beside the file first."""
        top = name.partition(".")[0]
        if level or not self._has(top, (globals or {}).get("__file__")):
            module = builtins.__import__(name, globals, locals, fromlist or (), level)
            return _Importlib(self) if name == "importlib" and not level else module
        self._import_module(name)
        if fromlist:
            inner = f"{self.package}.{name}"
            return builtins.__import__(inner, globals, locals, fromlist, 0)
        return sys.modules[f"{self.package}.{top}"]

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Do what importlib.import_module() does, but look beside the file first."""
        if not name.startswith(".") and self._has(name.partition(".")[0], None):
            return self._import_module(name)
        return importlib.import_module(resolve_name(name, package or self.package))

    def _import_module(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(f"{self.package}.{name}")
        except ModuleNotFoundError as error:
            own = (error.name or "").removeprefix(f"{self.package}.")
            if own == error.name:
                raise
            # By the name that its author knows.
            raise ModuleNotFoundError(f"No module named {own!r}", name=own) from None

    def _has(self, top: str, file: str | None) -> bool:
        """Tell whether there is a module of that name beside the file, which it means.

        Args:
            top: the name, without those of inner modules.
            file: the file that imports it, which does not mean itself.
        """
        if f"{self.package}.{top}" in sys.modules:
            found = getattr(sys.modules[f"{self.package}.{top}"], "__file__", None)
            return found is None or found != file
        known = sys.modules.get(top)
        if top in _SHARED or (known is not None and top in sys.stdlib_module_names):
            return False
        spec = PathFinder.find_spec(top, [self._folder])
        if spec is None:
            return False
        if spec.origin is None:
            # A folder without __init__.py, which for Python comes last.
            return known is None and PathFinder.find_spec(top) is None
        # What a script has imported from there is the same module.
        is_known = known is not None and getattr(known, "__file__", None) == spec.origin
        return spec.origin != file and not is_known


class _Importlib(ModuleType):
    """The module importlib, as the files of one folder see it."""

    def __init__(self, neighbours: Neighbours) -> None:
        super().__init__("importlib")
        self.import_module = neighbours.import_module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)


class _Finder(MetaPathFinder):
    """Finds the modules of folders, and lets their code look there first in turn."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of a folder; of others, nothing."""
        package = fullname.partition(".")[0]
        if not package.startswith(_PREFIX) or package == fullname:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
            spec.cached = None
        return spec


class _Loader(SourceFileLoader):
    """Runs a file of a folder, with the folder's builtins."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file; a cache would take a file of the same second for the same."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        package = sys.modules[module.__name__.partition(".")[0]]
        (folder,) = package.__path__
        vars(module)["__builtins__"] = Neighbours(Path(folder)).builtins
        super().exec_module(module)
