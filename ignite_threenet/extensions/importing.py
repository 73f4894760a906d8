"""Importing what others bring, and looking at it without that."""

import ast
import hashlib
import importlib.util
import re
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from ..errors import describe_error
from .neighbours import Neighbours

# The digests of the files that were imported here, by the names of their modules.
_DIGESTS: dict[str, str] = {}


class LoadFailedError(Exception):
    """What was found cannot be imported, or is not there; the message says why."""


def source_digest(value: object) -> str:
    """Give the SHA-256 digest of the file that a class or a function was imported from.

    Of what that file imports, it knows nothing.

    Returns:
        The digest in hexadecimal, or "" if there is no such file.
    """
    name = str(getattr(value, "__module__", ""))
    if name in _DIGESTS:
        return _DIGESTS[name]
    path = getattr(sys.modules.get(name), "__file__", None)
    if path is None or not path.endswith(".py"):
        return ""
    with suppress(OSError):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return ""


def qualified_name(value: object) -> str:
    """Name a class or a function; of anything else, its class."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return str(named.__qualname__)


def import_file(path: Path) -> ModuleType:
    """Import a file under a name of its own; once, as long as it does not change."""
    try:
        source = path.read_bytes()
        # Two files may be alike, and yet read what lies beside each of them.
        digest = hashlib.sha256(f"{path.absolute()}\0".encode() + source).hexdigest()[:16]
        stem = re.sub(r"\W", "_", path.stem)
        name = f"ignite_threenet_file_{stem}_{digest}"
        if name in sys.modules:
            return sys.modules[name]
        _DIGESTS[name] = hashlib.sha256(source).hexdigest()
        neighbours = Neighbours(path.parent)
        # Of the package that its folder is, so that it may import its neighbours by relative names.
        spec = importlib.util.spec_from_file_location(f"{neighbours.package}.{name}", path)
        if spec is None:
            raise LoadFailedError("cannot be imported: it is not a Python file")
        module = importlib.util.module_from_spec(spec)
        module.__name__ = name
        vars(module)["__builtins__"] = neighbours.builtins
        sys.modules[name] = module
        try:
            # Not by the loader, whose cache takes a file of the same second for the same.
            exec(compile(source, path, "exec"), vars(module))  # noqa: S102
        except BaseException:
            del sys.modules[name]
            raise
    except (Exception, SystemExit) as error:
        problem = f"cannot be imported from {path}: {describe_error(error)}"
        raise LoadFailedError(problem) from error
    return module


def first_line(path: Path, name: str) -> str:
    """Read the first line of a class's or function's docstring; the first class's without one."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        if node.name == name or (not name and isinstance(node, ast.ClassDef)):
            docstring = ast.get_docstring(node)
            return docstring.splitlines()[0] if docstring else ""
    return ""


def find_module(module: str) -> ModuleSpec | None:
    """Find a module's file as the import system would, but import no parent package."""
    top, *parts = module.split(".")
    if not all(part.isidentifier() for part in (top, *parts)):
        return None  # no module has such a name, and a finder may fail on it
    spec = _ask_finders(top)
    for part in parts:
        if spec is None:
            return None
        # A single name, for which no finder looks at a parent package.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations or []))
    return spec


def _ask_finders(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, None) if find_spec else None
        if spec is not None:
            return spec
    return None
